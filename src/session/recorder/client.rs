//! What happens on the client's side before the gateway is dialled.

use super::{Recorder, Tapped};
use crate::session::credential::Credential;
use crate::session::party::Phase;
use crate::session::record::client::SelfMade;
use crate::session::record::client::Via;
use crate::session::record::frames::TcpFacts;
use crate::session::record::{ClientFacts, FirstBytes, Kind, OriginFacts, RequestFacts, TapMode};
use crate::session::secrets::SeenSecrets;
use crate::session::text::PeerText;

impl Recorder {
    /// The connection was accepted.
    pub fn accepted(&mut self, tap: Tapped, mode: TapMode, client: ClientFacts) {
        self.facts.tap = tap;
        self.facts.mode = mode;
        self.facts.client = client;
    }

    /// Bytes of a TLS handshake are awaited.
    pub fn tls_began(&mut self) {
        self.reach(Phase::Tls);
    }

    /// A head is awaited, or has arrived.
    pub fn request_began(&mut self) {
        self.reach(Phase::Request);
    }

    /// The kind of bytes that the connection began with.
    pub fn client_began_with(&mut self, first: FirstBytes) {
        self.facts.client.first_bytes = Some(first);
    }

    /// Sets the number of bytes read from the client, after TLS.
    pub fn client_sent(&mut self, bytes: u64) {
        self.facts.client.bytes_read = Some(bytes);
    }

    /// Sets whether wstap made the certificate that the client was shown (`None`: it did not).
    pub fn showed_certificate(&mut self, self_made: Option<Box<SelfMade>>) {
        if let Some(tls) = &mut self.facts.client.tls {
            tls.self_made = self_made;
        }
    }

    /// The bytes that came have no request line: a scanner, another protocol, half a line.
    pub fn sent_no_request(&mut self) {
        self.facts.kind = Kind::Connection;
    }

    /// The secrets in a request's head. They are the first ones, so nothing is copied.
    pub fn head_showed_secrets(&mut self, seen: SeenSecrets) {
        if self.seen.is_empty() {
            self.seen = seen;
        } else {
            self.seen.add_all(&seen);
        }
    }

    /// More secrets were seen.
    pub fn secrets_seen(&mut self, seen: &SeenSecrets) {
        self.seen.add_all(seen);
    }

    /// A request came.
    pub fn requested(&mut self, kind: Kind, request: RequestFacts) {
        self.facts.kind = kind;
        self.facts.request = Some(request);
    }

    /// The request's credentials, and how many more were dropped. The request's texts are masked:
    /// `/sessions` shows them while the session is open.
    pub fn brought_credentials(&mut self, credentials: Vec<Credential>, dropped: u64) {
        self.facts.auth = credentials;
        self.facts.auth_dropped = dropped;
        self.mask_request();
    }

    /// More credentials came inside the tunnel.
    pub fn said_credentials(&mut self, credentials: impl IntoIterator<Item = Credential>) {
        self.facts.auth.extend(credentials);
    }

    /// Headers were dropped because the tap alone may send them.
    pub fn dropped_headers(&mut self, names: Vec<PeerText>) {
        if let Some(request) = &mut self.facts.request {
            request.dropped = names;
        }
    }

    /// A trusted proxy named the client.
    pub fn client_named(&mut self, addr: String, via: Option<Via>) {
        self.facts.client.addr = addr;
        self.facts.client.via = via;
    }

    /// The request's Host differs from the name that TLS asked for.
    pub fn host_differs(&mut self) {
        if let Some(tls) = &mut self.facts.client.tls {
            tls.host_differs = true;
        }
    }

    /// Admission decides on the request.
    pub fn admission_began(&mut self) {
        self.reach(Phase::Admission);
    }

    /// The request's Origin was checked.
    pub fn origin_ruled(&mut self, origin: OriginFacts) {
        self.facts.origin = Some(origin);
    }

    /// The client of an HTTP/2 stream did not take the whole answer.
    pub fn stream_unread(&mut self) {
        if let Some(http2) = &mut self.facts.client.http2 {
            http2.unread = true;
        }
    }

    /// Sets the HTTP/2 stream on which the request came; records of the connection itself have
    /// none.
    pub fn came_in_stream(&mut self, stream: u32) {
        if let Some(http2) = &mut self.facts.client.http2 {
            http2.stream = Some(stream);
        }
    }

    /// The kernel's counters for the client's connection.
    pub fn client_tcp(&mut self, tcp: Option<TcpFacts>) {
        if tcp.is_some() {
            self.facts.client.tcp = tcp;
        }
    }
}
