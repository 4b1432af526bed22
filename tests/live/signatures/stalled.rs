//! Clients that do not read, or do not answer pings (catalogue section 5).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::book::{Book, rule};
use crate::live::connected::Session;
use crate::live::gateway::Gateway;
use crate::live::guest::Guest;
use crate::support::deadline::poll;
use crate::support::frame::Frame;
use crate::support::tap::{Setup, Tap};

/// The gateway pings every 25 s, and ends the session at the second or third ping that comes
/// without a pong before.
const PATIENCE: Duration = Duration::from_secs(80);

/// A client that reads everything and answers nothing, until the gateway gives it up. Runs beside
/// other cases: it takes longer than all of them.
pub async fn no_pongs(url: String) -> Value {
    let tap = Setup::before_url(&url).openclaw().start().await;
    let mut session = Guest::cli().accepted(&tap).await;
    let deadline = Instant::now() + PATIENCE;
    // One step may take longer than others have.
    loop {
        let mut bytes = Vec::new();
        let reading = session.conn.wire.read_some(&mut bytes);
        let read = timeout_at(deadline, reading).await;
        if read.expect("the gateway waits too long").is_err() {
            break;
        }
    }
    let agent = session.agent.clone();
    session.conn.finish().await;
    record(&tap, &agent).await
}

pub fn judge_no_pongs(record: &Value, book: &mut Book) {
    let expect = rule("gateway.lifecycle.missed_pongs")
        .act_on("client")
        .fact("/close/gateway", Value::Null)
        .fact("/close/transport/gateway", "fin")
        .saw(json!([1006, "written"]), Value::Null);
    book.judge("pongs missing", record, &expect);
}

/// Asks for the biggest answer over and over, and reads only when the gateway has given it up.
pub async fn slow_consumer(gateway: &Gateway, book: &mut Book) {
    const ANSWER: usize = 2 * 1024 * 1024;
    const ENOUGH: usize = 50 * 1024 * 1024 / ANSWER + 20;
    let tap = Setup::before_url(&gateway.url()).openclaw().start().await;
    let admin = Guest::cli().scopes(&["operator.admin"]).narrow(4096);
    let mut session = admin.accepted(&tap).await;
    for id in 0..ENOUGH {
        ask(&mut session, id).await;
    }
    let given_up = poll(PATIENCE, || {
        let log = gateway.log();
        let says_so = |line: &String| line.contains("cause=outbound-buffer-exceeded");
        log.iter().any(says_so).then_some(())
    });
    assert!(given_up.await.is_some(), "the gateway buffers for ever");
    drop(session.conn.rest().await);
    session.conn.finish().await;
    let record = record(&tap, &session.agent).await;
    let expect = rule("gateway.limit.slow_consumer")
        .act_on("client")
        .fact("/close/gateway", Value::Null)
        .fact("/dialect/max_buffered", 52_428_800)
        .saw(json!([1006, "written"]), Value::Null);
    book.judge("slow consumer", &record, &expect);
}

async fn ask(session: &mut Session, id: usize) {
    let request = json!({
        "type": "req", "id": id.to_string(), "method": "config.schema", "params": {},
    });
    session.say(Frame::text(&request.to_string())).await;
}

async fn record(tap: &Tap, agent: &str) -> Value {
    let record = tap.record_of(agent, "its record").await;
    serde_json::to_value(record).expect("a record")
}
