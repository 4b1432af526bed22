//! The gateway's configuration changes while clients are connected (catalogue section 5).

use serde_json::json;

use super::book::{Book, refused, rule};
use super::{CLAW, tap};
use crate::live::gateway::{Gateway, Options, TOKEN};
use crate::live::guest::Guest;
use crate::support::device::Device;

const RENEWED: &str = "renewed-token-0123456789abcdef0123456789abcdef";

/// Each session is open when the file is written, and stays until the gateway ends it.
pub async fn cases(gateway: &Gateway, options: &Options, book: &mut Book) {
    let tap = tap(gateway).await;

    let page = Guest::page(CLAW).device(&Device::new());
    let session = page.accepted(&tap).await;
    let other = Options {
        allowed_origins: vec!["https://other.example".to_owned()],
        ..options.clone()
    };
    gateway.rewrite(&other);
    let visit = session.end().await;
    let expect = rule("gateway.origin.changed")
        .act_on("gateway")
        .closed(1008)
        .fact("/close/gateway/reason", "origin not allowed")
        .next(CLAW);
    book.check("origin taken off the list", &tap, &visit, expect)
        .await;

    let session = Guest::cli().accepted(&tap).await;
    let narrower = Options {
        trusted_proxies: vec!["127.0.0.1/32".to_owned(), "198.51.100.7/32".to_owned()],
        ..options.clone()
    };
    gateway.rewrite(&narrower);
    let visit = session.end().await;
    let expect = rule("gateway.lifecycle.policy_changed")
        .act_on("nobody")
        .closed(4001);
    book.check("policy changed", &tap, &visit, expect).await;

    let session = Guest::cli().accepted(&tap).await;
    let renewed = Options {
        more: json!({ "gateway": { "auth": { "token": RENEWED } } }),
        ..narrower.clone()
    };
    gateway.rewrite(&renewed);
    let visit = session.end().await;
    let expect = rule("gateway.lifecycle.auth_changed")
        .act_on("client")
        .closed(4001);
    book.check("token changed", &tap, &visit, expect).await;
    // It comes back with the token that was right before.
    let visit = Guest::cli()
        .auth(json!({ "token": TOKEN }))
        .visit(&tap)
        .await;
    let expect = refused("gateway.auth.token_changed", "AUTH_TOKEN_MISMATCH").act_on("client");
    book.check("the old token after a change", &tap, &visit, expect)
        .await;

    let session = Guest::cli()
        .auth(json!({ "token": RENEWED }))
        .accepted(&tap)
        .await;
    gateway.rewrite(options);
    let visit = session.end().await;
    let expect = rule("gateway.lifecycle.policy_changed").closed(4001);
    book.check("policy and token changed", &tap, &visit, expect)
        .await;
}
