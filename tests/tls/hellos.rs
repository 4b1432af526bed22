//! `ClientHello`s that have nothing in common with what we support: the alert, and which side is at
//! fault.

use wstap::session::record::TlsFailureKind as Kind;

use crate::peers::{Via, echo};
use crate::support::client::connect;
use crate::support::records::rule;
use crate::support::tap::{Face, Setup};

/// The client's offer.
#[derive(Clone, Copy)]
struct Hello {
    /// `0x0303`, or `0x0304` in the extension.
    version: u16,
    suites: &'static [u16],
    groups: &'static [u16],
    schemes: &'static [u16],
}

const X25519: u16 = 0x001d;
const P521: u16 = 0x0019;
const ECDSA_SHA256: u16 = 0x0403;
const RSA_PSS_SHA256: u16 = 0x0804;
const RSA_SHA1: u16 = 0x0201;

/// A common TLS 1.3 offer.
const GOOD: Hello = Hello {
    version: 0x0304,
    suites: &[0x1301],
    groups: &[X25519],
    schemes: &[ECDSA_SHA256],
};

/// A common TLS 1.2 offer (`ECDHE_ECDSA_AES_128_GCM`).
const GOOD_12: Hello = Hello {
    version: 0x0303,
    suites: &[0xc02b],
    ..GOOD
};

const PROTOCOL_VERSION: u8 = 70;
const HANDSHAKE_FAILURE: u8 = 40;

#[tokio::test]
async fn each_has_its_alert_and_its_rule() {
    let fault = "client.fault.tls";
    let ours = "tap.fault.certificate";
    let peer = echo::start(&Via::Plain).await;
    for (hello, alert, rule_id, kind) in [
        // AES_128_CCM, and CBC with RSA key exchange.
        (
            Hello {
                suites: &[0x1304],
                ..GOOD
            },
            HANDSHAKE_FAILURE,
            fault,
            Kind::CipherSuite,
        ),
        (
            Hello {
                suites: &[0x002f],
                ..GOOD_12
            },
            HANDSHAKE_FAILURE,
            fault,
            Kind::CipherSuite,
        ),
        (
            Hello {
                groups: &[P521],
                ..GOOD
            },
            HANDSHAKE_FAILURE,
            fault,
            Kind::KeyExchange,
        ),
        (
            Hello {
                groups: &[P521],
                ..GOOD_12
            },
            HANDSHAKE_FAILURE,
            fault,
            Kind::KeyExchange,
        ),
        (
            Hello {
                schemes: &[RSA_SHA1],
                ..GOOD
            },
            HANDSHAKE_FAILURE,
            fault,
            Kind::SignatureScheme,
        ),
        (
            Hello {
                version: 0x0302,
                ..GOOD_12
            },
            PROTOCOL_VERSION,
            fault,
            Kind::Version,
        ),
        // An RSA certificate would help these.
        (
            Hello {
                schemes: &[RSA_PSS_SHA256],
                ..GOOD
            },
            HANDSHAKE_FAILURE,
            ours,
            Kind::CertificateKey,
        ),
        (
            Hello {
                suites: &[0xc02f],
                schemes: &[RSA_PSS_SHA256],
                ..GOOD_12
            },
            HANDSHAKE_FAILURE,
            ours,
            Kind::CertificateKey,
        ),
    ] {
        let tap = Setup::before(&peer).start().await;
        let mut conn = connect(tap.addr(Face::Tls)).await;
        conn.send(&hello.bytes()).await.unwrap();
        let (said, _) = conn.rest().await;
        let record = tap.wait_for("the record", |_| true).await;
        let failure = record
            .client
            .tls
            .as_ref()
            .unwrap()
            .failure
            .as_ref()
            .unwrap();
        assert_eq!(
            (rule(&record), failure.kind),
            (rule_id, Some(kind)),
            "{failure:?}"
        );
        // Not encrypted, unless keys were agreed before.
        let in_clear = said.ends_with(&[0x15, 3, 3, 0, 2, 2, alert]);
        let behind_keys = said.first() == Some(&0x16);
        assert!(in_clear || behind_keys, "{said:02x?}");
    }
}

/// Control: with something in common, the same hellos get a `ServerHello`.
#[tokio::test]
async fn good_ones_are_answered() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    for hello in [GOOD, GOOD_12] {
        let mut conn = connect(tap.addr(Face::Tls)).await;
        conn.send(&hello.bytes()).await.unwrap();
        assert_eq!(conn.exactly(1).await.unwrap(), [0x16]);
    }
}

impl Hello {
    /// RFC 8446 section 4.1.2, in one record.
    fn bytes(self) -> Vec<u8> {
        let mut extensions = Vec::new();
        let mut extension = |typ: u16, body: Vec<u8>| {
            extensions.extend(typ.to_be_bytes());
            extensions.extend(with_length(&body));
        };
        extension(10, with_length(&words(self.groups)));
        extension(13, with_length(&words(self.schemes)));
        if self.version == 0x0304 {
            extension(43, vec![2, 3, 4]);
            // The base point is a valid key share (RFC 7748 section 4.1).
            let mut share = X25519.to_be_bytes().to_vec();
            let mut point = vec![0; 32];
            point[0] = 9;
            share.extend(with_length(&point));
            extension(51, with_length(&share));
        } else {
            // Uncompressed points; extended master secret.
            extension(11, vec![1, 0]);
            extension(23, Vec::new());
        }
        let legacy = self.version.min(0x0303);
        let mut hello = legacy.to_be_bytes().to_vec();
        hello.extend([7; 32]);
        hello.push(0);
        hello.extend(with_length(&words(self.suites)));
        hello.extend([1, 0]);
        hello.extend(with_length(&extensions));
        let mut message = vec![1, 0];
        message.extend(with_length(&hello));
        let mut record = vec![0x16, 3, 1];
        record.extend(with_length(&message));
        record
    }
}

fn words(all: &[u16]) -> Vec<u8> {
    all.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// With its two-byte length prefix.
fn with_length(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short");
    [&length.to_be_bytes(), body].concat()
}
