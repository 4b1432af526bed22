//! TLS with clients: the handshake, and the facts recorded about it. `terminator` has the
//! certificates and the policy.

mod certificate_resolver;
pub(crate) mod engine;
mod greeting;
mod handshake;
pub(crate) mod key_log;
pub(crate) mod leaves;
mod misfit;
mod offered;
pub(crate) mod outside;
mod peer;
pub(crate) mod stream;
pub(crate) mod terminator;

use std::io;
use std::sync::Arc;

use rustls::{CommonState, HandshakeKind, PeerIncompatible, ServerConfig};

use self::engine::TlsEngine;
use self::greeting::Greeting;
pub(crate) use self::handshake::first;
use self::offered::{H2, SNI_CAP};
pub(crate) use self::stream::TlsStream;
pub(crate) use self::terminator::{ListenerTlsState, Terminator};

use super::cause;
use super::socket::ClientSocket;
use crate::session::record::{ClientTls, StreamFaultKind, TlsFailure, TlsFailureKind};
use crate::session::text::PeerText;

/// A handshake that did not complete: its facts, and the error.
#[derive(Debug)]
pub(crate) struct Failed {
    /// For the record; `failure` is set.
    pub facts: ClientTls,
    /// The original error.
    pub error: io::Error,
}

/// Does the handshake with a client from which `read` has arrived. On failure the facts contain
/// what was learned, including the server name; the alert has been sent to the client.
pub(crate) async fn accept_read(
    socket: ClientSocket,
    read: Vec<u8>,
    terminator: &Terminator,
    facts: &mut ClientTls,
) -> Result<TlsStream, Failed> {
    let (config, noted) = terminator.for_one_handshake();
    let learned = |state: &CommonState, facts: &mut ClientTls| {
        agreed(state, facts);
        let resumed = state.handshake_kind() == Some(HandshakeKind::Resumed);
        facts.resumed = Some(resumed);
        if !resumed {
            facts.certificate = terminator.shown(&noted);
        }
        let shown = state.peer_certificates().and_then(|chain| chain.first());
        facts.client_cert = shown.map(|der| Box::new(peer::facts(der)));
    };
    let mut greeting = Greeting::new(terminator, facts, Arc::clone(&noted), &read);
    let shaken = shake(socket, config, read, &mut greeting, learned).await;
    let offered = greeting.done();
    match shaken {
        Ok(stream) => Ok(stream),
        Err(error) => {
            let mut facts = facts.clone();
            facts.alpn_offered = offered.into();
            facts.certificate = terminator.shown(&noted);
            let shown = facts.certificate.as_deref();
            facts.self_made = shown.and_then(|shown| terminator.self_made(shown));
            facts.our_names = terminator.names();
            facts.client_cert = noted.refused().map(Box::new);
            let mut failed = failed(facts, error);
            if let (Some(failure), Some(misfit)) = (&mut failed.facts.failure, noted.misfit())
                && failure.alert.is_none()
            {
                failure.kind = Some(misfit.kind());
                failure.detail = misfit.to_string();
            }
            Err(failed)
        }
    }
}

/// Does the handshake with a client from which nothing has been read, and sends everything at once
/// instead of waiting for the first answer.
#[cfg(test)]
pub(crate) async fn accept(
    socket: ClientSocket,
    terminator: &Terminator,
    facts: &mut ClientTls,
) -> Result<TlsStream, Failed> {
    let mut stream = accept_read(socket, Vec::new(), terminator, facts).await?;
    let sent = stream.send_what_waits().await;
    sent.map_err(|error| failed(facts.clone(), error))?;
    Ok(stream)
}

/// Does the handshake with a client from which `read` has arrived; `learned` gets the negotiated
/// facts.
async fn shake(
    mut socket: ClientSocket,
    config: Arc<ServerConfig>,
    read: Vec<u8>,
    greeting: &mut Greeting<'_>,
    learned: impl FnOnce(&CommonState, &mut ClientTls),
) -> io::Result<TlsStream> {
    let mut engine = TlsEngine::new(config, read)?;
    let mut ahead = Vec::new();
    let tickets = handshake::complete(&mut socket, &mut engine, &mut ahead, greeting).await?;
    let mut http2 = false;
    if let Some(state) = engine.facts() {
        http2 = state.alpn_protocol() == Some(H2);
        learned(state, greeting.facts());
    }
    TlsStream::new(socket, engine, ahead, tickets, http2)
}

fn failed(mut facts: ClientTls, error: io::Error) -> Failed {
    facts.failure = Some(failure(&error));
    Failed { facts, error }
}

/// Records what a finished handshake negotiated.
pub(crate) fn agreed(state: &CommonState, facts: &mut ClientTls) {
    facts.version = state.protocol_version().map(version_name);
    facts.cipher = state
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .map(str::to_owned);
    facts.alpn = state
        .alpn_protocol()
        .map(|name| PeerText::from_bytes(name, SNI_CAP));
}

/// `TLSv1.3` for `TLSv1_3`.
#[must_use]
pub(crate) fn version_name(version: rustls::ProtocolVersion) -> String {
    version
        .as_str()
        .map_or_else(|| format!("{version:?}"), |name| name.replace('_', "."))
}

fn failure(error: &io::Error) -> TlsFailure {
    let alert = cause::received_alert(error);
    let detail = if error.kind() == io::ErrorKind::UnexpectedEof {
        "the connection ended in the middle of the TLS handshake".to_owned()
    } else {
        cause::words(error)
    };
    let kind = cause::tls_error(error).and_then(kind);
    TlsFailure {
        alert,
        kind,
        detail,
    }
}

/// The failure kind for faults that we found ourselves. The client reports its own with an alert.
fn kind(error: &rustls::Error) -> Option<TlsFailureKind> {
    use rustls::Error;
    match error {
        Error::NoApplicationProtocol => Some(TlsFailureKind::Alpn),
        Error::NoCertificatesPresented => Some(TlsFailureKind::ClientCertMissing),
        Error::InvalidCertificate(error) => Some(peer::fault(error)),
        Error::PeerIncompatible(missing) => Some(in_common(missing)),
        // Invalid bytes from the peer mean the same during and after the handshake.
        _ => match cause::stream_fault(error)?.kind {
            StreamFaultKind::Undecryptable => Some(TlsFailureKind::Undecryptable),
            StreamFaultKind::NotTls => Some(TlsFailureKind::NotTls),
            StreamFaultKind::Malformed => Some(TlsFailureKind::Malformed),
            StreamFaultKind::Unexpected => Some(TlsFailureKind::Unexpected),
            // The alert is recorded by its name.
            StreamFaultKind::Alert => None,
        },
    }
}

/// The TLS parameter for which the client and we have no common value.
fn in_common(missing: &PeerIncompatible) -> TlsFailureKind {
    use PeerIncompatible as Missing;
    match missing {
        Missing::NoCipherSuitesInCommon => TlsFailureKind::CipherSuite,
        Missing::NoKxGroupsInCommon
        | Missing::KeyShareExtensionRequired
        | Missing::NamedGroupsExtensionRequired => TlsFailureKind::KeyExchange,
        // The client may offer enough for TLS 1.2: TLS 1.3 accepts fewer signature schemes.
        Missing::NoSignatureSchemesInCommon => TlsFailureKind::SignatureScheme,
        Missing::SupportedVersionsExtensionRequired
        | Missing::Tls12NotOffered
        | Missing::Tls12NotOfferedOrEnabled => TlsFailureKind::Version,
        _ => TlsFailureKind::Incompatible,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::Server;
