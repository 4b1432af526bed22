//! Sessions that look odd and are fine (catalogue sections 2, 6 and 7): each of these is accepted,
//! and keeps what it asked for.

use serde_json::json;

use super::book::{Book, rule};
use super::{CLAW, tap};
use crate::live::gateway::Gateway;
use crate::live::guest::Guest;
use crate::support::device::Device;

pub async fn cases(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let extra = [
        ("Via", "1.1 somewhere"),
        ("X-Request-Id", "42"),
        ("X-Correlation-Id", "42"),
        ("CF-Connecting-IP", "203.0.113.5"),
        ("True-Client-IP", "203.0.113.5"),
        ("X-Client-IP", "203.0.113.5"),
    ];
    let headers = extra.iter().fold(Guest::cli(), |guest, (name, value)| {
        guest.header(name, value)
    });
    let cases = [
        ("any path", Guest::cli().target("/foo/bar?x=1")),
        (
            "a path that is also a page",
            Guest::cli().target("/healthz"),
        ),
        (
            "a subprotocol is echoed",
            Guest::cli().header("Sec-WebSocket-Protocol", "openclaw"),
        ),
        (
            "compression is offered and not taken",
            Guest::cli().header(
                "Sec-WebSocket-Extensions",
                "permessage-deflate; client_max_window_bits",
            ),
        ),
        ("headers that say nothing of locality", headers),
        (
            "a Host that is not local",
            Guest::cli()
                .host("gw.example.com:8443")
                .device(&Device::new()),
        ),
        ("an empty Origin is none", Guest::cli().header("Origin", "")),
        (
            "an Origin with a trailing slash",
            Guest::page(&format!("{CLAW}/")).device(&Device::new()),
        ),
    ];
    for (case, guest) in cases {
        let visit = guest.visit(&tap).await;
        let expect = rule("ok.client_closed")
            .fact("/dialect/result", "accepted")
            .fact("/dialect/scopes_granted", json!(["operator.read"]));
        book.check(case, &tap, &visit, expect).await;
    }
    // A probe is let in with the protocol before, and may do nothing.
    let probe = Guest::cli()
        .param("/client/mode", "probe")
        .param("/minProtocol", 3)
        .param("/maxProtocol", 3);
    let visit = probe.visit(&tap).await;
    let expect = rule("ok.client_closed").fact("/dialect/scopes_granted", json!([]));
    book.check("a probe of an older protocol", &tap, &visit, expect)
        .await;
}
