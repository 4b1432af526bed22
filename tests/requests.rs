//! Requests and answers in the records of the running tap, compressed or not.

use serde_json::{Value, json};
use wstap::session::SessionRecord;
use wstap::session::record::Class;
use wstap::session::record::dialect::{ConnectResult, DialectFacts, RpcFacts};
use wstap::ws::inflate::InflateStop;

use crate::peers::Via;
use crate::peers::openclaw::{
    CONN_ID, DENIED, FAILING, Gateway, Order, Script, TOKEN, UNANSWERED, connect_request,
};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll};
use crate::support::deflate::Deflate;
use crate::support::frame::{CLOSE, CONTINUATION, Frame};
use crate::support::log::Seen;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};

struct Session {
    conn: Conn,
    codec: Option<Deflate>,
}

impl Session {
    async fn open(tap: &Tap, deflate: Option<bool>) -> Self {
        let mut conn = tap.connect(Face::Plain).await;
        let offer = [("Sec-WebSocket-Extensions", "permessage-deflate")];
        let head = conn.upgrade("/", &offer).await.expect("a 101");
        assert_eq!(head.status(), 101);
        let mut session = Self {
            conn,
            codec: deflate.map(Deflate::new),
        };
        session.hear().await;
        let connect = connect_request(&json!({ "token": TOKEN }));
        session.send(connect).await;
        session.hear().await;
        session
    }

    async fn send(&mut self, frame: Frame) {
        let frame = match &mut self.codec {
            Some(codec) => codec.deflated(frame),
            None => frame,
        };
        self.conn
            .send_masked(frame)
            .await
            .expect("the tap takes it");
    }

    async fn hear(&mut self) -> Value {
        let frame = self.conn.frame().await.expect("a frame");
        let frame = match &mut self.codec {
            Some(codec) => codec.inflated(&frame),
            None => frame,
        };
        serde_json::from_slice(&frame.payload).expect("JSON")
    }

    async fn ask(&mut self, id: &str, method: &str) {
        let request = json!({ "params": {}, "method": method, "id": id, "type": "req" });
        self.send(Frame::text(&request.to_string())).await;
    }

    async fn call(&mut self, id: &str, method: &str) {
        self.ask(id, method).await;
        assert_eq!(self.hear().await["id"], id);
    }

    async fn close(mut self) {
        self.conn
            .send_masked(Frame::empty_close())
            .await
            .expect("the tap takes it");
        while self.conn.frame().await.is_ok_and(|it| it.opcode != CLOSE) {}
        self.conn.finish().await;
    }
}

async fn start(deflate: Option<bool>) -> (Gateway, Tap) {
    let script = Script {
        deflate,
        ..Script::default()
    };
    let gateway = Gateway::start(&Via::Plain, script).await;
    let tap = Setup::before(&gateway.peer).openclaw().start().await;
    (gateway, tap)
}

fn rpc(record: &SessionRecord) -> &RpcFacts {
    record.application().requests.expect("rpc")
}

/// Until the gateway has got this many frames.
async fn got(gateway: &Gateway, frames: usize) {
    let log = &gateway.peer.log;
    let count = || log.count(|seen| matches!(seen, Seen::Frame(_)));
    let all = poll(STEP, || (count() >= frames).then_some(())).await;
    all.expect("the gateway gets its frames");
}

#[tokio::test]
async fn requests_are_matched_whether_compressed_or_not() {
    for deflate in [None, Some(false), Some(true)] {
        let (_gateway, tap) = start(deflate).await;
        let mut session = Session::open(&tap, deflate).await;
        session.call("1", "health").await;
        session.call("2", DENIED).await;
        session.call("3", "health").await;
        session.ask("4", UNANSWERED).await;
        session.close().await;
        let record = tap.websocket().await;
        assert_eq!(class(&record), Class::Ok, "{deflate:?}");
        let dialect = record
            .dialect
            .as_ref()
            .and_then(DialectFacts::openclaw)
            .unwrap();
        assert_eq!(dialect.result, ConnectResult::Accepted);
        assert_eq!(dialect.conn_id.as_ref().unwrap().as_str(), CONN_ID);
        assert_eq!(dialect.max_buffered, Some(52_428_800));
        let rpc = rpc(&record);
        assert_eq!((rpc.requests, rpc.responses, rpc.errors), (4, 3, 1));
        assert_eq!(rpc.unanswered_count, Some(1));
        assert_eq!(rpc.unanswered[0].method.as_str(), UNANSWERED);
        assert!(rpc.unanswered[0].written);
        assert_eq!(rpc.methods[0].requests, 2);
        assert!(rpc.methods[0].latency_ms.is_some());
        assert_eq!(record.auth.len(), 1, "{:?}", record.auth);
        let inflate = dialect.inflate.as_ref();
        assert_eq!(inflate.is_some(), deflate.is_some());
        if let Some(inflate) = inflate {
            assert_eq!(inflate.to_gateway.as_ref().unwrap().messages, 5);
            assert_eq!(inflate.to_client.as_ref().unwrap().stopped, None);
            let frames = record.frames.as_ref().unwrap();
            assert_eq!(frames.to_gateway.compressed_messages, 5);
            assert!(frames.to_client.violations.is_empty());
        }
    }
}

