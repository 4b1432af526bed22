//! Thousands of sessions at shutdown: each one is in the records or counted as lost.

use std::io::Read as _;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use wstap::session::record::{Class, Kind};

use crate::peers::{Via, tunnel};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, promised};
use crate::support::head;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap, signal};

/// Number of concurrent handshakes.
const AT_ONCE: usize = 64;

/// Time that the process may take to exit beyond `timeouts.drain`: two seconds, which is the promise of the
/// program that is shipped (`make shipped-program` runs the test with it). The one that is built with the tests
/// is not optimised and judges thousands of sessions several times as slowly.
fn beyond() -> Duration {
    let shipped = std::env::var_os("WSTAP_PROGRAM").is_some();
    promised(Duration::from_secs(if shipped { 2 } else { 10 }))
}

/// Open files for the clients and the gateway of this many sessions.
fn room_for(sessions: u64) {
    let wanted = 2 * sessions + 500;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        setrlimit(Resource::Nofile, raised).expect("raise the limit of open files");
        let most = limit.maximum.unwrap_or(u64::MAX);
        assert!(most >= wanted, "the test needs {wanted} open files");
    }
}

/// Tunnels whose clients send nothing after the 101.
pub async fn silent(tap: &Tap, face: Face, count: usize) -> Vec<Conn> {
    let request = head::upgrade("/", "localhost", &[]);
    let open = stream::iter(0..count).map(async |_| {
        let mut conn = tap.connect(face).await;
        conn.send(&request).await.expect("send the request");
        assert_eq!(conn.head().await.expect("an answer").status(), 101);
        conn
    });
    open.buffer_unordered(AT_ONCE).collect().await
}

/// Losses of this sink by the log.
fn lost(tap: &Tap, sink: &str) -> usize {
    let stderr = tap.stderr();
    let lines = stderr.lines().filter(|line| {
        line.contains("records were lost") && line.contains(&format!("sink={sink} "))
    });
    let mut counts = lines.filter_map(|line| line.split("lost=").nth(1)?.trim().parse().ok());
    counts.next_back().unwrap_or(0)
}

/// Every session that was opened is in the file or logged as lost.
pub fn accounts_for(tap: &Tap, opened: usize) {
    let records = tap.records();
    let counts = records.iter().map(|it| it.repeats.map_or(1, |it| it.count));
    let (recorded, lost) = (counts.sum::<u64>(), lost(tap, "records"));
    assert_eq!(
        recorded + lost as u64,
        opened as u64,
        "{} records of {recorded} sessions, {lost} lost of {opened} sessions; stderr:\n{}",
        records.len(),
        tap.stderr(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_silent_sessions_are_all_recorded_in_time() {
    const PLAIN: usize = 5600;
    const TLS: usize = 200;
    const BARE: usize = 200;
    room_for(6500);
    let (peer, _control) = tunnel::start(&Via::Plain).await;
    let drain = Duration::from_secs(2);
    let mut tap = Setup::before(&peer)
        .set("timeouts.drain", "2s")
        .set("timeouts.request_head", "1m")
        .set("timeouts.tls_handshake", "1m")
        .set("limits.per_client", 6000)
        .set("limits.handshakes", 6000)
        .admin()
        .start()
        .await;
    let mut bare = Vec::new();
    for face in Face::BOTH {
        for _ in 0..BARE / 2 {
            bare.push(TcpStream::connect(tap.addr(face)).await.unwrap());
        }
    }
    // A listener's connections are accepted in order: these come after the bare ones.
    let plain = silent(&tap, Face::Plain, PLAIN).await;
    let tls = silent(&tap, Face::Tls, TLS).await;
    let began = Instant::now();
    tap.signal_term();
    assert_eq!(tap.exited(STEP).await.code(), Some(0));
    let took = began.elapsed();
    eprintln!("{} sessions ended in {took:?}", plain.len() + tls.len());
    accounts_for(&tap, PLAIN + TLS + BARE);
    assert!(took <= drain + beyond(), "it took {took:?}");
    let mut records = tap.records();
    records.retain(|record| record.kind == Kind::Websocket);
    assert!(
        records
            .iter()
            .all(|record| class(record) == Class::TapDrain)
    );
    drop((bare, plain, tls));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_cuts_every_session_and_loses_none() {
    const OPEN: usize = 300;
    let (peer, _control) = tunnel::start(&Via::Plain).await;
    for (first, second, workers) in [("TERM", "TERM", 2), ("INT", "QUIT", 1)] {
        let mut tap = Setup::before(&peer)
            .set("timeouts.drain", "1m")
            .set("workers", workers)
            .set("records.repeats", "join")
            .set("limits.per_client", 6000)
            .start()
            .await;
        let mut conns = silent(&tap, Face::Plain, OPEN).await;
        signal(first, &tap.pid().to_string());
        conns[0]
            .frame()
            .await
            .expect("a Close: the drain has begun");
        let began = Instant::now();
        signal(second, &tap.pid().to_string());
        assert_eq!(tap.exited(STEP).await.code(), Some(0));
        assert!(began.elapsed() <= beyond(), "{:?}", began.elapsed());
        accounts_for(&tap, OPEN);
        for record in tap.records() {
            assert_eq!(class(&record), Class::TapDrain);
            assert!(record.frames.is_some(), "with what it had relayed");
        }
    }
}

#[tokio::test]
async fn every_signal_that_ends_a_process_drains_it() {
    let (peer, _control) = tunnel::start(&Via::Plain).await;
    for name in ["TERM", "INT", "QUIT", "ALRM", "USR1", "USR2"] {
        let mut tap = Setup::before(&peer)
            .set("timeouts.drain", "200ms")
            .start()
            .await;
        let conns = silent(&tap, Face::Plain, 3).await;
        signal(name, &tap.pid().to_string());
        assert_eq!(tap.exited(STEP).await.code(), Some(0));
        accounts_for(&tap, conns.len());
    }
}

/// Nobody reads the standard output, or the reader is gone: records that it does not get are
/// counted, and the file has all of them.
#[tokio::test]
async fn an_output_that_is_blocked_or_closed_costs_only_its_own_records() {
    const OPEN: usize = 120;
    let (peer, _control) = tunnel::start(&Via::Plain).await;
    for blocked in [true, false] {
        // The pipe takes 64 KiB before it is full.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut reader = Some(reader).filter(|_| blocked);
        let mut tap = Setup::before(&peer)
            .set("timeouts.drain", "500ms")
            .set("output", "json")
            .printing_to(writer.into())
            .start()
            .await;
        let conns = silent(&tap, Face::Plain, OPEN).await;
        let began = Instant::now();
        tap.signal_term();
        assert_eq!(tap.exited(STEP).await.code(), Some(0));
        let took = began.elapsed();
        assert!(took <= Duration::from_millis(500) + beyond(), "{took:?}");
        accounts_for(&tap, conns.len());
        let mut printed = String::new();
        if let Some(reader) = &mut reader {
            reader.read_to_string(&mut printed).expect("read the pipe");
        }
        let whole = printed.matches('\n').count();
        assert!(whole < OPEN, "the pipe is too large for this test");
        assert_eq!(whole + lost(&tap, "stdout"), OPEN, "{}", tap.stderr());
    }
}
