//! What happens after `hello-ok` (catalogue section 5).

use serde_json::json;

use super::book::{Book, Expect, rule};
use super::tap;
use crate::live::gateway::Gateway;
use crate::live::guest::Guest;
use crate::support::frame::{Frame, TEXT, header};
use crate::support::tap::Tap;

pub async fn cases(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    endings(&tap, book).await;
    broken_frames(&tap, book).await;
    requests(&tap, book).await;
}

/// How clients end it.
async fn endings(tap: &Tap, book: &mut Book) {
    let both = |code: u16| {
        let expect = rule("ok.client_closed");
        expect.saw(json!([code, "written"]), json!([code, "acked"]))
    };
    let cases = [
        (
            "ended with an empty Close",
            Frame::empty_close(),
            both(1005),
        ),
        ("ended with 1000", Frame::close(1000, ""), both(1000)),
        (
            "ended with 1001",
            Frame::close(1001, ""),
            rule("ok.client_going_away"),
        ),
        (
            "client missed the ticks: 4000",
            Frame::close(4000, "tick timeout"),
            rule("client.closed.tick_timeout").act_on("client"),
        ),
        (
            "ended with a code of its own",
            Frame::close(4100, "my own affair"),
            rule("client.closed.code").act_on("client"),
        ),
    ];
    for (case, close, expect) in cases {
        let mut session = Guest::cli().accepted(tap).await;
        let answer = session.call("health", json!({})).await;
        assert_eq!(answer["ok"], true, "{answer}");
        session.say(close).await;
        let visit = session.end().await;
        book.check(case, tap, &visit, expect).await;
    }
}

/// Frames against RFC 6455, and one that is too big.
async fn broken_frames(tap: &Tap, book: &mut Book) {
    let text = |payload: &[u8]| Frame::new(TEXT, payload);
    let mask = Some([1, 2, 3, 4]);
    let violation = |code: u16| {
        let expect = rule("client.fault.violation").act_on("client");
        expect.closed(code)
    };
    let mut reserved = text(b"{}");
    reserved.rsv = 2;
    let declared = 26 * 1024 * 1024;
    let mut too_big = header(true, 0, TEXT, mask, declared);
    too_big.extend(vec![b' '; 70_000]);
    let cases: Vec<(&str, Vec<u8>, Expect)> = vec![
        ("frame not masked", text(b"{}").to_bytes(), violation(1002)),
        (
            "frame with RSV2",
            reserved.masked().to_bytes(),
            violation(1002),
        ),
        (
            "frame with a reserved opcode",
            Frame::new(11, "x").masked().to_bytes(),
            violation(1002),
        ),
        (
            "text that is not UTF-8",
            text(&[0xff, 0xfe]).masked().to_bytes(),
            violation(1007),
        ),
        (
            "Close with 1005",
            Frame::close(1005, "").masked().to_bytes(),
            rule("client.fault.close_code").act_on("client"),
        ),
        (
            "Close with 999",
            Frame::close(999, "").masked().to_bytes(),
            rule("client.fault.close_code").act_on("client"),
        ),
        (
            "frame over 25 MiB",
            too_big,
            rule("gateway.limit.message_too_big")
                .closed(1009)
                // The client is in the middle of a frame, and cannot answer.
                .saw(json!([1009, "written"]), json!([1006, "written"]))
                .fact("/dialect/max_payload", 26_214_400)
                .act_on("client"),
        ),
    ];
    for (case, bytes, expect) in cases {
        let mut session = Guest::cli().accepted(tap).await;
        session.raw(&bytes).await;
        if case.contains("25 MiB") {
            session.mute();
        }
        let visit = session.end().await;
        book.check(case, tap, &visit, expect).await;
    }
}

/// Messages that the gateway tolerates, and requests that it refuses.
async fn requests(tap: &Tap, book: &mut Book) {
    let mut session = Guest::cli().accepted(tap).await;
    session.say(Frame::text("this is not JSON")).await;
    let answer = session.call("health", json!({})).await;
    assert_eq!(answer["ok"], true, "{answer}");
    session.say(Frame::empty_close()).await;
    let visit = session.end().await;
    let case = "not JSON after hello is borne";
    book.check(case, tap, &visit, rule("ok.client_closed"))
        .await;

    let mut session = Guest::cli().accepted(tap).await;
    session.say(Frame::text("{\"type\":\"req\"}")).await;
    let answer = session.call("health", json!({})).await;
    assert_eq!(answer["ok"], true, "{answer}");
    session.say(Frame::empty_close()).await;
    let visit = session.end().await;
    let case = "a request without id and method is borne";
    book.check(case, tap, &visit, rule("ok.client_closed"))
        .await;

    let failed = |code: &str| {
        let expect = rule("channel.invalid_requests").act_on("client");
        expect.fact("/dialect/rpc/failures/0/code", code)
    };
    // Others are told that they lack a scope, whatever they ask for.
    let admin = Guest::cli().scopes(&["operator.admin"]);
    let visit = admin.ask(tap, "no.such.method").await;
    book.check("unknown method", tap, &visit, failed("INVALID_REQUEST"))
        .await;
    let visit = admin.ask(tap, "connect").await;
    book.check("a second connect", tap, &visit, failed("INVALID_REQUEST"))
        .await;

    let visit = Guest::cli().ask(tap, "config.set").await;
    let expect = rule("channel.missing_scope")
        .act_on("client")
        .fact("/dialect/rpc/failures/0/details_code", "MISSING_SCOPE");
    book.check("a scope is missing", tap, &visit, expect).await;

    let capped = Guest::cli().header("X-OpenClaw-Scopes", "");
    let visit = capped.ask(tap, "status").await;
    let expect = rule("channel.scopes_capped")
        .fact("/dialect/scopes_granted", json!([]))
        .next("X-OpenClaw-Scopes");
    book.check("X-OpenClaw-Scopes takes the scopes", tap, &visit, expect)
        .await;
}
