//! Reloads that change TLS alone: each key, and the content of each file, takes effect for the next
//! connection and is logged.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use wstap::session::record::TlsFailureKind as Failure;

use super::pki::{Authority, Kind, Leaf};
use super::visitor::{BOTH, client, visit};
use super::{https, setup};
use crate::peers::{Via, ok_instead_of_101};
use crate::support::certs::Validity;
use crate::support::reload::put;
use crate::support::tap::Tap;

const NAME: &str = "gw.example";

fn listeners(tls: &Value) -> Value {
    json!([{ "listen": "127.0.0.1:0", "tls": tls }])
}

/// The status of a visit, with TLS 1.2 alone if it is an `old` client; `None`: there was no answer.
async fn status(tap: &Tap, servers: &Authority, own: Option<&Leaf>, old: bool) -> Option<u16> {
    let versions = if old { &[&TLS12][..] } else { BOTH };
    let config = Arc::new(client(servers, own, versions));
    let visit = visit(https(tap), &config, NAME, NAME).await;
    visit.ok().map(|visit| visit.status)
}

#[tokio::test]
async fn each_key_of_tls_alone_counts_and_is_told() {
    let (servers, clients) = (Authority::root("servers"), Authority::root("clients"));
    let leaf = servers.server(&[NAME], Kind::Ec, Validity::Now);
    let peer = ok_instead_of_101::start(&Via::Plain, &[], "ok").await;
    let folder = setup(&peer, &[], json!({})).set("reload", "signal");
    let (ca, crl) = (folder.path("clients.pem"), folder.path("crl.pem"));
    clients.write(&ca);
    let own = clients.client("node-7.example", Validity::Now);
    let other = clients.client("node-8.example", Validity::Now);
    clients.write_revocations(&crl, &[&other]);
    let mut tls = json!({ "certificates": [leaf.write(&folder.path("leaf.pem"))] });
    let tap = folder.set("listeners", listeners(&tls)).start().await;
    assert_eq!(status(&tap, &servers, None, true).await, Some(200));

    // A session that could be resumed if nobody asked for a certificate.
    let remembers = Arc::new(client(&servers, None, &[&TLS13]));
    let visited = visit(https(&tap), &remembers, NAME, NAME).await;
    assert_eq!(visited.unwrap().status, 200);

    tls["min_version"] = json!("1.3");
    tap.set("listeners", listeners(&tls));
    let told = tap.reload("done").await;
    let line = "listeners[0].tls.min_version: not set -> `1.3`";
    assert!(told.contains(line), "{told}");
    assert_eq!(status(&tap, &servers, None, true).await, None);
    assert_eq!(status(&tap, &servers, None, false).await, Some(200));

    tls["client_auth"] = json!({ "mode": "required", "ca": ca });
    tap.set("listeners", listeners(&tls));
    let told = tap.reload("done").await;
    // Not at the next start, as the mode of a socket.
    let line = "listeners[0].tls.client_auth.mode: not set -> `required`\n";
    assert!(told.contains(line), "{told}");
    assert_eq!(status(&tap, &servers, None, false).await, None);
    assert!(visit(https(&tap), &remembers, NAME, NAME).await.is_err());
    for own in [&own, &other] {
        assert_eq!(status(&tap, &servers, Some(own), false).await, Some(200));
    }

    tls["client_auth"]["crl"] = json!(crl);
    tap.set("listeners", listeners(&tls));
    tap.reload("done").await;
    assert_eq!(status(&tap, &servers, Some(&other), false).await, None);

    // Now only the content of the files.
    clients.write_revocations(&crl, &[&own]);
    let told = tap.reload("done").await;
    let line = "listeners[0].tls.client_auth.crl: the file has different revocation lists";
    assert!(told.contains(line), "{told}");
    assert_eq!(status(&tap, &servers, Some(&own), false).await, None);
    assert_eq!(status(&tap, &servers, Some(&other), false).await, Some(200));

    let strangers = Authority::root("strangers");
    let third = strangers.client("node-9.example", Validity::Now);
    strangers.write(&ca);
    strangers.write_revocations(&crl, &[]);
    let told = tap.reload("done").await;
    let line = "listeners[0].tls.client_auth.ca: the file has different certificates";
    assert!(told.contains(line), "{told}");
    assert_eq!(status(&tap, &servers, Some(&third), false).await, Some(200));
    assert_eq!(status(&tap, &servers, Some(&other), false).await, None);
    tap.reload("nothing is different").await;

    tls.as_object_mut().unwrap().remove("client_auth");
    tap.set("listeners", listeners(&tls));
    tap.reload("done").await;
    assert_eq!(status(&tap, &servers, None, false).await, Some(200));
}

#[tokio::test]
async fn http2_and_what_stands_behind_a_leaf_count_at_once() {
    let root = Authority::root("servers");
    let middle = root.intermediate("middle");
    let leaf = middle.server(&[NAME], Kind::Ec, Validity::Now);
    let peer = ok_instead_of_101::start(&Via::Plain, &[], "ok").await;
    let folder = setup(&peer, &[&leaf], json!({})).set("reload", "signal");
    let entry = leaf.write(&folder.path("again"));
    let tls = json!({ "certificates": [entry.clone()] });
    let tap = folder.set("listeners", listeners(&tls)).start().await;
    let mut config = client(&root, None, BOTH);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let wants_h2 = Arc::new(config);

    tap.set("http2.enabled", false);
    let told = tap.reload("done").await;
    assert!(told.contains("http2.enabled: not set -> false"), "{told}");
    visit(https(&tap), &wants_h2, NAME, NAME).await.unwrap_err();
    let failed = |record: &wstap::session::SessionRecord| {
        let tls = record.client.tls.as_ref()?;
        tls.failure.as_ref()?.kind
    };
    tap.wait_for("a refused h2", |record| {
        failed(record) == Some(Failure::Alpn)
    })
    .await;

    // The same leaf with its issuer left out: clients that know the root alone do not find the way.
    let cert = entry["cert"].as_str().unwrap();
    let text = std::fs::read_to_string(cert).unwrap();
    let [begin, end] = ["BEGIN", "END"].map(|word| format!("-----{word} CERTIFICATE-----"));
    let (issuer, last) = (text.rfind(&begin).unwrap(), text.rfind(&end).unwrap());
    assert!(
        issuer > text.find(&end).unwrap(),
        "there is one to leave out"
    );
    put(
        cert.as_ref(),
        &(text[..issuer].to_owned() + &text[last + end.len()..]),
    );
    let told = tap.reload("done").await;
    let line = "listeners[0].tls.certificates[0].cert: the file has different certificates after";
    assert!(told.contains(line), "{told}");
    assert_eq!(status(&tap, &root, None, false).await, None);
}
