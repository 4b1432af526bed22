//! The tunnel opens only on a verified 101. Every other answer passes unchanged or becomes an
//! answer of the tap's own, marked as such, and the record says whose it was.

use std::net::TcpListener;

use wstap::session::SessionRecord;
use wstap::session::party::Phase;
use wstap::session::record::gateway::{BodyKind, GatewayErrorKind};
use wstap::session::record::{AnswerBy, Class};

use crate::peers::openclaw::{CONN_ID, Gateway, Refusal, Script, TOKEN};
use crate::peers::{
    Peer, Via, attribution, draining, echo, missing_accept_key, no_status_line, ok_instead_of_101,
    reset_before_status, tls, wrong_accept_key,
};
use crate::support::certs::{Ca, Validity};
use crate::support::frame::Frame;
use crate::support::head::{Head, upgrade};
use crate::support::records::{class, rule};
use crate::support::secret::fingerprint;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

/// What a client gets, and the record.
async fn attempt(tap: &Tap) -> (Head, Vec<u8>, SessionRecord) {
    let mut conn = tap.connect(Face::Plain).await;
    let head = conn.upgrade("/ws", &[]).await.expect("an answer");
    assert_ne!(head.status(), 101, "no tunnel");
    let body = conn.body(&head).await.expect("its body");
    // After a refused upgrade the connection ends.
    let (_, ending) = conn.rest().await;
    assert_ne!(ending, Ending::StillOpen);
    (head, body, tap.websocket().await)
}

/// An answer of the tap's own: marked, and with a reason.
fn assert_own(head: &Head, record: &SessionRecord) {
    assert!(matches!(head.status(), 502 | 504), "{}", head.text());
    assert!(head.value("proxy-status").is_some(), "{}", head.text());
    assert_eq!(head.value("x-wstap-session"), Some(record.id.to_string()));
    assert_eq!(record.answer.as_ref().unwrap().by, AnswerBy::Tap);
}

#[tokio::test]
async fn a_gateway_that_gives_no_usable_answer() {
    let plain = Via::Plain;
    let cases: [(Peer, GatewayErrorKind, Class); 4] = [
        (
            no_status_line::start(&plain).await,
            GatewayErrorKind::ClosedBeforeStatus,
            Class::GatewaySilent,
        ),
        (
            reset_before_status::start(&plain).await,
            GatewayErrorKind::ResetBeforeStatus,
            Class::GatewaySilent,
        ),
        (
            wrong_accept_key::start(&plain).await,
            GatewayErrorKind::AcceptKey,
            Class::GatewayRefused,
        ),
        (
            missing_accept_key::start(&plain).await,
            GatewayErrorKind::AcceptKey,
            Class::GatewayRefused,
        ),
    ];
    for (peer, error, wanted) in cases {
        let tap = Setup::before(&peer).start().await;
        let (head, _, record) = attempt(&tap).await;
        assert_own(&head, &record);
        assert_eq!(
            record
                .gateway
                .as_ref()
                .unwrap()
                .error
                .as_ref()
                .unwrap()
                .kind,
            error
        );
        assert_eq!(
            (record.phase, class(&record)),
            (Phase::Upgrade, wanted),
            "{error:?}"
        );
        assert!(record.frames.is_none() && record.dialect.is_none());
        assert_eq!(peer.log.requests(), 1);
    }
}

#[tokio::test]
async fn a_gateway_that_is_not_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    for (url, error) in [
        (nobody.as_str(), GatewayErrorKind::Refused),
        (
            "unix:/nonexistent/gateway.sock",
            GatewayErrorKind::SocketMissing,
        ),
    ] {
        let tap = Setup::before_url(url).start().await;
        let (head, _, record) = attempt(&tap).await;
        assert_own(&head, &record);
        assert_eq!(
            record
                .gateway
                .as_ref()
                .unwrap()
                .error
                .as_ref()
                .unwrap()
                .kind,
            error
        );
        assert_eq!(
            (record.phase, class(&record)),
            (Phase::Dial, Class::GatewayUnreachable)
        );
    }
}

