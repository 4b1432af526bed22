//! From an accepted connection to hyper: TLS, what is no TLS, and how a connection ended that
//! never became a request.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{timeout, timeout_at};
use tower::ServiceExt;

use super::connection::{Connection, Ends};
use super::current::Current;
use super::gate::Gate;
use super::layers::record;
use super::session::Shared;
use super::stack;
use super::tap::{ConnectionGuard, Denial, Tap};
use crate::admission::head;
use crate::session::moment::{Anchor, millis};
use crate::session::party::{Leg, Phase};
use crate::session::record::{
    AnswerBy, AnswerFacts, ClientTls, FirstBytes, HeadFault, TimerKey, TlsFailure, TransportEnd,
};
use crate::transport::listening::Listening;
use crate::transport::sensor::{Sensed, Sensor};
use crate::transport::socket::ClientSocket;
use crate::transport::stream::Stream;
use crate::transport::tls::{self, Terminator};
use crate::transport::{cause, clock, options};

/// hyper takes no smaller buffer.
const MIN_BUFFER: usize = 8 * 1024;

/// How long we read what a client still sends after an answer that ends the connection, so that a
/// reset does not destroy the answer on its way.
const LINGER: Duration = Duration::from_secs(1);

/// A bound listener and what is spoken on it.
#[derive(Debug)]
pub struct Acceptor {
    /// The socket.
    listener: Listening,
    /// `None` in it for plain HTTP. A reload puts another one there for the next connections.
    tls: Arc<ArcSwapOption<Terminator>>,
    /// Its place among the listeners of the configuration.
    index: usize,
    key: Arc<str>,
}

impl Acceptor {
    /// For the listener at this place of the configuration.
    #[must_use]
    pub fn new(listener: Listening, tls: Arc<ArcSwapOption<Terminator>>, index: usize) -> Self {
        Self {
            listener,
            tls,
            index,
            key: format!("listeners[{index}]").into(),
        }
    }

    /// Accepts until the drain begins.
    pub async fn run(self, current: Arc<Current>) {
        let drain = Arc::clone(&current.tap().drain);
        let mut drained = pin!(drain.token().cancelled());
        loop {
            let (socket, peer, local) = tokio::select! {
                () = &mut drained => return,
                accepted = self.listener.accept() => accepted,
            };
            let accepted = clock::anchor();
            let tap = current.tap();
            if let ClientSocket::Tcp(tcp) = &socket {
                options::apply(tcp, &tap.config.tcp());
            }
            let wanted = tap.config.listeners().get(self.index);
            let relays = wanted.is_some_and(|wanted| peer.is_in(&wanted.proxy_protocol));
            let (guard, admitted) = tap.admit_connection(&peer, relays);
            let arrival = Arrival {
                current: Arc::clone(&current),
                tap: Arc::clone(&tap),
                ends: Ends {
                    peer,
                    local,
                    listener: Arc::clone(&self.key),
                    header: None,
                },
                accepted,
                guard,
                tls: self.tls.load_full(),
            };
            match admitted {
                Ok(()) if relays => drop(tap.tasks.spawn(arrival.relayed(socket))),
                Ok(()) => drop(tap.tasks.spawn(arrival.serve(socket))),
                Err(denial) => arrival.turn_away(socket, denial),
            }
        }
    }
}

/// A connection that was just accepted.
pub(super) struct Arrival {
    current: Arc<Current>,
    /// As it was when the connection came.
    pub(super) tap: Arc<Tap>,
    pub(super) ends: Ends,
    pub(super) accepted: Anchor,
    pub(super) guard: ConnectionGuard,
    /// As it was when the connection came.
    tls: Option<Arc<Terminator>>,
}

impl Arrival {
    pub(super) fn connection(
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
        let drain = Arc::clone(&tap.drain);
        let connection = Connection::new(ends, tls, accepted, sensed, drain, guard);
        (tap, Arc::new(connection.through(terminator)))
    }

    /// A limit is reached: closed at once.
    pub(super) fn turn_away(self, socket: ClientSocket, denial: Denial) {
        let (tap, connection) = self.connection(None, Arc::default());
        let session = tap.open_record(&connection, connection.accepted);
        session.with(|rec| {
            let now = Instant::now();
            rec.ending.denied(denial.key, denial.detail, now);
            rec.ending
                .transport_ended(Leg::Client, TransportEnd::Local, None, now);
        });
        session.settle();
        drop(socket);
    }

