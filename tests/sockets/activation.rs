//! Sockets that were opened before the start, as systemd passes them.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use serde_json::Value;

use super::*;
use crate::peers::Peer;
use crate::support::client::connect;
use crate::support::tap::Tap;

fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn setup(peer: &Peer, listeners: Value) -> Setup {
    Setup::before(peer).set("listeners", listeners)
}

/// A socket for a process.
fn copy(socket: &TcpListener) -> OwnedFd {
    socket.try_clone().unwrap().into()
}

async fn echoes(addr: SocketAddr) {
    let mut conn = connect(addr).await;
    conn.open("/").await;
    conn.send_masked(Frame::text("hello")).await.unwrap();
    assert_eq!(conn.frame().await.unwrap().as_text(), "hello");
}

#[tokio::test]
async fn connections_wait_for_the_start_and_over_a_restart() {
    let peer = echo::start(&Via::Plain).await;
    let (socket, addr) = listening();
    for _ in 0..2 {
        let mut early = connect(addr).await;
        early
            .send(&crate::support::head::upgrade("/", "localhost", &[]))
            .await
            .unwrap();
        let listeners = json!([{ "listen": "systemd" }]);
        let mut tap = setup(&peer, listeners)
            .passing(vec![("unknown", copy(&socket))])
            .start()
            .await;
        let answer = early.head().await.expect("an answer");
        assert_eq!(answer.status(), 101);
        echoes(addr).await;
        let record = tap.websocket().await;
        assert_eq!(record.tap.listener, addr.to_string());
        drop(early);
        assert_eq!(tap.terminate().await, Some(0));
    }
}

#[tokio::test]
async fn sockets_are_found_by_their_names() {
    let peer = echo::start(&Via::Plain).await;
    let (socket, addr) = listening();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passed.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let listeners = json!([
        { "listen": "systemd:door" },
        { "listen": "systemd:web", "tls": { "self_signed": {} } },
        { "listen": "127.0.0.1:0" },
    ]);
    let mut tap = setup(&peer, listeners)
        .passing(vec![("web", copy(&socket)), ("door", unix.into())])
        .start()
        .await;
    let mut conn = crate::support::client::connect_tls(addr, &tap.trust()).await;
    conn.open("/").await;
    let mut conn = connect_unix(&path).await;
    conn.open("/").await;
    let stderr = tap.stderr();
    assert!(
        stderr.contains(&format!("listening on https://{addr}")),
        "{stderr}"
    );
    assert!(
        stderr.contains(&format!("listening on http+unix:{}", path.display())),
        "{stderr}"
    );
    drop(conn);
    assert_eq!(tap.terminate().await, Some(0));
    assert!(path.exists(), "whoever made it removes it");
}

async fn in_vain(listen: &str, sockets: Vec<(&str, OwnedFd)>) -> String {
    let peer = echo::start(&Via::Plain).await;
    let setup = setup(&peer, json!([{ "listen": listen }]));
    let setup = if sockets.is_empty() {
        setup
    } else {
        setup.passing(sockets)
    };
    let (code, said) = setup.start_in_vain().await;
    assert_eq!(code, Some(2), "{said}");
    said
}

#[tokio::test]
async fn sockets_that_are_missing_or_left_over_are_errors() {
    let (socket, _) = listening();
    let said = in_vain("systemd", vec![]).await;
    assert!(
        said.contains("listeners[0].listen: ") && said.contains("no socket from systemd"),
        "{said}"
    );
    let said = in_vain("systemd:web", vec![("other", copy(&socket))]).await;
    assert!(
        said.contains("no socket `web` from systemd; it passed `other`"),
        "{said}"
    );
    let two = || vec![("a", copy(&socket)), ("b", copy(&socket))];
    let said = in_vain("systemd", two()).await;
    assert!(said.contains("2 sockets from systemd: `a`, `b`"), "{said}");
    let said = in_vain("systemd:a", two()).await;
    assert!(said.contains("none for `b`"), "{said}");
    let said = in_vain("127.0.0.1:0", vec![("a", copy(&socket))]).await;
    assert!(said.contains("none for `a`"), "{said}");
}

#[tokio::test]
async fn what_does_not_listen_is_refused() {
    let (socket, addr) = listening();
    let connected = std::net::TcpStream::connect(addr).unwrap();
    let said = in_vain("systemd:web", vec![("web", connected.into())]).await;
    assert!(said.contains("Accept=no"), "{said}");
    let file = tempfile::tempfile().unwrap();
    let said = in_vain("systemd:web", vec![("web", file.into())]).await;
    assert!(said.contains("not a socket"), "{said}");
    drop(socket);
}

/// The variables of a parent are not for its children.
#[tokio::test]
async fn sockets_of_another_process_are_left_alone() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer).under(&["env", "LISTEN_PID=1", "LISTEN_FDS=3"]);
    let tap: Tap = setup.start().await;
    echoes(tap.addr(crate::support::tap::Face::Plain)).await;
}
