//! Kept connections for plain requests, by hyper-util's client.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{
    CaptureConnection, Connected, Connection, capture_connection,
};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::{DialFacts, Dialler};
use crate::transport::sensor::{Sensed, Sensor};

/// The gateway closes kept connections after 5 s (seen with 2026.9.6); a little less avoids
/// sending a request into a connection that is being closed.
const IDLE: Duration = Duration::from_secs(4);

/// Kept connections at most.
const MAX_IDLE: usize = 64;

/// What is known of the connection that served a request; in the response's extensions.
#[derive(Clone, Debug)]
pub struct PooledConnection {
    /// How it was dialled.
    pub facts: Arc<DialFacts>,
    /// What was sensed of it.
    pub sensed: Arc<Sensed>,
    used: Arc<AtomicBool>,
}

impl PooledConnection {
    /// Whether an earlier answer came on this connection; counts this one.
    #[must_use]
    pub fn is_used_again(&self) -> bool {
        self.used.swap(true, Ordering::Relaxed)
    }
}

/// Sends plain requests.
#[derive(Debug)]
pub struct Pool<B> {
    client: Client<Connector, B>,
}

/// Another handle of the same pool.
impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
        }
    }
}

/// Which connections a request may go out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any.
    Any,
    /// Only those that the gateway does not see as coming from its own host: without attribution
    /// headers it would take the client for local there.
    NotLocal,
}

impl Reach {
    /// Names the one gateway; only a key for the library, so that the two kinds of connections do
    /// not mix. It never goes out.
    fn authority(self) -> http::uri::Authority {
        http::uri::Authority::from_static(match self {
            Self::Any => "gateway",
            Self::NotLocal => NOT_LOCAL,
        })
    }
}

const NOT_LOCAL: &str = "gateway-not-local";

/// The gateway would see the connection as coming from its own host, and it must not.
#[derive(Debug, thiserror::Error)]
#[error("the gateway was connected at {}, on this host", facts.addr.as_deref().unwrap_or_default())]
pub struct SeenAsLocal {
    /// How it was dialled.
    pub facts: Box<DialFacts>,
}

impl<B> Pool<B>
where
    B: http_body::Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A pool for this gateway.
    #[must_use]
    pub fn new(dialler: Dialler) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .set_host(false)
            .http1_preserve_header_case(true)
            .http1_max_headers(1024)
            .build(Connector { dialler });
        Self { client }
    }

    /// Sends a request whose URI has a path only; answers with the response's head. `connected`
    /// is told the connection as soon as there is one, long before a slow answer.
    pub async fn send(
        &self,
        mut request: Request<B>,
        reach: Reach,
        connected: impl FnOnce(&PooledConnection),
    ) -> Result<Response<Incoming>, Error> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(reach.authority());
        if parts.path_and_query.is_none() {
            parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        }
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        let mut told = Told {
            captured: capture_connection(&mut request),
            tell: Some(connected),
        };
        let mut answer = std::pin::pin!(self.client.request(request));
        tokio::select! {
            // The connection first: an answer that is there already must not hide it.
            biased;
            () = told.wait() => {}
            answer = &mut answer => return answer,
        }
        answer.await
    }
}

/// Tells which connection a request goes out on, once. Whoever waits for an answer may leave between
/// the moment in which it goes out and the next look: then it is told when this is dropped.
struct Told<F: FnOnce(&PooledConnection)> {
    captured: CaptureConnection,
    tell: Option<F>,
}

impl<F: FnOnce(&PooledConnection)> Told<F> {
    async fn wait(&mut self) {
        self.captured.wait_for_connection_metadata().await;
        self.now();
    }

    fn now(&mut self) {
        let mut extensions = http::Extensions::new();
        if let Some(about) = self.captured.connection_metadata().as_ref() {
            about.get_extras(&mut extensions);
        }
        if let Some(about) = extensions.remove::<PooledConnection>()
            && let Some(tell) = self.tell.take()
        {
            tell(&about);
        }
    }
}

impl<F: FnOnce(&PooledConnection)> Drop for Told<F> {
    fn drop(&mut self) {
        self.now();
    }
}

#[derive(Clone, Debug)]
struct Connector {
    dialler: Dialler,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Pooled>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let not_local = uri.host() == Some(NOT_LOCAL);
        let dialler = self.dialler.clone();
        Box::pin(async move {
            let (stream, facts) = dialler.dial().await?;
            if not_local && facts.is_local() {
                let facts = Box::new(facts);
                return Err(SeenAsLocal { facts }.into());
            }
            let (sensor, sensed) = Sensor::for_answers(stream);
            let about = PooledConnection {
                facts: Arc::new(facts),
                sensed,
                used: Arc::default(),
            };
            Ok(TokioIo::new(Pooled { sensor, about }))
        })
    }
}

/// A connection of the pool.
#[derive(Debug)]
struct Pooled {
    sensor: Sensor,
    about: PooledConnection,
}

impl Connection for Pooled {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.about.clone())
    }
}

impl AsyncRead for Pooled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.sensor).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pooled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.sensor).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.sensor).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.sensor).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.sensor).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::path::Path;

    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{self, Overrides};

    /// A pool for a listener on loopback that answers each connection's first request.
    async fn pool() -> Pool<Full<Bytes>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let _ = tcp.read(&mut head).await;
                let _ = tcp.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                // Kept open, so that it would be used again.
                tokio::spawn(async move { tcp.read(&mut head).await });
            }
        });
        let text = format!("gateway: {{ url: '{url}' }}");
        let config = config::parse(&text, Path::new("test"), &Overrides::default()).unwrap();
        let limit = Duration::from_secs(5);
        Pool::new(Dialler::new(config.gateway(), limit, config.tcp(), None).unwrap())
    }

    fn request() -> Request<Full<Bytes>> {
        Request::get("/").body(Full::default()).unwrap()
    }

    #[tokio::test]
    async fn a_local_connection_is_never_used_where_it_must_not_be() {
        let pool = pool().await;
        let answer = pool.send(request(), Reach::Any, |_| {}).await.unwrap();
        assert_eq!(answer.status(), 204);
        // Neither the one that is kept nor a new one.
        for _ in 0..2 {
            let sent = pool.send(request(), Reach::NotLocal, |_| panic!("connected"));
            let error = sent.await.unwrap_err();
            let cause = error.source().unwrap().downcast_ref::<SeenAsLocal>();
            assert_eq!(
                cause.unwrap().facts.our_ip().unwrap().to_string(),
                "127.0.0.1"
            );
        }
    }
}
