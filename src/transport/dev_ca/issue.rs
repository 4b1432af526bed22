//! Makes and reads the two certificates. No files, no clock: bytes and `now` in, PEM out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
    SerialNumber,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use super::error::DevCaError;
use crate::crypto;

const CA_LIFE: i64 = 3652 * DAY;
/// Browsers accept at most 398 days.
const LEAF_LIFE: i64 = 397 * DAY;
/// The CA is backdated because clocks of clients may be behind ours.
const CA_BACKDATE: i64 = DAY;
const LEAF_BACKDATE: i64 = 60 * 60;

/// A name in the form that certificates use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Dns(String),
    Ip(IpAddr),
}

impl Name {
    /// A DNS name (in any case, international, with a wildcard as its first label), or an IP address
    /// with or without brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(ip) = bare.parse() {
            return Some(Self::Ip(ip));
        }
        let (wildcard, host) = match text.strip_prefix("*.") {
            Some(host) => ("*.", host),
            None => ("", text),
        };
        match url::Host::parse(host.strip_suffix('.').unwrap_or(host)).ok()? {
            url::Host::Domain(host) if is_dns_name(&host) => {
                Some(Self::Dns(format!("{wildcard}{host}")))
            }
            _ => None,
        }
    }
}

fn is_dns_name(host: &str) -> bool {
    host.len() <= 250
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// The names that every leaf has.
pub(super) fn default_names() -> Vec<Name> {
    vec![
        Name::Dns("localhost".into()),
        Name::Ip(std::net::Ipv4Addr::LOCALHOST.into()),
        Name::Ip(std::net::Ipv6Addr::LOCALHOST.into()),
    ]
}

/// Fails if the clock cannot be right: a machine without a clock battery starts in 1970, and its
/// certificates would be useless once the clock is set. (The upper bound keeps date arithmetic in
/// range.)
pub(super) fn check_clock(now: Timestamp) -> Result<(), DevCaError> {
    const YEAR_2020: i64 = 1_577_836_800;
    const YEAR_9000: i64 = 221_845_392_000;
    if (YEAR_2020..YEAR_9000).contains(&now.as_second()) {
        Ok(())
    } else {
        Err(DevCaError::Clock(now))
    }
}

/// A CA certificate that was read.
pub(super) struct Ca {
    /// Only the PEM block; people write notes around it.
    pem: String,
    der: CertificateDer<'static>,
    common_name: String,
    subject: Vec<u8>,
    public_key: Vec<u8>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl Ca {
    pub(super) fn parse(pem: &[u8]) -> Result<Self, &'static str> {
        let block = first_block(pem).ok_or("not a certificate in PEM form")?;
        let der = CertificateDer::from_pem_slice(block.as_bytes())
            .map_err(|_| "not a certificate in PEM form")?;
        let (_, cert) = X509Certificate::from_der(&der).map_err(|_| "not a certificate")?;
        let is_ca = cert
            .basic_constraints()
            .ok()
            .flatten()
            .is_some_and(|found| found.value.ca);
        if !is_ca {
            return Err("not the certificate of a CA");
        }
        let common_name = cert
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok());
        let (not_before, not_after) = validity(&cert).ok_or("no usable dates")?;
        Ok(Self {
            common_name: common_name.ok_or("no common name")?.to_owned(),
            subject: cert.subject().as_raw().to_vec(),
            public_key: cert.public_key().raw.to_vec(),
            not_before,
            not_after,
            pem: block.to_owned(),
            der: der.clone(),
        })
    }

    pub(super) fn has_key(&self, key: &KeyPair) -> bool {
        key.subject_public_key_info() == self.public_key
    }
}

fn first_block(pem: &[u8]) -> Option<&str> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = std::str::from_utf8(pem).ok()?;
    let text = text.get(text.find("-----BEGIN CERTIFICATE-----")?..)?;
    text.get(..text.find(END)? + END.len())
}

/// A leaf certificate that was read, and whose file is complete (leaf, then this CA).
pub(super) struct Leaf {
    der: CertificateDer<'static>,
    public_key: Vec<u8>,
    pub(super) names: Vec<Name>,
    pub(super) not_after: Timestamp,
}

