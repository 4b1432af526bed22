//! Devices: what has to be approved, and what ends them (catalogue sections 4 and 5).

use std::process::Output;

use serde_json::{Value, json};

use super::book::{Book, refused, rule};
use super::remote::ELSEWHERE;
use super::tap;
use crate::live::Install;
use crate::live::connected::Session;
use crate::live::gateway::Gateway;
use crate::live::guest::Guest;
use crate::support::client::connect;
use crate::support::device::Device;
use crate::support::tap::Tap;

/// An operator of the gateway's own host, who may do everything, and does not use the tap.
pub async fn operator(gateway: &Gateway) -> Session {
    let guest = Guest::cli().scopes(&["operator.admin", "operator.pairing", "operator.read"]);
    let session = guest.greet_on(connect(gateway.addr()).await).await;
    assert!(session.is_accepted(), "{:?}", session.answer);
    session
}

pub async fn cases(install: &Install, gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let device = Device::new();
    let ours = || Guest::cli().device(&device).from(ELSEWHERE);

    let visit = ours().visit(&tap).await;
    let request = request_id(&visit.answer);
    let expect = refused("gateway.pairing.not_paired", "PAIRING_REQUIRED")
        .act_on("operator")
        .fact("/dialect/error/code", "NOT_PAIRED")
        .fact("/dialect/error/details_reason", "not-paired")
        .fact("/dialect/error/request_id", request.as_str())
        .fact("/dialect/device/id", device.id())
        .next(&format!("`openclaw devices approve {request}`"));
    let record = book
        .check("pairing: unknown device", &tap, &visit, expect)
        .await;

    // The command that the verdict gives is run.
    let output = run_advice(install, gateway, &record).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let visit = ours().visit(&tap).await;
    book.check("pairing: approved", &tap, &visit, rule("ok.client_closed"))
        .await;
    let issued = visit.answer["payload"]["auth"]["deviceToken"].clone();
    let issued = issued.as_str().expect("a device token").to_owned();

    upgrades(&tap, &device, book).await;
    tokens(gateway, &tap, (&device, &issued), book).await;

    let visit = Guest::node()
        .device(&Device::new())
        .from(ELSEWHERE)
        .visit(&tap)
        .await;
    let expect = refused("gateway.pairing.not_paired", "PAIRING_REQUIRED")
        .fact("/dialect/role", "node")
        .next("openclaw devices approve ");
    book.check("pairing: unknown node", &tap, &visit, expect)
        .await;

    let visit = Guest::page(super::CLAW)
        .device(&Device::new())
        .from(ELSEWHERE)
        .visit(&tap)
        .await;
    let expect = refused("gateway.pairing.not_paired", "PAIRING_REQUIRED")
        .fact("/dialect/error/next_step", "wait_then_retry")
        .next("openclaw devices approve ");
    book.check("pairing: unknown browser", &tap, &visit, expect)
        .await;
    kicked(gateway, &tap, book).await;
}

/// A paired device that wants more, or has become another.
async fn upgrades(tap: &Tap, device: &Device, book: &mut Book) {
    let ours = || Guest::cli().device(device).from(ELSEWHERE);
    let cases = [
        (
            "pairing: more scopes",
            ours().scopes(&["operator.read", "operator.admin"]),
            "gateway.pairing.scope_upgrade",
            "scope-upgrade",
        ),
        (
            "pairing: another role",
            ours().param("/role", "node").scopes(&[]),
            "gateway.pairing.role_upgrade",
            "role-upgrade",
        ),
        (
            "pairing: another platform",
            ours().param("/client/platform", "darwin"),
            "gateway.pairing.metadata_upgrade",
            "metadata-upgrade",
        ),
        (
            "pairing: another platform, on the same host",
            Guest::cli()
                .device(device)
                .param("/client/platform", "darwin"),
            "gateway.pairing.metadata_upgrade",
            "metadata-upgrade",
        ),
    ];
    for (case, guest, id, reason) in cases {
        let visit = guest.visit(tap).await;
        let request = request_id(&visit.answer);
        let expect = refused(id, "PAIRING_REQUIRED")
            .act_on("operator")
            .fact("/dialect/error/details_reason", reason)
            .fact("/dialect/error/request_id", request.as_str())
            .next(&format!("`openclaw devices approve {request}`"));
        book.check(case, tap, &visit, expect).await;
    }
}

