//! The listener's connections: few, short, one request each.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::timeout;

use super::service::AdminService;
use crate::transport::listener;

/// Maximum number of connections at a time. One more evicts the oldest of the address with the most
/// connections, so that an address that opens many cannot keep a health check out.
const CONNECTIONS: usize = 64;

/// From accept to the end of a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// From accept to the last byte of the answer.
const LIFETIME: Duration = Duration::from_secs(15);

/// A request here has a few short headers; the token is the longest one.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 64;

/// Accepts until it is dropped, which also ends every connection.
pub(crate) async fn serve(service: Arc<AdminService>, listener: TcpListener) {
    let mut tasks = JoinSet::new();
    let mut open = Open::default();
    loop {
        let (stream, peer) = listener::accept(&listener).await;
        let _ = stream.set_nodelay(true);
        while tasks.try_join_next().is_some() {}
        open.make_room();
        let reached = stream.local_addr().map(|addr| addr.ip().to_canonical());
        let reached = reached.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let task = tasks.spawn(connection(Arc::clone(&service), stream, reached));
        open.0.push_back((peer.ip(), task));
        // Let the new connection read its request first. Otherwise the whole backlog would be accepted at once, and its
        // first connections evicted before their requests were read.
        yield_now().await;
    }
}

/// The open connections, oldest first, each with its client's address.
#[derive(Debug, Default)]
struct Open(VecDeque<(IpAddr, AbortHandle)>);

impl Open {
    /// Evicts a connection if there is no room for one more.
    fn make_room(&mut self) {
        self.0.retain(|(_, task)| !task.is_finished());
        if self.0.len() < CONNECTIONS {
            return;
        }
        let all = |of: IpAddr| self.0.iter().filter(|(from, _)| *from == of).count();
        // Newest first, because `max_by_key` returns the last of equals: the oldest.
        let places = self.0.iter().enumerate().rev();
        let most = places.max_by_key(|(_, (from, _))| all(*from));
        let place = most.map(|(place, _)| place);
        if let Some((_, task)) = place.and_then(|place| self.0.remove(place)) {
            tracing::debug!("evicted a connection of the admin listener");
            task.abort();
        }
    }
}

async fn connection<S>(service: Arc<AdminService>, stream: S, reached: IpAddr)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, std::convert::Infallible>(service.answer(request, reached).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(LIFETIME, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection of the admin listener failed"),
        Err(_) => tracing::debug!("a connection of the admin listener took too long"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::admin::{Now, NowReader, Parts, Reloads};
    use crate::config::{self, Overrides};
    use crate::sink::{RecordPipeline, Wanted};
    use crate::upstream::Dialler;

    fn service() -> Arc<AdminService> {
        let text = "gateway: { url: 'http://127.0.0.1:1' }\nadmin: {}";
        let config = config::parse(text, Path::new("test"), &Overrides::default()).unwrap();
        let limit = config.timeouts().connect;
        let dialler = Dialler::new(config.gateway(), limit, config.tcp(), None).unwrap();
        let parts = Parts {
            admin: config.admin().unwrap().clone(),
            listeners: Vec::new(),
            tls_keylog: None,
            draining: CancellationToken::new(),
            pipeline: Arc::new(RecordPipeline::new(Vec::new(), Wanted::ALL)),
            now: NowReader(Box::new(move || Now {
                connections: 0,
                handshakes: 0,
                dialler: dialler.clone(),
                reloads: Reloads::default(),
            })),
        };
        Arc::new(AdminService::new(parts))
    }

    /// A client on loopback with room for 64 bytes, and how long the server keeps it.
    fn serve() -> (DuplexStream, impl Future<Output = Duration>) {
        let (client, server) = duplex(64);
        let started = Instant::now();
        let serving = connection(service(), server, Ipv4Addr::LOCALHOST.into());
        (client, async move {
            serving.await;
            started.elapsed()
        })
    }

    /// An address with few connections keeps them, however many others open.
    #[tokio::test]
    async fn the_oldest_goes_of_the_address_that_has_most() {
        let address = |last: u8| IpAddr::from([127, 0, 0, last]);
        let mut tasks = JoinSet::new();
        let mut open = Open::default();
        let mut comes = |open: &mut Open, last: u8| {
            open.make_room();
            let task = tasks.spawn(std::future::pending::<()>());
            open.0.push_back((address(last), task));
        };
        comes(&mut open, 1);
        for turn in 0..4 * CONNECTIONS {
            comes(&mut open, if turn % 3 == 0 { 2 } else { 3 });
        }
        let all = |last: u8| {
            open.0
                .iter()
                .filter(|(from, _)| *from == address(last))
                .count()
        };
        assert_eq!(open.0.len(), CONNECTIONS);
        assert_eq!(open.0.front().map(|(from, _)| *from), Some(address(1)));
        assert!(all(2).abs_diff(all(3)) <= 1, "{} {}", all(2), all(3));
        // Of equals, the oldest: all of one address, or one each.
        let (mut same, mut each) = (Open::default(), Open::default());
        for last in 0..64 {
            comes(&mut same, 1);
            comes(&mut each, last);
        }
        let second = same.0.get(1).map(|(_, task)| task.id());
        same.make_room();
        each.make_room();
        assert_eq!(same.0.front().map(|(_, task)| task.id()), second);
        assert_eq!(each.0.front().map(|(from, _)| *from), Some(address(1)));
    }

    const ASK: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_its_answer_is_let_go() {
        let (mut client, kept) = serve();
        client.write_all(ASK).await.unwrap();
        assert_eq!(kept.await, LIFETIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_a_byte_now_and_then_is_let_go_too() {
        let (mut client, kept) = serve();
        client.write_all(ASK).await.unwrap();
        let reading = async {
            let mut byte = [0];
            while client.read(&mut byte).await.is_ok_and(|count| count > 0) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let (kept, ()) = tokio::join!(kept, reading);
        assert_eq!(kept, LIFETIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_for_nothing_is_let_go_earlier() {
        let (_client, kept) = serve();
        assert_eq!(kept.await, HEAD_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_has_its_answer_at_once() {
        let (mut client, kept) = serve();
        client.write_all(ASK).await.unwrap();
        let mut answer = String::new();
        let (kept, read) = tokio::join!(kept, client.read_to_string(&mut answer));
        read.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert_eq!(kept, Duration::ZERO);
    }
}
