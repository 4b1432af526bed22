//! Clients that leave right after TLS, either because they do not trust the certificate or as
//! health checks do.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use wstap::session::SessionRecord;
use wstap::session::record::{Confidence, SelfMadeKind};

use super::pki::{Authority, Kind};
use super::{Book, https, said};
use crate::peers::{Peer, Via, echo, ok_instead_of_101};
use crate::support::certs::Validity;
use crate::support::client::{connect, try_connect_tls};
use crate::support::conn::Conn;
use crate::support::tap::{Face, Setup, Tap};

/// How a client leaves after it has completed TLS.
#[derive(Clone, Copy, Debug)]
enum Way {
    Fin,
    CloseNotify,
    Reset,
}

impl Way {
    const ALL: [Self; 3] = [Self::Fin, Self::CloseNotify, Self::Reset];

    async fn leave(self, mut conn: Conn) {
        match self {
            Self::Fin => conn.fin(),
            Self::CloseNotify => conn.finish().await,
            Self::Reset => return conn.abort(),
        }
        conn.rest().await;
    }
}

/// A tap with a TLS listener and a plain one.
pub async fn listening(tls: Value, more: impl FnOnce(Setup) -> Setup) -> (Peer, Tap) {
    let peer = ok_instead_of_101::start(&Via::Plain, &[], "ok").await;
    let listeners = json!([
        { "listen": "127.0.0.1:0", "tls": tls },
        { "listen": "127.0.0.1:0" },
    ]);
    let tap = more(Setup::before(&peer).set("listeners", listeners));
    (peer, tap.start().await)
}

/// With the development certificate.
pub async fn development() -> (Peer, Tap) {
    listening(json!({ "self_signed": { "names": ["localhost"] } }), |it| {
        it
    })
    .await
}

/// A client that trusts this file's certificate and never resumes a session.
fn client(trusted: &Path, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(trusted).expect("a file") {
        roots
            .add(certificate.expect("a certificate"))
            .expect("a root");
    }
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

async fn tls(tap: &Tap, config: &Arc<ClientConfig>) -> Conn {
    let attempt = try_connect_tls(https(tap), config, "localhost").await;
    attempt.expect("a TLS handshake")
}

fn judged(record: &SessionRecord) -> (&str, Confidence) {
    let verdict = record.verdict.as_ref().expect("a verdict");
    (&verdict.rule, verdict.confidence)
}

const UNTRUSTED: &str = "tap.certificate.untrusted";

#[tokio::test]
async fn a_client_that_leaves_right_after_tls_may_not_trust_the_development_ca() {
    for version in [&TLS12, &TLS13] {
        for way in Way::ALL {
            let (_peer, tap) = development().await;
            let (mut book, config) = (Book(0), client(&tap.dev_ca(), version));
            for confidence in [Confidence::Possible, Confidence::Likely] {
                way.leave(tls(&tap, &config).await).await;
                let record = book.next(&tap).await;
                let what = format!("{version:?}, {way:?}");
                assert_eq!(judged(&record), (UNTRUSTED, confidence), "{what}");
                let tls = record.client.tls.as_ref().unwrap();
                let made = tls.self_made.as_ref().expect("it is self-made");
                assert_eq!(made.kind, SelfMadeKind::Development);
                assert_eq!(Path::new(&made.trust_file), tap.dev_ca());
                let (_, text) = said(&record);
                let line = format!("`NODE_EXTRA_CA_CERTS={}`", tap.dev_ca().display());
                assert!(text.contains(&line), "{text}");
            }
            // It sends a request, so it trusts the certificate, and later departures from its
            // address are no complaint.
            let answer = tls(&tap, &config).await.get("/").await.unwrap();
            assert_eq!(answer.0.status(), 200);
            book.next(&tap).await;
            way.leave(tls(&tap, &config).await).await;
            let record = book.next(&tap).await;
            assert_eq!(judged(&record), ("probe.tls", Confidence::Likely));
        }
    }
}

#[tokio::test]
async fn a_session_that_is_still_open_shows_that_its_client_trusts_the_certificate() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let config = client(&tap.dev_ca(), &TLS13);
    let mut open = tls(&tap, &config).await;
    open.open("/").await;
    Way::Fin.leave(tls(&tap, &config).await).await;
    let record = Book(0).next(&tap).await;
    assert_eq!(judged(&record).0, "probe.tls");
    drop(open);
}

#[tokio::test]
async fn a_self_signed_certificate_is_named_with_its_own_file() {
    let folder = tempfile::TempDir::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "gateway.lan");
    let leaf = params.self_signed(&key).unwrap().pem();
    let [cert, key_file] = ["own.pem", "own-key.pem"].map(|name| folder.path().join(name));
    fs::write(&cert, leaf).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let entry = json!({ "certificates": [{ "cert": cert, "key": key_file }] });
    let (_peer, tap) = listening(entry, |it| it).await;
    Way::Fin
        .leave(tls(&tap, &client(&cert, &TLS13)).await)
        .await;
    let record = Book(0).next(&tap).await;
    assert_eq!(judged(&record), (UNTRUSTED, Confidence::Possible));
    let (_, text) = said(&record);
    let line = format!("`NODE_EXTRA_CA_CERTS={}`", cert.display());
    assert!(text.contains(&line), "{text}");
}

#[tokio::test]
async fn a_certificate_that_a_ca_issued_is_not_suspected() {
    let (folder, root) = (tempfile::TempDir::new().unwrap(), Authority::root("root"));
    let leaf = root.server(&["localhost"], Kind::Ec, Validity::Now);
    let entry = json!({ "certificates": [leaf.write(&folder.path().join("leaf.pem"))] });
    let (_peer, tap) = listening(entry, |it| it).await;
    let ca: PathBuf = folder.path().join("ca.pem");
    let pem = pem(&root.der());
    fs::write(&ca, pem).unwrap();
    let mut book = Book(0);
    for version in [&TLS12, &TLS13, &TLS13] {
        for way in Way::ALL {
            way.leave(tls(&tap, &client(&ca, version)).await).await;
            let record = book.next(&tap).await;
            assert_eq!(judged(&record).0, "probe.tls", "{version:?}, {way:?}");
            assert_eq!(record.client.tls.unwrap().self_made, None);
        }
    }
}

fn pem(der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[tokio::test]
async fn spare_connections_are_no_alarm_where_their_client_asks() {
    let (_peer, tap) = listening(json!({ "self_signed": { "names": ["localhost"] } }), |it| {
        it.set("timeouts.request_head", "400ms")
            .set("timeouts.tls_handshake", "400ms")
    })
    .await;
    let config = client(&tap.dev_ca(), &TLS13);
    let mut book = Book(0);
    let kinds = ["plain", "before TLS", "after TLS"];
    for asked in [false, true] {
        if asked {
            let answer = tls(&tap, &config).await.get("/").await.unwrap();
            assert_eq!(answer.0.status(), 200);
            book.next(&tap).await;
        }
        for kind in kinds {
            let mut conn = match kind {
                "plain" => connect(tap.addr(Face::Plain)).await,
                "before TLS" => connect(https(&tap)).await,
                _ => tls(&tap, &config).await,
            };
            conn.rest().await;
            let record = book.next(&tap).await;
            let rule = match (asked, kind) {
                (true, _) => "probe.spare",
                (false, "before TLS") => "tap.timeout.tls_handshake",
                (false, _) => "tap.timeout.silent_client",
            };
            assert_eq!(judged(&record).0, rule, "{kind}");
        }
    }
}
