//! TLS handshakes of clients that fail or lead to no request.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig, SignatureScheme};
use serde_json::json;
use wstap::session::SessionRecord;
use wstap::session::record::Kind;

use super::table::{Fault, fault, first_record};
use crate::peers::{Peer, Via, echo};
use crate::support::certs::{Ca, trusting_nothing};
use crate::support::client::{connect, try_connect_tls};
use crate::support::tap::{Face, Setup, Tap};
use crate::support::verifier::Verifier;

pub fn faults() -> Vec<Fault> {
    let alert = |name, rule, error| {
        let config = Verifier::refusing(error);
        fault(name, rule, move || handshake(config, "localhost"))
    };
    vec![
        fault(
            "tls: the client trusts another CA",
            "tap.certificate.unknown_ca",
            || handshake(trusting_nothing(), "localhost"),
        ),
        alert(
            "tls: unknown_ca",
            "tap.certificate.unknown_ca",
            CertificateError::UnknownIssuer,
        ),
        alert(
            "tls: certificate_expired",
            "tap.certificate.expired",
            CertificateError::Expired,
        ),
        alert(
            "tls: certificate_revoked",
            "tap.certificate.revoked",
            CertificateError::Revoked,
        ),
        alert(
            "tls: bad_certificate",
            "tap.certificate.refused",
            CertificateError::BadEncoding,
        ),
        alert(
            "tls: certificate_unknown, for another name",
            "tap.certificate.refused",
            CertificateError::NotValidForName,
        ),
        alert(
            "tls: a pin that differs",
            "tap.certificate.refused",
            CertificateError::ApplicationVerificationFailure,
        ),
        alert(
            "tls: unsupported_certificate",
            "tap.certificate.unsupported",
            CertificateError::InvalidPurpose,
        ),
        fault(
            "tls: a client that takes RSA only",
            "tap.fault.certificate",
            || {
                let schemes = vec![SignatureScheme::RSA_PSS_SHA256];
                handshake(Verifier::taking(&schemes).1, "localhost")
            },
        ),
        fault(
            "tls: a name that we have not, found out after the handshake",
            "tap.certificate.name",
            || async {
                let peer = echo::start(&Via::Plain).await;
                let tap = Setup::before(&peer).start().await;
                let schemes = ring::default_provider()
                    .signature_verification_algorithms
                    .supported_schemes();
                let (_, config) = Verifier::taking(&schemes);
                let attempt = try_connect_tls(tap.addr(Face::Tls), &config, "claw.lan").await;
                attempt.unwrap().finish().await;
                first_record(&tap).await
            },
        )
        .says("it asked for the name \"claw.lan\", which none of our certificates carries"),
        fault(
            "tls: a client that leaves without a word, with the development CA",
            "tap.certificate.untrusted",
            || async {
                let (_peer, tap) = before_echo(|it| it).await;
                tap.connect(Face::Tls).await.fin();
                first_record(&tap).await
            },
        )
        .says("we showed the certificate with sha256"),
        fault(
            "tls: a client that leaves without a word, and asks before",
            "probe.tls",
            || async {
                let (_peer, tap) = before_echo(|it| it).await;
                tap.connect(Face::Tls).await.open("/").await;
                tap.connect(Face::Tls).await.finish().await;
                connection(&tap).await
            },
        )
        .says("a request of this address had come through the same certificate"),
        fault(
            "timer: request_head, a spare connection of a client that asks",
            "probe.spare",
            || async {
                let (_peer, tap) = before_echo(|it| it.set("timeouts.request_head", "300ms")).await;
                let mut spare = tap.connect(Face::Plain).await;
                tap.connect(Face::Plain).await.open("/").await;
                spare.rest().await;
                connection(&tap).await
            },
        ),
        fault(
            "tls: no client certificate",
            "client.fault.certificate_missing",
            without_certificate,
        ),
        fault("tls: ALPN h3 only", "client.fault.alpn", || {
            let mut config = Arc::unwrap_or_clone(trusting_nothing());
            config.alpn_protocols = vec![b"h3".to_vec()];
            handshake(Arc::new(config), "localhost")
        }),
        fault("tls: TLS 1.0 only", "client.fault.tls", || async {
            let peer = echo::start(&Via::Plain).await;
            let tap = Setup::before(&peer).start().await;
            let mut conn = connect(tap.addr(Face::Tls)).await;
            conn.send(&old_client_hello()).await.unwrap();
            conn.rest().await;
            first_record(&tap).await
        }),
    ]
}

async fn before_echo(more: impl FnOnce(Setup) -> Setup) -> (Peer, Tap) {
    let peer = echo::start(&Via::Plain).await;
    let tap = more(Setup::before(&peer)).start().await;
    (peer, tap)
}

/// The record of a connection that ended before a request.
async fn connection(tap: &Tap) -> SessionRecord {
    let is_it = |record: &SessionRecord| record.kind == Kind::Connection;
    tap.wait_for("a connection's record", is_it).await
}

async fn handshake(config: Arc<ClientConfig>, name: &str) -> SessionRecord {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let attempt = try_connect_tls(tap.addr(Face::Tls), &config, name).await;
    if let Ok(mut conn) = attempt {
        // TLS 1.3: the client is done before the server has judged.
        conn.rest().await;
        panic!("the handshake succeeded");
    }
    first_record(&tap).await
}

/// A tap that requires client certificates, and a client that has none.
async fn without_certificate() -> SessionRecord {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer);
    let path = setup.path("clients.pem");
    let ca = Ca::new().write(path.parent().expect("a folder"));
    let tls = json!({ "self_signed": {}, "client_auth": { "ca": ca } });
    let tap = setup
        .set(
            "listeners",
            json!([{ "listen": "127.0.0.1:0", "tls": tls }]),
        )
        .start()
        .await;
    let attempt = try_connect_tls(tap.addr(Face::Tls), &tap.trust(), "localhost").await;
    if let Ok(mut conn) = attempt {
        // TLS 1.3: the client is done before the server has judged.
        conn.rest().await;
    }
    first_record(&tap).await
}

/// A `ClientHello` of TLS 1.0 with one cipher suite and no extensions (RFC 2246).
fn old_client_hello() -> Vec<u8> {
    let mut hello = vec![3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let mut out = vec![0x16, 3, 1, 0, u8::try_from(hello.len() + 4).unwrap()];
    out.extend([1, 0, 0, u8::try_from(hello.len()).unwrap()]);
    out.extend(hello);
    out
}
