//! Each kind of a failed handshake, as it is made by real TLS libraries on the other side: rustls and
//! OpenSSL. What no library does by itself (records that are broken) is in `broken` and `hellos`.

use std::process::Stdio;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS12;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use wstap::session::record::{GatewayErrorKind, TlsAlert, TlsFailure, TlsFailureKind as Failure};

use super::openssl::{ALL, Client};
use super::pki::{Authority, Kind, Leaf};
use super::visitor::{BOTH, client, visit};
use super::{Book, https, said, setup, tap};
use crate::peers::{Via, echo, ok_instead_of_101};
use crate::support::certs::Validity;
use crate::support::deadline::within;
use crate::support::packages::Program;
use crate::support::skip::skip;
use crate::support::tap::{Face, Setup};

/// Names of the tap's certificates, one good and one expired.
const GOOD: &str = "gw.example";
const OLD: &str = "old.example";

/// What a failed handshake is in the record: the client's alert, or what we found.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Alert(TlsAlert),
    Ours(Failure),
}

impl Found {
    fn of(failure: &TlsFailure) -> Self {
        match (failure.alert, failure.kind) {
            (Some(alert), None) => Self::Alert(alert),
            (None, Some(kind)) => Self::Ours(kind),
            both => panic!("{both:?}: {}", failure.detail),
        }
    }
}

async fn assert_next(book: &mut Book, tap: &crate::support::tap::Tap, wanted: (&Found, &str)) {
    let record = book.next(tap).await;
    let (rule, text) = said(&record);
    let failure = record.client.tls.and_then(|tls| tls.failure);
    let failure = failure.unwrap_or_else(|| panic!("{wanted:?}: no failure, {text}"));
    assert_eq!((&Found::of(&failure), &*rule), wanted, "{text}");
}

#[tokio::test]
async fn clients_with_rustls_that_do_not_like_ours() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let good = root.server(&[GOOD], Kind::Ec, Validity::Now);
    let old = root.server(&[OLD], Kind::Ec, Validity::Expired);
    let (_peer, tap) = tap(&[&good, &old], json!({})).await;
    let with = |trusted: &Authority, change: &dyn Fn(&mut ClientConfig)| {
        let mut config = client(trusted, None, BOTH);
        change(&mut config);
        Arc::new(config)
    };
    let same = |_: &mut ClientConfig| {};
    let unknown = |config: &mut ClientConfig| config.alpn_protocols = vec![b"spdy/3".to_vec()];
    let mut rsa = ring::default_provider();
    rsa.cipher_suites = vec![ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
    let mut roots = RootCertStore::empty();
    roots.add(root.der()).unwrap();
    let rsa = ClientConfig::builder_with_provider(Arc::new(rsa))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let alert = Found::Alert;
    let mut book = Book(0);
    for (config, name, found, rule) in [
        (
            with(&other, &same),
            GOOD,
            alert(TlsAlert::UnknownCa),
            "tap.certificate.unknown_ca",
        ),
        (
            with(&root, &same),
            OLD,
            alert(TlsAlert::CertificateExpired),
            "tap.certificate.expired",
        ),
        (
            with(&root, &same),
            "another.example",
            alert(TlsAlert::BadCertificate),
            "tap.certificate.refused",
        ),
        (
            with(&root, &unknown),
            GOOD,
            Found::Ours(Failure::Alpn),
            "client.fault.alpn",
        ),
        (
            Arc::new(rsa),
            GOOD,
            Found::Ours(Failure::CertificateKey),
            "tap.fault.certificate",
        ),
    ] {
        visit(https(&tap), &config, name, name).await.unwrap_err();
        assert_next(&mut book, &tap, (&found, rule)).await;
    }
}