#[tokio::test]
async fn trouble_with_the_gateways_tls() {
    for (names, validity, error) in [
        (
            ["other.test"],
            Validity::Now,
            GatewayErrorKind::CertificateName,
        ),
        (
            ["gateway.test"],
            Validity::Expired,
            GatewayErrorKind::CertificateExpired,
        ),
        (
            ["gateway.test"],
            Validity::NotYet,
            GatewayErrorKind::CertificateExpired,
        ),
    ] {
        let (ca, via) = tls::via(&names, validity);
        let peer = echo::start(&via).await;
        let tap = Setup::before(&peer)
            .gateway_ca(&ca, "gateway.test")
            .start()
            .await;
        let (head, _, record) = attempt(&tap).await;
        assert_own(&head, &record);
        assert_eq!(
            record
                .gateway
                .as_ref()
                .unwrap()
                .error
                .as_ref()
                .unwrap()
                .kind,
            error
        );
        assert_eq!(
            (record.phase, class(&record)),
            (Phase::Dial, Class::GatewayUnreachable)
        );
        assert_eq!(peer.log.requests(), 0);
    }
    let (_, via) = tls::via(&["gateway.test"], Validity::Now);
    let peer = echo::start(&via).await;
    let tap = Setup::before(&peer)
        .gateway_ca(&Ca::new(), "gateway.test")
        .start()
        .await;
    let (_, _, record) = attempt(&tap).await;
    let error = record
        .gateway
        .as_ref()
        .unwrap()
        .error
        .as_ref()
        .unwrap()
        .kind;
    assert_eq!(error, GatewayErrorKind::CertificateUntrusted);
}

#[tokio::test]
async fn a_pinned_certificate_is_the_only_one_that_is_taken() {
    // Its name and dates do not matter.
    let (_, via) = tls::via(&["other.test"], Validity::Expired);
    let peer = echo::start(&via).await;
    let before = |fingerprint: &str| {
        let setup = Setup::before(&peer).set("gateway.tls.fingerprint", fingerprint);
        setup.start()
    };
    let tap = before(&"ab".repeat(32)).await;
    let (_, _, record) = attempt(&tap).await;
    assert_eq!(rule(&record), "gateway.unreachable.certificate_pin");
    let error = record.gateway.unwrap().error.unwrap();
    assert_eq!(peer.log.requests(), 0);
    let (_, shown) = error.detail.split_once("sha256:").expect("what it shows");
    let tap = before(&shown[..64]).await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
}

#[tokio::test]
async fn plain_to_a_tls_gateway_and_tls_to_a_plain_one() {
    let (ca, via) = tls::via(&["localhost"], Validity::Now);
    let secure = echo::start(&via).await;
    let tap = Setup::before_url(&format!("http://{}", secure.addr()))
        .start()
        .await;
    let (_, _, record) = attempt(&tap).await;
    assert_eq!(class(&record), Class::GatewayUnreachable);

    let plain = echo::start(&Via::Plain).await;
    let url = format!("https://{}", plain.addr());
    let tap = Setup::before_url(&url)
        .gateway_ca(&ca, "localhost")
        .set("timeouts.connect", "500ms")
        .start()
        .await;
    let (_, _, record) = attempt(&tap).await;
    assert_eq!(
        (record.phase, class(&record)),
        (Phase::Dial, Class::GatewayUnreachable)
    );
}

