//! What the gateway refuses inside the WebSocket, in its own words (2026.9.6): `res ok:false`, then
//! the Close.

use serde_json::{Value, json};
use wstap::session::SessionRecord;

use super::table::{Fault, acked, fault, open, over, written};
use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Refusal, Script, TOKEN, connect_request};
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup};

pub fn faults() -> Vec<Fault> {
    let mut all = secrets();
    all.extend(devices());
    all.extend(identities());
    all
}

/// A refusal with Close 1008 and `details` as the gateway makes them, of a client with this auth.
pub(super) fn refused(
    rule: &'static str,
    code: &'static str,
    message: &'static str,
    details: &Value,
    auth: Value,
) -> Fault {
    let error = json!({ "code": code, "message": message, "details": details });
    by(name(rule, details), rule, 1008, message, error, auth)
}

/// The name in the report: `details.code`, with its reason where there is one.
fn name(rule: &'static str, details: &Value) -> &'static str {
    let code = details["code"].as_str().unwrap_or(rule);
    let reason = details["reason"]
        .as_str()
        .or(details["authReason"].as_str());
    let name = match reason {
        Some(reason) => format!("refused: {code} {reason}"),
        None => format!("refused: {code}"),
    };
    // One test's table, of a few dozen names.
    Box::leak(name.into_boxed_str())
}

pub(super) fn by(
    name: &'static str,
    rule: &'static str,
    close: u16,
    reason: &'static str,
    error: Value,
    auth: Value,
) -> Fault {
    fault(name, rule, move || async move {
        // The gateway cuts reasons after 120 bytes.
        let reason = crate::support::records::cut(reason, 120);
        let script = Script {
            refusal: Some(Refusal::new(close, reason, error)),
            ..Script::default()
        };
        let gateway = Gateway::start(&Via::Plain, script).await;
        let (tap, mut conn) = open(Setup::before(&gateway.peer).openclaw(), Face::Plain).await;
        conn.introduce(&auth).await;
        conn.frame().await.expect("the Close");
        // The real client echoes the code.
        conn.send_masked(Frame::close(close, reason)).await.unwrap();
        over(tap, conn).await
    })
    .saw(acked(close), written(close))
}

/// The Control UI without a device identity, on a page with this Origin, over a plain client leg.
fn page_without_device(name: &'static str, rule: &'static str, origin: &'static str) -> Fault {
    const WORDS: &str =
        "control ui requires device identity (use HTTPS or localhost secure context)";
    fault(name, rule, move || async move {
        let details = coded("CONTROL_UI_DEVICE_IDENTITY_REQUIRED");
        let error = json!({ "code": "INVALID_REQUEST", "message": WORDS, "details": details });
        let script = Script {
            refusal: Some(Refusal::new(1008, WORDS, error)),
            ..Script::default()
        };
        let gateway = Gateway::start(&Via::Plain, script).await;
        let tap = Setup::before(&gateway.peer).openclaw().start().await;
        let mut conn = tap.connect(Face::Plain).await;
        let answer = conn.upgrade("/", &[("Origin", origin)]).await;
        assert_eq!(answer.expect("an answer").status(), 101);
        // A version that needs a secure context for its identity.
        let request = connect_request(&token())
            .as_text()
            .replace("2026.9.6", "2026.7.35");
        conn.introduce_with(Frame::text(&request)).await;
        conn.frame().await.expect("the Close");
        conn.send_masked(Frame::close(1008, WORDS)).await.unwrap();
        over(tap, conn).await
    })
    .saw(acked(1008), written(1008))
}

pub(super) fn token() -> Value {
    json!({ "token": TOKEN })
}

pub(super) fn coded(code: &str) -> Value {
    json!({ "code": code })
}

fn because(code: &str, reason: &str) -> Value {
    json!({ "code": code, "authReason": reason })
}

/// A token that was copied with extra characters, or that a program had redacted.
fn copied(name: &'static str, token: &str) -> Fault {
    const MESSAGE: &str = "unauthorized: gateway token mismatch (provide gateway auth token)";
    let error = json!({
        "code": "INVALID_REQUEST", "message": MESSAGE,
        "details": because("AUTH_TOKEN_MISMATCH", "token_mismatch"),
    });
    let rule = "gateway.auth.token_mismatch";
    by(name, rule, 1008, MESSAGE, error, json!({ "token": token }))
}

fn secrets() -> Vec<Fault> {
    const BAD: &str = "INVALID_REQUEST";
    let password = || json!({ "password": "correct horse" });
    vec![
        refused(
            "gateway.auth.token_missing",
            BAD,
            "unauthorized: gateway token missing (provide gateway auth token)",
            &because("AUTH_TOKEN_MISSING", "token_missing"),
            json!({}),
        ),
        refused(
            "gateway.auth.token_mismatch",
            BAD,
            "unauthorized: gateway token mismatch (set gateway.remote.token to match gateway.auth.token)",
            &because("AUTH_TOKEN_MISMATCH", "token_mismatch"),
            token(),
        ),
        copied(
            "refused: the token with Bearer in front",
            &format!("Bearer {TOKEN}"),
        ),
        copied(
            "refused: a line of .env as the token",
            &format!("export OPENCLAW_GATEWAY_TOKEN=\"{TOKEN}\""),
        ),
        copied(
            "refused: the dashboard's URL as the token",
            &format!("http://127.0.0.1:18789/#token={TOKEN}"),
        ),
        copied("refused: a redacted token", "__OPENCLAW_REDACTED__"),
        refused(
            "gateway.auth.token_not_configured",
            BAD,
            "unauthorized: gateway token not configured on gateway (set gateway.auth.token)",
            &coded("AUTH_TOKEN_NOT_CONFIGURED"),
            token(),
        ),
        refused(
            "gateway.auth.password_missing",
            BAD,
            "unauthorized: gateway password missing (enter the password in Control UI settings)",
            &coded("AUTH_PASSWORD_MISSING"),
            json!({}),
        ),
        refused(
            "gateway.auth.password_mismatch",
            BAD,
            "unauthorized: gateway password mismatch (enter the password in Control UI settings)",
            &coded("AUTH_PASSWORD_MISMATCH"),
            password(),
        ),
        refused(
            "gateway.auth.password_not_configured",
            BAD,
            "unauthorized: gateway password not configured on gateway (set gateway.auth.password)",
            &coded("AUTH_PASSWORD_NOT_CONFIGURED"),
            password(),
        ),
        refused(
            "gateway.auth.setup_code",
            BAD,
            "unauthorized: setup code invalid, expired, or already used",
            &coded("AUTH_BOOTSTRAP_TOKEN_INVALID"),
            json!({ "bootstrapToken": TOKEN }),
        ),
        refused(
            "gateway.auth.rate_limited",
            BAD,
            "unauthorized: too many failed authentication attempts (retry later)",
            &coded("AUTH_RATE_LIMITED"),
            token(),
        ),
        fault(
            "refused: the token only in a header",
            "gateway.auth.ignored_place",
            ignored_place,
        )
        .saw(acked(1008), written(1008)),
        fault(
            "refused: two tokens of one client",
            "gateway.auth.token_two_sources",
            two_sources,
        )
        .saw(acked(1008), written(1008)),
    ]
}

fn devices() -> Vec<Fault> {
    const BAD: &str = "INVALID_REQUEST";
    vec![
        refused(
            "gateway.auth.device_token_mismatch",
            BAD,
            "unauthorized: device token mismatch (rotate/reissue device token)",
            &coded("AUTH_DEVICE_TOKEN_MISMATCH"),
            json!({ "deviceToken": TOKEN }),
        ),
        refused(
            "gateway.auth.device_token_scope",
            BAD,
            "unauthorized: device token scope mismatch (re-pair or approve scope upgrade)",
            &coded("AUTH_SCOPE_MISMATCH"),
            json!({ "deviceToken": TOKEN }),
        ),
        refused(
            "gateway.auth.device_identity_required",
            "NOT_PAIRED",
            "device identity required",
            &coded("DEVICE_IDENTITY_REQUIRED"),
            json!({}),
        ),
        page_without_device(
            "refused: Control UI of http on a LAN",
            "gateway.auth.control_ui_insecure",
            "http://192.168.1.20:8080",
        )
        .says("plain http on a host that is not loopback"),
        page_without_device(
            "refused: Control UI of https, TLS ended before us",
            "gateway.auth.control_ui_no_device",
            "https://claw.example.com",
        )
        .says("it came over https"),
        page_without_device(
            "refused: Control UI of localhost",
            "gateway.auth.control_ui_no_device",
            "http://localhost:18789",
        )
        .says("a secure context without TLS"),
        refused(
            "gateway.auth.device_nonce",
            BAD,
            "device nonce mismatch",
            &json!({ "code": "DEVICE_AUTH_NONCE_MISMATCH", "reason": "device-nonce-mismatch" }),
            token(),
        ),
        refused(
            "gateway.auth.device_nonce",
            BAD,
            "device nonce required",
            &coded("DEVICE_AUTH_NONCE_REQUIRED"),
            token(),
        ),
        refused(
            "gateway.auth.device_signature",
            BAD,
            "device signature invalid",
            &coded("DEVICE_AUTH_SIGNATURE_INVALID"),
            token(),
        ),
        refused(
            "gateway.auth.device_clock",
            BAD,
            "device signature expired",
            &coded("DEVICE_AUTH_SIGNATURE_EXPIRED"),
            token(),
        ),
        refused(
            "gateway.auth.device_identity_broken",
            BAD,
            "device identity mismatch",
            &coded("DEVICE_AUTH_DEVICE_ID_MISMATCH"),
            token(),
        ),
        refused(
            "gateway.auth.device_identity_broken",
            BAD,
            "device public key invalid",
            &coded("DEVICE_AUTH_PUBLIC_KEY_INVALID"),
            token(),
        ),
    ]
}

fn identities() -> Vec<Fault> {
    const BAD: &str = "INVALID_REQUEST";
    let mut all = vec![
        refused(
            "gateway.auth.identity_header",
            BAD,
            "unauthorized",
            &because(
                "AUTH_IDENTITY_HEADER_REQUIRED",
                "trusted_proxy_missing_header_x-user",
            ),
            json!({}),
        ),
        refused(
            "gateway.auth.verified_user",
            BAD,
            "verified user required",
            &coded("AUTH_VERIFIED_USER_REQUIRED"),
            token(),
        ),
        refused(
            "gateway.auth.profile_unavailable",
            "UNAVAILABLE",
            "authenticated profile unavailable",
            &coded("AUTHENTICATED_PROFILE_UNAVAILABLE"),
            token(),
        ),
        refused(
            "gateway.auth.tailscale",
            BAD,
            "unauthorized: tailscale identity missing (use Tailscale Serve auth or gateway token/password)",
            &coded("AUTH_TAILSCALE_IDENTITY_MISSING"),
            json!({}),
        ),
        by(
            "refused: operator access denied",
            "gateway.auth.access_denied",
            1008,
            "operator access denied",
            json!({ "code": "FORBIDDEN", "message": "operator access denied" }),
            token(),
        ),
        by(
            "refused: gateway ingress attribution required",
            "gateway.auth.attribution",
            1008,
            "gateway ingress attribution required",
            json!({ "code": BAD, "message": "gateway ingress attribution required" }),
            token(),
        ),
        refused(
            "gateway.auth.refused",
            BAD,
            "unauthorized",
            &coded("AUTH_UNAUTHORIZED"),
            token(),
        ),
    ];
    for reason in [
        "trusted_proxy_user_missing",
        "trusted_proxy_user_not_allowed",
        "trusted_proxy_loopback_source",
    ] {
        let details = because("AUTH_UNAUTHORIZED", reason);
        let rule = "gateway.auth.trusted_proxy";
        all.push(refused(rule, BAD, "unauthorized", &details, json!({})));
    }
    for (text, rule) in [
        ("origin not allowed", "gateway.origin.not_allowed"),
        ("origin missing or invalid", "gateway.origin.invalid"),
    ] {
        let details = json!({ "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": text });
        let message = "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)";
        all.push(refused(rule, BAD, message, &details, token()));
    }
    all
}

async fn ignored_place() -> SessionRecord {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let tap = Setup::before(&gateway.peer).openclaw().start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let bearer = format!("Bearer {TOKEN}");
    let answer = conn.upgrade("/", &[("Authorization", &bearer)]).await;
    assert_eq!(answer.expect("an answer").status(), 101);
    conn.introduce(&json!({})).await;
    conn.frame().await.expect("the Close");
    conn.send_masked(Frame::close(1008, "")).await.unwrap();
    over(tap, conn).await
}

/// One client, let in with one token and refused with another.
async fn two_sources() -> SessionRecord {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let tap = Setup::before(&gateway.peer).openclaw().start().await;
    for token in [TOKEN, "wrong-token-0123456789abcdef0123456789abcdef"] {
        let mut conn = tap.connect(Face::Plain).await;
        conn.open("/").await;
        conn.introduce(&json!({ "token": token })).await;
        let mut close = Frame::empty_close();
        if token != TOKEN {
            conn.frame().await.expect("the Close");
            close = Frame::close(1008, "");
        }
        conn.send_masked(close).await.unwrap();
        conn.rest().await;
        conn.finish().await;
        let count = if token == TOKEN { 1 } else { 2 };
        drop(conn);
        tap.websockets(count).await;
    }
    tap.websockets(2).await.remove(1)
}
