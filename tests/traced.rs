//! The debug log of one session, from the accepted connection to the written record.

use serde_json::Value;

use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Script, TOKEN};
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup, Tap};

/// Every line of the log as JSON. Lines that are for people are left out.
fn events(tap: &Tap) -> Vec<Value> {
    let stderr = tap.stderr();
    let lines = stderr.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).expect("a JSON object in each line"))
        .collect()
}

/// The messages of the events that belong to this session, in order.
fn of_session(events: &[Value], id: &str) -> Vec<String> {
    let is_its = |event: &&Value| {
        let spans = event["spans"].as_array();
        let in_span = spans.is_some_and(|spans| spans.iter().any(|span| span["id"] == id));
        in_span || event["fields"]["id"] == id
    };
    let message = |event: &Value| event["fields"]["message"].as_str().unwrap().to_owned();
    events.iter().filter(is_its).map(message).collect()
}

/// Asserts that these messages come in this order, with others between them.
fn assert_in_order(all: &[String], wanted: &[&str]) {
    let mut rest = all.iter();
    for message in wanted {
        assert!(
            rest.any(|it| it == message),
            "no {message:?} where it belongs in {all:#?}"
        );
    }
}

fn traced(setup: Setup) -> Setup {
    setup
        .env("RUST_LOG", "wstap=debug")
        .env("WSTAP_LOG_FORMAT", "json")
}

#[tokio::test]
async fn one_session_can_be_followed_through_the_log() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let tap = traced(Setup::before(&gateway.peer).openclaw())
        .start()
        .await;
    let mut ids = Vec::new();
    for count in 1..=2 {
        let mut conn = tap.connect(Face::Tls).await;
        conn.open("/").await;
        conn.log_in(TOKEN).await;
        conn.send_masked(Frame::close(1000, "")).await.unwrap();
        conn.frames_to_end().await;
        drop(conn);
        let records = tap.websockets(count).await;
        ids.push(records[count - 1].id.to_string());
    }
    let events = events(&tap);
    for id in &ids {
        let wanted = [
            "request head checked",
            "Origin checked",
            "gateway dialled",
            "gateway answered",
            "upgraded",
            "answering",
            "phase reached",
            "Close seen",
            "leg ended",
            "session judged",
            "record queued",
        ];
        let all = of_session(&events, id);
        assert_in_order(&all, &wanted);
        let count = |message: &str| all.iter().filter(|it| *it == message).count();
        assert_eq!(
            count("request head checked"),
            1,
            "not those of the other session"
        );
        assert_eq!(count("record queued"), 1);
    }
    // What comes before the request is in the span of the connection.
    let of_connection = |message: &str| {
        let found = events.iter().find(|it| it["fields"]["message"] == message);
        found.unwrap_or_else(|| panic!("no {message:?}"))["spans"][0]["name"].clone()
    };
    for message in ["accepted", "TLS handshake done"] {
        assert_eq!(of_connection(message), "connection", "{message}");
    }
}

#[tokio::test]
async fn the_log_of_an_operator_has_no_sessions_and_is_text() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let tap = Setup::before(&gateway.peer).start().await;
    tap.connect(Face::Plain).await.open("/").await;
    let id = tap.websocket().await.id.to_string();
    let stderr = tap.stderr();
    assert!(!stderr.contains(&id), "{stderr}");
    assert!(!stderr.contains('{'), "{stderr}");
}

#[tokio::test]
async fn a_log_format_that_does_not_exist_is_a_usage_error() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let setup = Setup::before(&gateway.peer).env("WSTAP_LOG_FORMAT", "xml");
    let (code, stderr) = setup.start_in_vain().await;
    assert_eq!(code, Some(2));
    assert_eq!(
        stderr,
        "wstap: WSTAP_LOG_FORMAT: expected text or json, found xml\n"
    );
}
