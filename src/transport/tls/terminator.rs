//! Serves TLS on a listener: certificates, policy, and the state that outlives a reload.
//!
//! Each reload makes a new [`Terminator`]; [`ListenerTlsState`] is kept across reloads, so that clients can still
//! resume their sessions.
//!
//! # Client certificates and resumption
//! A resumed session keeps the identity that its first handshake verified; nothing is verified again. So where client
//! certificates are requested, no session can be resumed, and a session that was made without them is not accepted.
//! Every connection is verified against the present configuration: a certificate that has since expired or been revoked
//! is not accepted because of a ticket, and a listener that starts to request certificates cannot be bypassed. This
//! costs one signature per connection, and connections are long-lived.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
    ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, KeyLog, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::certificate_resolver::CertificateResolver;
use super::engine::TlsEngine;
use super::leaves::Leaf;
use super::misfit::Misfit;
use super::offered::{ALPN_CAP, SNI_CAP, alpn_protocols};
use super::peer;
use crate::config::identity::{Identity, names};
use crate::config::{ClientAuth, ClientAuthMode, MinVersion, TlsPolicy};
use crate::crypto;
use crate::session::record::{ClientCert, SelfMade, SniMatch};
use crate::session::text::PeerText;

/// Maximum number of our certificates' names in a record.
const NAMES: usize = 16;

/// Maximum number of sessions that can be resumed by their id (TLS 1.2 without tickets).
const SESSIONS: usize = 1024;

/// TLS state of a listener that outlives a reload: ticket keys, resumable sessions, and the key log.
#[derive(Clone, Debug)]
pub(crate) struct ListenerTlsState {
    ticketer: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
    key_log: Option<Arc<dyn KeyLog>>,
}

impl ListenerTlsState {
    /// New ticket keys for one listener: its tickets are not valid for any other.
    pub(crate) fn new(key_log: Option<Arc<dyn KeyLog>>) -> Result<Self, Error> {
        Ok(Self {
            ticketer: crypto::ticketer()?,
            sessions: ServerSessionMemoryCache::new(SESSIONS),
            key_log,
        })
    }
}

/// Serves TLS with one loaded configuration.
#[derive(Debug)]
pub(crate) struct Terminator {
    resolver: Arc<CertificateResolver>,
    policy: TlsPolicy,
    listener_state: ListenerTlsState,
    provider: Arc<CryptoProvider>,
    config: Arc<ServerConfig>,
}

impl Terminator {
    /// Supports TLS 1.2 and 1.3, or only the latter, with the protocols of `alpn_protocols`.
    pub(crate) fn new(
        identities: Vec<Identity>,
        policy: TlsPolicy,
        listener_state: &ListenerTlsState,
    ) -> Result<Self, Error> {
        let provider = crypto::provider();
        let resolver = Arc::new(CertificateResolver::new(identities));
        let handshake = Arc::<HandshakeFacts>::default();
        let config = configured(&provider, &policy, listener_state, &resolver, &handshake)?;
        Ok(Self {
            resolver,
            policy,
            listener_state: listener_state.clone(),
            provider,
            config: Arc::new(config),
        })
    }

    /// Its certificates, in order, as metrics and the log show them.
    #[must_use]
    pub(crate) fn leaves(&self) -> Vec<Leaf> {
        self.resolver.identities().iter().map(Leaf::of).collect()
    }

    pub(super) fn for_one_handshake(&self) -> (Arc<ServerConfig>, Arc<HandshakeFacts>) {
        let handshake = Arc::<HandshakeFacts>::default();
        let made = match self.policy.client_auth {
            None => {
                let mut config = ServerConfig::clone(&self.config);
                config.cert_resolver = Arc::new(Choosing {
                    resolver: Arc::clone(&self.resolver),
                    handshake: Arc::clone(&handshake),
                });
                Ok(config)
            }
            // The verifier cannot be changed afterwards.
            Some(_) => configured(
                &self.provider,
                &self.policy,
                &self.listener_state,
                &self.resolver,
                &handshake,
            ),
        };
        // Cannot fail, since it succeeded at the start; the fallback records no facts.
        let config = made.map_or_else(|_| Arc::clone(&self.config), Arc::new);
        (config, handshake)
    }

    pub(super) fn sni_match(&self, name: &str) -> SniMatch {
        self.resolver.candidates(name).0
    }

    pub(super) fn shown(&self, handshake: &HandshakeFacts) -> Option<String> {
        let position = *handshake.shown.get()?;
        let identity = self.resolver.identities().get(position)?;
        Some(identity.sha256_hex())
    }

    /// Whether clients must be configured to trust the certificate with this SHA-256.
    #[must_use]
    pub(crate) fn self_made(&self, sha256: &str) -> Option<Box<SelfMade>> {
        let mut all = self.resolver.identities().iter();
        let shown = all.find(|identity| identity.sha256_hex() == sha256)?;
        shown.self_made.clone()
    }

    /// The names of all certificates.
    pub(super) fn names(&self) -> Vec<PeerText> {
        let names: BTreeSet<&String> = self
            .resolver
            .identities()
            .iter()
            .flat_map(|identity| &identity.names)
            .collect();
        let names = names.into_iter().take(NAMES);
        names.map(|name| PeerText::new(name, 255)).collect()
    }

