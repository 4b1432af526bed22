//! A gateway with TLS of its own (catalogue sections 3 and 10).

use serde_json::{Value, json};
use tempfile::TempDir;

use super::book::{Book, rule};
use super::lifecycle::until_served;
use crate::live::gateway::{Gateway, Options};
use crate::live::guest::Guest;
use crate::support::certs::{Ca, Validity};
use crate::support::tap::Setup;

/// Its certificate, and the configuration that names it.
pub fn options(ca: &Ca, folder: &TempDir) -> Options {
    let (certificate, key) = ca.write_leaf(folder.path(), &["localhost"], Validity::Now);
    let tls = json!({
        "enabled": true, "autoGenerate": false, "certPath": certificate, "keyPath": key,
    });
    Options {
        more: json!({ "gateway": { "tls": tls } }),
        ..Options::default()
    }
}

pub async fn cases(gateway: &Gateway, ca: &Ca, book: &mut Book) {
    let url = format!("https://{}", gateway.addr());
    let right = Setup::before_url(&url)
        .openclaw()
        .gateway_ca(ca, "localhost")
        .start()
        .await;
    until_served(&right).await;
    let visit = Guest::cli().visit(&right).await;
    let expect = rule("ok.client_closed").fact("/gateway/tls/version", "TLSv1.3");
    book.check("gateway.url with https://", &right, &visit, expect)
        .await;

    let plain = Setup::before_url(&gateway.url()).openclaw().start().await;
    let visit = Guest::cli().visit(&plain).await;
    // It ends the connection without a byte, as a gateway does that is about to die.
    let expect = rule("gateway.silent.closed")
        .act_on("gateway")
        .saw(Value::Null, Value::Null)
        .next(&format!("curl -sk https://{}/healthz", gateway.addr()));
    let case = "gateway.url with http:// before a gateway with TLS";
    book.check(case, &plain, &visit, expect).await;

    let untrusting = Setup::before_url(&url)
        .openclaw()
        .gateway_ca(&Ca::new(), "localhost")
        .start()
        .await;
    let visit = Guest::cli().visit(&untrusting).await;
    let expect = rule("gateway.unreachable.certificate_untrusted").next("set gateway.tls.ca");
    book.check(
        "a CA that the tap does not trust",
        &untrusting,
        &visit,
        expect,
    )
    .await;
    let wrong_name = Setup::before_url(&url)
        .openclaw()
        .gateway_ca(ca, "gateway.example")
        .start()
        .await;
    let visit = Guest::cli().visit(&wrong_name).await;
    let expect = rule("gateway.unreachable.certificate_name");
    book.check(
        "a certificate for another name",
        &wrong_name,
        &visit,
        expect,
    )
    .await;
}
