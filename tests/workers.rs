//! How many threads serve connections (`workers`), and how many files they may have open.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wstap::session::record::Class;

use crate::admin::get;
use crate::peers::{Peer, Seat, Via, echo, serve};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll};
use crate::support::frame::Frame;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};

async fn echoes(conn: &mut Conn, times: usize) {
    for _ in 0..times {
        conn.send_masked(Frame::text("are you there?"))
            .await
            .unwrap();
        assert_eq!(conn.frame().await.unwrap().as_text(), "are you there?");
    }
}

/// Nanoseconds on a CPU: of the main thread, and of all others together.
fn cpu_ns(tap: &Tap) -> (u64, u64) {
    let (mut main, mut others) = (0, 0);
    for task in fs::read_dir(format!("/proc/{}/task", tap.pid())).unwrap() {
        let task = task.unwrap().path();
        // A thread of the blocking pool may have gone meanwhile.
        let Ok(text) = fs::read_to_string(task.join("schedstat")) else {
            continue;
        };
        let ns: u64 = text.split(' ').next().unwrap().parse().unwrap();
        if task.ends_with(tap.pid().to_string()) {
            main += ns;
        } else {
            others += ns;
        }
    }
    (main, others)
}

/// CPU time of round trips: of the main thread, and of all others.
async fn spent(tap: &Tap, conn: &mut Conn) -> (u64, u64) {
    let before = cpu_ns(tap);
    echoes(conn, 500).await;
    let after = cpu_ns(tap);
    (after.0 - before.0, after.1.saturating_sub(before.1))
}

#[tokio::test]
async fn one_worker_does_everything_that_several_do() {
    let peer = echo::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer).set("workers", 1).admin().start().await;
    let mut conns = Vec::new();
    for face in Face::BOTH.into_iter().cycle().take(20) {
        let mut conn = tap.connect(face).await;
        conn.open("/").await;
        conns.push(conn);
    }
    let (main, others) = spent(&tap, &mut conns[0]).await;
    assert!(main > others, "{main} ns against {others} ns elsewhere");

    assert_eq!(get(&tap, "/healthz").await.status(), 200);
    assert_eq!(get(&tap, "/readyz").await.status(), 200);
    let open = get(&tap, "/sessions").await.json();
    assert_eq!(open["open"].as_array().unwrap().len(), 20, "{open}");

    tap.set("timeouts.idle", "2h");
    let told = tap.reload("done").await;
    assert!(told.contains("timeouts.idle: not set -> `2h`"), "{told}");
    for conn in &mut conns {
        echoes(conn, 1).await;
    }

    tap.signal_term();
    for conn in &mut conns {
        let (code, _) = conn.frame().await.unwrap().as_close().expect("a Close");
        assert_eq!(code, Some(1001));
        conn.send_masked(Frame::close(1001, "")).await.unwrap();
    }
    assert_eq!(tap.exited(2 * STEP).await.code(), Some(0));
    let records = tap.websockets(20).await;
    let drained = records.iter().filter(|it| class(it) == Class::TapDrain);
    assert_eq!(drained.count(), 20);
}

#[tokio::test]
async fn more_workers_are_threads_of_their_own_and_need_a_start() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).set("workers", 2).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    let (main, others) = spent(&tap, &mut conn).await;
    assert!(others > main, "{main} ns against {others} ns elsewhere");
    tap.set("workers", 1);
    let told = tap.reload("done").await;
    assert!(
        told.contains("workers: 2 -> 1 (takes effect at the next start)"),
        "{told}"
    );
    let (main, others) = spent(&tap, &mut conn).await;
    assert!(others > main, "{main} ns against {others} ns elsewhere");
}

/// A gateway that never stops sending to `/flood`, whether or not anybody reads, and echoes elsewhere.
async fn floods_and_echoes() -> Peer {
    serve(&Via::Plain, |mut conn: Conn, seat: Seat| async move {
        let Some(head) = seat.upgrade(&mut conn).await else {
            return;
        };
        let flood = Frame::binary(vec![0x5a; 1000]).to_bytes().repeat(256);
        while head.target() == "/flood" {
            if conn.wire.write_all(&flood).await.is_err() {
                return;
            }
        }
        while let Ok(frame) = conn.frame().await {
            if conn
                .send_frame(&Frame::text(frame.as_text()))
                .await
                .is_err()
            {
                return;
            }
        }
    })
    .await
}

/// Both ends of the flood have threads of their own, so that the tap nearly always finds more to read.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_session_that_never_rests_leaves_room_for_others_on_the_one_worker() {
    let peer = floods_and_echoes().await;
    let tap = Setup::before(&peer).set("workers", 1).start().await;
    let mut flooded = tap.connect(Face::Plain).await;
    flooded.open("/flood").await;
    let bytes = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&bytes);
    let flood = tokio::spawn(async move {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(more @ 1..) = flooded.wire.read(&mut buffer).await {
            count.fetch_add(more as u64, Ordering::Relaxed);
        }
    });
    let came = |since: u64| {
        let bytes = bytes.load(Ordering::Relaxed);
        (bytes > since + (1 << 20)).then_some(bytes)
    };
    let before = poll(STEP, || came(0)).await.expect("a flood");

    for face in Face::BOTH {
        let mut conn = tap.connect(face).await;
        conn.open("/").await;
        echoes(&mut conn, 3).await;
    }
    assert!(poll(STEP, || came(before)).await.is_some(), "it went on");
    flood.abort();
}

/// The soft and the hard limit of open files.
fn limits(tap: &Tap) -> (String, String) {
    let text = fs::read_to_string(format!("/proc/{}/limits", tap.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let mut words = line.unwrap().split_whitespace().skip(3).map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_to_the_hard_one() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("limits.connections", 200)
        .under(&["sh", "-c", "ulimit -Sn 64; exec \"$0\" \"$@\""])
        .start()
        .await;
    let (soft, hard) = limits(&tap);
    assert_eq!(soft, hard);
    let mut conns = Vec::new();
    for _ in 0..100 {
        let mut conn = tap.connect(Face::Plain).await;
        conn.open("/").await;
        conns.push(conn);
    }
    let told = tap.stderr();
    assert!(!told.contains("open files"), "{told}");
}

#[tokio::test]
async fn connections_that_the_limit_of_open_files_cannot_serve_are_told() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("limits", json!({ "connections": 500 }))
        .descriptors(1000)
        .start()
        .await;
    let wanted = "warning: limits.connections: 500 connections need 1256 open files (two each, and \
                  256 besides), this process may have 1000: enough for 372,";
    assert!(tap.stderr().contains(wanted), "{}", tap.stderr());
    tap.set("limits.connections", 372);
    let told = tap.reload("done").await;
    assert!(!told.contains("open files"), "{told}");
    tap.set("limits.connections", 373);
    let told = tap.reload("done").await;
    assert!(
        told.contains("limits.connections: 373 connections need 1002 open files"),
        "{told}"
    );
}