    /// Why a request for `host` does not belong on a connection whose TLS asked for `sni`
    /// (RFC 9110 section 15.5.20), if so. Both are only names, without a port.
    #[must_use]
    pub(crate) fn misdirected(&self, sni: &str, host: &str) -> Option<Misdirected> {
        let auth = self.policy.client_auth.as_ref().map(|auth| auth.mode);
        if !names::differ(sni, host) {
            None
        } else if auth == Some(ClientAuthMode::Required) {
            // The client certificate was shown for one name; it may not be meant for another.
            Some(Misdirected::ClientAuth)
        } else if self.resolver.sends_elsewhere(sni, host) {
            Some(Misdirected::OtherCertificate)
        } else {
            None
        }
    }
}

/// Why a request is on the wrong connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misdirected {
    /// Client certificates are required, and the one that was shown was for another name.
    ClientAuth,
    /// Another certificate of ours is for that name.
    OtherCertificate,
}

fn configured(
    provider: &Arc<CryptoProvider>,
    policy: &TlsPolicy,
    listener_state: &ListenerTlsState,
    resolver: &Arc<CertificateResolver>,
    handshake: &Arc<HandshakeFacts>,
) -> Result<ServerConfig, Error> {
    let versions: &[&SupportedProtocolVersion] = match policy.min_version {
        MinVersion::Tls12 => &[&TLS13, &TLS12],
        MinVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)?;
    let resolver = Arc::new(Choosing {
        resolver: Arc::clone(resolver),
        handshake: Arc::clone(handshake),
    });
    let mut config = match &policy.client_auth {
        None => {
            let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
            config.ticketer = Arc::clone(&listener_state.ticketer);
            config.session_storage = Arc::clone(&listener_state.sessions);
            config
        }
        Some(ClientAuth { verifier, .. }) => {
            let verifier = Arc::new(Verifying {
                verifier: Arc::clone(verifier),
                handshake: Arc::clone(handshake),
            });
            let mut config = builder
                .with_client_cert_verifier(verifier)
                .with_cert_resolver(resolver);
            // See above: no session is resumed.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    };
    config.alpn_protocols = alpn_protocols(policy.http2);
    TlsEngine::configure(&mut config);
    if let Some(key_log) = &listener_state.key_log {
        config.key_log = Arc::clone(key_log);
    }
    Ok(config)
}

/// Facts of one TLS handshake.
#[derive(Debug, Default)]
pub(super) struct HandshakeFacts {
    asked: OnceLock<Asked>,
    shown: OnceLock<usize>,
    refused: OnceLock<ClientCert>,
    misfit: OnceLock<Misfit>,
}

impl HandshakeFacts {
    /// What the client asked for; set when the certificate is chosen.
    pub(super) fn asked(&self) -> Option<&Asked> {
        self.asked.get()
    }

    /// The client certificate that was refused.
    pub(super) fn refused(&self) -> Option<ClientCert> {
        self.refused.get().cloned()
    }

    /// Why none of our certificates fits the client.
    pub(super) fn misfit(&self) -> Option<&Misfit> {
        self.misfit.get()
    }
}

/// The offers in a client's `ClientHello`.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The server name.
    pub(super) name: Option<String>,
    /// Application protocols that it offers.
    pub(super) alpn: Vec<PeerText>,
}

impl Asked {
    pub(super) fn of(hello: &ClientHello<'_>) -> Self {
        let offered = hello.alpn().into_iter().flatten().take(ALPN_CAP);
        Self {
            name: hello.server_name().map(str::to_owned),
            alpn: offered
                .map(|name| PeerText::from_bytes(name, SNI_CAP))
                .collect(),
        }
    }
}

#[derive(Debug)]
struct Choosing {
    resolver: Arc<CertificateResolver>,
    handshake: Arc<HandshakeFacts>,
}

impl ResolvesServerCert for Choosing {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // The first ClientHello counts: a second one of the same handshake asks for the same.
        let _ = self.handshake.asked.set(Asked::of(&hello));
        let (name, schemes) = (hello.server_name(), hello.signature_schemes());
        let Some((position, identity)) = self.resolver.choose(name, schemes) else {
            let ours: Vec<_> = self.resolver.for_name(name).map(|(_, own)| own).collect();
            if let Some(misfit) = Misfit::of(&hello, &ours) {
                let _ = self.handshake.misfit.set(misfit);
            }
            // Return one that does not fit: without a certificate rustls would answer
            // `access_denied`, where `handshake_failure` is right.
            return ours.first().map(|own| Arc::clone(&own.certified));
        };
        // A second ClientHello of the same handshake gets the same certificate.
        let _ = self.handshake.shown.set(position);
        Some(Arc::clone(&identity.certified))
    }
}

/// Verifies as configured, and keeps a refused certificate for the record.
struct Verifying {
    verifier: Arc<dyn ClientCertVerifier>,
    handshake: Arc<HandshakeFacts>,
}

impl fmt::Debug for Verifying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifying")
    }
}

impl ClientCertVerifier for Verifying {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(leaf, intermediates, now);
        if verified.is_err() {
            let _ = self.handshake.refused.set(peer::facts(leaf));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
