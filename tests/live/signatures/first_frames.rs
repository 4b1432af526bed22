//! First messages that are invalid, or of another protocol (catalogue section 4).

use serde_json::json;

use super::book::{Book, Expect, refused, rule};
use super::tap;
use crate::live::gateway::{Gateway, TOKEN};
use crate::live::guest::Guest;
use crate::support::device::Device;
use crate::support::frame::Frame;

pub async fn cases(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let own = format!("http://{}", gateway.addr());
    let range = |min: u64, max: u64| {
        let guest = Guest::cli().param("/minProtocol", min);
        guest.param("/maxProtocol", max)
    };
    let version = || {
        refused("gateway.protocol.version", "PROTOCOL_MISMATCH")
            .closed(1002)
            .next("one release")
    };
    let params = || refused("gateway.protocol.invalid_params", "").act_on("client");
    // So that the gateway's version is known: it is the clients' own, and neither is older.
    Guest::cli().visit(&tap).await;
    let cases: Vec<(&str, Guest, Expect)> = vec![
        (
            "protocol too old",
            range(1, 3),
            version().fact("/dialect/protocol/max", 3).act_on("client"),
        ),
        (
            "protocol too new",
            range(5, 9),
            version().fact("/dialect/protocol/min", 5).act_on("gateway"),
        ),
        (
            "Control UI of another build",
            Guest::page(&own)
                .host(&gateway.addr().to_string())
                .device(&Device::new())
                .param("/client/buildId", "0123abcd"),
            refused("gateway.protocol.stale_page", "PROTOCOL_MISMATCH")
                .next("reload")
                .act_on("client"),
        ),
        (
            "role unknown",
            Guest::cli().param("/role", "emperor"),
            refused("gateway.protocol.invalid_role", "")
                .next("operator or node")
                .act_on("client"),
        ),
        (
            "client id unknown",
            Guest::cli().param("/client/id", "somebody"),
            params().next("/client/id"),
        ),
        (
            "parameters incomplete",
            Guest::cli().param("/client", json!({})),
            params().next("/client"),
        ),
        (
            "parameters unknown",
            Guest::cli().param("/surprise", 1),
            params(),
        ),
    ];
    for (case, guest, expect) in cases {
        let visit = guest.visit(&tap).await;
        book.check(case, &tap, &visit, expect).await;
    }
    messages(gateway, book).await;
    worker(gateway, book).await;
}

/// No connect request comes first.
async fn messages(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let request = json!({ "type": "req", "id": "1", "method": "health", "params": {} });
    let not_connect = || rule("gateway.protocol.not_connect").closed(1008);
    let not_json = || rule("gateway.protocol.not_json").closed(1000);
    let big = json!({
        "type": "req", "id": "1", "method": "connect",
        "params": { "auth": { "token": TOKEN }, "client": { "id": "x".repeat(70_000) } },
    });
    let cases = [
        (
            "first request another one",
            Frame::text(&request.to_string()),
            not_connect(),
        ),
        (
            "first message no request",
            Frame::text("{\"hello\":1}"),
            not_connect(),
        ),
        ("first message not JSON", Frame::text("hello"), not_json()),
        (
            "first message binary",
            Frame::binary(b"hello".to_vec()),
            not_json(),
        ),
        (
            "first message over 64 KiB",
            Frame::text(&big.to_string()),
            rule("gateway.limit.first_frame").closed(1009),
        ),
    ];
    for (case, frame, expect) in cases {
        let mut session = Guest::cli().open(&tap).await;
        session.say(frame).await;
        let visit = session.end().await;
        book.check(case, &tap, &visit, expect.act_on("client"))
            .await;
    }
}

/// The path of workers speaks another protocol: there is no challenge.
async fn worker(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let conn = tap.connect(crate::support::tap::Face::Plain).await;
    let mut session = Guest::cli()
        .target("/__openclaw__/worker")
        .knock(conn)
        .await;
    session.say(Frame::text("{\"type\":\"hello\"}")).await;
    let visit = session.end().await;
    let expect = rule("gateway.protocol.worker")
        .act_on("client")
        .closed(1008);
    book.check("worker path, no worker", &tap, &visit, expect)
        .await;
}
