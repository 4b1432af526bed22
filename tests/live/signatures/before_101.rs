//! The gateway's answers in place of a 101 (catalogue section 3).

use std::fmt::Write as _;

use serde_json::Value;
use uuid::Uuid;

use super::book::{Book, Expect, rule};
use super::tap;
use crate::live::connected::{Session, Visit};
use crate::live::gateway::Gateway;
use crate::live::guest::Guest;
use crate::support::head::KEY;
use crate::support::tap::{Face, Setup, Tap};

pub async fn cases(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    untrusted(&tap, book).await;
    malformed(&tap, book).await;
    let visit = Guest::cli().target("/desktop/observe").visit(&tap).await;
    let expect = answered("gateway.refused.credential", 401).act_on("client");
    book.check("401: a path that wants a ticket", &tap, &visit, expect)
        .await;
    large_cookies(&tap, book).await;
    too_many_sockets(&tap, book).await;

    let overwriting = Setup::before_url(&gateway.url())
        .openclaw()
        .set("gateway.forwarded", "overwrite")
        .start()
        .await;
    let visit = Guest::cli().visit(&overwriting).await;
    let expect = answered("gateway.refused.attribution_client", 403)
        .act_on("operator")
        .next("gateway.forwarded: auto");
    let case = "403: the tap names a client on loopback";
    book.check(case, &overwriting, &visit, expect).await;

    let url = format!("https://{}", gateway.addr());
    let tap = Setup::before_url(&url).openclaw().start().await;
    let visit = Guest::cli().visit(&tap).await;
    let expect = rule("gateway.unreachable.not_tls")
        .act_on("operator")
        .fact("/answer/status", 502);
    let case = "gateway.url with https:// before a plain gateway";
    book.check(case, &tap, &visit, expect).await;
}

/// The gateway's own answer, and no tunnel.
pub fn answered(id: &'static str, status: u16) -> Expect {
    rule(id)
        .fact("/gateway/status", status)
        .saw(Value::Null, Value::Null)
}

/// More than Node's server takes. It answers and closes while the head is still on its way, so that the
/// order in which the tap learns of it is chance: the verdict is not.
async fn large_cookies(tap: &Tap, book: &mut Book) {
    let cookie = format!("a={}", "x".repeat(20_000));
    for run in 1..=10 {
        let visit = Guest::cli().header("Cookie", &cookie).visit(tap).await;
        let expect = answered("gateway.limit.head", 431);
        book.check(
            &format!("431: 20 KB of cookies, run {run}"),
            tap,
            &visit,
            expect,
        )
        .await;
    }
}

/// Headers that only a proxy sends, from a peer that is not in `trustedProxies`.
async fn untrusted(tap: &Tap, book: &mut Book) {
    let proxy = "gateway.refused.attribution_proxy";
    let nobody = "gateway.refused.attribution_client";
    for (name, value, id) in [
        ("X-Forwarded-For", "203.0.113.5", proxy),
        ("X-Real-IP", "203.0.113.5", proxy),
        ("Forwarded", "for=203.0.113.5", proxy),
        ("X-Forwarded-Foo", "", nobody),
        ("Tailscale-User-Login", "me@example.com", nobody),
    ] {
        let visit = Guest::cli().header(name, value).visit(tap).await;
        let expect = answered(id, 403).act_on("operator");
        book.check(&format!("403: {name} of a stranger"), tap, &visit, expect)
            .await;
    }
}

async fn malformed(tap: &Tap, book: &mut Book) {
    let upgrade = ("Upgrade", "websocket");
    let connection = ("Connection", "Upgrade");
    let key = ("Sec-WebSocket-Key", KEY);
    let version = ("Sec-WebSocket-Version", "13");

    let visit = ask(
        tap,
        &[upgrade, connection, key, ("Sec-WebSocket-Version", "12")],
    )
    .await;
    let expect = rule("client.fault.upgrade")
        .fact("/answer/status", 426)
        .act_on("client");
    book.check(
        "another WebSocket version, refused by the tap",
        tap,
        &visit,
        expect,
    )
    .await;

    let visit = ask(
        tap,
        &[upgrade, connection, version, ("Sec-WebSocket-Key", "short")],
    )
    .await;
    let expect = rule("client.fault.upgrade")
        .fact("/answer/status", 400)
        .act_on("client");
    book.check("a malformed key, refused by the tap", tap, &visit, expect)
        .await;

    let visit = ask(tap, &[upgrade, key, version]).await;
    let expect = rule("hop.fault.upgrade_stripped").act_on("hop");
    book.check("Upgrade without Connection", tap, &visit, expect)
        .await;

    let visit = ask(tap, &[key, version]).await;
    let expect = answered("hop.fault.upgrade_stripped", 200)
        .act_on("hop")
        .next("proxy_set_header Upgrade $http_upgrade");
    book.check("200: Upgrade and Connection stripped", tap, &visit, expect)
        .await;

    let h2c = [
        ("Upgrade", "h2c"),
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
    ];
    let visit = ask(tap, &h2c).await;
    let expect = answered("ok.http", 200).fact("/kind", "http");
    book.check("h2c is not passed on", tap, &visit, expect)
        .await;
}

/// A GET with these headers and none of the usual ones.
async fn ask(tap: &Tap, headers: &[(&str, &str)]) -> Visit {
    let agent = format!("guest-{}", Uuid::new_v4().simple());
    let mut request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").expect("writing to a string");
    }
    request.push_str("\r\n");
    let mut session = Session::new(tap.connect(Face::Plain).await, agent);
    session.upgrade(request.as_bytes()).await;
    session.end().await
}

/// The gateway of this test allows six.
async fn too_many_sockets(tap: &Tap, book: &mut Book) {
    let mut waiting = Vec::new();
    let refused = loop {
        let session = Guest::cli().open(tap).await;
        if session.status != Some(101) {
            break session;
        }
        waiting.push(session);
        assert!(waiting.len() < 20, "no limit");
    };
    let expect = answered("gateway.limit.preauth_sockets", 503).act_on("operator");
    let case = "503: too many sockets that have not logged in";
    book.check(case, tap, &refused.end().await, expect).await;
    // Without a first frame the gateway ends them after a while, with 1000 and no reason.
    let mut first = true;
    for session in waiting {
        let visit = session.end().await;
        if first {
            let expect = rule("client.fault.no_first_frame").closed(1000);
            book.check("no connect in time", tap, &visit, expect).await;
            first = false;
        }
    }
}
