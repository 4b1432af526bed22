//! Which certificate a client gets, what is reported when the client does not accept it, and
//! requests for another host.

use std::sync::Arc;

use rustls::SignatureScheme as Scheme;
use rustls_pki_types::CertificateDer;
use serde_json::json;
use wstap::session::record::{Class, SniMatch};

use super::pki::{Authority, Kind, Leaf};
use super::visitor::{BOTH, client, visit, visit_by_http2};
use super::{Book, https, said, setup, tap};
use crate::peers::{Via, ok_instead_of_101};
use crate::support::certs::Validity;
use crate::support::verifier::Verifier;

const EC: &[Scheme] = &[Scheme::ECDSA_NISTP256_SHA256];
const RSA: &[Scheme] = &[Scheme::RSA_PSS_SHA256];
const ED: &[Scheme] = &[Scheme::ED25519];

#[tokio::test]
async fn a_name_and_the_keys_of_a_client_choose_its_certificate() {
    let root = Authority::root("root");
    let make = |names: &[&str], kind| root.server(names, kind, Validity::Now);
    let first = make(&["first.example"], Kind::Ec);
    let first_rsa = make(&["first.example"], Kind::Rsa);
    let a_rsa = make(&["a.example"], Kind::Rsa);
    let a = make(&["a.example"], Kind::Ec);
    let wild = make(&["*.w.example"], Kind::Ec);
    let one = make(&["one.w.example"], Kind::Ed);
    let all = [&first, &first_rsa, &a_rsa, &a, &wild, &one];
    let (_peer, tap) = tap(&all, json!({})).await;
    let (exact, wildcard, default) = (
        Some(SniMatch::Exact),
        Some(SniMatch::Wildcard),
        Some(SniMatch::Default),
    );
    let any: &[Scheme] = &[RSA[0], ED[0], EC[0]];
    let cases: &[(&str, &[Scheme], &Leaf, Option<SniMatch>)] = &[
        ("first.example", any, &first, exact),
        // ECDSA is preferred, whatever the order of client or list.
        ("a.example", any, &a, exact),
        ("A.Example", RSA, &a_rsa, exact),
        ("x.w.example", any, &wild, wildcard),
        ("one.w.example", any, &one, exact),
        // The exact one has no key for this client.
        ("one.w.example", EC, &wild, exact),
        ("x.y.w.example", any, &first, default),
        ("unknown.example", any, &first, default),
        ("unknown.example", RSA, &first_rsa, default),
        // An address is asked for without a name.
        ("127.0.0.1", any, &first, None),
        ("127.0.0.1", RSA, &first_rsa, None),
    ];
    let mut book = Book(0);
    for (name, schemes, wanted, how) in cases {
        let (verifier, config) = Verifier::taking(schemes);
        let visit = visit(https(&tap), &config, name, name).await.expect(name);
        assert_eq!(visit.status, 200, "{name}");
        assert_eq!(verifier.shown(), wanted.der, "{name} {schemes:?}");
        let tls = book.next(&tap).await.client.tls.unwrap();
        assert_eq!(tls.certificate, Some(wanted.sha256()), "{name} {schemes:?}");
        assert_eq!(tls.sni_match, *how, "{name}");
        assert_eq!(tls.resumed, Some(false));
        assert!(!tls.host_differs);
        assert_eq!(tls.our_names.is_empty(), *how != default, "{name}");
    }

    // Nothing that this client can work with for this name.
    let (_, config) = Verifier::taking(RSA);
    visit(https(&tap), &config, "x.w.example", "x.w.example")
        .await
        .unwrap_err();
    let (rule, _) = said(&book.next(&tap).await);
    assert_eq!(rule, "tap.fault.certificate");
}

#[tokio::test]
async fn a_chain_is_sent_whole() {
    let root = Authority::root("root");
    let middle = root.intermediate("middle");
    let leaf = middle.server(&["gw.example"], Kind::Ec, Validity::Now);
    let (_peer, tap) = tap(&[&leaf], json!({})).await;
    let config = Arc::new(client(&root, None, BOTH));
    let visit = visit(https(&tap), &config, "gw.example", "gw.example")
        .await
        .expect("a chain up to the root");
    let shown: Vec<CertificateDer<'_>> = visit.shown;
    assert_eq!(shown, [leaf.der.clone(), middle.der()]);
}

