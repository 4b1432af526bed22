//! The header as `HAProxy` and nginx write it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::support;
use crate::support::client::connect_tls;
use crate::support::deadline::{STEP, poll};
use crate::support::packages::{Program, Running, free_port};
use crate::support::skip::skip;

/// `HAProxy` in TCP mode with `send` on its server line, before `upstream`: where it listens. `None`
/// where it is not installed.
async fn haproxy(send: &str, upstream: &str) -> Option<(Running, SocketAddr)> {
    let Some(program) = Program::find("haproxy") else {
        skip("proxy_protocol: haproxy", "it is missing: run make fetch");
        return None;
    };
    let command = |folder: &Path, addr: SocketAddr| {
        let config = folder.join("haproxy.cfg");
        let text = format!(
            "defaults
    mode tcp
    retries 0
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend in
    bind {addr}
    default_backend out
backend out
    server up {upstream} {send}
"
        );
        fs::write(&config, text).unwrap();
        let mut command = program.command();
        command.arg("-db").arg("-f").arg(&config);
        command
    };
    Some(running(command).await)
}

/// nginx as a TCP proxy that sends the header, which is of version 1.
async fn nginx(upstream: &str) -> Option<(Running, SocketAddr)> {
    let program = Program::find("nginx");
    let command = |folder: &Path, addr: SocketAddr| {
        let server =
            format!("server {{ listen {addr}; proxy_pass {upstream}; proxy_protocol on; }}");
        support::nginx::stream_command(program.as_ref()?, folder, &server)
    };
    let folder = TempDir::new().unwrap();
    if command(folder.path(), free_port()).is_none() {
        let why = "nginx or its stream module is missing: run make fetch";
        skip("proxy_protocol: nginx", why);
        return None;
    }
    Some(running(|folder, addr| command(folder, addr).unwrap()).await)
}

/// A program that listens on a free port.
async fn running(command: impl Fn(&Path, SocketAddr) -> Command) -> (Running, SocketAddr) {
    for _ in 0..5 {
        let (folder, addr) = (TempDir::new().unwrap(), free_port());
        let command = command(folder.path(), addr);
        let mut running = Running::start(command, folder);
        let listens = poll(STEP, || {
            if running.has_ended() {
                return Some(false);
            }
            std::net::TcpStream::connect(addr).ok().map(|_| true)
        });
        if listens.await == Some(true) {
            return (running, addr);
        }
    }
    panic!("the proxy found no free port");
}

/// A session through that proxy, and its record.
async fn session_by(send: Option<&str>, face: Face) -> Option<SessionRecord> {
    let (_peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.start().await;
    let upstream = tap.addr(face).to_string();
    let (_proxy, addr) = match send {
        Some(send) => haproxy(send, &upstream).await?,
        None => nginx(&upstream).await?,
    };
    let mut conn = match face {
        Face::Plain => connect(addr).await,
        Face::Tls => connect_tls(addr, &tap.trust()).await,
    };
    let client = conn.wire.tcp().unwrap().local_addr().unwrap();
    conn.open("/").await;
    conn.send_masked(Frame::text("hello")).await.unwrap();
    assert_eq!(conn.frame().await.unwrap().as_text(), "hello");
    drop(conn);
    let record = tap.websocket().await;
    assert_eq!(record.client.addr, client.to_string(), "the real client");
    let via = record.client.via.as_ref().unwrap();
    assert_eq!(via.kind, ViaKind::ProxyProtocol);
    Some(record)
}

#[tokio::test]
async fn nginx_sends_version_1() {
    for face in Face::BOTH {
        let Some(record) = session_by(None, face).await else {
            return;
        };
        assert_eq!(record.client.proxy_protocol.unwrap().version, Some(1));
    }
}

#[tokio::test]
async fn haproxy_sends_version_1() {
    for face in Face::BOTH {
        let Some(record) = session_by(Some("send-proxy"), face).await else {
            return;
        };
        assert_eq!(record.client.proxy_protocol.unwrap().version, Some(1));
    }
}

#[tokio::test]
async fn haproxy_sends_version_2_with_a_checksum() {
    for face in Face::BOTH {
        let send = "send-proxy-v2 proxy-v2-options crc32c,unique-id";
        let Some(record) = session_by(Some(send), face).await else {
            return;
        };
        let facts = record.client.proxy_protocol.unwrap();
        assert_eq!((facts.version, facts.checked), (Some(2), true));
    }
}

#[tokio::test]
async fn haproxy_checks_are_probes() {
    let (peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.start().await;
    let send = "send-proxy-v2 check check-send-proxy inter 100ms";
    let Some(_running) = haproxy(send, &tap.addr(Face::Plain).to_string()).await else {
        return;
    };
    let local = |record: &SessionRecord| {
        let header = record.client.proxy_protocol.as_ref();
        header.is_some_and(|header| header.command == Some(ProxyCommand::Local))
    };
    let record = tap.wait_for("a health check", local).await;
    assert_eq!(class(&record), Class::Probe);
    assert_eq!(peer.log.connections(), 0);
}

#[tokio::test]
async fn haproxy_comes_by_a_unix_socket() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer);
    let path = setup.path("tap.sock");
    let listen = format!("unix:{}", path.display());
    let tap = setup
        .set(
            "listeners",
            json!([{ "listen": listen, "proxy_protocol": { "from": ["unix"] } }]),
        )
        .start()
        .await;
    let upstream = format!("unix@{}", path.display());
    let Some((_haproxy, addr)) = haproxy("send-proxy-v2", &upstream).await else {
        return;
    };
    let mut conn = connect(addr).await;
    let client = conn.wire.tcp().unwrap().local_addr().unwrap().to_string();
    conn.open("/").await;
    drop(conn);
    assert_eq!(tap.websocket().await.client.addr, client);
}
