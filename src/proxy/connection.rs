//! What all requests of one client connection have in common; of HTTP/2, what one stream has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::admission::peer::Peer;
use crate::proxy::heads::Heads;
use crate::proxy::http2::Counts;
use crate::proxy::interim::Interim;
use crate::proxy::session::Shared;
use crate::proxy::tap::ConnectionGuard;
use crate::session::moment::Anchor;
use crate::session::party::Leg;
use crate::session::record::client::Http2Facts;
use crate::session::record::proxy_protocol::ProxyProtocolFacts;
use crate::session::record::{ClientFacts, ClientTls, TransportEnd};
use crate::transport::sensor::{End, Sensed};
use crate::transport::tls::Terminator;

/// Who is at the ends of a connection.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The client, as far as the connection itself tells.
    pub peer: Peer,
    /// Our own address, as records name it.
    pub local: String,
    /// The listener's key in the configuration.
    pub listener: Arc<str>,
    /// The PROXY header that came, or what came in its place.
    pub header: Option<Box<ProxyProtocolFacts>>,
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// Who is at its ends.
    pub ends: Ends,
    /// What TLS agreed; `None` on a plain listener.
    pub tls: Option<ClientTls>,
    /// What its TLS is served by; `None` on a plain listener.
    pub(super) terminator: Option<Arc<Terminator>>,
    /// When it was accepted.
    pub accepted: Anchor,
    /// What is sensed of it.
    pub sensed: Arc<Sensed>,
    /// The heads of its requests.
    pub(super) heads: Heads,
    /// Interim answers for its client.
    pub(super) interim: Arc<Interim>,
    /// What is counted of an HTTP/2 connection.
    pub(super) http2: Option<Http2>,
    /// The last upgrade that was refused or denied; kept until the connection ends.
    parting: Mutex<Option<Shared>>,
    counted: Arc<ConnectionGuard>,
}

/// On drop, records in the refused upgrade how its connection ended: by then it has ended, or the
/// task that served it was dropped.
#[derive(Debug)]
pub(super) struct Parting(Arc<Connection>);

impl Parting {
    pub(super) fn of(connection: &Arc<Connection>) -> Self {
        Self(Arc::clone(connection))
    }
}

impl Drop for Parting {
    fn drop(&mut self) {
        let Some(session) = self.0.parting().take() else {
            return;
        };
        let ended = self.0.sensed.end().unwrap_or_else(|| End {
            end: TransportEnd::Local,
            cause: None,
            at: Instant::now(),
            tcp: None,
        });
        let End { end, cause, at, .. } = ended;
        session.with(|rec| rec.ending.transport_ended(Leg::Client, end, cause, at));
    }
}

/// A request's place in an HTTP/2 connection.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    /// Its stream; `None`: the connection itself.
    pub(super) stream: Option<u32>,
    pub(super) counts: Arc<Counts>,
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(
        ends: Ends,
        tls: Option<ClientTls>,
        accepted: Anchor,
        sensed: Arc<Sensed>,
        counted: ConnectionGuard,
    ) -> Self {
        Self {
            ends,
            tls,
            terminator: None,
            accepted,
            sensed,
            heads: Heads::default(),
            interim: Arc::default(),
            http2: None,
            parting: Mutex::default(),
            counted: Arc::new(counted),
        }
    }

    /// Its last answer refuses an upgrade and ends the connection: the record waits for that end.
    pub(super) fn parts_with(&self, session: Shared) {
        *self.parting() = Some(session);
    }

    fn parting(&self) -> MutexGuard<'_, Option<Shared>> {
        self.parting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of this client, for tests.
    #[cfg(test)]
    pub(super) fn of(peer: std::net::SocketAddr, tap: &Arc<super::Tap>) -> Arc<Self> {
        let peer = Peer::inet(peer);
        let (counted, _) = tap.admit_connection(&peer, false);
        let ends = Ends {
            peer,
            local: "127.0.0.1:8443".to_owned(),
            listener: "listeners[0]".into(),
            header: None,
        };
        let anchor = crate::transport::clock::anchor();
        Arc::new(Self::new(ends, None, anchor, Arc::default(), counted))
    }

    /// The client, as far as the connection itself tells.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.ends.peer
    }

    /// It speaks HTTP/2.
    pub(super) fn speaks_http2(&mut self, counts: Arc<Counts>) {
        let stream = None;
        self.http2 = Some(Http2 { stream, counts });
    }

    /// A stream of it, which ends for itself and counts for itself. The first one's record tells of
    /// the connection's beginning too.
    pub(super) fn stream(&self, stream: u32, opened: Anchor, counted: ConnectionGuard) -> Self {
        self.is_established();
        let http2 = self.http2.clone();
        Self {
            ends: self.ends.clone(),
            tls: self.tls.clone(),
            terminator: self.terminator.clone(),
            accepted: opened,
            sensed: Arc::default(),
            heads: Heads::default(),
            interim: Arc::default(),
            http2: http2.map(|http2| Http2 {
                stream: Some(stream),
                ..http2
            }),
            parting: Mutex::default(),
            counted: Arc::new(counted),
        }
    }

    /// For its records.
    pub(super) fn http2_facts(&self) -> Option<Http2Facts> {
        let Http2 { stream, counts } = self.http2.as_ref()?;
        Some(counts.facts(*stream))
    }

    /// Its TLS is served by this.
    #[must_use]
    pub fn through(mut self, terminator: Option<Arc<Terminator>>) -> Self {
        self.terminator = terminator;
        self
    }

    /// Notes the certificate facts that the record of a connection without a request needs.
    pub(super) fn note_certificate(&self, client: &mut ClientFacts) {
        if let (Some(tls), Some(terminator)) = (&mut client.tls, &self.terminator) {
            let shown = tls.certificate.as_deref();
            tls.self_made = shown.and_then(|shown| terminator.self_made(shown));
        }
    }

    /// Its first request is read, or its upgrade is answered: it is no handshake any more.
    pub(super) fn is_established(&self) {
        self.counted.is_established();
    }

    /// What counts it for as long as it is open, for those who outlast its requests.
    pub(super) fn counted(&self) -> Arc<ConnectionGuard> {
        Arc::clone(&self.counted)
    }

    /// The tap is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.counted.is_draining()
    }
}
