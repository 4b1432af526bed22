//! SIGTERM: no new connections, a Close to both ends of every session, every record, exit code 0.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use wstap::session::party::Party;
use wstap::session::record::{Class, Kind};

use crate::peers::{Via, echo, never_answers, tunnel};
use crate::support::client::connect;
use crate::support::deadline::{STEP, poll, within};
use crate::support::frame::Frame;
use crate::support::pipe::full_pipe;
use crate::support::pty::program;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, signal};

#[tokio::test]
async fn sigterm_closes_every_session_and_writes_every_record() {
    let peer = echo::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer).start().await;
    let mut conns = Vec::new();
    for face in [Face::Plain, Face::Tls, Face::Plain, Face::Tls] {
        let mut conn = tap.connect(face).await;
        conn.open("/").await;
        conns.push(conn);
    }
    tap.signal_term();
    for conn in &mut conns {
        let (code, reason) = conn.frame().await.unwrap().as_close().expect("a Close");
        assert_eq!(code, Some(1001));
        assert!(reason.starts_with("wstap: "), "{reason}");
        conn.send_masked(Frame::close(1001, "")).await.unwrap();
        conn.rest().await;
    }
    for at in 0..conns.len() {
        let (code, reason) = peer.log.close(at).await;
        assert_eq!(code, Some(1001));
        assert!(reason.starts_with("wstap: "), "{reason}");
    }
    assert_eq!(tap.exited(Duration::from_secs(12)).await.code(), Some(0));
    let records = tap.websockets(4).await;
    assert_eq!(records.len(), 4);
    for record in records {
        assert_eq!(class(&record), Class::TapDrain);
        assert!(record.close.drained);
        assert_eq!(record.close.first, Some(Party::Tap));
    }
}

#[tokio::test]
async fn peers_that_do_not_answer_do_not_hold_the_tap() {
    let (peer, _control) = tunnel::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer)
        .set("timeouts.drain", "1s")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    let silent = connect(tap.addr(Face::Plain)).await;
    tap.signal_term();
    assert_eq!(tap.exited(STEP).await.code(), Some(0));
    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::TapDrain);
    let all = tap.records();
    assert!(
        all.iter().any(|record| record.kind == Kind::Connection),
        "the silent one, too"
    );
    drop(silent);
}

#[tokio::test]
async fn an_upgrade_that_waits_is_recorded_when_the_tap_goes() {
    let peer = never_answers::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer)
        .set("timeouts.drain", "1s")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let request = crate::support::head::upgrade("/", "localhost", &[]);
    conn.send(&request).await.unwrap();
    peer.log.head(0).await;
    assert_eq!(tap.terminate().await, Some(0));
    assert_eq!(class(&tap.websocket().await), Class::TapDrain);
}

#[tokio::test]
async fn half_a_head_is_recorded_when_the_tap_goes_and_does_not_hold_it() {
    let peer = echo::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer)
        .set("timeouts.drain", "1h")
        .start()
        .await;
    let mut halves = Vec::new();
    for face in Face::BOTH {
        let mut conn = tap.connect(face).await;
        conn.send(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        halves.push(conn);
    }
    // Connections are accepted in order: once a later one is open, these have been.
    for face in Face::BOTH {
        let mut later = tap.connect(face).await;
        later.open("/").await;
        later.abort();
    }
    tap.websockets(2).await;
    let started = std::time::Instant::now();
    assert_eq!(tap.terminate().await, Some(0));
    assert!(started.elapsed() < STEP, "nobody waits for half a head");
    let recorded = tap
        .records()
        .iter()
        .filter(|record| record.kind == Kind::Connection)
        .count();
    assert_eq!(recorded, halves.len());
}

#[tokio::test]
async fn while_it_drains_nobody_is_let_in() {
    let (peer, _control) = tunnel::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer)
        .set("timeouts.drain", "1h")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    let addr = tap.addr(Face::Plain);
    tap.signal_term();
    conn.frame()
        .await
        .expect("the Close, so the drain has begun");
    let refused = poll(STEP, || {
        std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(200)).err()
    });
    assert!(refused.await.is_some(), "connections are still accepted");
    assert!(TcpStream::connect(addr).await.is_err());
    drop(conn);
    assert_eq!(tap.exited(STEP).await.code(), Some(0));
}

#[tokio::test]
async fn an_idle_tap_goes_at_once() {
    let peer = echo::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer)
        .set("timeouts.drain", "1h")
        .start()
        .await;
    tap.signal_term();
    assert_eq!(tap.exited(STEP).await.code(), Some(0));
    assert!(tap.records().is_empty());
}

/// A pager that nobody pages, or a terminal that Ctrl-S paused, from the first line on.
#[tokio::test]
async fn it_serves_and_ends_while_nobody_reads_its_stderr() {
    let peer = echo::start(&Via::Plain).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let (_reader, output) = full_pipe();
    let mut tap = tokio::process::Command::new(program())
        .args(["serve", "--gateway", &peer.url(), "--listen"])
        .arg(format!("unix:{}", socket.display()))
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let connected = poll(STEP, || {
        std::os::unix::net::UnixStream::connect(&socket).ok()
    })
    .await;
    let connected = connected.expect("it listens");
    connected.set_nonblocking(true).unwrap();
    let mut client = UnixStream::from_std(connected).unwrap();
    let answer = within("an answer", async {
        client.write_all(b"nonsense\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    });
    assert!(answer.await.starts_with("HTTP/1.1 400 "));
    signal("TERM", &tap.id().unwrap().to_string());
    let ended = within("its end", tap.wait()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
}
