//! From an accepted connection to HTTP: the TLS handshake, plain HTTP on a TLS port, and the
//! records of connections whose handshake did not complete.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{timeout, timeout_at};
use tracing::Instrument as _;

use crate::proxy::connection::early::{self, Awaited, Early, Why};
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::connection::{Connection, Ends, http1, http2, passthrough};
use crate::proxy::tap::Tap;
use crate::proxy::tap::current::Current;
use crate::proxy::tap::open_connections::ConnectionGuard;
use crate::session::end_cause::EndCause;
use crate::session::moment::{Anchor, millis};
use crate::session::party::Leg;
use crate::session::record::DeniedFact;
use crate::session::record::{ClientTls, FirstBytes, TimerKey, TlsFailure, TransportEnd};
use crate::transport::listening::{Accepted, Listening};
use crate::transport::sensed::Sensed;
use crate::transport::sensor::Sensor;
use crate::transport::socket::ClientSocket;
use crate::transport::stream::Stream;
use crate::transport::tls::{self, Terminator};
use crate::transport::{cause, clock, options};

/// How long we keep reading from a client after an answer that ends the connection, so that a reset
/// does not destroy the answer on its way.
const LINGER: Duration = Duration::from_secs(1);

/// Type of the first record of a client's TLS handshake (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Number of first bytes that show which protocol a client speaks.
const FIRST: usize = 8;

/// A bound listener and its protocol.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// The socket.
    listener: Listening,
    /// Contains `None` for plain HTTP. A reload replaces the terminator for later connections.
    tls: Arc<ArcSwapOption<Terminator>>,
    /// Index of the listener in the configuration.
    index: usize,
    key: Arc<str>,
}

impl Acceptor {
    /// An acceptor for the listener at this index of the configuration.
    #[must_use]
    pub(crate) fn new(
        listener: Listening,
        tls: Arc<ArcSwapOption<Terminator>>,
        index: usize,
    ) -> Self {
        Self {
            listener,
            tls,
            index,
            key: format!("listeners[{index}]").into(),
        }
    }

    /// Accepts until the drain begins.
    pub(crate) async fn run(self, current: Arc<Current>) {
        let drain = Arc::clone(&current.tap().drain);
        let mut drained = pin!(drain.token().cancelled());
        loop {
            let arrival = async {
                if matches!(self.listener, Listening::Redirected(_)) {
                    // A redirected client did not choose to connect to us: at our limit it waits to
                    // be accepted instead of being closed.
                    current.tap().has_room().await;
                }
                self.listener.accept().await
            };
            let arrived = tokio::select! {
                () = &mut drained => return,
                arrived = arrival => arrived,
            };
            let Accepted {
                socket,
                peer,
                local,
                course,
            } = arrived;
            let accepted = clock::anchor();
            let tap = current.tap();
            if let ClientSocket::Tcp(tcp) = &socket {
                options::apply(tcp, &tap.config.tcp());
            }
            let wanted = tap.config.listeners().get(self.index);
            let relays = wanted.is_some_and(|wanted| peer.is_in(&wanted.proxy_protocol));
            let (guard, admitted) = match course {
                Some(course) if course.is_check => (tap.admit_check(), Ok(())),
                _ => tap.admit_connection(&peer, relays),
            };
            let arrival = AcceptedConnection {
                current: Arc::clone(&current),
                tap: Arc::clone(&tap),
                ends: Ends {
                    peer,
                    local,
                    listener: Arc::clone(&self.key),
                    header: None,
                    course,
                },
                accepted,
                guard,
                tls: self.tls.load_full(),
            };
            let span = arrival.span();
            match admitted {
                // Boxed: a task is moved several times, and these are large.
                Ok(()) if relays => {
                    let task = arrival.relayed(socket).instrument(span);
                    drop(tap.tasks.spawn(Box::pin(task)));
                }
                Ok(()) => {
                    let task = arrival.serve(socket).instrument(span);
                    drop(tap.tasks.spawn(Box::pin(task)));
                }
                Err(denial) => span.in_scope(|| arrival.turn_away(socket, denial)),
            }
        }
    }
}

/// A connection that was just accepted.
pub(crate) struct AcceptedConnection {
    current: Arc<Current>,
    /// As it was when the connection came.
    pub(crate) tap: Arc<Tap>,
    pub(crate) ends: Ends,
    pub(crate) accepted: Anchor,
    pub(crate) guard: ConnectionGuard,
    /// As it was when the connection came.
    tls: Option<Arc<Terminator>>,
}

