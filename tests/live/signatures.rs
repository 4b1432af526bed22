//! Every signature of the real gateway that needs no browser, and the verdict on it.
//!
//! Each test starts one gateway in one configuration and walks through its cases; what is wrong is
//! collected, so that one run shows all of it. The cases with their verdicts are printed, and
//! written to `target/signatures.txt`. A case that the gateway cannot produce in reasonable time
//! has a peer that sends the same bytes (`peers`).

mod before_101;
pub mod book;
mod changes;
mod devices;
mod first_frames;
mod harmless;
mod hops;
mod lifecycle;
mod pairing;
mod passwords;
mod peers;
mod remote;
mod secrets;
mod session;
mod stalled;
pub mod tls;
mod trusted_proxy;

use serde_json::json;
use tempfile::TempDir;

use self::book::Book;
use super::gateway::{Gateway, Options, TOKEN};
use super::turn;
use crate::support::certs::Ca;
use crate::support::tap::{Setup, Tap};

/// The page whose origin the gateway allows.
const CLAW: &str = "https://claw.example.com";
/// Another one, whose entry in the gateway's list is spoiled.
const SLASHED: &str = "https://slashed.example.com";
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
        // An entry is compared as it is: one with a slash matches nothing.
        allowed_origins: vec![CLAW.to_owned(), format!("{SLASHED}/")],
        env: vec![
            ("OPENCLAW_HANDSHAKE_TIMEOUT_MS", "3000"),
            ("OPENCLAW_MAX_PREAUTH_CONNECTIONS_PER_IP", "6"),
        ],
        ..Options::default()
    };
    let gateway = Gateway::start_with(&install, &options).await;
    let mut book = Book::new("local");
    before_101::cases(&gateway, &mut book).await;
    hops::cases(&gateway, &mut book).await;
    harmless::cases(&gateway, &mut book).await;
    secrets::local(&gateway, &mut book).await;
    devices::identities(&gateway, &mut book).await;
    first_frames::cases(&gateway, &mut book).await;
    session::cases(&gateway, &mut book).await;
    book.compare_with_log(&gateway).await;
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

/// A password, clients that stall, and a crash.
#[tokio::test]
async fn a_gateway_with_a_password() {
    let Some((_turn, install)) = turn("live: signatures, password").await else {
        return;
    };
    let auth = json!({ "mode": "password", "password": TOKEN });
    let options = Options {
        more: json!({ "gateway": { "auth": auth } }),
        ..Options::default()
    };
    let mut gateway = Gateway::start_with(&install, &options).await;
    let mut book = Book::new("password");
    let no_pongs = tokio::spawn(stalled::no_pongs(gateway.url()));
    passwords::cases(&gateway, &mut book).await;
    stalled::slow_consumer(&gateway, &mut book).await;
    stalled::judge_no_pongs(&no_pongs.await.expect("its record"), &mut book);
    lifecycle::crash(&mut gateway, &mut book).await;
    book.finish();
}

#[tokio::test]
async fn a_gateway_that_believes_a_proxy() {
    let Some((_turn, install)) = turn("live: signatures, trusted proxy").await else {
        return;
    };
    let options = trusted_proxy::options(true);
    let gateway = Gateway::start_with(&install, &options).await;
    let mut book = Book::new("trusted proxy");
    trusted_proxy::cases(&gateway, &mut book).await;
    book.finish();
}

#[tokio::test]
async fn a_gateway_with_tls() {
    let Some((_turn, install)) = turn("live: signatures, TLS").await else {
        return;
    };
    let (ca, folder) = (Ca::new(), TempDir::new().expect("a temporary folder"));
    let gateway = Gateway::launch(&install, &tls::options(&ca, &folder));
    let mut book = Book::new("tls");
    tls::cases(&gateway, &ca, &mut book).await;
    book.finish();
}