#[tokio::test]
async fn a_lost_response_is_told_of() {
    let (gateway, tap) = start(None).await;
    let mut session = Session::open(&tap, None).await;
    session.ask("1", UNANSWERED).await;
    got(&gateway, 2).await;
    gateway.tell(Order::Fin);
    session.conn.rest().await;
    session.conn.finish().await;
    drop(session);
    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::GatewayLeft);
    assert!(rpc(&record).unanswered[0].written);
    let verdict = record.verdict.as_ref().unwrap();
    let told = |text: &str| verdict.evidence.iter().any(|it| it.fact.contains(text));
    assert!(told("request delivered, response lost"), "{verdict:?}");
}

#[tokio::test]
async fn a_session_that_only_failed_is_a_matter_of_the_channel() {
    for (method, rule) in [
        (DENIED, "channel.missing_scope"),
        (FAILING, "channel.requests_failed"),
    ] {
        let (_gateway, tap) = start(None).await;
        let mut session = Session::open(&tap, None).await;
        session.call("1", method).await;
        session.close().await;
        let record = tap.websocket().await;
        assert_eq!(record.verdict.as_ref().unwrap().rule, rule);
    }
}

#[tokio::test]
async fn what_is_no_request_is_counted_and_passes() {
    let (gateway, tap) = start(None).await;
    let mut session = Session::open(&tap, None).await;
    session.send(Frame::text("no json at all")).await;
    session.hear().await;
    // In two fragments, the cut in the middle of the method.
    let text = r#"{"type":"req","id":"7","method":"health","params":{}}"#;
    let (front, back) = text.split_at(35);
    let mut first = Frame::text(front);
    first.fin = false;
    session.send(first).await;
    session.send(Frame::new(CONTINUATION, back)).await;
    // The stand-in takes the front for a request without an id.
    assert_eq!(session.hear().await["id"], Value::Null);
    let answer = json!({ "payload": null, "ok": true, "id": "7", "type": "res" });
    gateway.tell(Order::Send(Frame::text(&answer.to_string())));
    assert_eq!(session.hear().await["id"], "7");
    session.close().await;
    let record = tap.websocket().await;
    let rpc = rpc(&record);
    assert_eq!((rpc.requests, rpc.responses), (1, 1));
    assert_eq!(rpc.unseen_to_gateway, 1);
    assert_eq!((rpc.unseen_to_client, rpc.unanswered_count), (2, None));
}

#[tokio::test]
async fn broken_compression_stops_reading_and_nothing_else() {
    let (gateway, tap) = start(Some(false)).await;
    let mut session = Session::open(&tap, Some(false)).await;
    let mut broken = Frame::new(1, [0xff; 20]);
    broken.rsv = 4;
    gateway.tell(Order::Send(broken.clone()));
    assert_eq!(session.conn.frame().await.unwrap().payload, broken.payload);
    session.call("1", "health").await;
    session.close().await;
    let record = tap.websocket().await;
    let dialect = record
        .dialect
        .as_ref()
        .and_then(DialectFacts::openclaw)
        .unwrap();
    let inflate = dialect.inflate.as_ref().unwrap();
    let to_client = inflate.to_client.as_ref().unwrap();
    assert_eq!(to_client.stopped, Some(InflateStop::Broken));
    assert!(to_client.stopped_at.is_some());
    let rpc = rpc(&record);
    assert_eq!((rpc.requests, rpc.responses), (1, 0));
    assert_eq!((rpc.unseen_to_client, rpc.unanswered_count), (2, None));
    assert_eq!(class(&record), Class::Ok);
}
