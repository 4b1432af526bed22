//! A gateway that lets a proxy name the user (catalogue sections 4 and 7).

use serde_json::{Value, json};

use super::before_101::answered;
use super::book::{Book, Expect, refused, rule};
use super::remote::ELSEWHERE;
use super::{CLAW, tap};
use crate::live::gateway::{Gateway, Options};
use crate::live::guest::Guest;
use crate::support::device::Device;

const USER: &str = "X-Forwarded-User";
const REQUIRED: &str = "X-Forwarded-Proto";

/// The proxy on the gateway's own host names the users.
pub fn options(allow_loopback: bool) -> Options {
    let auth = json!({
        "mode": "trusted-proxy", "token": null,
        "trustedProxy": {
            "userHeader": USER.to_ascii_lowercase(),
            "requiredHeaders": [REQUIRED.to_ascii_lowercase()],
            "allowUsers": ["nick@example.com"],
            "allowLoopback": allow_loopback,
        },
    });
    Options {
        allowed_origins: vec![CLAW.to_owned()],
        trusted_proxies: vec!["127.0.0.1/32".to_owned()],
        more: json!({ "gateway": { "auth": auth } }),
        ..Options::default()
    }
}

pub async fn cases(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let bare = || {
        let guest = Guest::cli().device(&Device::new()).from(ELSEWHERE);
        guest.auth(json!({}))
    };
    let refusal = |reason: &str| {
        refused("gateway.auth.trusted_proxy", "AUTH_UNAUTHORIZED")
            .act_on("operator")
            .fact(
                "/dialect/error/details_reason",
                format!("trusted_proxy_{reason}"),
            )
            .fact("/close/gateway/reason", "unauthorized")
    };
    let cases: Vec<(&str, Guest, Expect)> = vec![
        (
            "required header absent",
            bare().header(USER, "nick@example.com"),
            refused(
                "gateway.auth.identity_header",
                "AUTH_IDENTITY_HEADER_REQUIRED",
            )
            .act_on("hop")
            .next("x-forwarded-proto"),
        ),
        (
            "user absent",
            bare().header(REQUIRED, "https"),
            refusal("user_missing").next("userHeader"),
        ),
        (
            "user not allowed",
            bare()
                .header(REQUIRED, "https")
                .header(USER, "eve@example.com"),
            refusal("user_not_allowed").next("allowUsers"),
        ),
        (
            "Control UI without user and device",
            Guest::page(CLAW)
                .from(ELSEWHERE)
                .auth(json!({}))
                .header(REQUIRED, "https"),
            refused(
                "gateway.auth.control_ui_no_device",
                "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
            ),
        ),
        (
            "no X-Forwarded-For",
            Guest::cli()
                .auth(json!({}))
                .header(REQUIRED, "https")
                .header(USER, "nick@example.com"),
            answered("gateway.refused.attribution_client", 403).act_on("operator"),
        ),
        (
            "user allowed, device unknown",
            bare()
                .header(REQUIRED, "https")
                .header(USER, "nick@example.com"),
            refused("gateway.pairing.not_paired", "PAIRING_REQUIRED"),
        ),
        (
            "user allowed",
            Guest::cli()
                .from(ELSEWHERE)
                .auth(json!({}))
                .header(REQUIRED, "https")
                .header(USER, "nick@example.com"),
            rule("ok.client_closed").fact("/auth", json!([])),
        ),
    ];
    for (case, guest, expect) in cases {
        let visit = guest.visit(&tap).await;
        book.check(case, &tap, &visit, expect).await;
    }

    // Until the new configuration holds, this session lives.
    let session = Guest::cli()
        .from(ELSEWHERE)
        .auth(json!({}))
        .header(REQUIRED, "https")
        .header(USER, "nick@example.com")
        .accepted(&tap)
        .await;
    gateway.rewrite(&options(false));
    let visit = session.end().await;
    let expect = rule("gateway.lifecycle.policy_changed").closed(4001);
    book.check("policy changed", &tap, &visit, expect).await;
    let visit = bare()
        .header(REQUIRED, "https")
        .header(USER, "nick@example.com")
        .visit(&tap)
        .await;
    let expect = refusal("loopback_source")
        .fact("/dialect/scopes_granted", Value::Null)
        .next("allowLoopback");
    book.check("loopback not allowed", &tap, &visit, expect)
        .await;
}
