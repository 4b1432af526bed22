//! One request here is one request there: streams of requests, good and odd, go through the tap to
//! an upstream on Node's HTTP parser, which notes each request that it sees.

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::heads::{End, Understood, checked, request};
use crate::peers::node_recorder::{NodeRecorder, Upgrades};
use crate::support::tap::{Face, Setup};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "OPTIONS", "PURGE"];

const STREAMS: usize = 300;

#[tokio::test]
async fn nodes_parser_sees_the_requests_that_the_check_let_pass_and_no_other() {
    let test = "smuggling: Node's parser counts";
    let Some(node) = NodeRecorder::start(test, Upgrades::Refused(403)).await else {
        return;
    };
    let tap = Setup::before_url(&node.url()).start().await;
    let mut runner = TestRunner::deterministic();
    let streams = proptest::collection::vec(request(), 1..5);
    let (mut before, mut refusals, mut longest) = (0, 0, 0);
    for number in 0..STREAMS {
        let stream = streams.new_tree(&mut runner).unwrap().current().concat();
        let (mut ours, _, mut end) = checked(&stream);
        // Whether a request with half a body arrives depends on when the client gives up; and Node
        // knows only some methods.
        let known = |one: &Understood| METHODS.contains(&one.method.as_str());
        if end == End::InBody || !ours.iter().all(known) {
            continue;
        }
        if let Some(last) = ours.iter().position(Understood::is_last) {
            ours.truncate(last + 1);
            end = End::Whole;
        }
        let mut conn = tap.connect(Face::Plain).await;
        conn.send(&stream).await.unwrap();
        let mut answers = 0;
        while answers < ours.len() {
            let head = conn.head().await.unwrap_or_else(|ending| {
                panic!(
                    "{number}: {ending:?} after {answers} answers of {}",
                    ours.len()
                )
            });
            if head.status() == 100 {
                continue;
            }
            answers += 1;
            let shown = String::from_utf8_lossy(&stream);
            assert!(head.status() < 400, "{number}: {shown:?}: {}", head.text());
            if ours[answers - 1].method != "HEAD" {
                conn.body(&head).await.unwrap();
            }
        }
        if end == End::Refused {
            refusals += 1;
            let status = conn.head().await.unwrap().status();
            assert!((400..500).contains(&status), "{number}: {status}");
        }
        drop(conn);
        let seen = node.settled().await;
        let seen: Vec<_> = seen.into_iter().skip(before).collect();
        before += seen.len();
        longest = longest.max(ours.len());
        let line = |method: &str, target: &str| format!("{method} {target}");
        let theirs: Vec<_> = seen.iter().map(|one| line(&one.method, &one.url)).collect();
        let ours: Vec<_> = ours
            .iter()
            .map(|one| line(&one.method, &one.target))
            .collect();
        assert_eq!(
            theirs,
            ours,
            "{number}: {:?}",
            String::from_utf8_lossy(&stream)
        );
    }
    assert!(
        before > 100 && refusals > 20 && longest > 2,
        "{before} {refusals} {longest}"
    );
    assert!(node.errors().is_empty(), "{:?}", node.errors());
}