#[tokio::test]
async fn clients_with_openssl_that_do_not_like_ours() {
    let name = "clients_with_openssl_that_do_not_like_ours";
    let Some(openssl) = Program::find("openssl") else {
        return skip(name, "there is no openssl");
    };
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let good = root.server(&[GOOD], Kind::Ec, Validity::Now);
    let old = root.server(&[OLD], Kind::Ec, Validity::Expired);
    let (_peer, tap) = tap(&[&good, &old], json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |ca: &Authority, name: &str| ca.write(&folder.path().join(name));
    let (root, other) = (write(&root, "root.pem"), write(&other, "other.pem"));
    let (root, other) = (root.to_str().unwrap(), other.to_str().unwrap());
    let weak = format!("{ALL}:@SECLEVEL=0");
    let verify = "-verify_return_error";
    let (alert, ours) = (Found::Alert, Found::Ours);
    let fault = "client.fault.tls";
    let client = Client {
        openssl: &openssl,
        addr: https(&tap),
    };
    let mut book = Book(0);
    for (options, found, rule) in [
        (
            vec!["-CAfile", other, verify],
            alert(TlsAlert::UnknownCa),
            "tap.certificate.unknown_ca",
        ),
        (
            vec!["-CAfile", root, verify, "-servername", OLD],
            alert(TlsAlert::CertificateExpired),
            "tap.certificate.expired",
        ),
        (
            vec!["-CAfile", root, verify, "-verify_hostname", "x.example"],
            alert(TlsAlert::BadCertificate),
            "tap.certificate.refused",
        ),
        (
            vec!["-alpn", "spdy/3"],
            ours(Failure::Alpn),
            "client.fault.alpn",
        ),
        (
            vec!["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
            ours(Failure::CertificateKey),
            "tap.fault.certificate",
        ),
        // A client of TLS 1.1 sends no signature_algorithms, which rustls looks for before the version:
        // `version` is made by hand in `hellos`.
        (
            vec!["-tls1_1", "-cipher", &weak],
            ours(Failure::Incompatible),
            fault,
        ),
        (
            vec!["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"],
            ours(Failure::CipherSuite),
            fault,
        ),
        (
            vec!["-tls1_3", "-groups", "P-521"],
            ours(Failure::KeyExchange),
            fault,
        ),
        (
            vec![
                "-tls1_2",
                "-sigalgs",
                "RSA+SHA1:ECDSA+SHA1",
                "-cipher",
                &weak,
            ],
            ours(Failure::SignatureScheme),
            fault,
        ),
    ] {
        client.run(&options, "").await;
        assert_next(&mut book, &tap, (&found, rule)).await;
    }
}

/// With rustls: `client_auth`.
#[tokio::test]
async fn clients_with_openssl_whose_certificate_is_not_good() {
    let name = "clients_with_openssl_whose_certificate_is_not_good";
    let Some(openssl) = Program::find("openssl") else {
        return skip(name, "there is no openssl");
    };
    let (servers, clients) = (Authority::root("servers"), Authority::root("clients"));
    let stranger = Authority::root("strangers");
    let leaf = servers.server(&[GOOD], Kind::Ec, Validity::Now);
    let peer = ok_instead_of_101::start(&Via::Plain, &[], "ok").await;
    let before = setup(&peer, &[], json!({}));
    let revoked = clients.client("revoked.example", Validity::Now);
    let auth = json!({
        "mode": "required",
        "ca": clients.write(&before.path("clients.pem")),
        "crl": clients.write_revocations(&before.path("crl.pem"), &[&revoked]),
    });
    let entry = leaf.write(&before.path("leaf.pem"));
    let tls = json!({ "certificates": [entry], "client_auth": auth });
    let listeners = json!([{ "listen": "127.0.0.1:0", "tls": tls }]);
    let own = before.path("own.pem");
    let tap = before.set("listeners", listeners).start().await;
    let client = Client {
        openssl: &openssl,
        addr: https(&tap),
    };
    let mut book = Book(0);
    for (shown, kind, rule) in [
        (None, Failure::ClientCertMissing, "missing"),
        (
            Some(clients.client("old.example", Validity::Expired)),
            Failure::ClientCertExpired,
            "expired",
        ),
        (
            Some(clients.client("early.example", Validity::NotYet)),
            Failure::ClientCertNotYetValid,
            "invalid",
        ),
        (
            Some(stranger.client("stranger.example", Validity::Now)),
            Failure::ClientCertUnknownCa,
            "untrusted",
        ),
        (Some(revoked), Failure::ClientCertRevoked, "revoked"),
        (
            Some(clients.server(&["server.example"], Kind::Ec, Validity::Now)),
            Failure::ClientCertInvalid,
            "invalid",
        ),
    ] {
        let path = own.to_str().unwrap();
        let mut options = vec!["-tls1_2"];
        if let Some(leaf) = &shown {
            leaf.write(&own);
            options.extend(["-cert", path, "-key", path]);
        }
        client.run(&options, "").await;
        let rule = format!("client.fault.certificate_{rule}");
        assert_next(&mut book, &tap, (&Found::Ours(kind), &rule)).await;
    }
}

/// What a gateway does in its handshake with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Untrusted,
    Expired,
    NotYet,
    Name,
    /// It speaks another application protocol.
    Alpn,
    /// It wants a certificate of ours, and speaks TLS 1.2, in which it says so in the handshake.
    WantsCertificate,
    /// It speaks nothing newer than TLS 1.1.
    Version,
    /// It has no cipher suite of ours.
    CipherSuite,
}

impl Wrong {
    fn leaf(self, root: &Authority) -> Leaf {
        let of = |name: &str, validity| root.server(&[name], Kind::Ec, validity);
        match self {
            Self::Untrusted => Authority::root("other").server(&[GOOD], Kind::Ec, Validity::Now),
            Self::Expired => of(GOOD, Validity::Expired),
            Self::NotYet => of(GOOD, Validity::NotYet),
            Self::Name => of("another.example", Validity::Now),
            Self::Alpn | Self::WantsCertificate | Self::Version | Self::CipherSuite => {
                of(GOOD, Validity::Now)
            }
        }
    }

    fn kind(self) -> GatewayErrorKind {
        match self {
            Self::Untrusted => GatewayErrorKind::CertificateUntrusted,
            Self::Expired | Self::NotYet => GatewayErrorKind::CertificateExpired,
            Self::Name => GatewayErrorKind::CertificateName,
            Self::Alpn | Self::WantsCertificate | Self::Version | Self::CipherSuite => {
                GatewayErrorKind::Tls
            }
        }
    }

    /// One request through a tap before a gateway at this URL.
    async fn assert_found(self, root: &Authority, url: &str, alert: Option<TlsAlert>) {
        let before = Setup::before_url(url);
        let ca = root.write(&before.path("root.pem"));
        let tap = before
            .set("gateway.tls.ca", ca.to_str().unwrap())
            .set("gateway.tls.server_name", GOOD)
            .start()
            .await;
        let (answer, _) = tap.connect(Face::Plain).await.get("/").await.unwrap();
        assert_eq!(answer.status(), 502, "{self:?}");
        let record = Book(0).next(&tap).await;
        let gateway = record.gateway.as_ref().unwrap();
        let error = gateway.error.as_ref().unwrap();
        assert_eq!(error.kind, self.kind(), "{self:?}: {}", error.detail);
        assert_eq!(gateway.tls.as_ref().unwrap().alert, alert, "{self:?}");
        let (rule, text) = said(&record);
        let wanted = match self.kind() {
            GatewayErrorKind::Tls => "gateway.unreachable.tls",
            _ => "gateway.unreachable.certificate",
        };
        assert!(rule.starts_with(wanted), "{self:?}: {rule}, {text}");
    }
}

#[tokio::test]
async fn gateways_with_rustls() {
    let root = Authority::root("root");
    for (wrong, alert) in [
        (Wrong::Untrusted, None),
        (Wrong::Expired, None),
        (Wrong::NotYet, None),
        (Wrong::Name, None),
        (Wrong::Alpn, Some(TlsAlert::NoApplicationProtocol)),
        (Wrong::WantsCertificate, Some(TlsAlert::CertificateRequired)),
    ] {
        let leaf = wrong.leaf(&root);
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&[&TLS12]).unwrap();
        let builder = if wrong == Wrong::WantsCertificate {
            let mut roots = RootCertStore::empty();
            roots.add(root.der()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(leaf.chain, leaf.key).unwrap();
        if wrong == Wrong::Alpn {
            config.alpn_protocols = vec![b"spdy/3".to_vec()];
        }
        let peer = echo::start(&Via::Tls(Arc::new(config))).await;
        wrong.assert_found(&root, &peer.url(), alert).await;
    }
}

/// OpenSSL's server; killed when it is dropped.
struct Server {
    _child: Child,
    _output: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Server {
    async fn start(openssl: &Program, options: &[&str]) -> Self {
        let mut command = tokio::process::Command::from(openssl.command());
        let mut child = command
            .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("start openssl");
        let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
        let listening = async {
            while let Some(line) = output.next_line().await.expect("a line") {
                if let Some(addr) = line.strip_prefix("ACCEPT ") {
                    return addr.to_owned();
                }
            }
            panic!("openssl does not listen: {options:?}")
        };
        let addr = within("openssl listens", listening).await;
        Self {
            _child: child,
            _output: output,
            url: format!("https://{addr}"),
        }
    }
}

#[tokio::test]
async fn gateways_with_openssl() {
    let Some(openssl) = Program::find("openssl") else {
        return skip("gateways_with_openssl", "there is no openssl");
    };
    let root = Authority::root("root");
    let folder = tempfile::tempdir().unwrap();
    let weak = format!("{ALL}:@SECLEVEL=0");
    for (wrong, options, alert) in [
        (Wrong::Untrusted, vec![], None),
        (Wrong::Expired, vec![], None),
        (Wrong::NotYet, vec![], None),
        (Wrong::Name, vec![], None),
        (
            Wrong::Alpn,
            vec!["-alpn", "spdy/3"],
            Some(TlsAlert::NoApplicationProtocol),
        ),
        (
            Wrong::WantsCertificate,
            vec!["-tls1_2", "-Verify", "1"],
            Some(TlsAlert::HandshakeFailure),
        ),
        (
            Wrong::Version,
            vec!["-tls1_1", "-cipher", &weak],
            Some(TlsAlert::ProtocolVersion),
        ),
        (
            Wrong::CipherSuite,
            vec!["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"],
            Some(TlsAlert::HandshakeFailure),
        ),
    ] {
        let path = folder.path().join("leaf.pem");
        wrong.leaf(&root).write(&path);
        let path = path.to_str().unwrap();
        let own = ["-cert", path, "-key", path];
        let server = Server::start(&openssl, &[&own, options.as_slice()].concat()).await;
        wrong.assert_found(&root, &server.url, alert).await;
    }
}
