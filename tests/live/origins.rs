//! A page of another origin: refused by the gateway's own check, or by ours, and told apart.
//!
//! The gateway lets the upgrade through and refuses inside the WebSocket; the tap refuses before
//! anything reaches the gateway. A page that both allow gets as far as `hello-ok`.

use serde_json::json;
use wstap::session::SessionRecord;
use wstap::session::record::Class;

use super::gateway::{Gateway, Options};
use super::turn;
use super::visitor::{Answer, Visitor};
use crate::support::client::connect;
use crate::support::deadline::within;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};

const CLAW: &str = "https://claw.example.com";
const EVIL: &str = "https://evil.example";

#[tokio::test]
async fn a_page_is_refused_by_the_gateway_or_by_us() {
    let Some((_turn, install)) = turn("live: origins").await else {
        return;
    };
    let gateway = Gateway::start_with(&install, &allowing(&[CLAW])).await;
    let before = || Setup::before_url(&gateway.url()).openclaw();
    let direct = page(EVIL).visit(connect(gateway.addr()).await).await;
    assert_refused_by_gateway(&direct);

    let tap = before().set("origins.mode", "report").start().await;
    let (answer, record) = visit(&tap, Face::Tls, EVIL).await;
    assert_eq!(answer, direct);
    assert_eq!(class(&record), Class::GatewayOrigin);
    let line = format!("\"controlUi\": {{ \"allowedOrigins\": [\"{EVIL}\"] }}");
    assert!(next(&record).contains(&line), "{}", next(&record));

    let tap = before().set("origins.allowed", json!([CLAW])).start().await;
    let (answer, record) = visit(&tap, Face::Tls, EVIL).await;
    let Answer::Http { status: 403, body } = &answer else {
        panic!("{answer}");
    };
    assert!(body.starts_with("wstap: ") && body.contains(EVIL), "{body}");
    assert_denied_by_us(&record);

    let closing = before().set("origins.allowed", json!([CLAW]));
    let closing = closing.set("origins.deny_with", "close").start().await;
    let (answer, record) = visit(&closing, Face::Tls, EVIL).await;
    let Answer::Closed {
        code: Some(1008),
        reason,
    } = &answer
    else {
        panic!("{answer}");
    };
    assert!(reason.starts_with("wstap: origin"), "{reason}");
    assert_denied_by_us(&record);

    for tap in [&tap, &closing] {
        for face in Face::BOTH {
            let (answer, record) = visit(tap, face, CLAW).await;
            let Answer::Accepted { conn_id, .. } = &answer else {
                panic!("{answer}");
            };
            gateway.logged(conn_id).await;
            assert_eq!(class(&record), Class::Ok);
        }
    }
    // What we refused it has never seen, what it refused it has.
    let log = gateway.log().concat();
    assert_eq!(log.matches(&format!("origin={EVIL} ")).count(), 2);
}

/// One list for both, also when it changes.
#[tokio::test]
async fn the_gateways_own_list_is_ours() {
    let Some((_turn, install)) = turn("live: the gateway's origins").await else {
        return;
    };
    let gateway = Gateway::start_with(&install, &allowing(&[CLAW])).await;
    let file = gateway.config_path().to_string_lossy().into_owned();
    let tap = Setup::before_url(&gateway.url())
        .openclaw()
        .set("origins.from_gateway_config", file)
        .start()
        .await;
    let (answer, record) = visit(&tap, Face::Plain, EVIL).await;
    assert!(
        matches!(answer, Answer::Http { status: 403, .. }),
        "{answer}"
    );
    assert_denied_by_us(&record);
    let (answer, _) = visit(&tap, Face::Plain, CLAW).await;
    assert!(matches!(answer, Answer::Accepted { .. }), "{answer}");

    gateway.rewrite(&allowing(&[CLAW, EVIL]));
    // Each of us looks at the file in its own time; until both have, one of us refuses.
    within("both to allow the other origin", async {
        loop {
            match visit(&tap, Face::Plain, EVIL).await {
                (Answer::Accepted { .. }, record) => break assert_eq!(class(&record), Class::Ok),
                (Answer::Http { status: 403, .. }, record) => assert_denied_by_us(&record),
                (answer, record) => {
                    assert_refused_by_gateway(&answer);
                    assert_eq!(class(&record), Class::GatewayOrigin);
                }
            }
        }
    })
    .await;
}

fn allowing(origins: &[&str]) -> Options {
    Options {
        allowed_origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
        ..Options::default()
    }
}

fn page(origin: &str) -> Visitor {
    Visitor::browser(origin).with_new_device()
}

async fn visit(tap: &Tap, face: Face, origin: &str) -> (Answer, SessionRecord) {
    let page = page(origin);
    let answer = page.visit(tap.connect(face).await).await;
    (answer, page.record(tap).await)
}

fn assert_refused_by_gateway(answer: &Answer) {
    let Answer::Refused { details, close, .. } = answer else {
        panic!("{answer}");
    };
    assert_eq!(details, "CONTROL_UI_ORIGIN_NOT_ALLOWED");
    assert_eq!(close.0, Some(1008));
    assert!(close.1.starts_with("origin not allowed"), "{}", close.1);
}

fn assert_denied_by_us(record: &SessionRecord) {
    assert_eq!(class(record), Class::TapDenied);
    let verdict = record.verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.rule.as_str(), "tap.denied.origin");
    assert!(next(record).contains(EVIL), "{}", next(record));
    assert_eq!(
        record
            .gateway
            .as_ref()
            .and_then(|gateway| gateway.addr.clone()),
        None
    );
}

/// What the verdict says to do.
fn next(record: &SessionRecord) -> String {
    let verdict = record.verdict.as_ref().expect("a verdict");
    verdict.next.clone()
}
