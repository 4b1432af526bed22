//! Kept connections for plain requests.
//!
//! hyper drives each connection; this module decides which one a request goes out on. hyper-util's
//! client does not read `Keep-Alive` hints, and it cannot send a request again on a connection that is
//! certain to be new.

mod keep_alive;
mod stream;

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use self::keep_alive::kept_for;
use self::stream::{Again, Patience, PooledStream};
use super::dial::{DialFailed, Dialler};
use crate::session::dial::DialFacts;
use crate::session::record::TransportEnd;
use crate::transport::sensed::Sensed;

/// Maximum number of kept connections.
const MAX_IDLE: usize = 64;

/// The connection that a request goes out on.
#[derive(Clone, Debug)]
pub(crate) struct PooledConnection {
    /// How it was dialled.
    pub facts: Arc<DialFacts>,
    /// The observations of its sensor.
    pub sensed: Arc<Sensed>,
    again: Again,
}

/// The connections that a request may go out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Any connection.
    Any,
    /// Only connections that the gateway does not see as coming from its own host: on those it
    /// would take a client without attribution headers for local.
    NotLocal,
}

impl Reach {
    fn permits(self, facts: &DialFacts) -> bool {
        self == Self::Any || !facts.is_local()
    }
}

/// A step of a request on its way to the gateway.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// It goes out on this connection.
    Connected {
        /// The connection.
        connection: &'a PooledConnection,
        /// How long a kept connection had been idle; `None` for a new one.
        kept: Option<Duration>,
    },
    /// The kept connection that the request went out on ended before a byte of an answer: the
    /// request goes out once more, on a new connection.
    Repeated {
        /// The connection that ended.
        connection: &'a PooledConnection,
        /// How long it had been idle before this request.
        kept: Duration,
        /// Time from the request to the end of the connection.
        waited: Duration,
    },
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The gateway was not reached.
    #[error(transparent)]
    Dial(#[from] DialFailed),
    /// The gateway would see the connection as local to its host, which this request must avoid.
    #[error("the gateway's address {} is on this host", .0.addr.as_deref().unwrap_or_default())]
    SeenAsLocal(Box<DialFacts>),
    /// The connection ended or failed before an answer.
    #[error("failed to get an answer: {error}")]
    NoAnswer {
        /// The connection.
        connection: PooledConnection,
        /// Number of bytes that it had delivered for earlier requests.
        came_before: u64,
        /// hyper's error.
        error: hyper::Error,
    },
}

/// Sends plain requests.
#[derive(Debug)]
pub(crate) struct Pool<B> {
    shared: Arc<PoolInner<B>>,
}

/// Another handle to the same pool.
impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

#[derive(Debug)]
struct PoolInner<B> {
    dialler: Dialler,
    /// Last in, first out.
    idle: Mutex<Vec<Idle<B>>>,
}

/// A connection that waits for a request.
#[derive(Debug)]
struct Idle<B> {
    sender: SendRequest<B>,
    connection: PooledConnection,
    since: Instant,
    until: Instant,
    /// Dropped with this entry, which cancels the task that waits for its expiry.
    _used: oneshot::Sender<Infallible>,
}

/// A connection that a request goes out on.
struct Out<B> {
    sender: SendRequest<B>,
    connection: PooledConnection,
    kept: Option<Duration>,
}

