//! HTTP/2 with a client (RFC 9113), if ALPN selected it. Each stream's request goes through the
//! same stack as an HTTP/1 request, and its head is checked by the same rules.
//!
//! Uses the `h2` library directly instead of hyper's wrapper around it: the wrapper hides whether a
//! stream was reset or ended, and cannot reset one; a tunnel's endings need both (RFC 8441 section
//! 5).

pub(crate) mod counts;
mod floods;
mod life;
mod records;
mod request;
mod stream;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Request;
use tokio::time::{Instant as Deadline, interval, sleep_until, timeout_at};
use tracing::Instrument as _;

use self::counts::Counts;
use self::floods::Pressure;
use self::life::{Life, Look};
use self::records::Ending;
use crate::admission::peer::Peer;
use crate::proxy::connection::Connection;
use crate::proxy::tap::Tap;
use crate::proxy::tap::current::Current;
use crate::session::record::client::Http2Facts;
use crate::session::record::{HeadFault, Http2Error, TransportEnd};
use crate::transport::clock;
use crate::transport::http2_watch::{LINGER, Watch, Watched};
use crate::transport::sensor::Sensor;

/// Number of bytes that a client may send on one stream before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Maximum number of bytes that we buffer for a client that reads one stream slowly.
const SEND_BUFFER: usize = 64 * 1024;

/// Malformed requests that one connection may send.
const MAX_MALFORMED: usize = 64;

/// How long a connection without streams may take to end after our GOAWAY.
const LAST_WORDS: Duration = LINGER.saturating_add(Duration::from_secs(1));

/// Serves the streams of a connection and records an ending that no request explains. Each request
/// is served under the configuration that is current when it comes; the settings sent to the client
/// at the start of the connection stay.
pub(crate) async fn serve(
    current: &Current,
    tap: &Arc<Tap>,
    mut connection: Arc<Connection>,
    sensor: Sensor,
) {
    let counts = Arc::new(Counts::default());
    if let Some(connection) = Arc::get_mut(&mut connection) {
        connection.speaks_http2(Arc::clone(&counts));
    }
    let (io, watch) = Watched::new(sensor);
    let limit = tap.config.timeouts().request_head;
    let began = connection.accepted.opened();
    let handshake = builder(tap).handshake::<_, Bytes>(io);
    let opened = tokio::select! {
        opened = timeout_at((began + limit).into(), handshake) => opened,
        () = tap.drain.token().cancelled() => {
            return records::ended(tap, &connection, &Ending::Drained);
        }
    };
    let ending = match opened {
        Err(_) => Ending::Silent(began.elapsed()),
        Ok(Err(error)) => Ending::of_error(&error),
        Ok(Ok(inner)) => {
            let serving = Serving {
                current,
                tap,
                connection: Arc::clone(&connection),
                counts,
                watch,
                recorded: 0,
                leaving: None,
                ending: None,
                inner,
            };
            serving.run().await
        }
    };
    records::ended(tap, &connection, &ending);
}

fn builder(tap: &Tap) -> server::Builder {
    let limits = tap.config.limits();
    let http2 = tap.config.http2();
    let streams = http2.max_concurrent_streams;
    // Larger than our own limits, so that we ourselves answer and record most heads that are too
    // large.
    let head = limits.head_bytes.saturating_mul(2) + limits.headers.saturating_mul(64);
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(streams)
        .initial_window_size(STREAM_WINDOW)
        // A stream that is not read must not stop the others.
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(streams))
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(Some(MAX_MALFORMED));
    if http2.websocket {
        builder.enable_connect_protocol();
    }
    builder
}

/// A connection whose preface has come.
struct Serving<'a> {
    current: &'a Current,
    /// As it was when the connection came.
    tap: &'a Arc<Tap>,
    connection: Arc<Connection>,
    counts: Arc<Counts>,
    watch: Arc<Watch>,
    /// Refused streams that have a record.
    recorded: usize,
    /// Set once we have sent GOAWAY: until when we wait for the open streams.
    leaving: Option<Deadline>,
    /// Why the connection ends, if that goes into the record.
    ending: Option<Ending>,
    inner: server::Connection<Watched, Bytes>,
}