impl Leaf {
    pub(super) fn parse(pem: &[u8], ca: &Ca) -> Option<Self> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .ok()?;
        let [der, issuer] = chain.as_slice() else {
            return None;
        };
        let (_, cert) = X509Certificate::from_der(der).ok()?;
        if *issuer != ca.der || cert.issuer().as_raw() != ca.subject {
            return None;
        }
        let alternatives = cert.subject_alternative_name().ok()??;
        Some(Self {
            public_key: cert.public_key().raw.to_vec(),
            names: alternatives
                .value
                .general_names
                .iter()
                .filter_map(name_of)
                .collect(),
            not_after: validity(&cert)?.1,
            der: der.clone(),
        })
    }

    pub(super) fn has_key(&self, pem: &[u8]) -> bool {
        parse_key(pem).is_some_and(|key| key.subject_public_key_info() == self.public_key)
    }

    /// Verifies signature, dates, purpose and a name as a client would.
    pub(super) fn is_trusted(&self, ca: &Ca, now: Timestamp) -> bool {
        let verify = || {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der.clone()).ok()?;
            let provider = crypto::provider();
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .ok()?;
            let host = ServerName::try_from("localhost").ok()?;
            let seconds = u64::try_from(now.as_second()).ok()?;
            let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            verifier
                .verify_server_cert(&self.der, &[], &host, &[], now)
                .ok()
        };
        verify().is_some()
    }
}

fn name_of(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        GeneralName::DNSName(host) => Some(Name::Dns((*host).to_owned())),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
            .ok()
            .map(Name::Ip),
        _ => None,
    }
}

fn validity(cert: &X509Certificate<'_>) -> Option<(Timestamp, Timestamp)> {
    let validity = cert.validity();
    Some((
        Timestamp::from_second(validity.not_before.timestamp()).ok()?,
        Timestamp::from_second(validity.not_after.timestamp()).ok()?,
    ))
}

/// A P-256 key in PKCS #8 PEM, the only kind that this module makes.
pub(super) fn parse_key(pem: &[u8]) -> Option<KeyPair> {
    let text = std::str::from_utf8(pem).ok()?;
    KeyPair::from_pkcs8_pem_and_sign_algo(text, &PKCS_ECDSA_P256_SHA256).ok()
}

/// Certificate and key of a new CA.
pub(super) fn new_ca(now: Timestamp) -> Result<(String, Zeroizing<String>), DevCaError> {
    let key = new_key()?;
    let [a, b, c, ..] = random()?;
    // The random part distinguishes the CAs of several folders in a browser's list.
    let mut params = ca_params(&format!("wstap development CA {a:02x}{b:02x}{c:02x}"));
    let start = now.as_second() - CA_BACKDATE;
    set_validity(&mut params, start, start + CA_LIFE);
    params.serial_number = Some(serial()?);
    let cert = params.self_signed(&key).map_err(DevCaError::Issue)?;
    Ok((cert.pem(), Zeroizing::new(key.serialize_pem())))
}

/// Certificate chain of a leaf, and its key if `old_key` could not be reused.
pub(super) fn new_leaf(
    ca: &Ca,
    ca_key: KeyPair,
    old_key: Option<&[u8]>,
    names: &[Name],
    now: Timestamp,
) -> Result<(String, Option<String>), DevCaError> {
    let (key, is_new) = match old_key.and_then(parse_key) {
        Some(key) => (key, false),
        None => (new_key()?, true),
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("wstap development certificate");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    for name in names {
        params.subject_alt_names.push(match name {
            Name::Dns(host) => {
                SanType::DnsName(host.as_str().try_into().map_err(DevCaError::Issue)?)
            }
            Name::Ip(ip) => SanType::IpAddress(*ip),
        });
    }
    // Never outside of the CA's own dates.
    let start = (now.as_second() - LEAF_BACKDATE).max(ca.not_before.as_second());
    set_validity(
        &mut params,
        start,
        (start + LEAF_LIFE).min(ca.not_after.as_second()),
    );
    let issuer = Issuer::new(ca_params(&ca.common_name), ca_key);
    let cert = params.signed_by(&key, &issuer).map_err(DevCaError::Issue)?;
    let chain = format!("{}{}\n", cert.pem(), ca.pem);
    Ok((chain, is_new.then(|| key.serialize_pem())))
}

/// Used both for making the CA and for signing with it later, so that names and key ids agree.
fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    // It signs leaves only.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn set_validity(params: &mut CertificateParams, start: i64, end: i64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |seconds: i64| epoch + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    params.not_before = at(start);
    params.not_after = at(end);
}

fn new_key() -> Result<KeyPair, DevCaError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(DevCaError::Issue)
}

/// Positive and 16 bytes long (RFC 5280 §4.1.2.2 allows 20).
fn serial() -> Result<SerialNumber, DevCaError> {
    let mut bytes = random()?;
    let [first, ..] = &mut bytes;
    *first = *first & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn random() -> Result<[u8; 16], DevCaError> {
    let mut bytes = [0; 16];
    crypto::provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| DevCaError::Random)?;
    Ok(bytes)
}
/// One day in seconds.
pub(super) const DAY: i64 = 24 * 60 * 60;
