//! Probes of gateways with TLS, and of those that should have it or should not.

use serde_json::{Value, json};

use super::{VARIABLE, breaks, broken, command, is_whole, run, rung, ws};
use crate::peers::openclaw::{Gateway, Script, TOKEN};
use crate::peers::{Via, blurts, tls};
use crate::support::certs::{Ca, Validity};

/// A gateway with TLS; what is trusted is what `SSL_CERT_FILE` has.
async fn over_tls(host: &str, via: &Via, trusted: Option<&Ca>) -> Value {
    let gateway = Gateway::start(via, Script::default()).await;
    let folder = tempfile::TempDir::new().unwrap();
    let url = format!("wss://{host}:{}", gateway.peer.addr().port());
    let mut command = command(&[&url, "--json", "--token-env", VARIABLE]);
    command.env(VARIABLE, TOKEN);
    let other = Ca::new();
    command.env(
        "SSL_CERT_FILE",
        trusted.unwrap_or(&other).write(folder.path()),
    );
    run(command).await.report()
}

#[tokio::test]
async fn tls_that_does_not_agree() {
    let (ca, via) = tls::via(&["localhost"], Validity::Now);
    let fine = over_tls("localhost", &via, Some(&ca)).await;
    is_whole(&fine);
    assert_eq!(fine["first_failing"], Value::Null, "{fine}");
    let shown = &rung(&fine, "L1.tls")["facts"]["shown"];
    assert_eq!(shown["chain"][0]["names"], json!(["localhost"]));
    assert!(
        shown["fingerprint"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );

    let at_tls = |rule: &str| ("L1.tls".to_owned(), rule.to_owned());
    let unknown = over_tls("localhost", &via, None).await;
    is_whole(&unknown);
    assert_eq!(
        broken(&unknown),
        at_tls("gateway.unreachable.certificate_untrusted")
    );
    let name = over_tls("127.0.0.1", &via, Some(&ca)).await;
    is_whole(&name);
    assert_eq!(
        broken(&name),
        at_tls("gateway.unreachable.certificate_name")
    );
    let (ca, via) = tls::via(&["localhost"], Validity::Expired);
    let expired = over_tls("localhost", &via, Some(&ca)).await;
    assert_eq!(
        broken(&expired),
        at_tls("gateway.unreachable.certificate_expired")
    );
    is_whole(&expired);
}

/// With TLS 1.3 the server's alert about it comes after the handshake.
#[tokio::test]
async fn a_certificate_of_the_client_is_missing() {
    let ca = Ca::new();
    let via = Via::Tls(ca.demanding_server(&["localhost"]));
    let report = over_tls("localhost", &via, Some(&ca)).await;
    is_whole(&report);
    assert_eq!(report["first_failing"], "L1.tls", "{report}");
    let tls = rung(&report, "L1.tls");
    assert_eq!(tls["facts"]["shown"]["asks_for_certificate"], true);
    assert!(
        tls["because"]
            .as_str()
            .unwrap()
            .contains("client certificate"),
        "{tls}"
    );
}

#[tokio::test]
async fn plain_spoken_to_tls_and_the_reverse() {
    let (_, via) = tls::via(&["localhost"], Validity::Now);
    let secure = Gateway::start(&via, Script::default()).await;
    breaks(&ws(&secure.peer), "L1.tls", "gateway.unreachable.wants_tls").await;
    let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    let plain = blurts::start(&Via::Plain, answer).await;
    let url = format!("wss://{}", plain.addr());
    breaks(&url, "L1.tls", "gateway.unreachable.not_tls").await;
    // A 400 alone is no sign of TLS.
    breaks(&ws(&plain), "L1.upgrade", "gateway.refused.bad_handshake").await;
}

/// A server that asks for a certificate is wrong in other ways as well.
#[tokio::test]
async fn a_server_that_asks_may_have_another_fault() {
    let ca = Ca::new();
    let via = Via::Tls(ca.demanding_server(&["localhost"]));
    for (host, trusted, rule) in [
        (
            "localhost",
            None,
            "gateway.unreachable.certificate_untrusted",
        ),
        (
            "127.0.0.1",
            Some(&ca),
            "gateway.unreachable.certificate_name",
        ),
    ] {
        let report = over_tls(host, &via, trusted).await;
        assert_eq!(
            broken(&report),
            ("L1.tls".to_owned(), rule.to_owned()),
            "{report}"
        );
    }
}

/// What a server has to send besides its own certificate.
#[tokio::test]
async fn an_intermediate_certificate_that_is_missing() {
    let root = Ca::new();
    let inner = root.intermediate();
    let whole = Via::Tls(inner.server_with_chain(&["localhost"]));
    let fine = over_tls("localhost", &whole, Some(&root)).await;
    assert_eq!(fine["first_failing"], Value::Null, "{fine}");
    let leaf_alone = Via::Tls(inner.server(&["localhost"], Validity::Now));
    let report = over_tls("localhost", &leaf_alone, Some(&root)).await;
    is_whole(&report);
    let expected = (
        "L1.tls".to_owned(),
        "gateway.unreachable.certificate_untrusted".to_owned(),
    );
    assert_eq!(broken(&report), expected, "{report}");
    let tls = rung(&report, "L1.tls");
    let because = tls["because"].as_str().unwrap();
    for words in [
        "test intermediate",
        "which was not sent",
        "browsers may accept it",
    ] {
        assert!(because.contains(words), "{because}");
    }
    let next = tls["verdict"]["next"].as_str().unwrap();
    assert!(next.contains("intermediate"), "{next}");
}
