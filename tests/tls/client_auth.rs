//! Client certificates: who is let in, who is not, and what each refusal is called.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use wstap::session::record::TlsFailureKind as Failure;

use super::pki::{Authority, Kind, Leaf};
use super::visitor::{BOTH, client, visit, visit_by_http2};
use super::{Book, https, said, setup};
use crate::peers::{Peer, Via, ok_instead_of_101};
use crate::support::certs::Validity;
use crate::support::tap::Tap;

/// A tap whose clients need a certificate of `clients`, except for `revoked`.
struct Guarded {
    servers: Authority,
    clients: Authority,
    tap: Tap,
    _peer: Peer,
}

impl Guarded {
    async fn start(
        mode: &str,
        revoked: Option<&dyn Fn(&Authority) -> Leaf>,
    ) -> (Self, Option<Leaf>) {
        let (servers, clients) = (Authority::root("servers"), Authority::root("clients"));
        let leaf = servers.server(&["gw.example", "b.example"], Kind::Ec, Validity::Now);
        let peer = ok_instead_of_101::start(&Via::Plain, &[], "ok").await;
        let folder = setup(&peer, &[], json!({}));
        let ca = clients.write(&folder.path("clients.pem"));
        let revoked = revoked.map(|make| make(&clients));
        let mut auth = json!({ "mode": mode, "ca": ca });
        if let Some(revoked) = &revoked {
            auth["crl"] = json!(clients.write_revocations(&folder.path("crl.pem"), &[revoked]));
        }
        let entry = leaf.write(&folder.path("leaf.pem"));
        let tls = json!({ "certificates": [entry], "client_auth": auth });
        let tap = folder
            .set(
                "listeners",
                json!([{ "listen": "127.0.0.1:0", "tls": tls }]),
            )
            .start()
            .await;
        let guarded = Self {
            servers,
            clients,
            tap,
            _peer: peer,
        };
        (guarded, revoked)
    }

    fn client(&self, own: Option<&Leaf>) -> Arc<ClientConfig> {
        Arc::new(client(&self.servers, own, BOTH))
    }
}

#[tokio::test]
async fn a_good_certificate_is_let_in_and_stands_in_the_record() {
    let (guarded, _) = Guarded::start("required", None).await;
    let middle = guarded.clients.intermediate("middle");
    let own = middle.client("node-7.example", Validity::Now);
    let mut book = Book(0);
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client(&guarded.servers, Some(&own), &[version]));
        // Twice: nothing is resumed, so that each is verified.
        for _ in 0..2 {
            let visit = visit(https(&guarded.tap), &config, "gw.example", "gw.example")
                .await
                .unwrap();
            assert_eq!(visit.status, 200);
            let tls = book.next(&guarded.tap).await.client.tls.unwrap();
            assert_eq!(tls.resumed, Some(false));
            let cert = tls.client_cert.unwrap();
            assert!(cert.subject.as_str().contains("node-7.example of middle"));
            assert!(cert.issuer.as_str().contains("CN=middle"));
            assert_eq!(cert.names[0].as_str(), "node-7.example");
            assert_eq!(cert.sha256, own.sha256());
            let end = cert.not_after.unwrap().to_string();
            assert_eq!(end, "2099-01-01T00:00:00.000000Z");
        }
    }
    let stderr = guarded.tap.stderr();
    assert!(stderr.contains("client certificates required"), "{stderr}");
}

