//! Through the tap everything is as it is without it, and the record says so.

use serde_json::{Value, json};
use wstap::session::SessionRecord;
use wstap::session::party::Phase;
use wstap::session::record::Class;
use wstap::session::record::dialect::{ConnectResult, DialectFacts};

use super::cli::{Output, call};
use super::gateway::{Gateway, TOKEN};
use super::turn;
use crate::support::client::connect;
use crate::support::frame::Frame;
use crate::support::records::{class, cut};
use crate::support::secret::fingerprint;
use crate::support::tap::{Face, Setup, Tap};

const WRONG: &str = "wrong-token-0123456789abcdef0123456789abcdef";

/// Where the command line tool is sent: the URL, and the CA for it.
fn way_in(tap: &Tap, face: Face) -> (String, Option<std::path::PathBuf>) {
    let addr = tap.addr(face);
    match face {
        Face::Plain => (format!("ws://{addr}"), None),
        Face::Tls => (
            format!("wss://localhost:{}", addr.port()),
            Some(tap.dev_ca()),
        ),
    }
}

/// The answer of a call, without what differs from call to call.
pub fn steady(output: &Output) -> Value {
    let (title, json) = output.stdout.split_once('\n').expect("a title and JSON");
    let mut value: Value = serde_json::from_str(json)
        .unwrap_or_else(|error| panic!("{error}: {}", cut(&output.stdout, 300)));
    forget(&mut value);
    json!({ "title": title, "answer": value, "stderr": output.stderr, "code": output.code })
}

