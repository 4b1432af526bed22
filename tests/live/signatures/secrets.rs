//! Tokens and passwords, missing and wrong (catalogue section 4).

use serde_json::{Value, json};

use super::book::{Book, refused, rule};
use super::{WRONG, tap};
use crate::live::gateway::{Gateway, TOKEN};
use crate::live::guest::Guest;
use crate::support::device::Device;
use crate::support::tap::Tap;

/// In token mode, on the gateway's own host. There it answers wrong tokens later and later, so
/// that a right one comes between them.
pub async fn local(gateway: &Gateway, book: &mut Book) {
    // Each wrong token meets a tap that knows nothing of the client.
    let strangers = [
        (
            "token wrong, no device",
            Guest::cli(),
            "update_auth_credentials",
        ),
        (
            "token wrong, device",
            Guest::cli().device(&Device::new()),
            "retry_with_device_token",
        ),
    ];
    for (case, guest, next_step) in strangers {
        let tap = tap(gateway).await;
        let visit = guest.auth(json!({ "token": WRONG })).visit(&tap).await;
        let expect = refused("gateway.auth.token_mismatch", "AUTH_TOKEN_MISMATCH")
            .act_on("client")
            .fact("/dialect/error/next_step", next_step)
            .next("| sha256sum | cut -c1-8");
        book.check(case, &tap, &visit, expect).await;
        let visit = Guest::cli().visit(&tap).await;
        let expect = rule("ok.client_closed").saw(json!([1005, "written"]), json!([1005, "acked"]));
        book.check("token right", &tap, &visit, expect).await;
    }

    missing(gateway, book).await;
    odd_forms(gateway, book).await;
}

/// No token where the gateway looks; and what a client with another one meets.
async fn missing(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let missing = "gateway.auth.token_missing";
    let visit = Guest::cli()
        .device(&Device::new())
        .auth(json!({}))
        .visit(&tap)
        .await;
    let expect = refused(missing, "AUTH_TOKEN_MISSING")
        .act_on("client")
        .fact("/dialect/error/next_step", "update_auth_configuration")
        .fact("/auth", json!([]))
        .next("--token");
    book.check("token missing, device", &tap, &visit, expect)
        .await;

    let visit = Guest::cli().auth(json!({})).visit(&tap).await;
    let nobody = "gateway.auth.device_identity_required";
    let expect = refused(nobody, "DEVICE_IDENTITY_REQUIRED")
        .act_on("client")
        .fact("/dialect/error/code", "NOT_PAIRED")
        .next("--token");
    book.check("token missing, no device", &tap, &visit, expect)
        .await;

    elsewhere(&tap, book).await;

    let stale = refused(
        "gateway.auth.device_token_mismatch",
        "AUTH_DEVICE_TOKEN_MISMATCH",
    );
    let device = Device::new();
    let visit = Guest::cli()
        .device(&device)
        .auth(json!({ "deviceToken": WRONG }))
        .visit(&tap)
        .await;
    let expect = stale.act_on("client").next("pair the device again");
    book.check("device token unknown", &tap, &visit, expect)
        .await;

    // Whose Close comes first is a race; what the gateway answered decides.
    let hasty = Guest::cli().auth(json!({})).hasty();
    let visit = hasty.visit(&tap).await;
    let expect = rule(nobody)
        .act_on("client")
        .fact("/dialect/error/details_code", "DEVICE_IDENTITY_REQUIRED")
        .fact("/close/client/reason", "connect failed");
    book.check(
        "refused, and the client closes itself",
        &tap,
        &visit,
        expect,
    )
    .await;

    // The same client comes in with another token: it has two.
    let visit = Guest::cli().visit(&tap).await;
    book.check("token right", &tap, &visit, rule("ok.client_closed"))
        .await;
    let visit = Guest::cli()
        .auth(json!({ "token": WRONG }))
        .visit(&tap)
        .await;
    let expect = refused("gateway.auth.token_two_sources", "AUTH_TOKEN_MISMATCH").act_on("client");
    book.check("token wrong where another worked", &tap, &visit, expect)
        .await;
}

/// The right token, where the gateway does not look.
async fn elsewhere(tap: &Tap, book: &mut Book) {
    let bearer = format!("Bearer {TOKEN}");
    let query = format!("/?token={TOKEN}");
    let elsewhere = [
        (
            "Authorization",
            Guest::cli().header("Authorization", &bearer),
        ),
        ("the query", Guest::cli().target(&query)),
    ];
    for (place, guest) in elsewhere {
        let guest = guest.auth(json!({}));
        for (with, guest, details) in [
            ("no device", guest.clone(), "DEVICE_IDENTITY_REQUIRED"),
            ("device", guest.device(&Device::new()), "AUTH_TOKEN_MISSING"),
        ] {
            let visit = guest.visit(tap).await;
            let expect = refused("gateway.auth.ignored_place", details)
                .act_on("client")
                .fact("/auth/0/effective", false)
                .next("connect.params.auth.token");
            let case = format!("token in {place}, {with}");
            book.check(&case, tap, &visit, expect).await;
        }
    }
}

/// Values that show by themselves what happened to them.
async fn odd_forms(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let newline = format!("{TOKEN}\n");
    let quoted = format!("\"{TOKEN}\"");
    for (case, token, shape) in [
        ("token with a line break", newline.as_str(), "whitespace"),
        ("token in quotes", &quoted, "quoted"),
        (
            "token not expanded",
            "${OPENCLAW_GATEWAY_TOKEN}",
            "placeholder",
        ),
    ] {
        let visit = Guest::cli()
            .auth(json!({ "token": token }))
            .visit(&tap)
            .await;
        if visit.answer["ok"] == true {
            // The gateway trims what it gets.
            book.check(case, &tap, &visit, rule("ok.client_closed"))
                .await;
            continue;
        }
        let expect = refused("gateway.auth.token_mismatch", "AUTH_TOKEN_MISMATCH")
            .fact("/auth/0/shape/0", shape)
            .next("at the client: ");
        book.check(case, &tap, &visit, expect).await;
    }
    let visit = Guest::cli().auth(json!({ "token": "" })).visit(&tap).await;
    let expect = refused(
        "gateway.auth.device_identity_required",
        "DEVICE_IDENTITY_REQUIRED",
    )
    .fact("/auth/0/shape/0", "empty")
    .fact("/dialect/device/id", Value::Null);
    book.check("token empty, no device", &tap, &visit, expect)
        .await;
}
