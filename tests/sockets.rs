//! Listeners that are not TCP addresses: unix sockets, and sockets that systemd passes; and the
//! messages to the service manager.

mod activation;
mod manager;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::ServerName;
use serde_json::json;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use wstap::session::SessionRecord;
use wstap::session::record::gateway::{ForwardedMode, ForwardedWhy};
use wstap::session::record::{Class, TransportEnd};

use crate::peers::attribution::{self, Rules};
use crate::peers::{Via, echo};
use crate::support::client::connect_unix;
use crate::support::deadline::within;
use crate::support::frame::Frame;
use crate::support::records::{class, rule};
use crate::support::tap::Setup;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// With one listener, on a unix socket in the folder of the setup.
fn on_socket(setup: Setup, more: &serde_json::Value) -> (Setup, PathBuf) {
    let path = setup.path("tap.sock");
    let mut listener = json!({ "listen": format!("unix:{}", path.display()) });
    let keys = more.as_object().expect("a mapping").clone();
    listener.as_object_mut().expect("a mapping").extend(keys);
    (setup.set("listeners", json!([listener])), path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_session_by_a_unix_socket() {
    let peer = echo::start(&Via::Plain).await;
    let (setup, path) = on_socket(Setup::before(&peer), &json!({}));
    let mut tap = setup.start().await;
    assert_eq!(mode(&path), 0o660);
    let mut conn = connect_unix(&path).await;
    conn.open("/").await;
    conn.send_masked(Frame::text("hello")).await.unwrap();
    assert_eq!(conn.frame().await.unwrap().as_text(), "hello");
    conn.send_masked(Frame::close(1000, "")).await.unwrap();
    assert_eq!(
        conn.frame().await.unwrap().as_close().unwrap().0,
        Some(1000)
    );
    drop(conn);
    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::Ok);
    assert_eq!(record.client.addr, "unix");
    let process = record.client.process.expect("the process");
    assert_eq!(process.pid, i32::try_from(std::process::id()).ok());
    assert_eq!(record.tap.listener, format!("unix:{}", path.display()));
    assert!(record.client.tcp.is_none());
    let stderr = tap.stderr();
    let line = format!("listening on http+unix:{}", path.display());
    assert!(stderr.contains(&line), "{stderr}");
    assert_eq!(tap.terminate().await, Some(0));
    assert!(!path.exists(), "the file goes with the tap");
}

#[tokio::test]
async fn tls_by_a_unix_socket() {
    let peer = echo::start(&Via::Plain).await;
    let more = json!({ "mode": "0600", "tls": { "self_signed": { "names": ["localhost"] } } });
    let (setup, path) = on_socket(Setup::before(&peer), &more);
    let tap = setup.start().await;
    assert_eq!(mode(&path), 0o600);
    let unix = UnixStream::connect(&path).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::clone(&tap.trust()));
    let tls = within("a TLS handshake", connector.connect(name, unix))
        .await
        .unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("wss://localhost/", tls)
        .await
        .unwrap();
    // More than one TLS record, both ways.
    let text = "hello ".repeat(20_000);
    futures_util::SinkExt::send(&mut socket, Message::text(text.clone()))
        .await
        .unwrap();
    let answer = futures_util::StreamExt::next(&mut socket)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer.to_text().unwrap(), text);
    socket.close(None).await.unwrap();
    drop(socket);
    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::Ok);
    assert_eq!(
        record.client.tls.unwrap().version.as_deref(),
        Some("TLSv1.3")
    );
    assert_eq!(record.client.addr, "unix");
}

/// A process on the gateway's host is local to it without us, and so it is with us.
#[tokio::test]
async fn who_connects_to_a_unix_socket_is_on_this_host() {
    let peer = attribution::judge(&Via::Plain, &Rules::trusting(&[LOOPBACK])).await;
    let (setup, path) = on_socket(Setup::before(&peer), &json!({}));
    let tap = setup.start().await;
    let chain = [("X-Forwarded-For", "203.0.113.7")];
    let mut seen = 0;
    for (lines, locality, why) in [
        (&[][..], "direct-local", ForwardedWhy::LocalClient),
        // A client with headers speaks for somebody else: the gateway judges it itself.
        (
            &chain,
            "trusted-proxy 203.0.113.7",
            ForwardedWhy::LoopbackProxy,
        ),
    ] {
        let mut conn = connect_unix(&path).await;
        let answer = conn.upgrade("/", lines).await.unwrap();
        assert_eq!(answer.value("x-locality").as_deref(), Some(locality));
        drop(conn);
        let record = tap.newest(&mut seen).await;
        assert_eq!(decided(&record), (ForwardedMode::Pass, why));
    }
}

