//! Connected, accepted, and every request refused: the real gateway's answers and our verdicts.

use serde_json::{Value, json};

use super::gateway::{Gateway, Options, TOKEN};
use super::turn;
use crate::support::frame::{CLOSE, Frame, TEXT};
use crate::support::records::rule;
use crate::support::tap::{Face, Setup, Tap};

/// Connects as the command line tool does, without a device, asks once and closes. The answer.
async fn ask(tap: &Tap, headers: &[(&str, &str)], method: &str) -> Value {
    let mut conn = tap.connect(Face::Plain).await;
    let head = conn.upgrade("/", headers).await.expect("an answer");
    assert_eq!(head.status(), 101, "{}", head.text());
    conn.log_in(TOKEN).await;
    let request = json!({ "type": "req", "id": "r1", "method": method, "params": {} });
    conn.send_masked(Frame::text(&request.to_string()))
        .await
        .expect("send it");
    let answer = loop {
        let frame = conn.frame().await.expect("an answer");
        let value: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
        if frame.opcode == TEXT && value["type"] == "res" {
            break value;
        }
    };
    conn.send_masked(Frame::empty_close())
        .await
        .expect("send it");
    while conn.frame().await.is_ok_and(|frame| frame.opcode != CLOSE) {}
    conn.finish().await;
    answer
}

#[tokio::test]
async fn missing_scopes_are_told_apart_from_a_lost_locality() {
    let Some((_turn, install)) = turn("live: missing scopes").await else {
        return;
    };
    let options = Options {
        trusted_proxies: vec!["127.0.0.1".to_owned()],
        ..Options::default()
    };
    let gateway = Gateway::start_with(&install, &options).await;
    let tap = Setup::before_url(&gateway.url())
        .openclaw()
        .set("gateway.forwarded", "pass")
        .start()
        .await;
    let mut seen = 0;

    let answer = ask(&tap, &[], "config.set").await;
    assert_eq!(
        answer["error"]["details"]["code"], "MISSING_SCOPE",
        "{answer}"
    );
    let record = tap.newest(&mut seen).await;
    assert_eq!(
        rule(&record),
        "channel.missing_scope",
        "{:?}",
        record.verdict
    );
    let rpc = record.application().requests.unwrap();
    assert!(rpc.failures[0].missing_scope.is_some(), "{rpc:?}");

    let answer = ask(&tap, &[], "health").await;
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(rule(&tap.newest(&mut seen).await), "ok.client_closed");

    // A proxy in front says that the client comes from elsewhere: its scopes are gone.
    let elsewhere = [("X-Forwarded-For", "203.0.113.5")];
    let answer = ask(&tap, &elsewhere, "status").await;
    assert_eq!(
        answer["error"]["details"]["code"], "MISSING_SCOPE",
        "{answer}"
    );
    let record = tap.newest(&mut seen).await;
    assert_eq!(
        rule(&record),
        "channel.locality_lost",
        "{:?}",
        record.verdict
    );
}