    pub(super) async fn serve(self, socket: ClientSocket) {
        let Some(terminator) = self.tls.clone() else {
            let (sensor, sensed) = Sensor::new(socket.into_plain());
            let current = Arc::clone(&self.current);
            let (tap, connection) = self.connection(None, sensed);
            return serve_http(&current, &tap, connection, sensor).await;
        };
        let drain = Arc::clone(&self.tap.drain);
        let draining = drain.token();
        let limit = self.tap.config.timeouts().tls_handshake;
        let deadline = tokio::time::Instant::from_std(self.accepted.opened() + limit);
        let peeked = tokio::select! {
            peeked = timeout_at(deadline, peek(&socket)) => peeked,
            () = draining.cancelled() => return self.drained(ClientTls::default()),
        };
        let first = match peeked {
            Ok(Ok(first)) => first,
            Ok(Err(error)) => {
                let (end, words) = cause::of_error(&error);
                return self.no_tls(FirstBytes::None, end, Some(words));
            }
            Err(_) => return self.too_slow(limit, FirstBytes::None, ClientTls::default()),
        };
        match first {
            FirstBytes::None => self.no_tls(first, TransportEnd::Fin, None),
            FirstBytes::Http => self.plain_http_on_tls(socket).await,
            FirstBytes::Tls | FirstBytes::Proxy | FirstBytes::Other => {
                let mut facts = ClientTls::default();
                let accepted = tokio::select! {
                    accepted = timeout_at(deadline, tls::accept(socket, &terminator, &mut facts)) => {
                        accepted
                    }
                    () = draining.cancelled() => return self.drained(facts),
                };
                match accepted {
                    Ok(Ok(stream)) => {
                        let took = self.accepted.since(Instant::now());
                        facts.handshake_ms = Some(millis(took));
                        let (sensor, sensed) = Sensor::new(Stream::TlsServer(Box::new(stream)));
                        let current = Arc::clone(&self.current);
                        let (tap, connection) = self.connection(Some(facts), sensed);
                        serve_http(&current, &tap, connection, sensor).await;
                    }
                    Ok(Err(failed)) => self.tls_failed(first, failed),
                    Err(_) => self.too_slow(limit, first, facts),
                }
            }
        }
    }

    /// Opens the record of a connection that ends here.
    fn early(self, tls: Option<ClientTls>, first: FirstBytes) -> Shared {
        let (tap, connection) = self.connection(tls, Arc::default());
        let session = tap.open_record(&connection, connection.accepted);
        session.with(|rec| {
            rec.reach(Phase::Tls);
            rec.facts.client.first_bytes = Some(first);
        });
        session.settle();
        session
    }

    /// It ended before anything came.
    fn no_tls(self, first: FirstBytes, end: TransportEnd, cause: Option<String>) {
        let session = self.early(None, first);
        session.with(|rec| {
            rec.ending
                .transport_ended(Leg::Client, end, cause, Instant::now());
        });
    }

    fn tls_failed(self, first: FirstBytes, failed: tls::Failed) {
        let session = self.early(Some(failed.facts), first);
        let (end, words) = match cause::of_error(&failed.error) {
            // No alert and no byte of ours was the reason: the client ended it.
            (TransportEnd::TlsTruncated, _) => (TransportEnd::Fin, None),
            (end, words) => (end, Some(words)),
        };
        session.with(|rec| {
            rec.ending
                .transport_ended(Leg::Client, end, words, Instant::now());
        });
    }

    /// We shut down in the middle of a handshake: there is nothing to wait for.
    fn drained(self, facts: ClientTls) {
        let session = self.early(Some(facts), FirstBytes::None);
        session.with(|rec| {
            let now = Instant::now();
            rec.ending.drained(now);
            rec.ending
                .transport_ended(Leg::Client, TransportEnd::Local, None, now);
        });
    }

    fn too_slow(self, limit: Duration, first: FirstBytes, mut facts: ClientTls) {
        let detail = "the TLS handshake did not complete in time".to_owned();
        facts.failure = Some(TlsFailure {
            detail,
            ..TlsFailure::default()
        });
        let session = self.early(Some(facts), first);
        session.with(|rec| {
            let now = Instant::now();
            let observed = rec.anchor().since(now);
            rec.ending
                .timer_fired(TimerKey::TlsHandshake, limit, observed, now);
            rec.ending
                .transport_ended(Leg::Client, TransportEnd::Local, None, now);
        });
    }

    /// Somebody typed `http://`: say so in plain HTTP, the only language they speak.
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
        let session = self.early(Some(facts), FirstBytes::Http);
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
        session.with(|rec| {
            rec.ending.acted(Instant::now());
            rec.facts.answer = Some(AnswerFacts {
                by: AnswerBy::Tap,
                status: 400,
                error: Some("http_request_error".to_owned()),
                body_bytes: None,
                request_body_bytes: None,
                complete: written.is_ok(),
            });
        });
        linger(socket).await;
        session.with(|rec| {
            rec.ending
                .transport_ended(Leg::Client, TransportEnd::Local, None, Instant::now());
        });
    }
}

/// Ends our side and reads what still comes, for a short time and up to a bound.
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

/// Looks at the first bytes without taking them.
async fn peek(socket: &ClientSocket) -> std::io::Result<FirstBytes> {
    let mut front = [0; 8];
    let count = socket.peek(&mut front).await?;
    Ok(FirstBytes::of(front.get(..count).unwrap_or_default()))
}

