//! Device identities, their signatures, and origins (catalogue sections 4 and 6).

use serde_json::{Value, json};
use uuid::Uuid;

use super::book::{Book, Expect, refused, rule};
use super::{CLAW, SLASHED, tap};
use crate::live::gateway::Gateway;
use crate::live::guest::Guest;
use crate::support::device::Device;

const EVIL: &str = "https://evil.example";

/// Who signs wrongly, and pages that the gateway does not want.
pub async fn identities(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let ours = || Guest::cli().device(&Device::new());
    let other = Device::new();
    let cases = [
        (
            "device nonce wrong",
            ours().tamper("/device/nonce", Uuid::new_v4().to_string()),
            refused("gateway.auth.device_nonce", "DEVICE_AUTH_NONCE_MISMATCH"),
        ),
        (
            "device nonce blank",
            ours().tamper("/device/nonce", ""),
            params_invalid().next("/device/nonce"),
        ),
        (
            "device nonce omitted",
            ours().tamper("/device/nonce", Value::Null),
            params_invalid().next("/device"),
        ),
        (
            "device signature bad",
            ours().tamper("/role", "node"),
            refused(
                "gateway.auth.device_signature",
                "DEVICE_AUTH_SIGNATURE_INVALID",
            ),
        ),
        (
            "device id of another key",
            ours().tamper("/device/id", other.id()),
            refused(
                "gateway.auth.device_identity_broken",
                "DEVICE_AUTH_DEVICE_ID_MISMATCH",
            ),
        ),
        (
            "device clock ahead",
            ours().clock(150_000),
            refused("gateway.auth.device_clock", "DEVICE_AUTH_SIGNATURE_EXPIRED").next("date -u"),
        ),
        (
            "device clock behind",
            ours().clock(-150_000),
            refused("gateway.auth.device_clock", "DEVICE_AUTH_SIGNATURE_EXPIRED").next("date -u"),
        ),
        (
            "device clock one minute off",
            ours().clock(60_000),
            rule("ok.client_closed"),
        ),
        (
            "Control UI without device",
            Guest::page(CLAW),
            refused(
                "gateway.auth.control_ui_no_device",
                "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
            )
            .next("in a tab of its own"),
        ),
    ];
    for (case, guest, expect) in cases {
        let visit = guest.visit(&tap).await;
        book.check(case, &tap, &visit, expect.act_on_client(case))
            .await;
    }
    origins(gateway, book).await;
}

impl Expect {
    /// All of these are fixed at the client, except the one that is accepted.
    fn act_on_client(self, case: &str) -> Self {
        let well = case.ends_with("one minute off");
        self.act_on(if well { "nobody" } else { "client" })
    }
}

fn params_invalid() -> Expect {
    refused("gateway.protocol.invalid_params", "")
}

async fn origins(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let line = format!("\"allowedOrigins\": [\"{EVIL}\"]");
    let not_allowed = || {
        refused(
            "gateway.origin.not_allowed",
            "CONTROL_UI_ORIGIN_NOT_ALLOWED",
        )
        .next(&line)
    };
    let invalid = || refused("gateway.origin.invalid", "CONTROL_UI_ORIGIN_NOT_ALLOWED");
    let device = || Device::new();
    let mut without = Guest::page(CLAW).device(&device());
    without = without.without_headers();
    let cases = [
        (
            "origin not in the list",
            Guest::page(EVIL).device(&device()),
            not_allowed(),
        ),
        (
            "origin not in the list, of the command line tool",
            Guest::cli().header("Origin", EVIL),
            not_allowed(),
        ),
        (
            "origin null",
            Guest::page("null").device(&device()),
            invalid(),
        ),
        ("origin missing, of a page", without, invalid()),
        (
            "origin with a path",
            Guest::page(&format!("{CLAW}/page")).device(&device()),
            invalid(),
        ),
        (
            "origin in the list with a slash",
            Guest::page(SLASHED).device(&device()),
            refused(
                "gateway.origin.not_allowed",
                "CONTROL_UI_ORIGIN_NOT_ALLOWED",
            )
            .next(&format!("\"{SLASHED}\"")),
        ),
        (
            "origin in the list",
            Guest::page(CLAW).device(&device()),
            rule("ok.client_closed"),
        ),
        (
            "origin of localhost, from the same host",
            Guest::page("http://localhost:5173").device(&device()),
            rule("ok.client_closed"),
        ),
    ];
    for (case, guest, expect) in cases {
        let visit = guest.visit(&tap).await;
        let record = book.check(case, &tap, &visit, expect).await;
        if record["verdict"]["class"] == "ok" {
            continue;
        }
        let reason = record["dialect"]["error"]["details_reason"].clone();
        let wanted = [
            json!("origin not allowed"),
            json!("origin missing or invalid"),
        ];
        if !wanted.contains(&reason) {
            book.complain(case, "the reason of the refusal is another", &record);
        }
    }
}
