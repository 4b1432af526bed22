//! The listener's connections: few, short, one request each.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::Desk;
use crate::transport::listener;

/// Connections at the same time. When one more comes, the oldest goes: whoever opens many and says
/// nothing cannot keep a health check out.
const CONNECTIONS: usize = 64;

/// From accept to the end of a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// From accept to the last byte of the answer.
const LIFETIME: Duration = Duration::from_secs(15);

/// A request here has a few short headers, of which the token is the longest.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 64;

/// Accepts until it is dropped, and every connection ends with it.
pub async fn serve(desk: Arc<Desk>, listener: TcpListener) {
    let mut tasks = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::with_capacity(CONNECTIONS);
    loop {
        let (stream, _) = listener::accept(&listener).await;
        while tasks.try_join_next().is_some() {}
        open.retain(|task| !task.is_finished());
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tasks.spawn(connection(Arc::clone(&desk), stream)));
    }
}

async fn connection(desk: Arc<Desk>, stream: TcpStream) {
    let reached = stream.local_addr().map(|addr| addr.ip().to_canonical());
    let reached = reached.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, std::convert::Infallible>(desk.answer(request, reached).await) }
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
