//! Every signature of the real gateway that needs no browser, and the verdict on it.
//!
//! Each test starts one gateway in one configuration and walks through its cases; what is wrong is
//! collected, so that one run shows all of it. The cases with their verdicts are printed, and
//! written to `target/signatures.txt`. What the gateway cannot be brought to in reasonable time has
//! a peer that sends the same bytes (`peers`).

mod before_101;
mod book;
mod changes;
mod devices;
mod first_frames;
mod guest;
mod lifecycle;
mod pairing;
mod remote;
mod secrets;
mod session;

use serde_json::json;

use self::book::Book;
use super::gateway::{Gateway, Options};
use super::turn;
use crate::support::tap::{Setup, Tap};

/// The page whose origin the gateway allows.
const CLAW: &str = "https://claw.example.com";
/// Another value than the gateway's.
const WRONG: &str = "wrong-token-0123456789abcdef0123456789abcdef";

async fn tap(gateway: &Gateway) -> Tap {
    Setup::before_url(&gateway.url()).openclaw().start().await
}

/// Clients of the gateway's own host, and one that is no OpenClaw client at all.
#[tokio::test]
async fn a_local_gateway() {
    let Some((_turn, install)) = turn("live: signatures, local").await else {
        return;
    };
    let options = Options {
        allowed_origins: vec![CLAW.to_owned()],
        env: vec![
            ("OPENCLAW_HANDSHAKE_TIMEOUT_MS", "3000"),
            ("OPENCLAW_MAX_PREAUTH_CONNECTIONS_PER_IP", "6"),
        ],
        more: json!({}),
        ..Options::default()
    };
    let gateway = Gateway::start_with(&install, &options).await;
    let mut book = Book::new("local");
    before_101::cases(&gateway, &mut book).await;
    secrets::local(&gateway, &mut book).await;
    devices::identities(&gateway, &mut book).await;
    first_frames::cases(&gateway, &mut book).await;
    session::cases(&gateway, &mut book).await;
    book.finish();
}

/// Clients from elsewhere, devices that have to be paired, and a gateway that comes and goes.
#[tokio::test]
async fn a_gateway_behind_a_proxy() {
    let Some((_turn, install)) = turn("live: signatures, remote").await else {
        return;
    };
    let options = Options {
        allowed_origins: vec![CLAW.to_owned()],
        trusted_proxies: vec!["127.0.0.1/32".to_owned()],
        ..Options::default()
    };
    let mut gateway = Gateway::launch(&install, &options);
    let mut book = Book::new("remote");
    lifecycle::start(&gateway, &mut book).await;
    remote::cases(&gateway, &mut book).await;
    pairing::cases(&install, &gateway, &mut book).await;
    changes::cases(&gateway, &options, &mut book).await;
    lifecycle::restart(&gateway, &options, &mut book).await;
    lifecycle::stop(&mut gateway, &mut book).await;
    book.finish();
}
