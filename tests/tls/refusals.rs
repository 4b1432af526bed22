//! Refused upgrades over TLS end like every other answer: with `close_notify`, and late enough for
//! a client that has already sent its first frames.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};

use crate::peers::{Peer, Via, missing_accept_key, ok_instead_of_101};
use crate::support::certs::roots_of;
use crate::support::client::{connect, try_connect_tls};
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::head::upgrade;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

async fn clients(tap: &Tap) -> Vec<(Conn, Ending)> {
    let mut all = vec![(connect(tap.addr(Face::Plain)).await, Ending::Fin)];
    let versions: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
    for version in versions {
        let provider = Arc::clone(tap.trust().crypto_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version of TLS");
        let roots = roots_of(&tap.dev_ca());
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let conn = try_connect_tls(tap.addr(Face::Tls), &config, "localhost").await;
        all.push((conn.expect("a TLS handshake"), Ending::TlsClose));
    }
    all
}

/// The answer with this status arrives whole, although frames follow the request and the answer's
/// head.
async fn ends_in_order(setup: Setup, origin: &str, status: u16) {
    let tap = setup.start().await;
    for (mut conn, expected) in clients(&tap).await {
        let origin = [("Origin", origin)];
        let mut hasty = upgrade("/", "localhost", &origin);
        let frame = Frame::text("early").masked().to_bytes();
        hasty.extend_from_slice(&frame);
        conn.send(&hasty).await.unwrap();
        let head = conn.head().await.expect("an answer");
        assert_eq!(head.status(), status, "{}", head.text());
        // A closed connection answers the first write with a reset, which the second write meets.
        for _ in 0..2 {
            conn.send(&frame).await.expect("it is still read");
            tokio::task::yield_now().await;
        }
        let length: usize = head.value("content-length").unwrap().parse().unwrap();
        let (body, ending) = conn.rest().await;
        assert_eq!((body.len(), ending), (length, expected), "{}", head.text());
    }
}

fn before(peer: &Peer) -> Setup {
    let friends = serde_json::json!(["https://friend.example"]);
    Setup::before(peer).set("origins.allowed", friends)
}

const FRIEND: &str = "https://friend.example";

#[tokio::test]
async fn denied_by_our_policy() {
    let peer = missing_accept_key::start(&Via::Plain).await;
    ends_in_order(before(&peer), "https://stranger.example", 403).await;
}

#[tokio::test]
async fn refused_by_the_gateway() {
    let headers = [("Content-Length", "9")];
    let peer = ok_instead_of_101::answer(&Via::Plain, "403 Forbidden", &headers, "forbidden").await;
    ends_in_order(before(&peer), FRIEND, 403).await;
}

#[tokio::test]
async fn failed_by_a_wrong_101() {
    let peer = missing_accept_key::start(&Via::Plain).await;
    ends_in_order(before(&peer), FRIEND, 502).await;
}

#[tokio::test]
async fn failed_without_a_gateway() {
    let peer = missing_accept_key::start(&Via::Plain).await;
    let setup = before(&peer);
    drop(peer);
    ends_in_order(setup, FRIEND, 502).await;
}