#[tokio::test]
async fn a_trusted_proxy_on_a_unix_socket_names_its_client() {
    let peer = attribution::judge(&Via::Plain, &Rules::trusting(&[LOOPBACK])).await;
    for (trusted, addr) in [("unix", "203.0.113.7"), ("127.0.0.0/8", "unix")] {
        let (setup, path) = on_socket(Setup::before(&peer), &json!({}));
        let tap = setup.set("trusted_proxies", json!([trusted])).start().await;
        let mut conn = connect_unix(&path).await;
        let chain = [("X-Forwarded-For", "127.0.0.1, 203.0.113.7")];
        conn.upgrade("/", &chain).await.unwrap();
        drop(conn);
        let record = tap.websocket().await;
        assert_eq!(record.client.addr, addr, "loopback is not the same as unix");
        let via = record.client.via.as_ref().map(|via| via.peer.as_str());
        assert_eq!(via, (trusted == "unix").then_some("unix"));
    }
}

fn decided(record: &SessionRecord) -> (ForwardedMode, ForwardedWhy) {
    let gateway = record.gateway.as_ref().expect("a gateway leg");
    let facts = gateway.forwarded.as_ref().expect("what went out");
    (facts.mode, facts.why.expect("why"))
}

#[tokio::test]
async fn limits_count_unix_sockets_as_one_client() {
    let peer = echo::start(&Via::Plain).await;
    let (setup, path) = on_socket(Setup::before(&peer), &json!({}));
    let tap = setup.set("limits.per_client", 1).start().await;
    let mut first = connect_unix(&path).await;
    first.open("/").await;
    let mut second = connect_unix(&path).await;
    assert!(second.rest().await.0.is_empty());
    let denied = |record: &SessionRecord| record.close.denied.is_some();
    let record = tap.wait_for("the refusal", denied).await;
    assert_eq!(rule(&record), "tap.denied.per_client");
    let detail = record.close.denied.unwrap().detail;
    assert!(detail.contains("unix sockets"), "{detail}");
}

#[tokio::test]
async fn a_client_that_vanishes_is_one_that_left() {
    let peer = echo::start(&Via::Plain).await;
    let (setup, path) = on_socket(Setup::before(&peer), &json!({}));
    let tap = setup.start().await;
    let mut conn = connect_unix(&path).await;
    conn.open("/").await;
    drop(conn);
    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::ClientLeft);
    assert_eq!(record.close.transport.client, TransportEnd::Fin);
}

#[tokio::test]
async fn what_a_killed_tap_left_is_replaced_and_nothing_else_is() {
    let peer = echo::start(&Via::Plain).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap.sock");
    let setup = || {
        let listen = format!("unix:{}", path.display());
        Setup::before(&peer).set("listeners", json!([{ "listen": listen }]))
    };
    let mut killed = setup().start().await;
    killed.signal_kill();
    killed.exited(crate::support::deadline::STEP).await;
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());

    let running = setup().start().await;
    let mut conn = connect_unix(&path).await;
    conn.open("/").await;
    // While it runs, the path is in use.
    let (code, said) = setup().start_in_vain().await;
    assert_eq!(code, Some(2));
    assert!(
        said.contains("listeners[0].listen: ") && said.contains("another process listens"),
        "{said}"
    );
    conn.send_masked(Frame::text("still")).await.unwrap();
    assert_eq!(conn.frame().await.unwrap().as_text(), "still");
    drop((conn, running));

    fs::remove_file(&path).ok();
    fs::write(&path, "keep me").unwrap();
    let (code, said) = setup().start_in_vain().await;
    assert_eq!(code, Some(2));
    assert!(said.contains("not a socket; it is left alone"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "keep me");
}
