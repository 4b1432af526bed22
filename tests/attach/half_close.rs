//! Clients that end their sending side right after their request, through an attached tap.

use super::{From, at, connect};
use crate::peers::{Via, answers_when_told};
use crate::support::attached::{Attached, LONG};
use crate::support::conn::Conn;
use crate::support::head::upgrade;
use crate::support::netns::{self, HERE_V4, test_name};
use crate::support::records::rule;
use crate::support::wire::Wire;

#[tokio::test]
async fn they_are_answered_and_those_that_were_gone_are_told() {
    let this = test_name!(they_are_answered_and_those_that_were_gone_are_told);
    let Some(net) = netns::enter("attach: half-close", this).await else {
        return;
    };
    let on = "0.0.0.0:0".parse().expect("an address");
    let gateway = answers_when_told::start(&Via::At(on), 1).await;
    let port = gateway.addr().port();
    let attached = Attached::start(port, LONG).await;
    let mut asked = 0;
    for from in [From::Here, From::There] {
        for (agent, is_gone, expected) in [
            ("reads", false, "ok.http"),
            // The reset may come before the end of the answer is written.
            ("gone", true, "client.left."),
            ("upgrades", false, "probe.websocket"),
        ] {
            let agent = format!("{agent}-{from:?}");
            let named = [("User-Agent", agent.as_str())];
            let request = if expected == "probe.websocket" {
                upgrade("/", "localhost", &named)
            } else {
                format!("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\n\r\n").into()
            };
            let tcp = connect(&net, from, at(HERE_V4, port)).await.unwrap();
            let mut conn = Conn::bounded(Wire::Plain(tcp));
            conn.send(&request).await.unwrap();
            conn.finish().await;
            let reads = (!is_gone).then_some(conn);
            asked += 1;
            answers_when_told::asked(&gateway, asked).await;
            gateway.go();
            if let Some(mut conn) = reads {
                let head = conn.head().await.unwrap();
                if head.status() == 101 {
                    let frame = conn.frame().await.unwrap();
                    assert_eq!(frame.as_text(), answers_when_told::SAYS);
                } else {
                    assert!(!conn.body(&head).await.unwrap().is_empty());
                }
            }
            let record = attached.record_of(&agent).await;
            assert!(
                rule(&record).starts_with(expected),
                "{agent}: {:?}",
                record.verdict
            );
            let refused = record.close.transport.client_refused_at;
            assert_eq!(refused.is_some(), is_gone, "{agent}");
        }
    }
    attached.detach().await;
}