impl Serving<'_> {
    async fn run(mut self) -> Ending {
        let limit = self.tap.config.timeouts().request_head;
        let mut draining = pin!(self.tap.drain.token().cancelled());
        let look = (limit / 4).clamp(Duration::from_millis(10), Duration::from_secs(5));
        let mut looks = interval(look);
        let mut pings = self.inner.ping_pong();
        let mut life = Life::new(limit, Instant::now());
        loop {
            let leaving = self.leaving;
            tokio::select! {
                accepted = poll_fn(|cx| {
                    let polled = self.inner.poll_accept(cx);
                    self.tell_refused();
                    polled
                }) => match accepted {
                    Some(Ok((request, respond))) => self.begin(request, respond),
                    Some(Err(error)) => {
                        let ending = Ending::of_error(&error);
                        return self.ending.unwrap_or(ending);
                    }
                    None => return self.ending.unwrap_or(Ending::Left),
                },
                () = &mut draining, if leaving.is_none() => {
                    self.ending = Some(Ending::Drained);
                    self.go_away(self.tap.drain.plan().deadline.into());
                }
                () = until(leaving) => return self.ending.unwrap_or(Ending::Left),
                _ = looks.tick(), if leaving.is_none() => {
                    let open = self.inner.has_streams();
                    let first = self.counts.facts(None) == Http2Facts::default();
                    let read = self.connection.state.sensed.bytes_read();
                    match life.look(Instant::now(), read, open) {
                        Look::Well => {}
                        Look::Ask => ask(pings.as_mut()),
                        Look::Idle(waited) => {
                            self.ending = first.then_some(Ending::Silent(waited));
                            self.go_away(Deadline::now() + LAST_WORDS);
                        }
                        Look::Dead => {
                            let words = "no answer came to an HTTP/2 ping".to_owned();
                            self.connection
                                .state
                                .sensed
                                .ended(TransportEnd::Timeout, Some(words.into()));
                            return Ending::Left;
                        }
                    }
                }
            }
            self.end_floods();
        }
    }

    fn begin(&mut self, mut request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let id = respond.stream_id().as_u32();
        self.watch.taken(id);
        let before = self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let opened = if before == 0 {
            self.connection.accepted
        } else {
            clock::anchor()
        };
        let tap = self.current.tap();
        // Each stream can use as much as a connection: a tunnel, and a connection to the gateway.
        let peer = self.connection.peer();
        let unnamed = matches!(peer, Peer::Relayed { client: None, .. });
        let (counted, admitted) = tap.admit_connection(peer, unnamed);
        if let Err(denial) = admitted {
            request.extensions_mut().insert(denial);
        }
        let stream = Arc::new(self.connection.stream(id, opened, counted));
        let carrier = Arc::clone(&self.connection);
        let exchange = stream::Exchange::new(tap, stream, carrier, respond);
        let task = exchange.run(request).in_current_span();
        self.tap.tasks.spawn(task);
    }

    /// Accepts no new streams; open ones may finish.
    fn go_away(&mut self, deadline: Deadline) {
        self.inner.graceful_shutdown();
        self.leaving = Some(deadline);
    }

    /// Ends a connection whose client opens streams only to reset them (CVE-2023-44487).
    fn end_floods(&mut self) {
        let facts = self.counts.facts(None);
        if self.ending.is_some() || !Pressure::of(&facts).is_flood() {
            return;
        }
        let detail = format!(
            "the client reset {} of {} requests before they were answered",
            facts.cancelled, facts.requests
        );
        self.ending = Some(Ending::Broken(
            HeadFault::Http2Flood,
            Some(Http2Error::EnhanceYourCalm),
            detail,
        ));
        self.inner.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        self.leaving = Some(Deadline::now() + LAST_WORDS);
    }

    /// Writes records for the first requests that the library refused by itself.
    fn tell_refused(&mut self) {
        let refused = self.watch.refused();
        if refused.is_empty() {
            return;
        }
        let total = self.watch.refused_total();
        self.counts.refused.store(total, Ordering::Relaxed);
        for refused in refused {
            if self.recorded < records::MAX_REFUSED {
                self.recorded += 1;
                records::refused(self.tap, &self.connection, refused);
            }
        }
    }
}

async fn until(deadline: Option<Deadline>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Sends a ping. Its answer is seen as bytes that came.
fn ask(pings: Option<&mut PingPong>) {
    if let Some(pings) = pings {
        // The library sends no further ping until the answer to the previous one has been taken.
        let _ = pings.poll_pong(&mut Context::from_waker(Waker::noop()));
        let _ = pings.send_ping(Ping::opaque());
    }
}