#[tokio::test]
async fn a_name_that_no_certificate_has_is_named_when_the_client_refuses() {
    let root = Authority::root("root");
    let one = root.server(&["gw.example", "*.gw.example"], Kind::Ec, Validity::Now);
    let two = root.server(&["other.example"], Kind::Ec, Validity::Now);
    let (_peer, tap) = tap(&[&one, &two], json!({})).await;
    let config = Arc::new(client(&root, None, BOTH));
    visit(https(&tap), &config, "claw.lan", "claw.lan")
        .await
        .unwrap_err();
    let record = Book(0).next(&tap).await;
    let tls = record.client.tls.as_ref().unwrap();
    assert_eq!(tls.sni_match, Some(SniMatch::Default));
    assert_eq!(tls.certificate, Some(one.sha256()));
    let (rule, text) = said(&record);
    assert_eq!(rule, "tap.certificate.refused");
    for part in [
        "it asked for the name \"claw.lan\", which none of our certificates carries; they are for \
         *.gw.example, gw.example, other.example",
        &format!("we showed the certificate with sha256 {}", one.sha256()),
        "give the listener a certificate for the name in the client's URL",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_warned_of_shown_by_the_admin_listener_and_named() {
    let root = Authority::root("root");
    let old = root.server(&["gw.example"], Kind::Ec, Validity::Expired);
    let peer = ok_instead_of_101::start(&Via::Plain, &[], "ok").await;
    let new = root.server(&["new.example"], Kind::Ec, Validity::Now);
    let tap = setup(&peer, &[&old, &new], json!({})).admin().start().await;
    let ready = crate::admin::get(&tap, "/readyz").await;
    assert_eq!(ready.status(), 503);
    let addr = https(&tap);
    let detail = format!("0 of {addr}: expired at 2021-01-01T00:00:00Z");
    assert!(ready.body.contains(&detail), "{}", ready.body);
    let metrics = crate::admin::get(&tap, "/metrics").await.body;
    for (position, end) in [(0, 1_609_459_200_u64), (1, 4_070_908_800)] {
        let sample = format!(
            "wstap_certificate_expiry_timestamp_seconds{{listener=\"{addr}\",certificate=\"{position}\"}} {end}\n"
        );
        assert!(metrics.contains(&sample), "{metrics}");
    }
    let stderr = tap.stderr();
    let warning = "warning: listeners[0].tls.certificates[0].cert: the certificate expired at \
                   2021-01-01T00:00:00Z; clients will refuse it";
    assert!(stderr.contains(warning), "{stderr}");
    let config = Arc::new(client(&root, None, BOTH));
    visit(https(&tap), &config, "gw.example", "gw.example")
        .await
        .unwrap_err();
    let (rule, _) = said(&Book(0).next(&tap).await);
    assert_eq!(rule, "tap.certificate.expired");
}

#[tokio::test]
async fn what_is_wrong_with_files_is_told_before_anything_listens() {
    let root = Authority::root("root");
    let leaf = root.server(&["gw.example"], Kind::Ec, Validity::Now);
    let peer = ok_instead_of_101::start(&Via::Plain, &[], "ok").await;
    let setup = setup(&peer, &[&leaf], json!({}));
    let empty = setup.path("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let pair = setup.path("leaf-0");
    let tls = json!({ "certificates": [
        { "cert": pair, "key": empty }, { "cert": empty, "key": pair },
    ]});
    let setup = setup.set(
        "listeners",
        json!([{ "listen": "127.0.0.1:0", "tls": tls }]),
    );
    let (code, stderr) = setup.start_in_vain().await;
    assert_eq!(code, Some(2));
    for part in [
        "listeners[0].tls.certificates[0].key: expected a PEM file with a private key, found an \
         empty file in ",
        "listeners[0].tls.certificates[1].cert: expected a PEM file with certificates, found an \
         empty file in ",
    ] {
        assert!(stderr.contains(part), "{stderr}");
    }
    assert!(!stderr.contains("listening on"), "{stderr}");
}

#[tokio::test]
async fn a_request_for_another_host_is_sent_to_a_connection_of_its_own() {
    let root = Authority::root("root");
    let one = root.server(&["a.example", "c.example"], Kind::Ec, Validity::Now);
    let two = root.server(&["b.example"], Kind::Ec, Validity::Now);
    let (_peer, tap) = tap(&[&one, &two], json!({})).await;
    let config = Arc::new(client(&root, None, BOTH));
    let mut book = Book(0);
    for (host, status, differs) in [
        ("a.example:8443", 200, false),
        ("C.example", 200, true),
        ("b.example:8443", 421, true),
    ] {
        let visit = visit(https(&tap), &config, "a.example", host)
            .await
            .unwrap();
        assert_eq!(visit.status, status, "{host}");
        let record = book.next(&tap).await;
        assert_eq!(record.client.tls.as_ref().unwrap().host_differs, differs);
        if status == 421 {
            let (rule, text) = said(&record);
            assert_eq!(rule, "tap.denied.misdirected");
            let detail = "TLS asked for a.example, the request is for b.example, and another \
                          certificate is for that host";
            assert!(text.contains(detail), "{text}");
            assert!(visit.body.contains(detail), "{}", visit.body);
        } else {
            let class = record.verdict.as_ref().map(|verdict| verdict.class);
            assert_eq!(class, Some(Class::Ok));
        }
    }
}

#[tokio::test]
async fn a_connection_of_http2_that_is_used_for_another_host_is_told_so_stream_by_stream() {
    let root = Authority::root("root");
    // A browser uses a connection for every name that its certificate is good for.
    let one = root.server(&["a.example", "b.example"], Kind::Ec, Validity::Now);
    let two = root.server(&["b.example", "d.example"], Kind::Rsa, Validity::Now);
    let three = root.server(&["c.example"], Kind::Ec, Validity::Now);
    let (_peer, tap) = tap(&[&one, &two, &three], json!({})).await;
    let config = client(&root, None, BOTH);
    let hosts = [
        "a.example",
        "b.example",
        "c.example",
        "d.example",
        "a.example",
    ];
    let got = visit_by_http2(https(&tap), &config, "a.example", &hosts).await;
    assert_eq!(got, [200, 200, 421, 421, 200]);
    let mut book = Book(0);
    let mut rules = Vec::new();
    for host in hosts {
        let record = book.next(&tap).await;
        let tls = record.client.tls.as_ref().unwrap();
        assert_eq!(tls.host_differs, host != "a.example", "{host}");
        rules.push(said(&record).0);
    }
    let denied = "tap.denied.misdirected";
    assert_eq!(rules, ["ok.http", "ok.http", denied, denied, "ok.http"]);
}
