//! A TLS client with a mind of its own about certificates.

use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Takes every certificate or finds the same fault with each, works with certain keys only, and
/// keeps what it was shown.
#[derive(Debug)]
pub struct Verifier {
    fault: Option<CertificateError>,
    schemes: Vec<SignatureScheme>,
    shown: Mutex<Option<CertificateDer<'static>>>,
}

impl Verifier {
    /// Takes everything that is signed with one of these.
    pub fn taking(schemes: &[SignatureScheme]) -> (Arc<Self>, Arc<ClientConfig>) {
        Self::client(None, schemes.to_vec())
    }

    /// Refuses every certificate.
    pub fn refusing(fault: CertificateError) -> Arc<ClientConfig> {
        let schemes = ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes();
        Self::client(Some(fault), schemes).1
    }

    fn client(
        fault: Option<CertificateError>,
        schemes: Vec<SignatureScheme>,
    ) -> (Arc<Self>, Arc<ClientConfig>) {
        let verifier = Arc::new(Self {
            fault,
            schemes,
            shown: Mutex::default(),
        });
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        (verifier, Arc::new(config))
    }

    pub fn shown(&self) -> CertificateDer<'static> {
        let shown = self.shown.lock().expect("no panic").take();
        shown.expect("a certificate that was shown")
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.shown.lock().expect("no panic") = Some(leaf.clone().into_owned());
        match &self.fault {
            Some(fault) => Err(Error::InvalidCertificate(fault.clone())),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