#[tokio::test]
async fn an_answer_that_is_not_101_passes_unchanged() {
    let nginx = [
        ("Server", "nginx/1.27.0"),
        ("Content-Type", "text/html"),
        ("X-Odd", "kept"),
    ];
    let page = "<html><center>nginx</center></html>";
    let cases = [
        (
            ok_instead_of_101::start(&Via::Plain, &nginx, page).await,
            200,
            page,
            Class::HopFault,
        ),
        (
            ok_instead_of_101::answer(&Via::Plain, "502 Bad Gateway", &nginx, page).await,
            502,
            page,
            Class::HopFault,
        ),
        (
            draining::start(&Via::Plain).await,
            503,
            draining::BODY,
            Class::GatewayLifecycle,
        ),
        (
            attribution::start(&Via::Plain).await,
            403,
            attribution::BODY,
            Class::GatewayRefused,
        ),
    ];
    for (peer, status, body, wanted) in cases {
        let tap = Setup::before(&peer).openclaw().start().await;
        let (head, got, record) = attempt(&tap).await;
        assert_eq!(head.status(), status);
        assert_eq!(got, body.as_bytes());
        if wanted == Class::HopFault {
            assert_eq!(head.value("server").as_deref(), Some("nginx/1.27.0"));
            assert_eq!(head.value("x-odd").as_deref(), Some("kept"));
        }
        let answer = record.answer.as_ref().expect("an answer");
        assert_eq!((answer.by, answer.status), (AnswerBy::Gateway, status));
        assert_eq!(answer.body_bytes, Some(body.len() as u64));
        let kind = record.gateway.as_ref().unwrap().body_kind;
        match status {
            503 => assert_eq!(kind, Some(BodyKind::AdmissionClosed)),
            403 => assert_eq!(kind, Some(BodyKind::Attribution)),
            _ => assert_eq!(kind, Some(BodyKind::Html)),
        }
        assert_eq!(
            (record.phase, class(&record)),
            (Phase::Upgrade, wanted),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_request_smuggled_behind_a_refused_upgrade_is_not_forwarded() {
    let peer = draining::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let mut bytes = upgrade("/ws", "localhost", &[]);
    bytes.extend_from_slice(b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n");
    conn.send(&bytes).await.unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 503);
    let (rest, ending) = conn.rest().await;
    assert_eq!(rest, draining::BODY.as_bytes());
    assert_ne!(ending, Ending::StillOpen);
    tap.websocket().await;
    assert_eq!(
        peer.log.requests(),
        1,
        "the gateway has seen exactly one request"
    );
}

/// Connects with this `auth` and reads to the end.
async fn connect_with(tap: &Tap, face: Face, auth: &serde_json::Value) -> Vec<Frame> {
    let mut conn = tap.connect(face).await;
    conn.open("/").await;
    let mut frames = vec![conn.introduce(auth).await];
    if frames[0].as_text().contains("hello-ok") {
        conn.send_masked(Frame::empty_close()).await.unwrap();
    }
    frames.extend(conn.frames_to_end().await.0);
    conn.finish().await;
    frames
}

#[tokio::test]
async fn the_dialect_tells_an_accepted_connect_from_a_refused_one() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let wrong = "wrong-token-0123456789abcdef0123456789abcdef";
    for face in Face::BOTH {
        let tap = Setup::before(&gateway.peer).openclaw().start().await;
        for token in [TOKEN, wrong] {
            connect_with(&tap, face, &serde_json::json!({ "token": token })).await;
        }
        let records = tap.websockets(2).await;
        let of = |token: &str| {
            let wanted = fingerprint(token);
            let has = |record: &&SessionRecord| {
                record.auth.iter().any(|seen| {
                    let seen = serde_json::to_value(seen).unwrap();
                    seen["fingerprint"] == wanted.as_str()
                        && seen["place"] == "frame:connect.params.auth.token"
                })
            };
            records
                .iter()
                .find(has)
                .expect("a record with this fingerprint")
        };
        let accepted = of(TOKEN);
        assert_eq!(
            (accepted.phase, class(accepted)),
            (Phase::Closing, Class::Ok)
        );
        let dialect = serde_json::to_value(&accepted.dialect).unwrap();
        assert_eq!(dialect["result"], "accepted");
        assert_eq!(dialect["conn_id"], CONN_ID);
        assert_eq!(dialect["max_payload"], 26_214_400);
        let refused = of(wrong);
        assert_eq!(
            (refused.phase, class(refused)),
            (Phase::Handshake, Class::GatewayAuth)
        );
        let dialect = serde_json::to_value(&refused.dialect).unwrap();
        assert_eq!(dialect["result"], "refused");
        assert_eq!(dialect["error"]["details_code"], "AUTH_TOKEN_MISMATCH");
        let close = refused.close.gateway.as_ref().expect("the gateway's Close");
        assert_eq!(close.code.map(|code| code.0), Some(1008));
        assert!(
            close
                .reason
                .as_str()
                .starts_with("unauthorized: gateway token mismatch")
        );
    }
}

#[tokio::test]
async fn refusals_of_other_kinds() {
    let pairing = serde_json::json!({
        "code": "NOT_PAIRED", "message": "pairing required",
        "details": {
            "code": "PAIRING_REQUIRED", "reason": "not-paired",
            "requestId": "0e1b6a5e-6f7f-4a53-9a39-111111111111",
        },
    });
    let origin = serde_json::json!({
        "code": "INVALID_REQUEST", "message": "origin not allowed",
        "details": { "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": "origin not allowed" },
    });
    let range = serde_json::json!({
        "code": "INVALID_REQUEST", "message": "protocol mismatch",
        "details": { "code": "PROTOCOL_MISMATCH", "expectedProtocol": 4 },
    });
    let starting = serde_json::json!({
        "code": "UNAVAILABLE", "message": "gateway starting", "retryable": true,
        "retryAfterMs": 500, "details": { "reason": "startup-sidecars" },
    });
    for (code, reason, error, wanted) in [
        (
            1008,
            "pairing required: device is not approved yet",
            pairing,
            Class::GatewayPairing,
        ),
        (
            1008,
            "origin not allowed (open the Control UI …",
            origin,
            Class::GatewayOrigin,
        ),
        (1002, "protocol mismatch", range, Class::GatewayProtocol),
        (1013, "gateway starting", starting, Class::GatewayLifecycle),
    ] {
        let refusal = Some(Refusal::new(code, reason, error));
        let gateway = Gateway::start(
            &Via::Plain,
            Script {
                refusal,
                ..Script::default()
            },
        )
        .await;
        let tap = Setup::before(&gateway.peer).openclaw().start().await;
        let auth = serde_json::json!({ "token": TOKEN });
        let frames = connect_with(&tap, Face::Plain, &auth).await;
        assert_eq!(frames[1], Frame::close(code, reason));
        assert_eq!(class(&tap.websocket().await), wanted, "{reason}");
    }
}
