//! Handshakes in memory: which sessions can be resumed, and which cannot.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection};
use rustls_pki_types::CertificateDer;

use super::*;
use crate::config::identity::Identity;
use crate::config::{self, Overrides, TlsPolicy};

pub(crate) struct Server {
    identity: Identity,
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gw.example".to_owned()]).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let path = folder.path().join("pair");
        std::fs::write(&path, pem + &key.serialize_pem()).unwrap();
        let identity = Identity::load(&path, &path).unwrap();
        Self { identity, folder }
    }

    /// A client that remembers its sessions.
    pub(crate) fn client(
        &self,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.leaf()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(8);
        Arc::new(config)
    }

    fn leaf(&self) -> CertificateDer<'static> {
        self.identity.certified.cert[0].clone()
    }

    /// The configuration for a server that uses the library directly.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let terminator = self.terminator("", &ListenerTlsState::new(None).unwrap());
        terminator.for_one_handshake().0
    }

    pub(crate) fn terminator(&self, rest: &str, listener_state: &ListenerTlsState) -> Terminator {
        let pair = self.folder.path().join("pair");
        let pair = pair.display();
        let text = format!(
            "listeners: [{{ listen: '127.0.0.1:0', tls: {{ \
             certificates: [{{ cert: {pair}, key: {pair} }}]{} }} }}]\n\
             gateway: {{ url: 'http://gw' }}",
            rest.replace("PAIR", &pair.to_string())
        );
        let file = std::path::Path::new("f.yaml");
        let config = config::parse(&text, file, &Overrides::default()).unwrap();
        let policy = config.listeners()[0].tls.policy().unwrap().clone();
        Terminator::new(vec![self.identity.clone()], policy, listener_state).unwrap()
    }
}

/// Does one handshake and reads what follows it. Returns the kind of handshake, or why it failed.
fn shake(
    client: &Arc<ClientConfig>,
    terminator: &Terminator,
) -> Result<HandshakeKind, rustls::Error> {
    let name = "gw.example".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let (config, _) = terminator.for_one_handshake();
    let mut server = ServerConnection::new(config).unwrap();
    let mut wire = Vec::new();
    // Tickets come after the handshake.
    for _ in 0..8 {
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server.process_new_packets()?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets()?;
        }
        wire.clear();
    }
    Ok(server.handshake_kind().expect("a finished handshake"))
}

pub(crate) const VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn a_session_is_resumed_after_a_reload() {
    for version in VERSIONS {
        let server = Server::new();
        let listener_state = ListenerTlsState::new(None).unwrap();
        let client = server.client(version);
        let before = server.terminator("", &listener_state);
        assert_eq!(shake(&client, &before), Ok(HandshakeKind::Full));
        assert_eq!(shake(&client, &before), Ok(HandshakeKind::Resumed));
        let after = server.terminator("", &listener_state);
        assert_eq!(shake(&client, &after), Ok(HandshakeKind::Resumed));
        let elsewhere = ListenerTlsState::new(None).unwrap();
        let elsewhere = server.terminator("", &elsewhere);
        assert_eq!(
            shake(&client, &elsewhere),
            Ok(HandshakeKind::Full),
            "tickets are good for one listener"
        );
    }
}

#[test]
fn a_session_from_before_client_certificates_gets_nobody_past_them() {
    for version in VERSIONS {
        let server = Server::new();
        let listener_state = ListenerTlsState::new(None).unwrap();
        let client = server.client(version);
        let before = server.terminator("", &listener_state);
        assert_eq!(shake(&client, &before), Ok(HandshakeKind::Full));
        let after = server.terminator(", client_auth: { ca: PAIR }", &listener_state);
        assert_eq!(
            shake(&client, &after),
            Err(rustls::Error::NoCertificatesPresented)
        );
        let optional = ", client_auth: { ca: PAIR, mode: optional }";
        let optional = server.terminator(optional, &listener_state);
        assert_eq!(shake(&client, &optional), Ok(HandshakeKind::Full));
        assert_eq!(
            shake(&client, &optional),
            Ok(HandshakeKind::Full),
            "every connection is verified anew"
        );
    }
}

#[test]
fn the_oldest_version_can_be_raised() {
    let server = Server::new();
    let listener_state = ListenerTlsState::new(None).unwrap();
    let old = server.client(&rustls::version::TLS12);
    let any = server.terminator("", &listener_state);
    assert_eq!(shake(&old, &any), Ok(HandshakeKind::Full));
    let only = server.terminator(", min_version: '1.3'", &listener_state);
    assert!(
        matches!(shake(&old, &only), Err(rustls::Error::PeerIncompatible(_))),
        "neither a handshake nor its session"
    );
    let new = server.client(&rustls::version::TLS13);
    assert_eq!(shake(&new, &only), Ok(HandshakeKind::Full));
}

#[test]
fn requests_for_another_host_are_sent_away_where_it_matters() {
    use terminator::Misdirected::{ClientAuth, OtherCertificate};
    let make = |names: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let path = folder.path().join("pair");
        let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
        std::fs::write(&path, pem).unwrap();
        Identity::load(&path, &path).unwrap()
    };
    let listener_state = ListenerTlsState::new(None).unwrap();
    let with = |identities: Vec<Identity>| {
        Terminator::new(identities, TlsPolicy::default(), &listener_state).unwrap()
    };
    let one = with(vec![make(&["a.example"])]);
    assert_eq!(
        one.misdirected("a.example", "b.example"),
        None,
        "one certificate"
    );
    let two = with(vec![
        make(&["a.example", "c.example"]),
        make(&["b.example", "*.b.example"]),
    ]);
    for (sni, host, wanted) in [
        ("a.example", "A.example.", None),
        ("a.example", "c.example", None),
        ("a.example", "b.example", Some(OtherCertificate)),
        ("x.b.example", "y.b.example", None),
        ("x.b.example", "a.example", Some(OtherCertificate)),
        // No certificate has either name: both get the default.
        ("u.example", "v.example", None),
        ("u.example", "b.example", Some(OtherCertificate)),
    ] {
        assert_eq!(two.misdirected(sni, host), wanted, "{sni} {host}");
    }
    let server = Server::new();
    let strict = server.terminator(", client_auth: { ca: PAIR }", &listener_state);
    assert_eq!(
        strict.misdirected("gw.example", "b.example"),
        Some(ClientAuth)
    );
    assert_eq!(strict.misdirected("gw.example", "gw.example"), None);
    let lax = ", client_auth: { ca: PAIR, mode: optional }";
    let lax = server.terminator(lax, &listener_state);
    assert_eq!(lax.misdirected("gw.example", "b.example"), None);
}