/// What its token may do, and that the old one is refused after a renewal.
async fn tokens(gateway: &Gateway, tap: &Tap, (device, issued): (&Device, &str), book: &mut Book) {
    let ours = || {
        let guest = Guest::cli().device(device).from(ELSEWHERE);
        guest.auth(json!({ "deviceToken": issued }))
    };
    let visit = ours().visit(tap).await;
    book.check("device token right", tap, &visit, rule("ok.client_closed"))
        .await;

    let visit = ours()
        .scopes(&["operator.read", "operator.admin"])
        .visit(tap)
        .await;
    let expect = refused("gateway.auth.device_token_scope", "AUTH_SCOPE_MISMATCH")
        .act_on("client")
        .fact("/dialect/error/next_step", "review_auth_configuration")
        .next("openclaw devices list");
    book.check("device token for fewer scopes", tap, &visit, expect)
        .await;

    let mut operator = operator(gateway).await;
    rotate(&mut operator, device).await;
    let visit = ours().visit(tap).await;
    let expect = refused(
        "gateway.auth.device_token_mismatch",
        "AUTH_DEVICE_TOKEN_MISMATCH",
    )
    .act_on("client")
    .next("pair the device again");
    book.check("device token rotated", tap, &visit, expect)
        .await;

    let visit = ours().auth(json!({ "token": issued })).visit(tap).await;
    let expect = refused("gateway.auth.device_token_as_token", "AUTH_TOKEN_MISMATCH");
    let expect = expect.act_on("client").next("auth.deviceToken");
    let case = "device token rotated, sent as the shared one";
    book.check(case, tap, &visit, expect).await;
}

/// What happens to a device's open sessions.
async fn kicked(gateway: &Gateway, tap: &Tap, book: &mut Book) {
    let mut operator = operator(gateway).await;
    let removed = || {
        rule("gateway.lifecycle.device_removed")
            .act_on("operator")
            .closed(4001)
    };
    for (case, remove) in [("device removed", true), ("device token renewed", false)] {
        // Local, so that it is paired at once.
        let device = Device::new();
        let session = Guest::cli().device(&device).accepted(tap).await;
        let issued = session.answer["payload"]["auth"]["deviceToken"].clone();
        if remove {
            let params = json!({ "deviceId": device.id() });
            let answer = operator.call("device.pair.remove", params).await;
            assert_eq!(answer["ok"], true, "{answer}");
        } else {
            rotate(&mut operator, &device).await;
        }
        let visit = session.end().await;
        book.check(case, tap, &visit, removed()).await;

        let guest = Guest::cli().device(&device).from(ELSEWHERE);
        let visit = guest
            .auth(json!({ "deviceToken": issued }))
            .visit(tap)
            .await;
        let expect = refused(
            "gateway.auth.device_token_mismatch",
            "AUTH_DEVICE_TOKEN_MISMATCH",
        );
        let case = format!("{case}, and it comes back");
        book.check(&case, tap, &visit, expect).await;
    }
}

async fn rotate(operator: &mut Session, device: &Device) {
    let params = json!({ "deviceId": device.id(), "role": "operator" });
    let answer = operator.call("device.token.rotate", params).await;
    assert_eq!(answer["ok"], true, "the token is not renewed");
}

fn request_id(answer: &Value) -> String {
    let id = answer["error"]["details"]["requestId"].as_str();
    id.unwrap_or_default().to_owned()
}

/// Runs the first command of `next`, on the gateway's host.
async fn run_advice(install: &Install, gateway: &Gateway, record: &Value) -> Output {
    let next = record["verdict"]["next"].as_str().unwrap_or_default();
    let command = next.split('`').nth(1).unwrap_or_default();
    let words: Vec<&str> = command.split(' ').collect();
    let ("openclaw", args) = (words[0], &words[1..]) else {
        panic!("no command in {next:?}");
    };
    gateway.command_line(install, args).await
}
