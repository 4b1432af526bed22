//! Versions of TLS, application protocols, and sessions that are resumed.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use wstap::session::record::TlsFailureKind;
use wstap::session::text::PeerText;

use super::pki::{Authority, Kind};
use super::visitor::{BOTH, client, visit};
use super::{Book, https, said, setup, tap};
use crate::peers::{Via, ok_instead_of_101};
use crate::support::certs::Validity;

#[tokio::test]
async fn both_versions_are_spoken_and_sessions_resumed() {
    let root = Authority::root("root");
    let leaf = root.server(&["gw.example"], Kind::Ec, Validity::Now);
    let (_peer, tap) = tap(&[&leaf], json!({})).await;
    let mut book = Book(0);
    for (version, name) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        let mut config = client(&root, None, &[version]);
        config.resumption = Resumption::in_memory_sessions(4);
        let config = Arc::new(config);
        for resumed in [false, true] {
            let visit = visit(https(&tap), &config, "gw.example", "gw.example").await;
            assert_eq!(visit.unwrap().status, 200);
            let tls = book.next(&tap).await.client.tls.unwrap();
            assert_eq!(tls.version.as_deref(), Some(name));
            assert_eq!(tls.resumed, Some(resumed), "{name}");
            let shown = (!resumed).then(|| leaf.sha256());
            assert_eq!(tls.certificate, shown, "{name}");
        }
    }
}

#[tokio::test]
async fn an_older_version_than_the_oldest_is_refused() {
    let root = Authority::root("root");
    let leaf = root.server(&["gw.example"], Kind::Ec, Validity::Now);
    let (_peer, tap) = tap(&[&leaf], json!({ "min_version": "1.3" })).await;
    let mut book = Book(0);
    let old = Arc::new(client(&root, None, &[&TLS12]));
    visit(https(&tap), &old, "gw.example", "gw.example")
        .await
        .unwrap_err();
    let record = book.next(&tap).await;
    let (rule, text) = said(&record);
    assert_eq!(rule, "client.fault.tls");
    assert!(
        text.contains("offers no TLS version that we speak"),
        "{text}"
    );
    let failure = record.client.tls.unwrap().failure.unwrap();
    assert_eq!(failure.kind, Some(TlsFailureKind::Version));
    let new = Arc::new(client(&root, None, BOTH));
    let visit = visit(https(&tap), &new, "gw.example", "gw.example").await;
    assert_eq!(visit.unwrap().status, 200);
}

#[tokio::test]
async fn protocols_that_we_do_not_speak_are_named() {
    let root = Authority::root("root");
    let leaf = root.server(&["gw.example"], Kind::Ec, Validity::Now);
    let (_peer, tap) = tap(&[&leaf], json!({})).await;
    let mut book = Book(0);
    let mut config = client(&root, None, BOTH);
    config.alpn_protocols = vec![b"spdy/3".to_vec(), b"evil\x1b[2J".to_vec()];
    visit(https(&tap), &Arc::new(config), "gw.example", "gw.example")
        .await
        .unwrap_err();
    let record = book.next(&tap).await;
    let (rule, text) = said(&record);
    assert_eq!(rule, "client.fault.alpn");
    assert!(text.contains("it offered \"spdy/3\", \"evil"), "{text}");
    assert!(text.contains("and we speak none of it"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let tls = record.client.tls.unwrap();
    assert_eq!(tls.alpn_offered.len(), 2);
    assert_eq!(tls.failure.unwrap().kind, Some(TlsFailureKind::Alpn));
    // One that is known among others is taken; one that is empty of protocols needs none.
    for (offered, agreed) in [
        (
            vec![b"spdy/3".to_vec(), b"http/1.1".to_vec()],
            Some("http/1.1"),
        ),
        (vec![], None),
    ] {
        let mut config = client(&root, None, BOTH);
        config.alpn_protocols = offered;
        let visit = visit(https(&tap), &Arc::new(config), "gw.example", "gw.example").await;
        assert_eq!(visit.unwrap().status, 200);
        let tls = book.next(&tap).await.client.tls.unwrap();
        assert_eq!(tls.alpn.as_ref().map(PeerText::as_str), agreed);
        assert!(tls.alpn_offered.is_empty());
    }
}

#[tokio::test]
async fn a_client_of_http2_alone_is_told_the_key_where_it_is_off() {
    let root = Authority::root("root");
    let leaf = root.server(&["gw.example"], Kind::Ec, Validity::Now);
    let peer = ok_instead_of_101::start(&Via::Plain, &[], "ok").await;
    let tap = setup(&peer, &[&leaf], json!({}))
        .set("http2.enabled", false)
        .start()
        .await;
    let mut config = client(&root, None, BOTH);
    config.alpn_protocols = vec![b"h2".to_vec()];
    visit(https(&tap), &Arc::new(config), "gw.example", "gw.example")
        .await
        .unwrap_err();
    let record = Book(0).next(&tap).await;
    let verdict = record.verdict.unwrap();
    assert_eq!(verdict.rule, "client.fault.alpn");
    let next = verdict.next;
    assert!(next.contains("http2: { enabled: true }"), "{next}");
}
