//! Health checks during a flood of connections that send nothing, or much.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::{get, raw};
use crate::peers::{Via, echo};
use crate::support::deadline::{promised, within};
use crate::support::tap::Setup;

/// Time limit of a health check: a usual one in Kubernetes and Docker.
const PATIENCE: Duration = Duration::from_secs(5);

/// How each of the flooders begins. Nobody reads an answer.
const WORDS: [&str; 5] = [
    "",
    "GET /healthz HTT",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /sessions HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
];

/// Connects again and again, and keeps the last hundred connections.
async fn flood(from: Ipv4Addr, addr: SocketAddr, words: &str) {
    let mut kept = std::collections::VecDeque::new();
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind((from, 0).into()).unwrap();
        // The listener may close it at any time.
        if let Ok(mut stream) = socket.connect(addr).await {
            let _ = stream.write_all(words.as_bytes()).await;
            kept.push_back(stream);
        }
        if kept.len() > 100 {
            kept.pop_front();
        }
        tokio::task::yield_now().await;
    }
}

async fn beside(addresses: impl Fn(usize) -> Ipv4Addr) {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    let addr = tap.admin();
    let mut floods = JoinSet::new();
    for (number, words) in WORDS.into_iter().cycle().take(10).enumerate() {
        floods.spawn(flood(addresses(number), addr, words));
    }
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let mut longest = Duration::ZERO;
    for _ in 0..40 {
        let asked = Instant::now();
        let answer = within("a health check", raw(addr, request.as_bytes())).await;
        assert_eq!(answer.status(), 200);
        longest = longest.max(asked.elapsed());
    }
    assert!(longest < promised(PATIENCE), "{longest:?}");
    floods.shutdown().await;
    // And it goes on as before.
    assert_eq!(get(&tap, "/readyz").await.json()["checks"][0]["ok"], true);
    eprintln!("the longest of 40 health checks took {longest:?}");
}

#[tokio::test]
async fn health_checks_are_answered_beside_a_flood_of_their_own_address() {
    beside(|_| Ipv4Addr::LOCALHOST).await;
}

#[tokio::test]
async fn health_checks_are_answered_beside_a_flood_of_many_addresses() {
    beside(|number| Ipv4Addr::new(127, 0, 1, u8::try_from(number).unwrap() + 1)).await;
}
