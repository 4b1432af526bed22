//! Passes a redirected connection on to the gateway without decrypting it: its TLS is between
//! client and gateway.
//!
//! Only facts that are visible from outside are recorded: the `ClientHello`, sizes, times, and how
//! each end left. Endings pass in kind: FIN as FIN, a reset as a reset.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;

use crate::proxy::connection::Connection;
use crate::proxy::connection::gate::REDIRECTED_WAIT;
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::request::exchange::dial;
use crate::proxy::tap::Tap;
use crate::session::Tunnelled;
use crate::session::moment::Anchor;
use crate::session::party::{Direction, Leg};
use crate::session::record::{FirstBytes, PassedFacts, PassthroughFacts, TimerKey, TransportEnd};
use crate::sink::live::Live;
use crate::transport::stream::Stream;
use crate::transport::tls::outside::{Greeting, Outside};
use crate::transport::{cause, tcp_info};

/// Maximum number of bytes per read. Between reads a connection keeps no buffer.
const READ: usize = 16 * 1024;

/// Serves a connection until both ends have left, or the tap shuts down.
pub(crate) async fn serve(tap: &Tap, connection: Arc<Connection>, mut client: TcpStream) {
    let session = tap.open_record(&connection, connection.accepted);
    let gateway = tap.config.gateway();
    // Only TLS is passed unread.
    let url = gateway.url().replacen("http://", "https://", 1);
    session
        .record()
        .dialling(url, gateway.dialect().to_string());
    let dialled = tokio::select! {
        dialled = dial(tap, &connection, &session) => dialled,
        // The record is not settled, so it reports our shutdown.
        () = tap.drain.token().cancelled() => return,
    };
    session.settle();
    let mut gateway = match dialled {
        Ok((Stream::Tcp(gateway), facts)) => {
            session.record().dialled(&facts);
            gateway
        }
        refused => {
            if refused.is_ok() {
                let what = "a connection to pass on unread was dialled with our own TLS".to_owned();
                session.record().faulted(what, Instant::now());
            }
            // The closest that we can come to the refusal that the client would have got without
            // us.
            reset(&session, Leg::Client, &client);
            return;
        }
    };
    connection.state.establish();
    session.record().session_opened();
    let seen = PassthroughState::default();
    let way = UnreadConnection {
        session: &session,
        live: &session.live(),
        seen: &seen,
    };
    tokio::select! {
        passed = way.pass(&mut client, &mut gateway) => {
            if passed.is_err() {
                // Reset each leg that has not ended by itself.
                reset(&session, Leg::Client, &client);
                reset(&session, Leg::Gateway, &gateway);
            }
        }
        () = tap.drain.token().cancelled() => {
            session.record().drained(Instant::now());
            reset(&session, Leg::Client, &client);
            reset(&session, Leg::Gateway, &gateway);
        }
    }
    let mut record = session.record();
    record.client_tcp(tcp_info::read(&client));
    record.gateway_tcp(tcp_info::read(&gateway));
    record.client_began_with(seen.of(Direction::ToGateway, |way| FirstBytes::of(&way.first)));
    let passed = Box::new(seen.facts(record.anchor()));
    record.tunnel_ended(Tunnelled::Unread(passed));
}

/// Makes dropping this leg's socket send a reset, and records that as our ending, unless the far
/// end has already left.
fn reset(session: &SessionHandle, leg: Leg, stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    session.record().leg_ended_by_tap(leg, Instant::now());
}

/// One connection that is passed on.
struct UnreadConnection<'a> {
    session: &'a SessionHandle,
    live: &'a Live,
    seen: &'a PassthroughState,
}

