//! Certificates made for one test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// When a leaf is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Now,
    Expired,
    NotYet,
}

/// A CA of the test's own.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
        let pem = params.self_signed(&key).expect("a CA").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// An inner CA that this one has signed.
    pub fn intermediate(&self) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "test intermediate");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
        let pem = params.signed_by(&key, &self.issuer).expect("a CA").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A leaf for these names, ready to serve with, and this CA's own certificate after it.
    pub fn server_with_chain(&self, names: &[&str]) -> Arc<ServerConfig> {
        let (leaf, key) = self.leaf(names, Validity::Now);
        let own = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("the CA");
        serving(vec![leaf.der().clone(), own], &key.serialize_pem())
    }

    /// A leaf for these names, ready to serve with.
    pub fn server(&self, names: &[&str], validity: Validity) -> Arc<ServerConfig> {
        let (leaf, key) = self.leaf(names, validity);
        serving(vec![leaf.der().clone()], &key.serialize_pem())
    }

    /// The same, for clients that show a certificate of this CA.
    pub fn demanding_server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let (leaf, key) = self.leaf(names, Validity::Now);
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(self.pem.as_bytes()) {
            roots.add(root.expect("the CA")).expect("a root");
        }
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_client_cert_verifier(clients.build().expect("a verifier"));
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("its key");
        let config = config.with_single_cert(vec![leaf.der().clone()], key);
        Arc::new(config.expect("a leaf with its key"))
    }

    /// The same in two files, for other programs: certificate and key.
    pub fn write_leaf(
        &self,
        folder: &Path,
        names: &[&str],
        validity: Validity,
    ) -> (PathBuf, PathBuf) {
        let (leaf, key) = self.leaf(names, validity);
        let files = (folder.join("leaf.pem"), folder.join("leaf-key.pem"));
        std::fs::write(&files.0, leaf.pem()).expect("write the leaf");
        std::fs::write(&files.1, key.serialize_pem()).expect("write its key");
        files
    }

    /// What [`Self::write_leaf`] has written into this folder, ready to serve with.
    pub fn server_of(folder: &Path) -> Arc<ServerConfig> {
        let leaf = CertificateDer::from_pem_file(folder.join("leaf.pem")).expect("the leaf");
        let key = std::fs::read_to_string(folder.join("leaf-key.pem")).expect("its key");
        serving(vec![leaf], &key)
    }

    fn leaf(&self, names: &[&str], validity: Validity) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params
            .distinguished_name
            .push(DnType::CommonName, "test leaf");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (from, to) = match validity {
            Validity::Now => (2020, 2099),
            Validity::Expired => (2020, 2021),
            Validity::NotYet => (2098, 2099),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        (leaf, key)
    }

    /// Writes the CA's certificate for the tap (`gateway.tls.ca`).
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("test-ca.pem");
        std::fs::write(&path, &self.pem).expect("write the CA");
        path
    }

    /// Trusts this CA and nothing else.
    pub fn client(&self) -> Arc<ClientConfig> {
        trusting(self.pem.as_bytes())
    }
}

fn serving(chain: Vec<CertificateDer<'static>>, key: &str) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("its key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a leaf with its key");
    Arc::new(config)
}

/// A client that trusts the CA of this file.
pub fn trusting_file(path: &Path) -> Arc<ClientConfig> {
    let pem = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    trusting(&pem)
}

/// A client that trusts nothing, so that it refuses every certificate.
pub fn trusting_nothing() -> Arc<ClientConfig> {
    Ca::new().client()
}

/// Trust roots of a client that trusts the CA in this file.
pub fn roots_of(path: &Path) -> RootCertStore {
    let pem = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    roots(&pem)
}

fn roots(pem: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots
            .add(certificate.expect("a certificate"))
            .expect("a root");
    }
    roots
}

fn trusting(pem: &[u8]) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots(pem))
        .with_no_client_auth();
    Arc::new(config)
}
