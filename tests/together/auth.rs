//! Refusals that other sessions explain: the gateway's own token changed, two gateways answer at one
//! address, the pairing was lost, the gateway stopped.

use serde_json::{Value, json};
use wstap::session::SessionRecord;
use wstap::session::record::{Class, Verdict};

use super::restart::{Then, caller_after};
use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Refusal, Script, TOKEN, connect_request};
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup, Tap};

const DEVICE: &str = "5f1c3a0e9b7d42618c5a0f4be1d2937466aa10c2d8e4f5b60718293a4b5c6d7e";

/// One session with these credentials, to its end; the number of records until then.
async fn session(tap: &Tap, request: Frame, count: usize) -> SessionRecord {
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    let answer = conn.introduce_with(request).await;
    if answer.as_text().contains("hello-ok") {
        conn.send_masked(Frame::empty_close()).await.expect("close");
    }
    conn.frames_to_end().await;
    conn.finish().await;
    drop(conn);
    let mut records = tap.websockets(count).await;
    records.pop().expect("a record")
}

fn with_token(token: &str) -> Frame {
    connect_request(&json!({ "token": token }))
}

fn with_device() -> Frame {
    let plain = connect_request(&json!({ "token": TOKEN }));
    let mut request: Value = serde_json::from_str(plain.as_text()).expect("JSON");
    request["params"]["device"] = json!({ "id": DEVICE });
    Frame::text(&request.to_string())
}

pub fn verdict(record: &SessionRecord) -> &Verdict {
    // The record has every fact that was used, so a file gives the same verdict.
    let verdict = record.verdict.as_ref().expect("a verdict");
    assert_eq!(&wstap::verdict::decide(record), verdict);
    verdict
}

async fn before(script: Script) -> (Gateway, Tap) {
    let gateway = Gateway::start(&Via::Plain, script).await;
    let tap = Setup::before(&gateway.peer).openclaw().start().await;
    (gateway, tap)
}

#[tokio::test]
async fn a_token_that_worked_is_one_that_was_changed_at_the_gateway() {
    let (gateway, tap) = before(Script::default()).await;
    let good = session(&tap, with_token(TOKEN), 1).await;
    assert_eq!(verdict(&good).class, Class::Ok);
    gateway.becomes(Script {
        token: Some("the-token-that-came-after-0123456789abcdef".to_owned()),
        ..Script::default()
    });
    let refused = session(&tap, with_token(TOKEN), 2).await;
    assert_eq!(verdict(&refused).rule, "gateway.auth.token_changed");
    assert_eq!(verdict(&refused).class, Class::GatewayAuth);
}

#[tokio::test]
async fn two_gateways_in_turn_are_told_by_their_boot_ids() {
    let other = || Script {
        token: Some("another-token-0123456789abcdef0123456789".to_owned()),
        boot_id: "boot-2",
        ..Script::default()
    };
    let (gateway, tap) = before(Script::default()).await;
    session(&tap, with_token(TOKEN), 1).await;
    gateway.becomes(other());
    session(
        &tap,
        with_token("another-token-0123456789abcdef0123456789"),
        2,
    )
    .await;
    gateway.becomes(Script::default());
    session(&tap, with_token(TOKEN), 3).await;
    gateway.becomes(other());
    let refused = session(&tap, with_token(TOKEN), 4).await;
    assert_eq!(verdict(&refused).rule, "gateway.auth.two_gateways");
    let context = refused.context.as_ref().expect("context");
    assert!(context.boots_alternate, "{context:?}");
}

#[tokio::test]
async fn a_device_token_in_the_wrong_field_is_known_again() {
    let issued = "device-token-0123456789abcdef0123456789abcdef";
    let (_gateway, tap) = before(Script {
        hello_auth: json!({
            "method": "token", "role": "operator", "scopes": ["operator.read"],
            "deviceToken": issued,
        }),
        ..Script::default()
    })
    .await;
    session(&tap, with_device(), 1).await;
    let refused = session(&tap, with_token(issued), 2).await;
    assert_eq!(verdict(&refused).rule, "gateway.auth.device_token_as_token");
    assert!(
        !tap.records_text().contains(issued),
        "the token was recorded"
    );
}

#[tokio::test]
async fn a_device_that_was_let_in_and_is_unknown_now_has_lost_its_pairing() {
    let (gateway, tap) = before(Script::default()).await;
    session(&tap, with_device(), 1).await;
    let message = "pairing required: device is not approved yet (requestId: req-1)";
    let error = json!({
        "code": "NOT_PAIRED", "message": message,
        "details": { "code": "PAIRING_REQUIRED", "reason": "not-paired", "requestId": "req-1" },
    });
    gateway.becomes(Script {
        refusal: Some(Refusal::new(1008, message, error)),
        boot_id: "boot-2",
        ..Script::default()
    });
    let refused = session(&tap, with_device(), 2).await;
    assert_eq!(verdict(&refused).rule, "gateway.pairing.lost");
    assert!(verdict(&refused).next.contains("devices approve req-1"));
}

#[tokio::test]
async fn a_gateway_that_stopped_is_not_waited_for() {
    let record = caller_after("gateway stopping", Then::Nobody).await;
    let verdict = verdict(&record);
    assert_eq!(verdict.rule, "gateway.unreachable.refused");
    let mut facts = verdict.evidence.iter();
    let said = facts.any(|it| it.fact == "the gateway said that it stops");
    assert!(said, "{verdict:#?}");
}