impl AcceptedConnection {
    /// The tracing span of the connection, up to its requests.
    fn span(&self) -> tracing::Span {
        let peer = self.ends.peer;
        let span = tracing::debug_span!("connection", client = %peer.text(), listener = %self.ends.listener);
        span.in_scope(|| tracing::debug!(local = %self.ends.local, "accepted"));
        span
    }

    pub(crate) fn connection(
        self,
        tls: Option<ClientTls>,
        sensed: Arc<Sensed>,
    ) -> (Arc<Tap>, Arc<Connection>) {
        let Self {
            current: _,
            tap,
            ends,
            accepted,
            guard,
            tls: terminator,
        } = self;
        let connection = Connection::new(ends, tls, accepted, sensed, guard);
        let connection = connection.through(terminator).along(tap.dialler());
        (tap, Arc::new(connection))
    }

    /// Closes the connection at once because a limit is reached.
    pub(crate) fn turn_away(self, socket: ClientSocket, denial: DeniedFact) {
        let (tap, connection) = self.connection(None, Arc::default());
        let early = Early {
            awaited: Awaited::Nothing,
            first: None,
            why: Why::Denied(denial),
            end: None,
        };
        // Drop the session last, so that its record is written after the client can see the close.
        let _session = early::record(&tap, &connection, connection.accepted, early);
        drop(socket);
    }

    pub(crate) async fn serve(self, mut socket: ClientSocket) {
        if self.tls.is_none()
            && let Some(course) = self.ends.course
        {
            let first = tokio::select! {
                first = first_byte(&socket) => first,
                () = self.tap.drain.token().cancelled() => None,
            };
            // A gateway may switch to TLS at any time, so each connection is classified by its own
            // first byte.
            if let ClientSocket::Tcp(tcp) = socket {
                if first == Some(TLS_HANDSHAKE) || course.is_unread {
                    let (tap, connection) = self.connection(None, Arc::default());
                    return passthrough::serve(&tap, connection, tcp).await;
                }
                socket = ClientSocket::Tcp(tcp);
            } else {
                return;
            }
        }
        let Some(terminator) = self.tls.clone() else {
            let (sensor, sensed) = Sensor::new(Stream::from(socket));
            let current = Arc::clone(&self.current);
            let (tap, connection) = self.connection(None, sensed);
            return http1::serve(&current, &tap, connection, sensor).await;
        };
        let drain = Arc::clone(&self.tap.drain);
        let draining = drain.token();
        let limit = self.tap.config.timeouts().tls_handshake;
        let deadline = tokio::time::Instant::from_std(self.accepted.opened() + limit);
        let came = tokio::select! {
            came = timeout_at(deadline, tls::first(&mut socket)) => came,
            () = draining.cancelled() => return self.drained(ClientTls::default()),
        };
        let read = match came {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => {
                let (end, words) = cause::of_error(&error);
                self.without_tls(None, FirstBytes::None, Why::Left, Some((end, Some(words))));
                return;
            }
            Err(_) => return self.too_slow(limit, FirstBytes::None, ClientTls::default()),
        };
        let first = FirstBytes::of(read.get(..FIRST).unwrap_or(&read));
        match first {
            FirstBytes::None => {
                self.without_tls(None, first, Why::Left, Some((TransportEnd::Fin, None)));
            }
            FirstBytes::Http => self.plain_http_on_tls(socket).await,
            FirstBytes::Tls | FirstBytes::Proxy | FirstBytes::Other => {
                let mut facts = ClientTls::default();
                let accepted = tokio::select! {
                    accepted = timeout_at(
                        deadline,
                        tls::accept_read(socket, read, &terminator, &mut facts),
                    ) => accepted,
                    () = draining.cancelled() => return self.drained(facts),
                };
                match accepted {
                    Ok(Ok(stream)) => {
                        let took = self.accepted.since(Instant::now());
                        facts.handshake_ms = Some(millis(took));
                        let is_http2 = stream.is_http2();
                        tracing::debug!(ms = millis(took), is_http2, "TLS handshake done");
                        let (sensor, sensed) = Sensor::new(Stream::TlsServer(Box::new(stream)));
                        let current = Arc::clone(&self.current);
                        let (tap, connection) = self.connection(Some(facts), sensed);
                        if is_http2 {
                            http2::serve(&current, &tap, connection, sensor).await;
                        } else {
                            http1::serve(&current, &tap, connection, sensor).await;
                        }
                    }
                    Ok(Err(failed)) => self.tls_failed(first, failed),
                    Err(_) => self.too_slow(limit, first, facts),
                }
            }
        }
    }

