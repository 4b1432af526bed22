//! Sessions that were accepted: what became of their requests.

use serde_json::json;
use wstap::session::SessionRecord;

use super::table::{Fault, NOTHING, accepted, acked, fault, gateway, open, over, written};
use super::tunnel::patience;
use crate::peers::Via;
use crate::peers::openclaw::{
    DENIED, FAILING, Gateway, Order, Script, TOKEN, UNANSWERED, connect_request,
};
use crate::peers::tunnel::{self, Do};
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::log::{Entry, Seen};
use crate::support::tap::{Face, Setup, Tap};

pub fn faults() -> Vec<Fault> {
    let mut all = unanswered();
    all.extend(failed());
    all
}

async fn asked(method: &str) -> (Gateway, Tap, Conn) {
    let gateway = gateway().await;
    let (tap, mut conn) = accepted(&gateway).await;
    ask(&mut conn, method).await;
    (gateway, tap, conn)
}

async fn ask(conn: &mut Conn, method: &str) {
    let request = json!({ "type": "req", "id": method, "method": method, "params": {} });
    conn.send_masked(Frame::text(&request.to_string()))
        .await
        .unwrap();
}

/// The gateway has read the request.
async fn arrived(gateway: &Gateway, method: &'static str) {
    let is_it = |entries: &[Entry]| {
        let mut frames = entries.iter().filter_map(|entry| match &entry.seen {
            Seen::Frame(frame) => Some(frame),
            _ => None,
        });
        let id = format!("\"id\":\"{method}\"");
        frames
            .any(|frame| String::from_utf8_lossy(&frame.payload).contains(&id))
            .then_some(())
    };
    gateway.peer.log.wait("the request", is_it).await;
}

fn unanswered() -> Vec<Fault> {
    const LOST: &str = "request delivered, response lost";
    vec![
        fault(
            "request lost: FIN of the gateway",
            "gateway.left.open",
            || async {
                let (gateway, tap, conn) = asked(UNANSWERED).await;
                arrived(&gateway, UNANSWERED).await;
                gateway.tell(Order::Fin);
                over(tap, conn).await
            },
        )
        .saw(written(1006), NOTHING)
        .says(LOST),
        fault(
            "request lost: Close 1011",
            "gateway.fault.internal",
            || async {
                let (gateway, tap, mut conn) = asked(UNANSWERED).await;
                arrived(&gateway, UNANSWERED).await;
                gateway.tell(Order::Send(Frame::close(1011, "")));
                conn.frame().await.expect("the Close");
                conn.send_masked(Frame::close(1011, "")).await.unwrap();
                over(tap, conn).await
            },
        )
        .saw(acked(1011), written(1011))
        .says(LOST),
        fault("request lost: a stop", "gateway.lifecycle.stop", || async {
            let (gateway, tap, conn) = asked(UNANSWERED).await;
            arrived(&gateway, UNANSWERED).await;
            gateway.tell(Order::Shutdown {
                reason: "gateway stopping".to_owned(),
            });
            over(tap, conn).await
        })
        .saw(written(1012), written(1006))
        .says(LOST),
        fault(
            "request lost: RST of the gateway",
            "gateway.left.reset",
            || async {
                let (gateway, tap, conn) = asked(UNANSWERED).await;
                arrived(&gateway, UNANSWERED).await;
                gateway.tell(Order::Die);
                over(tap, conn).await
            },
        )
        .saw(written(1006), NOTHING)
        .says("its arrival is not proven"),
        fault(
            "request abandoned: the client leaves",
            "client.left.open",
            || async {
                let (gateway, tap, mut conn) = asked(UNANSWERED).await;
                arrived(&gateway, UNANSWERED).await;
                conn.finish().await;
                over(tap, conn).await
            },
        )
        .saw(NOTHING, written(1006))
        .says("the client did not wait longer"),
        fault(
            "request unanswered for 8 s",
            "gateway.silent.requests",
            || stuck(Some(UNANSWERED), 8100),
        )
        .saw(written(1006), written(1000)),
        fault(
            "connect unanswered for 2 s",
            "gateway.silent.no_hello",
            || stuck(None, 2100),
        )
        .saw(written(1006), written(1000)),
        fault("an answered request", "ok.client_closed", || async {
            let (_gateway, tap, conn) = asked("health").await;
            done(tap, conn).await
        })
        .saw(written(1005), acked(1005)),
    ]
}

fn failed() -> Vec<Fault> {
    vec![
        fault(
            "request refused: a scope is missing",
            "channel.missing_scope",
            || async {
                let (_gateway, tap, conn) = asked(DENIED).await;
                done(tap, conn).await
            },
        )
        .saw(written(1005), acked(1005)),
        fault(
            "request failed: a channel",
            "channel.requests_failed",
            || async {
                let (_gateway, tap, conn) = asked(FAILING).await;
                done(tap, conn).await
            },
        )
        .saw(written(1005), acked(1005)),
        fault(
            "request refused: no scope at all",
            "channel.locality_lost",
            || async {
                let script = Script {
                    hello_auth: json!({ "method": "token", "role": "operator", "scopes": [] }),
                    ..Script::default()
                };
                let gateway = Gateway::start(&Via::Plain, script).await;
                let (tap, mut conn) = accepted(&gateway).await;
                ask(&mut conn, DENIED).await;
                done(tap, conn).await
            },
        )
        .saw(written(1005), acked(1005)),
        fault(
            "one request failed, one did not",
            "ok.client_closed",
            || async {
                let (_gateway, tap, mut conn) = asked(FAILING).await;
                conn.frame().await.expect("the failure");
                ask(&mut conn, "health").await;
                done(tap, conn).await
            },
        )
        .saw(written(1005), acked(1005)),
    ]
}

/// Takes the answer and closes as the command line tool does.
async fn done(tap: Tap, mut conn: Conn) -> SessionRecord {
    conn.frame().await.expect("the answer");
    conn.send_masked(Frame::empty_close()).await.unwrap();
    over(tap, conn).await
}

/// A gateway that is stuck after its challenge, or after `hello-ok` and with a request before it. The
/// client waits for this long and closes.
async fn stuck(request: Option<&str>, wait_ms: u64) -> SessionRecord {
    let (peer, control) = tunnel::start(&Via::Plain).await;
    let say = |message: serde_json::Value| {
        let frame = Frame::text(&message.to_string()).to_bytes();
        control.send(Do::Send(frame)).unwrap();
    };
    let setup = Setup::before(&peer).openclaw();
    let (tap, mut conn) = open(setup, Face::Plain).await;
    let payload = json!({ "nonce": "6f0f5c3e", "ts": 1_795_000_000_000_u64 });
    say(json!({ "type": "event", "event": "connect.challenge", "payload": payload }));
    conn.frame().await.expect("the challenge");
    conn.send_masked(connect_request(&json!({ "token": TOKEN })))
        .await
        .unwrap();
    if let Some(method) = request {
        let payload = json!({ "type": "hello-ok", "protocol": 4 });
        say(json!({ "type": "res", "id": "1", "ok": true, "payload": payload }));
        conn.frame().await.expect("hello-ok");
        ask(&mut conn, method).await;
    }
    patience(wait_ms).await;
    conn.send_masked(Frame::close(1000, "")).await.unwrap();
    conn.finish().await;
    peer.log.ending(0).await;
    control.send(Do::Finish).unwrap();
    over(tap, conn).await
}
