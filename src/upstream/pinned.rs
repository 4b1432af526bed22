//! A gateway that is verified only by its certificate's fingerprint, as OpenClaw's clients do with
//! `gateway.remote.tlsFingerprint`: the certificate that the gateway makes for itself has no usable
//! name.

use std::sync::{Arc, OnceLock};

use data_encoding::HEXLOWER;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
};
use sha2::{Digest as _, Sha256};

use crate::crypto;

/// The SHA-256 of a certificate (DER).
pub(crate) type Fingerprint = [u8; 32];

/// Accepts only the certificate with one fingerprint, whatever its name and dates. The handshake
/// must still be signed with its key.
#[derive(Debug)]
pub(crate) struct Pinned {
    /// `None` if any certificate is accepted, to learn its fingerprint.
    to: Option<Fingerprint>,
    /// The first certificate that was shown, and the length of its chain.
    shown: OnceLock<(Fingerprint, usize)>,
}

/// The gateway showed a certificate other than the pinned one.
#[derive(Debug, thiserror::Error)]
#[error("found the certificate sha256:{shown}, expected sha256:{pinned}")]
pub(super) struct NotPinned {
    shown: String,
    pinned: String,
}

/// The fingerprint of a certificate.
#[must_use]
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Sha256::digest(certificate).into()
}

impl Pinned {
    /// Accepts only the certificate with this fingerprint.
    #[must_use]
    pub(crate) fn to(fingerprint: Fingerprint) -> Arc<Self> {
        Arc::new(Self {
            to: Some(fingerprint),
            shown: OnceLock::new(),
        })
    }

    /// Accepts any certificate: only for connections that carry no data.
    #[must_use]
    pub(crate) fn to_any() -> Arc<Self> {
        Arc::new(Self {
            to: None,
            shown: OnceLock::new(),
        })
    }

    /// The certificate that was shown first, and the length of its chain.
    #[must_use]
    pub(crate) fn shown(&self) -> Option<(Fingerprint, usize)> {
        self.shown.get().copied()
    }

    /// A TLS client configuration with this verifier.
    pub(crate) fn client(self: &Arc<Self>) -> Result<ClientConfig, Error> {
        let builder = ClientConfig::builder_with_provider(crypto::provider());
        let builder = builder.with_safe_default_protocol_versions()?.dangerous();
        let verifier = Arc::clone(self) as Arc<dyn ServerCertVerifier>;
        let builder = builder.with_custom_certificate_verifier(verifier);
        Ok(builder.with_no_client_auth())
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = fingerprint(leaf);
        let _ = self.shown.set((shown, 1 + others.len()));
        let Some(pinned) = self.to.filter(|pinned| *pinned != shown) else {
            return Ok(ServerCertVerified::assertion());
        };
        let other = NotPinned {
            shown: HEXLOWER.encode(&shown),
            pinned: HEXLOWER.encode(&pinned),
        };
        Err(CertificateError::Other(OtherError(Arc::new(other))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let provider = crypto::provider();
        let algorithms = &provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let provider = crypto::provider();
        let algorithms = &provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = crypto::provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
