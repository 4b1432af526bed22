//! TLS with the gateway.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{
    CertificateError, ClientConfig, CommonState, Error, InvalidMessage, KeyLog, OtherError,
    RootCertStore,
};

use super::pinned::{NotPinned, Pinned};
use crate::config::{Gateway, Target};
use crate::crypto;
use crate::session::record::gateway::GatewayTlsFacts;
use crate::session::record::{GatewayError, GatewayErrorKind as Kind};
use crate::transport::{cause, tls::version_name};

/// The client configuration could not be built.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The system has no root certificates, and no CA is configured.
    #[error("failed to load the system's root certificates ({0}); set gateway.tls.ca")]
    NoRoots(String),
    /// The gateway is a name that no certificate can carry.
    #[error("failed to use {0:?} as a TLS server name; set gateway.tls.server_name")]
    ServerName(String),
    /// The TLS library refused the configuration.
    #[error("failed to configure TLS for the gateway: {0}")]
    Rustls(#[from] Error),
}

/// The configuration, and the name that the gateway's certificate must carry.
pub(super) fn client_config(
    gateway: &Gateway,
    key_log: Option<Arc<dyn KeyLog>>,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), TlsSetupError> {
    let name = match (gateway.tls().server_name(), gateway.target()) {
        (Some(name), _) => name.clone(),
        (None, Target::Tcp { host, .. }) => {
            let text = host.to_unbracketed();
            ServerName::try_from(text.clone()).map_err(|_| TlsSetupError::ServerName(text))?
        }
        (None, Target::Unix(path)) => {
            return Err(TlsSetupError::ServerName(path.display().to_string()));
        }
    };
    let mut config = match gateway.tls().fingerprint() {
        Some(fingerprint) => Pinned::to(fingerprint).client()?,
        None => ClientConfig::builder_with_provider(crypto::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(gateway)?)
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if let Some(key_log) = key_log {
        config.key_log = key_log;
    }
    Ok((Arc::new(config), name))
}

fn roots(gateway: &Gateway) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    if gateway.tls().ca().is_empty() {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            return Err(TlsSetupError::NoRoots(why.join("; ")));
        }
    } else {
        for certificate in gateway.tls().ca() {
            roots.add(certificate.clone())?;
        }
    }
    Ok(roots)
}

/// Records the version and cipher suite of a finished handshake.
pub(super) fn agreed(state: &CommonState, facts: &mut GatewayTlsFacts) {
    facts.version = state.protocol_version().map(version_name);
    facts.cipher = state
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .map(str::to_owned);
}

fn not_pinned(error: &io::Error) -> String {
    match cause::tls_error(error) {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
            other.to_string()
        }
        _ => cause::words(error),
    }
}

/// Why a handshake with the gateway failed.
pub(super) fn failed(error: &io::Error) -> GatewayError {
    let kind = match cause::tls_error(error) {
        Some(Error::InvalidCertificate(certificate)) => match certificate {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Kind::CertificateExpired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Kind::CertificateName
            }
            CertificateError::Other(OtherError(other)) if other.is::<NotPinned>() => {
                Kind::CertificatePin
            }
            _ => Kind::CertificateUntrusted,
        },
        Some(Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        )) => Kind::NotTls,
        Some(_) => Kind::Tls,
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Kind::TlsCut,
            _ => Kind::Tls,
        },
    };
    let detail = match kind {
        Kind::NotTls => format!(
            "the gateway does not answer TLS with TLS ({})",
            cause::words(error)
        ),
        Kind::TlsCut => format!(
            "the gateway ended the connection in the TLS handshake ({})",
            cause::words(error)
        ),
        Kind::CertificatePin => not_pinned(error),
        _ => cause::words(error),
    };
    GatewayError { kind, detail }
}