/// Times and loads.
fn forget(value: &mut Value) {
    match value {
        Value::Object(keys) => {
            for volatile in ["ts", "durationMs", "eventLoop", "updatedAt", "ageMs"] {
                keys.remove(volatile);
            }
            keys.values_mut().for_each(forget);
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

#[tokio::test]
async fn the_command_line_tool_and_the_page_work_as_without_the_tap() {
    let Some((_turn, install)) = turn("live: works").await else {
        return;
    };
    let gateway = Gateway::start(&install).await;
    let direct_url = format!("ws://{}", gateway.addr());
    let direct_health = call(&install, "health", &direct_url, TOKEN, None).await;
    let direct_wrong = call(&install, "health", &direct_url, WRONG, None).await;
    let direct_schema = call(&install, "config.schema", &direct_url, TOKEN, None).await;
    assert_eq!(
        (direct_health.code, direct_schema.code),
        (Some(0), Some(0)),
        "{direct_health:?}"
    );
    assert_eq!(direct_wrong.code, Some(1));
    let (_, direct_page) = connect(gateway.addr())
        .await
        .get("/")
        .await
        .expect("the page");
    assert!(direct_page.len() > 1000, "{} bytes", direct_page.len());

    let tap = Setup::before_url(&gateway.url()).openclaw().start().await;
    let mut seen = 0;
    for face in Face::BOTH {
        let (url, ca) = way_in(&tap, face);
        let ca = ca.as_deref();

        let health = call(&install, "health", &url, TOKEN, ca).await;
        assert_eq!(steady(&health), steady(&direct_health), "{face:?}");
        let record = tap.newest(&mut seen).await;
        assert_accepted(&record);
        assert_called(&record, "health");
        assert_eq!(record.client.tls.is_some(), face == Face::Tls);
        let conn_id = record.application().log_id.expect("a connection id");
        gateway.logged(conn_id.as_str()).await;

        let wrong = call(&install, "health", &url, WRONG, ca).await;
        assert_eq!(wrong, direct_wrong, "{face:?}");
        assert_mismatch(&tap.newest(&mut seen).await);

        let schema = call(&install, "config.schema", &url, TOKEN, ca).await;
        assert!(
            schema == direct_schema,
            "{face:?}: the schema differs: {}",
            cut(&schema.stderr, 300)
        );
        let record = tap.newest(&mut seen).await;
        assert_accepted(&record);
        assert_called(&record, "config.schema");
        let largest = record
            .frames
            .unwrap()
            .to_client
            .largest
            .expect("a largest frame");
        assert!(largest.size > 2_000_000, "{}", largest.size);

        let mut conn = tap.connect(face).await;
        let (head, page) = conn.get("/").await.expect("the page");
        assert_eq!(head.status(), 200);
        assert!(
            page == direct_page,
            "{face:?}: {} and {} bytes",
            page.len(),
            direct_page.len()
        );
    }
    without_a_token(&tap, &mut seen).await;
}

/// The tool's one request, answered.
fn assert_called(record: &SessionRecord, method: &str) {
    let dialect = record
        .dialect
        .as_ref()
        .and_then(DialectFacts::openclaw)
        .expect("a dialect");
    assert!(dialect.max_buffered.is_some() && dialect.tick_interval_ms.is_some());
    let rpc = dialect.rpc.as_ref().expect("requests");
    let row = rpc
        .methods
        .iter()
        .find(|row| {
            row.method
                .as_ref()
                .is_some_and(|name| name.as_str() == method)
        })
        .unwrap_or_else(|| panic!("{method} is not in {rpc:?}"));
    assert_eq!((row.requests, row.responses, row.errors), (1, 1, 0));
    assert!(row.latency_ms.is_some_and(|latency| latency.max > 0.0));
    assert_eq!(rpc.unanswered_count, Some(0), "{rpc:?}");
    assert_eq!((rpc.unseen_to_gateway, rpc.unmatched), (0, 0), "{rpc:?}");
}

fn assert_accepted(record: &SessionRecord) {
    assert!(record.phase >= Phase::Open, "{:?}", record.phase);
    let dialect = record
        .dialect
        .as_ref()
        .and_then(DialectFacts::openclaw)
        .expect("a dialect");
    assert_eq!(dialect.result, ConnectResult::Accepted);
    assert_eq!(
        dialect
            .server
            .as_ref()
            .and_then(|it| it.version.clone())
            .unwrap()
            .as_str(),
        "2026.9.6"
    );
    assert_eq!(class(record), Class::Ok);
}

fn assert_mismatch(record: &SessionRecord) {
    assert_eq!(
        (record.phase, class(record)),
        (Phase::Handshake, Class::GatewayAuth)
    );
    let dialect = record
        .dialect
        .as_ref()
        .and_then(DialectFacts::openclaw)
        .expect("a dialect");
    assert_eq!(dialect.result, ConnectResult::Refused);
    let details = dialect
        .error
        .as_ref()
        .and_then(|error| error.details_code.clone());
    assert_eq!(details.unwrap().as_str(), "AUTH_TOKEN_MISMATCH");
    let close = record.close.gateway.as_ref().expect("the gateway's Close");
    assert_eq!(close.code.map(|code| code.0), Some(1008));
    assert!(
        close
            .reason
            .as_str()
            .starts_with("unauthorized: gateway token mismatch")
    );
    let auth = serde_json::to_value(&record.auth).unwrap();
    let entry = auth
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["place"] == "frame:connect.params.auth.token");
    let entry = entry.unwrap_or_else(|| panic!("no token in {auth}"));
    assert_eq!(entry["fingerprint"], fingerprint(WRONG));
    assert_eq!(entry["length"], WRONG.len());
}

/// The tool itself refuses to connect without one, so this is a client of our own.
async fn without_a_token(tap: &Tap, seen: &mut usize) {
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    conn.introduce(&json!({})).await;
    let (frames, _) = conn.frames_to_end().await;
    let (code, _) = frames.last().and_then(Frame::as_close).expect("a Close");
    assert_eq!(code, Some(1008));
    conn.finish().await;
    drop(conn);
    let record = tap.newest(seen).await;
    assert_eq!(class(&record), Class::GatewayAuth);
    assert!(record.auth.is_empty(), "{:?}", record.auth);
}
