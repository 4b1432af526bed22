//! The facts of a client's `ClientHello`, for the record.
//!
//! The library passes it to the certificate resolver, which nearly every handshake reaches. If a
//! handshake ends before that, the message is parsed once more, on its own.

use std::sync::Arc;

use rustls::server::{Accepted, Acceptor};

use super::offered::SNI_CAP;
use super::terminator::{Asked, HandshakeFacts, Terminator};
use crate::session::record::{ClientTls, SniMatch};
use crate::session::text::PeerText;

/// The greeting of one client, on its way into the record.
pub(super) struct Greeting<'a> {
    terminator: &'a Terminator,
    facts: &'a mut ClientTls,
    handshake: Arc<HandshakeFacts>,
    /// The bytes received so far; empty once `handshake` has the facts.
    read: Vec<u8>,
    is_noted: bool,
    offered: Vec<PeerText>,
}

impl<'a> Greeting<'a> {
    pub(super) fn new(
        terminator: &'a Terminator,
        facts: &'a mut ClientTls,
        handshake: Arc<HandshakeFacts>,
        read: &[u8],
    ) -> Self {
        Self {
            terminator,
            facts,
            handshake,
            read: read.to_vec(),
            is_noted: false,
            offered: Vec::new(),
        }
    }

    /// The facts that this greeting fills in.
    pub(super) fn facts(&mut self) -> &mut ClientTls {
        self.facts
    }

    /// Takes in bytes that have arrived.
    pub(super) fn came(&mut self, bytes: &[u8]) {
        if !self.is_noted {
            self.read.extend_from_slice(bytes);
        }
    }

    /// Records the facts, once the library has parsed the message.
    pub(super) fn looked(&mut self) {
        if !self.is_noted
            && let Some(asked) = self.handshake.asked()
        {
            self.note(asked.clone());
        }
    }

    /// Ends the greeting; returns the protocols that the client offered by ALPN.
    pub(super) fn done(mut self) -> Vec<PeerText> {
        if !self.is_noted
            && let Some(accepted) = hello(&self.read)
        {
            self.note(Asked::of(&accepted.client_hello()));
        }
        self.offered
    }

    fn note(&mut self, asked: Asked) {
        self.is_noted = true;
        self.read = Vec::new();
        self.offered = asked.alpn;
        let Some(name) = asked.name else { return };
        self.facts.sni = Some(PeerText::from_bytes(name.as_bytes(), SNI_CAP));
        self.facts.sni_match = Some(self.terminator.sni_match(&name));
        if self.facts.sni_match == Some(SniMatch::Default) {
            self.facts.our_names = self.terminator.names();
        }
    }
}

/// Parses the `ClientHello` at the beginning of `read`; `None` if there is none, or none that can
/// be parsed.
pub(super) fn hello(mut read: &[u8]) -> Option<Accepted> {
    let mut acceptor = Acceptor::default();
    while !read.is_empty() && acceptor.read_tls(&mut read).ok()? > 0 {
        if let Some(accepted) = acceptor.accept().ok()? {
            return Some(accepted);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use rustls::ClientConnection;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    use super::*;
    use crate::session::record::TlsFailureKind;
    use crate::transport::socket::ClientSocket;
    use crate::transport::tls::tests::{Server, VERSIONS};
    use crate::transport::tls::{ListenerTlsState, accept_read};

    #[tokio::test]
    async fn a_greeting_is_noted_also_where_no_certificate_is_chosen_by_it() {
        let server = Server::new();
        let only_new = ", min_version: '1.3'";
        for (policy, failure) in [("", None), (only_new, Some(TlsFailureKind::Version))] {
            let terminator = server.terminator(policy, &ListenerTlsState::new(None).unwrap());
            let mut config = server.client(VERSIONS[0]).as_ref().clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let name = "gw.example".try_into().unwrap();
            let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            let (near, mut far) = UnixStream::pair().unwrap();
            // In pieces, and with no bytes after it.
            let (front, rest) = hello.split_at(40);
            far.write_all(rest).await.unwrap();
            far.shutdown().await.unwrap();
            let mut facts = ClientTls::default();
            let socket = ClientSocket::Unix(near);
            let failed = accept_read(socket, front.to_vec(), &terminator, &mut facts).await;
            let facts = failed.unwrap_err().facts;
            assert_eq!(facts.failure.unwrap().kind, failure);
            assert_eq!(facts.sni, Some(PeerText::new("gw.example", 255)));
            assert_eq!(facts.sni_match, Some(SniMatch::Exact));
            assert_eq!(*facts.alpn_offered, [PeerText::new("http/1.1", 255)]);
        }
    }
}