impl<B> Pool<B>
where
    B: http_body::Body + Default + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A pool for this gateway.
    #[must_use]
    pub(crate) fn new(dialler: Dialler) -> Self {
        Self {
            shared: Arc::new(PoolInner {
                dialler,
                idle: Mutex::default(),
            }),
        }
    }

    /// Sends a request whose URI has only a path; returns the head of the answer. `step` is called
    /// before the request goes out, so before any wait for a slow answer.
    ///
    /// A request that a kept connection did not accept goes out on a new one. So does, once, an
    /// idempotent request without a body (RFC 9110 section 9.2.2) whose kept connection ended before a
    /// byte of an answer: the peer may have closed it while the request was on its way.
    pub(crate) async fn send(
        &self,
        request: Request<B>,
        reach: Reach,
        mut step: impl FnMut(Step<'_>),
    ) -> Result<Response<Incoming>, SendError> {
        let Some(out) = self.shared.take_kept(reach) else {
            return self.send_new(request, reach, step).await;
        };
        let (connection, kept) = (out.connection.clone(), out.kept.unwrap_or_default());
        let came_before = connection.sensed.bytes_read();
        let spare = is_repeatable(&request).then(|| again(&request));
        if request.body().is_end_stream() {
            connection.again.store(true, Ordering::Relaxed);
        }
        let sent = Instant::now();
        step(Step::Connected {
            connection: &connection,
            kept: out.kept,
        });
        let (error, unsent) = match self.send_on(out, request).await {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        let end = connection.sensed.end().map(|end| end.kind);
        if end == Some(TransportEnd::Timeout) {
            // The other kept connections lead to the same host.
            self.shared.forget_kept();
        }
        if let Some(request) = unsent {
            tracing::debug!(
                ?end,
                "a kept connection had ended before it took the request"
            );
            return self.send_new(request, reach, step).await;
        }
        match spare.filter(|_| connection.sensed.bytes_read() == came_before) {
            Some(request) => {
                tracing::debug!(
                    ?end,
                    "a kept connection ended before it answered; sending again"
                );
                step(Step::Repeated {
                    connection: &connection,
                    kept,
                    waited: sent.elapsed(),
                });
                self.send_new(request, reach, step).await
            }
            None => Err(SendError::NoAnswer {
                connection,
                came_before,
                error,
            }),
        }
    }

    async fn send_new(
        &self,
        request: Request<B>,
        reach: Reach,
        mut step: impl FnMut(Step<'_>),
    ) -> Result<Response<Incoming>, SendError> {
        let (stream, facts) = self.shared.dialler.dial().await?;
        if !reach.permits(&facts) {
            return Err(SendError::SeenAsLocal(Box::new(facts)));
        }
        let (stream, sensed, again) = PooledStream::new(stream, self.shared.patience());
        let connection = PooledConnection {
            facts: Arc::new(facts),
            sensed,
            again,
        };
        let no_answer = |error| SendError::NoAnswer {
            connection: connection.clone(),
            came_before: 0,
            error,
        };
        let handshake = http1::Builder::new()
            .preserve_header_case(true)
            .max_headers(1024)
            .handshake(TokioIo::new(stream));
        let (sender, driver) = handshake.await.map_err(no_answer)?;
        // The connection ends when its sender is dropped, which is in the list or with a request.
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::trace!(%error, "a pooled connection to the gateway ended");
            }
        });
        step(Step::Connected {
            connection: &connection,
            kept: None,
        });
        let out = Out {
            sender,
            connection: connection.clone(),
            kept: None,
        };
        let sent = self.send_on(out, request).await;
        sent.map_err(|(error, _)| no_answer(error))
    }

    /// Sends the request; the connection is kept once the answer has been read. The error returns
    /// the request if nothing of it was written.
    async fn send_on(
        &self,
        out: Out<B>,
        request: Request<B>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<B>>)> {
        let Out {
            mut sender,
            connection,
            ..
        } = out;
        let sent = sender.try_send_request(request).await;
        let answer = sent.map_err(|mut failed| {
            let unsent = failed.take_message();
            (failed.into_error(), unsent)
        })?;
        if let Some(keep) = kept_for(answer.headers()) {
            let shared = Arc::downgrade(&self.shared);
            tokio::spawn(keep_for(shared, sender, connection, keep));
        }
        Ok(answer)
    }
}

/// Keeps a connection after its answer until it is used or expires.
async fn keep_for<B>(
    shared: Weak<PoolInner<B>>,
    mut sender: SendRequest<B>,
    connection: PooledConnection,
    keep: Duration,
) {
    // On an error the connection ended with its answer.
    if sender.ready().await.is_err() {
        return;
    }
    let (guard, used) = oneshot::channel();
    let since = Instant::now();
    let until = since + keep;
    {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let mut idle = shared.idle();
        idle.retain(|it| !it.sender.is_closed());
        if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        idle.push(Idle {
            sender,
            connection,
            since,
            until,
            _used: guard,
        });
    }
    tokio::select! {
        _ = used => {}
        () = tokio::time::sleep_until(until.into()) => {
            if let Some(shared) = shared.upgrade() {
                let now = Instant::now();
                shared.idle().retain(|it| it.until > now && !it.sender.is_closed());
            }
        }
    }
}

impl<B> PoolInner<B> {
    fn take_kept(&self, reach: Reach) -> Option<Out<B>> {
        let now = Instant::now();
        let mut idle = self.idle();
        idle.retain(|it| it.until > now && !it.sender.is_closed());
        let place = idle
            .iter()
            .rposition(|it| reach.permits(&it.connection.facts))?;
        let Idle {
            sender,
            connection,
            since,
            ..
        } = idle.remove(place);
        Some(Out {
            sender,
            connection,
            kept: Some(now.saturating_duration_since(since)),
        })
    }

    fn forget_kept(&self) {
        self.idle().clear();
    }

    /// Bytes on a kept connection may stay unacknowledged for as long as a new connection may take
    /// to connect: by then, a new one would have failed.
    fn patience(&self) -> Patience {
        let usual = self.dialler.tcp().user_timeout;
        Patience {
            kept: self.dialler.limit().min(usual),
            usual,
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle<B>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_repeatable<B: http_body::Body>(request: &Request<B>) -> bool {
    request.method().is_idempotent() && request.body().is_end_stream()
}

/// A copy of the request, which has no body.
fn again<B: Default>(request: &Request<B>) -> Request<B> {
    let mut again = Request::new(B::default());
    request.method().clone_into(again.method_mut());
    request.uri().clone_into(again.uri_mut());
    *again.version_mut() = request.version();
    request.headers().clone_into(again.headers_mut());
    request.extensions().clone_into(again.extensions_mut());
    again
}

#[cfg(test)]
mod tests;