#[tokio::test]
async fn every_other_one_is_refused_and_told_apart() {
    let stranger = Authority::root("strangers");
    let revoke = |clients: &Authority| clients.client("revoked.example", Validity::Now);
    for mode in ["required", "optional"] {
        let (guarded, revoked) = Guarded::start(mode, Some(&revoke)).await;
        let clients = &guarded.clients;
        let cases: Vec<(Option<Leaf>, Failure, &str, &str)> = vec![
            (
                None,
                Failure::ClientCertMissing,
                "client.fault.certificate_missing",
                "give the client a certificate signed by a CA in listeners[].tls.client_auth.ca",
            ),
            (
                Some(clients.client("old.example", Validity::Expired)),
                Failure::ClientCertExpired,
                "client.fault.certificate_expired",
                "that one is valid from 2020-01-01T00:00:00Z to 2021-01-01T00:00:00Z",
            ),
            (
                Some(clients.client("early.example", Validity::NotYet)),
                Failure::ClientCertNotYetValid,
                "client.fault.certificate_invalid",
                "the client's certificate is not valid yet",
            ),
            (
                Some(stranger.client("stranger.example", Validity::Now)),
                Failure::ClientCertUnknownCa,
                "client.fault.certificate_untrusted",
                "issued by \"CN=strangers\"",
            ),
            (
                revoked,
                Failure::ClientCertRevoked,
                "client.fault.certificate_revoked",
                "the client's certificate is revoked",
            ),
            (
                Some(clients.server(&["server.example"], Kind::Ec, Validity::Now)),
                Failure::ClientCertInvalid,
                "client.fault.certificate_invalid",
                "extended key usage clientAuth",
            ),
        ];
        let mut book = Book(0);
        for (own, kind, rule, part) in &cases {
            let config = guarded.client(own.as_ref());
            let came = visit(https(&guarded.tap), &config, "gw.example", "gw.example").await;
            let record = book.next(&guarded.tap).await;
            if own.is_none() && mode == "optional" {
                assert_eq!(came.unwrap().status, 200);
                assert!(record.client.tls.unwrap().client_cert.is_none());
                continue;
            }
            came.unwrap_err();
            let (found, text) = said(&record);
            assert_eq!(found, *rule, "{text}");
            assert!(text.contains(part), "{text}");
            let tls = record.client.tls.unwrap();
            assert_eq!(tls.failure.unwrap().kind, Some(*kind), "{rule}");
            let shown = tls.client_cert.map(|cert| cert.sha256);
            assert_eq!(shown, own.as_ref().map(Leaf::sha256), "{rule}");
        }
    }
}

#[tokio::test]
async fn where_they_are_required_a_connection_is_for_one_host() {
    let (guarded, _) = Guarded::start("required", None).await;
    let own = guarded.clients.client("node-7.example", Validity::Now);
    let config = guarded.client(Some(&own));
    // The same certificate of ours covers both names.
    let visit = visit(https(&guarded.tap), &config, "gw.example", "b.example")
        .await
        .unwrap();
    assert_eq!(visit.status, 421);
    let (rule, text) = said(&Book(0).next(&guarded.tap).await);
    assert_eq!(rule, "tap.denied.misdirected");
    assert!(text.contains("client certificates are required"), "{text}");
}

#[tokio::test]
async fn what_a_certificate_says_of_itself_is_inert() {
    let (guarded, _) = Guarded::start("required", None).await;
    let nasty = Authority::root("evil\u{1b}[2J\nFAKE LINE");
    let own = nasty.client("node.example", Validity::Now);
    let config = guarded.client(Some(&own));
    visit(https(&guarded.tap), &config, "gw.example", "gw.example")
        .await
        .unwrap_err();
    let record = Book(0).next(&guarded.tap).await;
    let (rule, text) = said(&record);
    assert_eq!(rule, "client.fault.certificate_untrusted");
    let stdout = guarded.tap.stdout();
    for shown in [&text, &stdout, &guarded.tap.records_text()] {
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
    assert!(
        !stdout.lines().any(|line| line.starts_with("FAKE")),
        "{stdout}"
    );
}

#[tokio::test]
async fn each_stream_of_http2_has_the_certificate_of_its_connection() {
    let (guarded, _) = Guarded::start("required", None).await;
    let own = guarded.clients.client("node-7.example", Validity::Now);
    let config = client(&guarded.servers, Some(&own), BOTH);
    let hosts = ["gw.example", "gw.example", "other.example"];
    let got = visit_by_http2(https(&guarded.tap), &config, "gw.example", &hosts).await;
    assert_eq!(got, [200, 200, 421]);
    let mut book = Book(0);
    for _ in hosts {
        let tls = book.next(&guarded.tap).await.client.tls.unwrap();
        assert_eq!(tls.client_cert.unwrap().sha256, own.sha256());
    }
}