/// Serves the requests of a connection and records an ending that no request explains. Each
/// request is served under the configuration of its time; the limits of heads are those of the
/// connection's beginning.
async fn serve_http(
    current: &Arc<Current>,
    tap: &Arc<Tap>,
    connection: Arc<Connection>,
    sensor: Sensor,
) {
    let limits = tap.config.limits();
    let timeouts = tap.config.timeouts();
    let heads = head::Limits {
        bytes: limits.head_bytes,
        fields: limits.headers,
    };
    let gate = Gate::new(
        sensor,
        Arc::clone(&connection),
        heads,
        timeouts.request_head,
    );
    let about = Arc::clone(&connection);
    let now = Arc::clone(current);
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&about));
        stack(&now.tap()).oneshot(request)
    });
    let mut serving = pin!(
        http1::Builder::new()
            // The gate has the timer and the limits of heads.
            .header_read_timeout(None)
            .max_buf_size(limits.head_bytes.max(MIN_BUFFER))
            .max_headers(limits.headers)
            .preserve_header_case(true)
            // The gateway's answers go out as they are; it knows the time itself.
            .auto_date_header(false)
            .serve_connection(TokioIo::new(gate), service)
            .with_upgrades()
    );
    let served = tokio::select! {
        served = &mut serving => Some(served),
        () = tap.drain.token().cancelled() => {
            serving.as_mut().graceful_shutdown();
            let deadline = tap.drain.plan().deadline;
            if connection.heads.in_flight() > 0 {
                timeout_at(deadline.into(), &mut serving).await.ok()
            } else {
                // Nothing is under way: at most a head that nobody will wait for.
                None
            }
        }
    };
    let served = served.unwrap_or(Ok(()));
    let untaken = connection.heads.take();
    if let Some(seen) = &untaken
        && !served.as_ref().is_err_and(hyper::Error::is_parse)
    {
        return record::never_served(tap, &connection, seen);
    }
    if let Some(ending) = unexplained(&connection, served.err().as_ref(), untaken.is_some()) {
        record_unexplained(tap, &connection, &ending);
    }
}

/// How a connection ended outside of any request.
enum Unexplained {
    /// The peer left, with or without having sent something.
    Left,
    /// `timeouts.request_head` ran out before one byte came.
    HeadTimeout(Duration),
    /// hyper has answered 400.
    Malformed(String),
    /// We are shutting down.
    Drained,
}

fn unexplained(
    connection: &Connection,
    error: Option<&hyper::Error>,
    untaken: bool,
) -> Option<Unexplained> {
    let heads = &connection.heads;
    if let Some(error) = error.filter(|error| error.is_parse() && untaken) {
        // Should not happen: what passes the check passes hyper.
        tracing::error!(%error, "hyper refused a head that had passed the check");
        return Some(Unexplained::Malformed(error.to_string()));
    }
    if heads.in_flight() > 0 {
        return None;
    }
    let never_used = heads.is_first();
    if let Some(waited) = heads.waited_in_vain() {
        // A kept connection that is not used again may go without a word.
        return never_used.then_some(Unexplained::HeadTimeout(waited));
    }
    if !never_used && !heads.has_partial() {
        return None;
    }
    let ours = connection.sensed.end().is_none();
    let drained = connection.is_draining() && ours;
    if ours && !drained && !never_used {
        // The answer before has ended the connection; what came behind that is no request.
        return None;
    }
    Some(if drained {
        Unexplained::Drained
    } else {
        Unexplained::Left
    })
}

fn record_unexplained(tap: &Tap, connection: &Arc<Connection>, ending: &Unexplained) {
    let first_use = connection.heads.is_first();
    let anchor = if first_use {
        connection.accepted
    } else {
        clock::anchor()
    };
    let session = tap.open_record(connection, anchor);
    let limit = tap.config.timeouts().request_head;
    session.with(|rec| {
        rec.reach(Phase::Request);
        rec.facts.client.first_bytes = Some(connection.sensed.first_bytes());
        rec.facts.client.bytes_read = Some(connection.sensed.bytes_read());
        let now = Instant::now();
        match ending {
            Unexplained::Left => {}
            Unexplained::Drained => rec.ending.drained(now),
            Unexplained::HeadTimeout(waited) => {
                rec.ending
                    .timer_fired(TimerKey::RequestHead, limit, *waited, now);
            }
            Unexplained::Malformed(detail) => {
                let fault = HeadFault::NotHttp;
                rec.ending.refused_head(fault, detail.clone(), now);
                rec.facts.answer = Some(AnswerFacts {
                    by: AnswerBy::Tap,
                    status: 400,
                    error: Some("http_request_error".to_owned()),
                    body_bytes: None,
                    request_body_bytes: None,
                    complete: true,
                });
            }
        }
        let (end, cause, at) = match connection.sensed.end() {
            Some(end) => (end.end, end.cause, end.at),
            None => (TransportEnd::Local, None, now),
        };
        rec.ending.transport_ended(Leg::Client, end, cause, at);
    });
    session.settle();
}