impl UnreadConnection<'_> {
    /// Relays until both ends have sent FIN. `Err` is the leg that broke first or was given up.
    async fn pass(&self, client: &mut TcpStream, gateway: &mut TcpStream) -> Result<(), Leg> {
        let (from_client, to_client) = client.split();
        let (from_gateway, to_gateway) = gateway.split();
        let both = async {
            tokio::try_join!(
                self.one_way(Direction::ToGateway, from_client, to_gateway),
                self.one_way(Direction::ToClient, from_gateway, to_client),
            )
        };
        tokio::select! {
            both = both => both.map(|_| ()),
            leg = self.gateway_left_alone() => Err(leg),
        }
    }

    async fn one_way(
        &self,
        direction: Direction,
        from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> Result<(), Leg> {
        let from_leg = match direction {
            Direction::ToGateway => Leg::Client,
            Direction::ToClient => Leg::Gateway,
        };
        loop {
            let mut read = Vec::new();
            let came = match from.readable().await {
                Ok(()) => {
                    read.reserve_exact(READ);
                    from.try_read_buf(&mut read)
                }
                Err(error) => Err(error),
            };
            match came {
                Ok(0) => {
                    self.ended(from_leg, TransportEnd::Fin);
                    return match to.shutdown().await {
                        // The far end of this leg has already left.
                        Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                            Err(self.broke(from_leg.other(), &error))
                        }
                        _ => Ok(()),
                    };
                }
                Ok(_) => {
                    let now = Instant::now();
                    let bytes = self.seen.came(direction, &read, now);
                    self.live.relayed(direction, 0, bytes, now);
                    self.live.waits(direction, read.len());
                    // While the other end does not read, this one may be reset.
                    tokio::select! {
                        written = to.write_all(&read) => {
                            written.map_err(|error| self.broke(from_leg.other(), &error))?;
                        }
                        error = reset_of(from.as_ref()) => {
                            return Err(self.broke(from_leg, &error));
                        }
                    }
                    self.live.waits(direction, 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.broke(from_leg, &error)),
            }
        }
    }

    /// Waits until the client has sent FIN and the gateway has then been silent for
    /// [`REDIRECTED_WAIT`]: the client may be gone. A client may keep a connection that the gateway
    /// has ended for as long as it likes, as without the tap.
    async fn gateway_left_alone(&self) -> Leg {
        self.seen.left.notified().await;
        let Some((Leg::Client, at)) = self.seen.fin() else {
            return std::future::pending().await;
        };
        loop {
            let quiet_since = self.seen.last_at().map_or(at, |last| last.max(at));
            tokio::time::sleep_until((quiet_since + REDIRECTED_WAIT).into()).await;
            if self.seen.last_at().is_none_or(|last| last <= quiet_since) {
                let (key, quiet) = (TimerKey::HalfClose, quiet_since.elapsed());
                self.session
                    .record()
                    .timer_fired(key, REDIRECTED_WAIT, quiet, Instant::now());
                return Leg::Gateway;
            }
        }
    }

    fn ended(&self, leg: Leg, end: TransportEnd) {
        let now = Instant::now();
        self.seen.note_fin(leg, now);
        self.session.record().leg_ended(leg, end, None, now);
    }

    fn broke(&self, leg: Leg, error: &io::Error) -> Leg {
        let (end, cause) = cause::of_error(error);
        let now = Instant::now();
        let mut record = self.session.record();
        record.leg_ended(leg, end, Some(cause), now);
        record.leg_refuses_to_read(leg, now);
        leg
    }
}

/// Whether this is the start of an HTTP/1 request or answer.
fn is_http(first: &[u8]) -> bool {
    first.starts_with(b"HTTP/") || FirstBytes::of(first) == FirstBytes::Http
}

/// Waits for the error that breaks the connection; never returns if it does not break.
async fn reset_of(stream: &TcpStream) -> io::Error {
    if stream.ready(Interest::ERROR).await.is_ok()
        && let Ok(Some(error)) = stream.take_error()
    {
        return error;
    }
    std::future::pending().await
}

/// Facts about both directions. One task drives both, so the locks are never contended.
#[derive(Debug, Default)]
struct PassthroughState {
    greeting: Mutex<Greeting>,
    /// The first FIN.
    fin: Mutex<Option<(Leg, Instant)>>,
    /// Notified of the first FIN.
    left: Notify,
    to_gateway: Mutex<OneWay>,
    to_client: Mutex<OneWay>,
}

#[derive(Debug, Default)]
struct OneWay {
    first: Vec<u8>,
    bytes: u64,
    first_at: Option<Instant>,
    last_at: Option<Instant>,
    outside: Outside,
}

impl PassthroughState {
    fn of<T>(&self, direction: Direction, look: impl FnOnce(&mut OneWay) -> T) -> T {
        let way = match direction {
            Direction::ToGateway => &self.to_gateway,
            Direction::ToClient => &self.to_client,
        };
        look(&mut way.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note_fin(&self, leg: Leg, at: Instant) {
        let mut fin = self.fin.lock().unwrap_or_else(PoisonError::into_inner);
        fin.get_or_insert((leg, at));
        self.left.notify_one();
    }

    fn fin(&self) -> Option<(Leg, Instant)> {
        *self.fin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the last byte came.
    fn last_at(&self) -> Option<Instant> {
        let of = |direction| self.of(direction, |way| way.last_at);
        of(Direction::ToGateway).max(of(Direction::ToClient))
    }

    fn greeting<T>(&self, look: impl FnOnce(&mut Greeting) -> T) -> T {
        look(&mut self.greeting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts `bytes`; returns how many bytes came so far.
    fn came(&self, direction: Direction, bytes: &[u8], now: Instant) -> u64 {
        if direction == Direction::ToGateway {
            self.greeting(|greeting| greeting.saw(bytes));
        }
        self.of(direction, |way| {
            let room = 8usize.saturating_sub(way.first.len());
            way.first.extend(bytes.iter().take(room));
            way.bytes += bytes.len() as u64;
            way.first_at.get_or_insert(now);
            way.last_at = Some(now);
            way.outside.saw(bytes);
            way.bytes
        })
    }

    fn facts(&self, anchor: &Anchor) -> PassthroughFacts {
        let facts = |direction| {
            self.of(direction, |way| PassedFacts {
                bytes: way.bytes,
                plain_http: is_http(&way.first),
                protected: way.outside.protected(),
                first_at: way.first_at.map(|at| anchor.at(at)),
                last_at: way.last_at.map(|at| anchor.at(at)),
                alert: way.outside.alert(),
                last_record: way.outside.last_record(),
            })
        };
        PassthroughFacts {
            client_hello: self.greeting(|greeting| greeting.is_whole),
            sni: self.greeting(|greeting| greeting.sni.take()),
            alpn_offered: self.greeting(|greeting| std::mem::take(&mut greeting.alpn)),
            to_gateway: facts(Direction::ToGateway),
            to_client: facts(Direction::ToClient),
        }
    }
}
