//! Gateways of other versions, and their own command line tools: each of them gets the same
//! verdicts, in its own wording, as today's.
//!
//! `scripts/fetch-gateway.sh VERSION` installs them. One is in the common tests; `make versions`
//! fetches the others and runs these tests with all of them.

use std::path::Path;

use serde_json::{Value, json};

use super::cli;
use super::gateway::{Gateway, Options, TOKEN};
use super::guest::Guest;
use super::signatures::book::{Book, Expect, rule};
use super::{Install, turn_of};
use crate::support::device::Device;
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup, Tap};

const WRONG: &str = "wrong-token-0123456789abcdef0123456789abcdef";

/// What a version is like on the wire.
#[derive(Clone, Copy)]
struct Version {
    name: &'static str,
    /// The protocol that it speaks.
    protocol: u64,
    /// It knows `discovery.mdns` and `gateway.controlUi.allowedOrigins`.
    has_new_keys: bool,
    /// It knows the form in which today's clients sign.
    knows_signature: bool,
    /// The first part of its `openclaw --version`, and of every command.
    program: &'static str,
}

const OLDEST: Version = Version {
    name: "2026.1.24-3",
    protocol: 3,
    has_new_keys: false,
    knows_signature: false,
    program: "clawdbot",
};

const MARCH: Version = Version {
    name: "2026.3.7",
    protocol: 3,
    has_new_keys: true,
    knows_signature: true,
    program: "openclaw",
};

#[tokio::test]
async fn v2026_3_7() {
    walk(MARCH).await;
}

#[tokio::test]
#[ignore = "run by make versions"]
async fn v2026_1_24() {
    walk(OLDEST).await;
}

#[tokio::test]
#[ignore = "run by make versions"]
async fn v2026_2_17() {
    walk(Version {
        name: "2026.2.17",
        knows_signature: false,
        ..MARCH
    })
    .await;
}

#[tokio::test]
#[ignore = "run by make versions"]
async fn v2026_4_29() {
    walk(Version {
        name: "2026.4.29",
        ..MARCH
    })
    .await;
}

#[tokio::test]
#[ignore = "run by make versions"]
async fn v2026_7_35() {
    walk(Version {
        name: "2026.7.35",
        protocol: 4,
        ..MARCH
    })
    .await;
}

/// Every case with this version, on a gateway of its own.
async fn walk(version: Version) {
    let test = format!("live: version {}", version.name);
    let Some((_turn, install)) = turn_of(&test, version.name).await else {
        return;
    };
    let mut options = Options::default();
    if !version.has_new_keys {
        options.more = json!({ "discovery": null, "gateway": { "controlUi": null } });
    }
    let mut gateway = Gateway::start_with(&install, &options).await;
    let tap = Setup::before_url(&gateway.url()).openclaw().start().await;
    let mut book = Book::new(version.name);
    for (case, guest, expect) in refusals(version) {
        let visit = guest.visit(&tap).await;
        book.check(case, &tap, &visit, expect).await;
    }
    scope(version, &tap, &mut book).await;
    command_line(version, &install, &gateway).await;
    stop(version, &mut gateway, &tap, &mut book).await;
    book.finish();
}

/// A client of this version's protocol, as far as every version's schema knows its fields.
fn guest(version: Version) -> Guest {
    Guest::cli()
        .param("/minProtocol", version.protocol)
        .param("/maxProtocol", version.protocol)
        .param("/client/deviceFamily", Value::Null)
        .param("/client/version", version.name)
}

fn refusals(version: Version) -> Vec<(&'static str, Guest, Expect)> {
    let protocol = |number: u64| {
        let guest = guest(version).param("/minProtocol", number);
        guest.param("/maxProtocol", number)
    };
    vec![
        // Before the right one: a client with both has two sources of tokens, which is another verdict.
        (
            "wrong token",
            guest(version).auth(json!({ "token": WRONG })),
            rule("gateway.auth.token_mismatch").closed(1008),
        ),
        (
            "no token, and a device of today's client",
            guest(version)
                .param("/client/version", "2026.9.6")
                .auth(json!({}))
                .device(&Device::new()),
            if version.knows_signature {
                rule("gateway.auth.token_missing").act_on("client")
            } else {
                rule("gateway.protocol.device_signature").act_on("gateway")
            },
        ),
        ("right token", guest(version), rule("ok.client_closed")),
        (
            "protocol of an older client",
            protocol(1),
            rule("gateway.protocol.version").act_on("client"),
        ),
        (
            "protocol of a newer client",
            protocol(9),
            rule("gateway.protocol.version").act_on("gateway"),
        ),
        (
            "a field that only newer gateways know",
            guest(version)
                .param("/client/version", "2026.9.6")
                .param("/surprise", 1),
            rule("gateway.protocol.invalid_params").act_on("gateway"),
        ),
    ]
}

/// A method that the client's scopes do not cover.
async fn scope(version: Version, tap: &Tap, book: &mut Book) {
    let expect = rule("channel.missing_scope");
    let mut session = guest(version).accepted(tap).await;
    session
        .call("sessions.patch", json!({ "key": "main" }))
        .await;
    session.say(Frame::empty_close()).await;
    let visit = session.end().await;
    book.check("missing scope", tap, &visit, expect).await;
}

/// The version's own command line tool, with TLS.
async fn command_line(version: Version, install: &Install, gateway: &Gateway) {
    let tap = Setup::before_url(&gateway.url()).openclaw().start().await;
    let url = format!("wss://localhost:{}", tap.addr(Face::Tls).port());
    let ca = tap.dev_ca();
    for (token, code) in [(WRONG, 1), (TOKEN, 0)] {
        let output = call(version, install, &url, token, &ca).await;
        assert_eq!(output.code, Some(code), "{} {output:?}", version.program);
    }
    let records = tap.websockets(2).await;
    let rules: Vec<&str> = records.iter().map(crate::support::records::rule).collect();
    assert_eq!(rules[0], "gateway.auth.token_mismatch");
    assert!(rules[1].starts_with("ok."), "{rules:?}");
}

async fn call(
    version: Version,
    install: &Install,
    url: &str,
    token: &str,
    ca: &Path,
) -> cli::Output {
    if version.program == "clawdbot" {
        // It drops --token after `gateway call`.
        let env = [("CLAWDBOT_GATEWAY_TOKEN", token)];
        let args = ["gateway", "call", "health", "--url", url];
        return cli::run_with(install, &args, &env, Some(ca)).await;
    }
    cli::call(install, "health", url, token, Some(ca)).await
}

/// SIGTERM with a session open, and a client that comes afterwards.
async fn stop(version: Version, gateway: &mut Gateway, tap: &Tap, book: &mut Book) {
    let session = guest(version).accepted(tap).await;
    let (visit, ()) = tokio::join!(session.end(), gateway.terminate());
    let expect = rule("gateway.lifecycle.stop").closed(1012);
    book.check("stop, in a session", tap, &visit, expect).await;
    let visit = guest(version).visit(tap).await;
    let expect = rule("gateway.unreachable.refused");
    book.check("stopped", tap, &visit, expect).await;
}
