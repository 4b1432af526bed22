//! Signatures that the real gateway cannot produce in a test, or that were only read in its
//! source: a stand-in sends the same bytes (catalogue sections 3, 4 and 5).

use serde_json::{Value, json};

use super::before_101::answered;
use super::book::{Book, Expect, refused, rule};
use crate::live::guest::Guest;
use crate::peers::openclaw::{Gateway, Order, Refusal, Script};
use crate::peers::{Via, scripted};
use crate::support::frame::Frame;
use crate::support::tap::Setup;

#[tokio::test]
async fn what_a_stand_in_has_to_say() {
    let mut book = Book::new("stand-in");
    refusals(&mut book).await;
    closes(&mut book).await;
    answers(&mut book).await;
    book.finish();
}

/// A case: its name, the stand-in's answer to connect, and what the record has to say.
type Refused = (&'static str, Refusal, Expect);

async fn refusals(book: &mut Book) {
    for (case, refusal, expect) in credentials().into_iter().chain(unready()) {
        let script = Script {
            refusal: Some(refusal),
            ..Script::default()
        };
        let gateway = Gateway::start(&Via::Plain, script).await;
        let tap = Setup::before(&gateway.peer).openclaw().start().await;
        let visit = Guest::cli().visit(&tap).await;
        book.check(case, &tap, &visit, expect).await;
    }
}

/// About who the client is.
fn credentials() -> Vec<Refused> {
    let invalid = |details: Value, message: &str, code: u16| {
        let error = json!({ "code": "INVALID_REQUEST", "message": message, "details": details });
        Refusal::new(code, message, error)
    };
    let coded = |details: &str, message: &str| invalid(json!({ "code": details }), message, 1008);
    let proxy = |reason: &str| {
        let details = json!({ "code": "AUTH_UNAUTHORIZED", "authReason": reason });
        invalid(details, "unauthorized", 1008)
    };
    vec![
        (
            "setup code bad",
            coded(
                "AUTH_BOOTSTRAP_TOKEN_INVALID",
                "unauthorized: setup code invalid, expired, or already used",
            ),
            refused("gateway.auth.setup_code", "AUTH_BOOTSTRAP_TOKEN_INVALID").next("openclaw qr"),
        ),
        (
            "no token configured",
            coded(
                "AUTH_TOKEN_NOT_CONFIGURED",
                "unauthorized: gateway token not configured on gateway",
            ),
            refused(
                "gateway.auth.token_not_configured",
                "AUTH_TOKEN_NOT_CONFIGURED",
            )
            .act_on("gateway"),
        ),
        (
            "no password configured",
            coded(
                "AUTH_PASSWORD_NOT_CONFIGURED",
                "unauthorized: gateway password not configured on gateway",
            ),
            refused(
                "gateway.auth.password_not_configured",
                "AUTH_PASSWORD_NOT_CONFIGURED",
            )
            .act_on("gateway"),
        ),
        (
            "trusted proxy: source not trusted",
            proxy("trusted_proxy_untrusted_source"),
            refused("gateway.auth.trusted_proxy", "AUTH_UNAUTHORIZED")
                .next("\"trustedProxies\": [\"127.0.0.1/32\"]"),
        ),
        (
            "trusted proxy: an interface of its own",
            proxy("trusted_proxy_local_interface_source"),
            refused("gateway.auth.trusted_proxy", "AUTH_UNAUTHORIZED")
                .act_on("operator")
                .next("let gateway.url name 127.0.0.1"),
        ),
        (
            "trusted proxy: origin not allowed",
            proxy("trusted_proxy_origin_not_allowed"),
            refused("gateway.auth.trusted_proxy", "AUTH_UNAUTHORIZED").next("allowedOrigins"),
        ),
        (
            "nonce missing",
            coded("DEVICE_AUTH_NONCE_REQUIRED", "device nonce required"),
            refused("gateway.auth.device_nonce", "DEVICE_AUTH_NONCE_REQUIRED"),
        ),
        (
            "client older than the gateway",
            coded("CLIENT_VERSION_MISMATCH", "client version mismatch"),
            refused("gateway.protocol.client_version", "CLIENT_VERSION_MISMATCH"),
        ),
        (
            "verified user wanted",
            coded("AUTH_VERIFIED_USER_REQUIRED", "verified user required"),
            refused("gateway.auth.verified_user", "AUTH_VERIFIED_USER_REQUIRED"),
        ),
    ]
}

/// About the gateway itself.
fn unready() -> Vec<Refused> {
    let not_ready = |reason: &str, message: &str, close: &str| {
        let error = json!({
            "code": "UNAVAILABLE", "message": message, "retryable": true, "retryAfterMs": 1000,
            "details": { "method": "connect", "reason": reason },
        });
        Refusal::new(1013, close, error)
    };
    vec![
        (
            "restart in progress",
            not_ready(
                "gateway-restarting",
                "connect unavailable during gateway restart",
                "gateway restart in progress",
            ),
            rule("gateway.lifecycle.unavailable")
                .act_on("nobody")
                .closed(1013),
        ),
        (
            "suspension in progress",
            not_ready(
                "gateway-suspended",
                "connect unavailable during gateway suspension",
                "gateway suspension in progress",
            ),
            rule("gateway.lifecycle.unavailable")
                .act_on("nobody")
                .closed(1013),
        ),
    ]
}

/// A Close without a word before it: during the handshake, and in a session.
async fn closes(book: &mut Book) {
    let early = [
        (
            1008,
            "gateway ingress attribution required",
            "gateway.auth.attribution",
        ),
        (
            1008,
            "too many pending handshake frames",
            "gateway.limit.handshake_frames",
        ),
        (
            1013,
            "gateway message handler loading",
            "gateway.lifecycle.starting",
        ),
        (
            1011,
            "gateway message handler unavailable",
            "gateway.fault.internal",
        ),
        (
            1008,
            "node pairing changed during connect",
            "gateway.pairing.node_changed",
        ),
        (
            4001,
            "gateway auth changed",
            "gateway.lifecycle.auth_changed",
        ),
    ];
    let late = [
        (
            1008,
            "repeated unauthorized calls",
            "gateway.auth.repeated_calls",
        ),
        (1008, "slow consumer", "gateway.limit.slow_consumer_close"),
        (
            1012,
            "node capabilities changed",
            "gateway.lifecycle.reconnect",
        ),
        (
            1012,
            "browser identity route changed",
            "gateway.lifecycle.reconnect",
        ),
        (
            4001,
            "operator role changed",
            "gateway.lifecycle.invalidated",
        ),
        (
            4001,
            "client invalidated: role",
            "gateway.lifecycle.invalidated",
        ),
        (
            4001,
            "agent runtime authority closed",
            "gateway.lifecycle.invalidated",
        ),
    ];
    let early = early.into_iter().map(|case| (false, case));
    for (open, (code, reason, id)) in early.chain(late.into_iter().map(|case| (true, case))) {
        let script = Script {
            token: None,
            ..Script::default()
        };
        let gateway = Gateway::start(&Via::Plain, script).await;
        let tap = Setup::before(&gateway.peer).openclaw().start().await;
        let session = if open {
            Guest::cli().accepted(&tap).await
        } else {
            Guest::cli().open(&tap).await
        };
        gateway.tell(Order::Send(Frame::close(code, reason)));
        let visit = session.end().await;
        let when = if open { "in a session" } else { "before hello" };
        let case = format!("{code} {reason:?} {when}");
        book.check(&case, &tap, &visit, rule(id).closed(code)).await;
    }
}

/// In place of a 101.
async fn answers(book: &mut Book) {
    let text = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let limited = r#"{"error":{"message":"Too many failed authentication attempts. Please try again later.","type":"rate_limited"}}"#;
    let cases = [
        (
            "503: no handlers yet",
            text(
                "503 Service Unavailable",
                "Gateway websocket handlers unavailable",
            ),
            answered("gateway.lifecycle.handlers_unavailable", 503),
        ),
        (
            "503: the upgrade's handler failed",
            text("503 Service Unavailable", ""),
            answered("gateway.refused.upgrade_failed", 503).next("ws upgrade error"),
        ),
        (
            "429: a plugin's path",
            format!(
                "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 300\r\n\
                 Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n{limited}",
                limited.len()
            ),
            answered("gateway.refused.rate_limited", 429),
        ),
        (
            "404: no worker is served",
            text("404 Not Found", ""),
            answered("gateway.refused.other", 404),
        ),
    ];
    for (case, answer, expect) in cases {
        let peer = scripted::start(&Via::Plain, &answer).await;
        let tap = Setup::before(&peer).openclaw().start().await;
        let visit = Guest::cli().visit(&tap).await;
        book.check(case, &tap, &visit, expect).await;
    }
}
