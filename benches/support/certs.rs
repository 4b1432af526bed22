//! One certificate for every proxy of a run, and the TLS configurations of clients and the stand-in
//! gateway that use it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::Fallible;

/// The TLS parameters of all handshakes of a bench: clients offer nothing else, so that no proxy is
/// faster because of another cipher.
pub const CIPHER: &str = "TLS 1.3, TLS_AES_256_GCM_SHA384, X25519, ECDSA P-256";

/// PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Certificate and key in one file, as HAProxy needs them.
    pub both: PathBuf,
}

impl Certificate {
    /// Makes a new self-signed certificate for `localhost`, ECDSA P-256.
    pub fn make(folder: &Path) -> Fallible<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
        let cert = params.self_signed(&key)?.pem();
        let key = key.serialize_pem();
        let files = Self {
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
            both: folder.join("both.pem"),
        };
        fs::write(&files.cert, &cert)?;
        fs::write(&files.key, &key)?;
        fs::write(&files.both, format!("{cert}{key}"))?;
        Ok(files)
    }

    /// The configuration of a client that trusts it.
    pub fn client(&self, resumption: Resumption) -> Fallible<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.cert)?)?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = resumption;
        Ok(Arc::new(config))
    }

    /// The configuration of the gateway.
    pub fn server(&self) -> Fallible<Arc<ServerConfig>> {
        let chain = vec![CertificateDer::from_pem_file(&self.cert)?];
        let key = PrivateKeyDer::from_pem_file(&self.key)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Arc::new(config))
    }

    /// The certificate that another process of this run has made in the folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
            both: folder.join("both.pem"),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    let all = ring::default_provider();
    Arc::new(CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![ring::kx_group::X25519],
        ..all
    })
}
