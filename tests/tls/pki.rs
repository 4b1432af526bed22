//! Certificates made for one test: authorities, leaves for servers and clients, each with a key of
//! the kind that is wanted, in PEM files that hold both.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ED25519,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::support::certs::Validity;
use crate::support::packages::Program;

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ec,
    Ed,
    Rsa,
}

impl Kind {
    fn key(self) -> KeyPair {
        match self {
            Self::Ec => KeyPair::generate().expect("a key"),
            Self::Ed => KeyPair::generate_for(&PKCS_ED25519).expect("a key"),
            Self::Rsa => rsa(),
        }
    }
}

/// ring signs with RSA keys and makes none.
fn rsa() -> KeyPair {
    let openssl = Program::find("openssl").expect("openssl makes RSA keys");
    let made = openssl
        .command()
        .args(["genpkey", "-algorithm", "RSA", "-quiet"])
        .args(["-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .expect("run openssl");
    assert!(made.status.success(), "openssl makes no RSA key");
    KeyPair::from_pem(&String::from_utf8_lossy(&made.stdout)).expect("an RSA key")
}

/// Signs others.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// The certificates from this one up to a root, without the root: empty if it is a root.
    chain: String,
    name: &'static str,
}

/// A certificate with its key.
pub struct Leaf {
    pub der: CertificateDer<'static>,
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub serial: u64,
    pem: String,
}

fn authority(name: &'static str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}

impl Authority {
    pub fn root(name: &'static str) -> Self {
        let (key, params) = (Kind::Ec.key(), authority(name));
        let pem = params.self_signed(&key).expect("a CA").pem();
        let (issuer, chain) = (Issuer::new(params, key), String::new());
        Self {
            issuer,
            pem,
            chain,
            name,
        }
    }

    /// One below this one.
    pub fn intermediate(&self, name: &'static str) -> Self {
        let (key, params) = (Kind::Ec.key(), authority(name));
        let pem = params.signed_by(&key, &self.issuer).expect("a CA").pem();
        Self {
            issuer: Issuer::new(params, key),
            chain: format!("{pem}{}", self.chain),
            pem,
            name,
        }
    }

    pub fn server(&self, names: &[&str], kind: Kind, validity: Validity) -> Leaf {
        self.leaf(names, kind, validity, ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn client(&self, name: &str, validity: Validity) -> Leaf {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        self.leaf(&[name], Kind::Ec, validity, usage)
    }

    fn leaf(
        &self,
        names: &[&str],
        kind: Kind,
        validity: Validity,
        usage: ExtendedKeyUsagePurpose,
    ) -> Leaf {
        let owned: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(owned).expect("names");
        let name = format!("{} of {}", names[0], self.name);
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let serial = u64::from(rand());
        params.serial_number = Some(SerialNumber::from(serial));
        let (from, to) = match validity {
            Validity::Now => (2020, 2099),
            Validity::Expired => (2020, 2021),
            Validity::NotYet => (2098, 2099),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = kind.key();
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        let certificates = format!("{}{}", leaf.pem(), self.chain);
        let chain = CertificateDer::pem_slice_iter(certificates.as_bytes());
        let key_pem = key.serialize_pem();
        Leaf {
            der: leaf.der().clone(),
            chain: chain.map(|der| der.expect("PEM")).collect(),
            key: PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).expect("its key"),
            serial,
            pem: certificates + &key_pem,
        }
    }

    /// Writes its certificate.
    pub fn write(&self, path: &Path) -> PathBuf {
        std::fs::write(path, &self.pem).expect("write the CA");
        path.to_path_buf()
    }

    /// Writes a list with which it revokes these.
    pub fn write_revocations(&self, path: &Path, revoked: &[&Leaf]) -> PathBuf {
        let revoked = revoked.iter().map(|leaf| RevokedCertParams {
            serial_number: SerialNumber::from(leaf.serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2098, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a revocation list");
        std::fs::write(path, list.pem().expect("PEM")).expect("write the list");
        path.to_path_buf()
    }

    /// What a client trusts.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("a CA")
    }
}

impl Leaf {
    /// Writes chain and key into one file; the entry for `certificates`.
    pub fn write(&self, path: &Path) -> Value {
        std::fs::write(path, &self.pem).expect("write a certificate");
        json!({ "cert": path, "key": path })
    }

    /// SHA-256, as records show it.
    pub fn sha256(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.der);
        data_encoding::HEXLOWER.encode(digest.as_ref())
    }
}

/// A serial number that no other certificate of the test has.
fn rand() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