    /// Records a connection whose TLS handshake did not complete. `end`: how the client ended it, if it
    /// did.
    fn without_tls(
        self,
        tls: Option<ClientTls>,
        first: FirstBytes,
        why: Why,
        end: Option<(TransportEnd, Option<EndCause>)>,
    ) -> SessionHandle {
        let (tap, connection) = self.connection(tls, Arc::default());
        let early = Early {
            awaited: Awaited::Tls,
            first: Some(first),
            why,
            end: end.map(|(end, cause)| (end, cause, Instant::now())),
        };
        early::record(&tap, &connection, connection.accepted, early)
    }

    fn tls_failed(self, first: FirstBytes, failed: tls::Failed) {
        tracing::debug!(?first, error = %failed.error, "TLS handshake failed");
        let end = match cause::of_error(&failed.error) {
            // Neither an alert nor bytes of ours caused this: the client ended it.
            (TransportEnd::TlsTruncated, _) => (TransportEnd::Fin, None),
            (end, words) => (end, Some(words)),
        };
        self.without_tls(Some(failed.facts), first, Why::Left, Some(end));
    }

    /// Records a handshake that our shutdown cuts off: there is nothing to wait for.
    fn drained(self, facts: ClientTls) {
        self.without_tls(Some(facts), FirstBytes::None, Why::Drained, None);
    }

    fn too_slow(self, limit: Duration, first: FirstBytes, mut facts: ClientTls) {
        let detail = "the TLS handshake did not complete in time".to_owned();
        facts.failure = Some(TlsFailure {
            detail,
            ..TlsFailure::default()
        });
        let waited = self.accepted.since(Instant::now());
        tracing::debug!(?first, ?waited, "TLS handshake timed out");
        let why = Why::TimedOut(TimerKey::TlsHandshake, limit, waited);
        self.without_tls(Some(facts), first, why, None);
    }

    /// Answers a client that used `http://` in plain HTTP, the only protocol that it speaks.
    async fn plain_http_on_tls(self, mut socket: ClientSocket) {
        let header = self.tap.config.session_header();
        let detail = "plain HTTP came where TLS was expected".to_owned();
        let facts = ClientTls {
            failure: Some(TlsFailure {
                detail,
                ..TlsFailure::default()
            }),
            ..ClientTls::default()
        };
        let (tap, connection) = self.connection(Some(facts), Arc::default());
        let (accepted, first) = (connection.accepted, Some(FirstBytes::Http));
        let session = early::begin(&tap, &connection, accepted, Awaited::Tls, first);
        let id = session.id();
        let body = format!("wstap: this port speaks TLS; use https:// or wss://\nsession: {id}\n");
        let session_line = if header {
            format!("x-wstap-session: {id}\r\n")
        } else {
            String::new()
        };
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; \
             charset=utf-8\r\ncontent-length: {}\r\nproxy-status: wstap; \
             error=http_request_error\r\n{session_line}\r\n{body}",
            body.len(),
        );
        let written = socket.write_all(answer.as_bytes()).await;
        session.record().acted(Instant::now());
        session
            .record()
            .answered_by_tap(400, Some("http_request_error"));
        if written.is_err() {
            session.record().answer_cut();
        }
        linger(socket).await;
        session
            .record()
            .leg_ended_by_tap(Leg::Client, Instant::now());
    }
}

/// Peeks at the first byte of a connection; `None` if the connection ended before it.
async fn first_byte(socket: &ClientSocket) -> Option<u8> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(1) => first.first().copied(),
        Ok(_) | Err(_) => None,
    }
}

/// Ends our side and reads what the client still sends, for a short time and up to a bound.
async fn linger(mut stream: ClientSocket) {
    let _ = timeout(LINGER, async {
        stream.shutdown().await?;
        let mut left = [0; 4096];
        for _ in 0..64 {
            if stream.read(&mut left).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    })
    .await;
}
