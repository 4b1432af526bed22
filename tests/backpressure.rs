//! A peer that does not read is felt by the one that writes, and costs the tap nothing.

use std::time::Duration;

use wstap::session::record::Class;

use crate::peers::{Via, never_reads, pusher};
use crate::support::client::connect_narrow;
use crate::support::deadline::settled;
use crate::support::frame::Frame;
use crate::support::records::class;
use crate::support::tap::{Face, Setup};

const STILL: Duration = Duration::from_millis(500);

/// The largest number of bytes in flight: the tap's own buffers, and those of the kernel, which it
/// enlarges up to its configured maximum.
fn under_way() -> u64 {
    let most = |setting: &str| -> u64 {
        let path = format!("/proc/sys/net/ipv4/{setting}");
        let text = std::fs::read_to_string(path).expect("the kernel's setting");
        let last = text.split_whitespace().last().expect("its maximum");
        last.parse().expect("a number of bytes")
    };
    (1 << 20) + 2 * most("tcp_wmem") + most("tcp_rmem")
}

#[tokio::test]
async fn a_client_that_never_reads_stops_the_gateway() {
    let (peer, pushed) = pusher::start(&Via::Plain, 32_768).await;
    let tap = Setup::before(&peer).start().await;
    let before = tap.resident_kib();
    let mut conn = connect_narrow(tap.addr(Face::Plain), 64 * 1024).await;
    conn.open("/").await;
    let stuck = settled(STILL, || pushed.bytes()).await;
    assert!(
        stuck < under_way(),
        "{stuck} bytes were taken though nobody reads"
    );
    let grown = tap.resident_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "the tap grew by {grown} KiB");

    // What was held back is not lost: it comes once the client reads.
    let half = usize::try_from(stuck / 2).unwrap();
    let got = conn.exactly(half).await.unwrap();
    let frame = Frame::binary(vec![0x5a; pusher::FRAME]).to_bytes();
    let whole = got.chunks_exact(frame.len());
    assert!(whole.clone().count() > 0 && whole.into_iter().all(|chunk| chunk == frame));
    settled(STILL, || pushed.bytes()).await;
    conn.abort();
    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::ClientLeft);
    let latency = record.latency.expect("a tunnel");
    assert!(latency.blocked_ms.to_client > 0.0);
    assert!(latency.buffered_max_bytes > 0 && latency.buffered_max_bytes < 1 << 20);
}

#[tokio::test]
async fn many_slow_clients_cost_no_memory_to_speak_of() {
    let (peer, pushed) = pusher::start(&Via::Plain, 32_768).await;
    let tap = Setup::before(&peer).start().await;
    let before = tap.resident_kib();
    let mut conns = Vec::new();
    for _ in 0..32 {
        let mut conn = connect_narrow(tap.addr(Face::Plain), 16 * 1024).await;
        conn.open("/").await;
        conns.push(conn);
    }
    settled(STILL, || pushed.bytes()).await;
    let grown = tap.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "32 slow clients cost {grown} KiB");
}

#[tokio::test]
async fn a_gateway_that_never_reads_stops_the_client() {
    let peer = never_reads::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let before = tap.resident_kib();
    let conn = tap.connect(Face::Tls).await;
    let mut conn = conn.with_limit(Duration::from_secs(2));
    conn.open("/").await;
    let blocked = conn.send_masked(Frame::binary(vec![1; 64 << 20])).await;
    assert_eq!(blocked.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    let grown = tap.resident_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "the tap grew by {grown} KiB");
}
