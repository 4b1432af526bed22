//! Clients from elsewhere, through a proxy that the gateway trusts (catalogue sections 3, 4, 7).

use serde_json::{Value, json};

use super::before_101::answered;
use super::book::{Book, refused, rule};
use super::{CLAW, WRONG, tap};
use crate::live::gateway::Gateway;
use crate::live::guest::Guest;
use crate::support::device::Device;

/// Where they come from.
pub const ELSEWHERE: &str = "203.0.113.5";

pub async fn cases(gateway: &Gateway, book: &mut Book) {
    unnamed(gateway, book).await;
    let tap = tap(gateway).await;
    // Without a device it is let in, and may do nothing.
    let visit = Guest::cli().from(ELSEWHERE).ask(&tap, "status").await;
    let expect = rule("channel.locality_lost")
        .act_on("operator")
        .fact("/dialect/scopes_granted", json!([]))
        .fact("/dialect/device/present", false)
        .fact("/gateway/forwarded/brought", json!(["x-forwarded-for"]))
        .fact("/dialect/rpc/failures/0/details_code", "MISSING_SCOPE");
    book.check("no scopes left by X-Forwarded-For", &tap, &visit, expect)
        .await;

    let page = Guest::page(CLAW).from(ELSEWHERE);
    let visit = page.visit(&tap).await;
    let expect = refused(
        "gateway.auth.control_ui_no_device",
        "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
    );
    book.check("Control UI without device", &tap, &visit, expect)
        .await;

    // Loopback origins are good for local clients only.
    let page = Guest::page("http://127.0.0.1:18800").device(&Device::new());
    let visit = page.from(ELSEWHERE).visit(&tap).await;
    let expect = refused(
        "gateway.origin.not_allowed",
        "CONTROL_UI_ORIGIN_NOT_ALLOWED",
    )
    .next("http://127.0.0.1:18800");
    book.check("origin of loopback, from elsewhere", &tap, &visit, expect)
        .await;
    lockout(gateway, book).await;
}

/// It trusts the proxy, and cannot believe what it says.
async fn unnamed(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    for (case, name, value, next) in [
        (
            "403: X-Forwarded-For of loopback",
            "X-Forwarded-For",
            "127.0.0.1",
            "can never be local",
        ),
        (
            "403: X-Forwarded-For that is none",
            "X-Forwarded-For",
            "somewhere",
            "write its client's address",
        ),
        (
            "403: X-Forwarded-For empty",
            "X-Forwarded-For",
            "",
            "write its client's address",
        ),
        (
            "403: only X-Forwarded-Proto",
            "X-Forwarded-Proto",
            "https",
            "write its client's address",
        ),
    ] {
        let visit = Guest::cli().header(name, value).visit(&tap).await;
        let expect = answered("gateway.refused.attribution_client", 403);
        let expect = expect.act_on("operator").next(next);
        book.check(case, &tap, &visit, expect).await;
    }
    // The gateway does not read it, and wstap would.
    let visit = Guest::cli()
        .header("Forwarded", "for=203.0.113.5")
        .visit(&tap)
        .await;
    let expect =
        answered("gateway.refused.attribution_proxy", 403).next("trusted_proxies of wstap");
    book.check("403: only Forwarded", &tap, &visit, expect)
        .await;
}

/// Ten wrong tokens within a minute; then the right one does not help.
async fn lockout(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let stranger = Guest::cli().from("203.0.113.77");
    let wrong = stranger.clone().auth(json!({ "token": WRONG }));
    let mut tries = 0;
    let visit = loop {
        let visit = wrong.visit(&tap).await;
        tries += 1;
        if visit.answer["error"]["details"]["code"] != "AUTH_TOKEN_MISMATCH" || tries > 20 {
            break visit;
        }
    };
    let locked = || {
        refused("gateway.auth.rate_limited", "AUTH_RATE_LIMITED")
            .act_on("client")
            .fact("/dialect/error/next_step", "wait_then_retry")
    };
    let case = "locked out after ten wrong tokens";
    let record = book.check(case, &tap, &visit, locked()).await;
    if record.pointer("/dialect/error/retry_after_ms") == Some(&Value::Null) {
        book.complain(case, "it does not say how long", &record);
    }
    let visit = stranger.visit(&tap).await;
    let case = "locked out with the right token";
    book.check(case, &tap, &visit, locked().next("wait ")).await;
    // The lock is for one address.
    let visit = Guest::cli().from(ELSEWHERE).visit(&tap).await;
    book.check("another address", &tap, &visit, rule("ok.client_closed"))
        .await;
}
