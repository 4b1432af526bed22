//! Behind a proxy that sends PROXY headers, before the real gateway: a client that it names is
//! remote there, and with the tap in `gateway.trustedProxies` known under its own address.

use serde_json::json;
use wstap::session::record::gateway::Acceptance;

use super::gateway::{Gateway, Options};
use super::turn;
use super::visitor::{Answer, Visitor};
use crate::support::client::connect;
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll, within};
use crate::support::records::rule;
use crate::support::tap::{Face, Setup, Tap};

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.1 50344 443\r\n";
const LOOPBACK: &[u8] = b"PROXY TCP4 127.0.0.1 127.0.0.1 50344 443\r\n";
/// The proxy's own health check.
const NOBODY: &[u8] = b"PROXY UNKNOWN\r\n";

async fn tap_before(gateway: &Gateway) -> Tap {
    let listener = json!({ "listen": "127.0.0.1:0", "proxy_protocol": { "from": ["127.0.0.1"] } });
    let tap = Setup::before_url(&gateway.url())
        .openclaw()
        .set("listeners", json!([listener]))
        .start()
        .await;
    // Until it knows whether the gateway believes what it writes.
    within("the acceptance check", async {
        while !is_known(&tap).await {}
    })
    .await;
    tap
}

async fn is_known(tap: &Tap) -> bool {
    let visitor = Visitor::command_line();
    visitor.visit(begin(tap, HEADER).await).await;
    let gateway = visitor.record(tap).await.gateway;
    let forwarded = gateway.and_then(|gateway| gateway.forwarded);
    forwarded.is_some_and(|facts| facts.acceptance != Acceptance::Unknown)
}

async fn begin(tap: &Tap, header: &[u8]) -> Conn {
    let mut conn = connect(tap.addr(Face::Plain)).await;
    conn.send(header).await.expect("send the header");
    conn
}

#[tokio::test]
async fn whom_a_header_names_is_never_local_to_the_real_gateway() {
    let Some((_turn, install)) = turn("live: PROXY protocol").await else {
        return;
    };
    for trusted in [Vec::new(), vec!["127.0.0.1".to_owned()]] {
        let trusts = !trusted.is_empty();
        let options = Options {
            trusted_proxies: trusted,
            ..Options::default()
        };
        let gateway = Gateway::start_with(&install, &options).await;
        // The control: without the tap this one is local, and keeps its scopes.
        let direct = Visitor::command_line();
        let answer = direct.visit(connect(gateway.addr()).await).await;
        assert!(is_local(&answer), "trusts {trusts}: {answer}");

        let tap = tap_before(&gateway).await;
        for (header, addr) in [
            (HEADER, Some("203.0.113.9:50344")),
            (LOOPBACK, Some("127.0.0.1:50344")),
            (NOBODY, None),
        ] {
            let visitor = Visitor::command_line();
            let answer = visitor.visit(begin(&tap, header).await).await;
            assert!(!is_local(&answer), "{addr:?}: {answer}");
            let record = visitor.record(&tap).await;
            if let Some(addr) = addr {
                assert_eq!(record.client.addr, addr);
            }
            match &answer {
                Answer::Http { status, body } if !trusts => {
                    assert_eq!(*status, 403, "{body}");
                    assert!(rule(&record).contains("attribution"), "{}", rule(&record));
                }
                _ => assert!(trusts, "{addr:?}: {answer}, {}", rule(&record)),
            }
        }
        if trusts {
            seen_as_itself(&gateway, &tap).await;
        }
    }
}

/// A new device of a remote client has to be approved; the gateway's log says whose it is.
async fn seen_as_itself(gateway: &Gateway, tap: &Tap) {
    let visitor = Visitor::command_line().with_new_device();
    let answer = visitor.visit(begin(tap, HEADER).await).await;
    assert!(matches!(answer, Answer::Refused { .. }), "{answer}");
    let agent = format!("ua={}", visitor.agent);
    let told = || {
        let log = gateway.log().into_iter();
        log.into_iter().find(|line| line.contains(&agent))
    };
    let line = poll(STEP, told).await.expect("a line of its log");
    assert!(line.contains("fwd=203.0.113.9 "), "{line}");
}

/// As the gateway shows it: a client of this host without a device keeps its scopes.
fn is_local(answer: &Answer) -> bool {
    matches!(answer, Answer::Accepted { scopes, .. } if !scopes.is_empty())
}
