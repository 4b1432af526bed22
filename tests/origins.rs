//! Which pages may connect: the answers on the wire and the records.
//! The table of origins itself is a unit test of `admission::origin::policy`.

mod lists;

use serde_json::json;
use wstap::session::SessionRecord;
use wstap::session::party::{Party, Phase};
use wstap::session::record::{
    AnswerBy, Class, DeniedKey, Kind, Miss, OriginDecision, OriginError, SawBasis, TimerKey,
    TransportEnd,
};
use wstap::ws::CloseCode;

use crate::peers::{Peer, Via, echo};
use crate::support::conn::Conn;
use crate::support::deadline::STEP;
use crate::support::frame::Frame;
use crate::support::head::{Head, upgrade};
use crate::support::records::class;
use crate::support::records::rule;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

const CLAW: &str = "https://claw.example.com";
const EVIL: &str = "https://evil.example";

fn enforcing(peer: &Peer) -> Setup {
    Setup::before(peer).set("origins.allowed", json!([CLAW]))
}

/// An upgrade from a page of this origin, and the answer's head.
async fn ask(tap: &Tap, face: Face, origin: &str) -> (Conn, Head) {
    let mut conn = tap.connect(face).await;
    let answer = conn.upgrade("/", &[("Origin", origin)]).await.unwrap();
    (conn, answer)
}

/// The status that a page of this origin gets. The session is over when this returns.
async fn status(tap: &Tap, origin: &str) -> u16 {
    let (mut conn, answer) = ask(tap, Face::Plain, origin).await;
    if answer.status() == 101 {
        conn.send_masked(Frame::close(1000, "")).await.unwrap();
    }
    conn.rest().await;
    answer.status()
}

#[tokio::test]
async fn a_403_names_the_origin_the_nearest_entry_and_the_line_to_add() {
    for face in Face::BOTH {
        let peer = echo::start(&Via::Plain).await;
        let mut tap = enforcing(&peer).start().await;
        let mut conn = tap.connect(face).await;
        // A request that is pipelined after a refused upgrade is not processed.
        let mut bytes = upgrade("/", "localhost", &[("Origin", "http://claw.example.com")]);
        bytes.extend_from_slice(b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n");
        conn.send(&bytes).await.unwrap();
        let answer = conn.head().await.unwrap();
        assert_eq!(answer.status(), 403, "{}", answer.text());
        assert!(answer.says_close());
        for (name, value) in [
            ("content-type", "text/plain; charset=utf-8"),
            ("x-content-type-options", "nosniff"),
            ("proxy-status", "wstap; error=http_request_denied"),
        ] {
            assert_eq!(answer.value(name).as_deref(), Some(value), "{name}");
        }
        let session = answer.value("x-wstap-session").unwrap();
        let body = String::from_utf8(conn.body(&answer).await.unwrap()).unwrap();
        let expected = format!(
            "wstap: the origin http://claw.example.com is not allowed\n\
             decided by: origins.allowed in wstap's configuration\n\
             nearest entry: https://claw.example.com: the scheme differs: http in the origin, \
             https in the entry\n\
             to let it in, add this to wstap's configuration (keep the existing entries):\n  \
             origins: {{ allowed: [\"http://claw.example.com\"] }}\nsession: {session}\n"
        );
        assert_eq!(body, expected);
        let (rest, ending) = conn.rest().await;
        assert!(rest.is_empty() && ending != Ending::StillOpen, "{ending:?}");

        let record = tap.websocket().await;
        assert_eq!(record.id.to_string(), session);
        assert_eq!(rule(&record), "tap.denied.origin");
        assert_eq!(
            (class(&record), record.phase),
            (Class::TapDenied, Phase::Admission)
        );
        assert_eq!(record.close.first, Some(Party::Tap));
        assert_eq!(record.close.denied.unwrap().key, DeniedKey::OriginsAllowed);
        let answer = record.answer.unwrap();
        assert_eq!((answer.by, answer.status), (AnswerBy::Tap, 403));
        let origin = record.origin.unwrap();
        assert_eq!(origin.decision, OriginDecision::Denied);
        let nearest = origin.nearest.unwrap();
        assert_eq!((nearest.entry.as_str(), nearest.why), (CLAW, Miss::Scheme));
        assert!(record.gateway.is_none());
        assert_eq!(
            peer.log.connections(),
            0,
            "the gateway was not even dialled"
        );
        assert_eq!(tap.terminate().await, Some(0));
        assert_eq!(tap.records().len(), 1, "one attempt, one record");
    }
}

#[tokio::test]
async fn attacks_do_not_reach_the_gateway() {
    let peer = echo::start(&Via::Plain).await;
    let tap = enforcing(&peer).start().await;
    for (origin, why) in [
        ("https://evilclaw.example.com", Some(Miss::Suffix)),
        ("https://claw.example.com.evil.example", Some(Miss::Prefix)),
        (
            "https://claw.example.com@evil.example",
            Some(Miss::Userinfo),
        ),
        ("https://xn--clw-8cd.example.com", Some(Miss::LookAlike)),
        ("https://claw.example.com/../evil", Some(Miss::Path)),
        ("null", None),
        ("file://", None),
        (EVIL, None),
    ] {
        assert_eq!(status(&tap, origin).await, 403, "{origin}");
        let by_origin = |record: &SessionRecord| {
            let facts = record.origin.as_ref();
            facts
                .and_then(|facts| facts.value.as_ref())
                .is_some_and(|value| {
                    // A user name and a path are masked in records.
                    value.as_str() == origin || facts.is_some_and(|facts| facts.error.is_some())
                })
                && facts.is_some_and(|facts| facts.nearest.as_ref().map(|it| it.why) == why)
        };
        let record = tap.wait_for(origin, by_origin).await;
        assert_eq!(rule(&record), "tap.denied.origin", "{origin}");
    }
    assert_eq!(status(&tap, CLAW).await, 101);
    assert_eq!(status(&tap, "HTTPS://CLAW.example.com:443/").await, 101);
    assert_eq!(peer.log.connections(), 2);
}

#[tokio::test]
async fn null_does_not_pass_under_any() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer).set("origins.allowed", json!(["*"]));
    let tap = setup.start().await;
    let (mut conn, answer) = ask(&tap, Face::Plain, "null").await;
    assert_eq!(answer.status(), 403);
    let body = String::from_utf8(conn.body(&answer).await.unwrap()).unwrap();
    assert!(body.contains("cannot be allowed"), "{body}");
    assert!(!body.contains("origins: {"), "no line to paste: {body}");
    let record = tap.websocket().await;
    let origin = record.origin.as_ref().expect("an origin");
    assert_eq!(origin.error_kind, Some(OriginError::Null));
    let verdict = record.verdict.as_ref().expect("a verdict");
    let advice = "open the page from an http or https address";
    assert!(verdict.next.starts_with(advice), "{}", verdict.next);
    assert_eq!(status(&tap, EVIL).await, 101);
    assert_eq!(peer.log.connections(), 1);
}

#[tokio::test]
async fn mode_report_and_mode_off_refuse_nobody() {
    for (mode, decision) in [
        ("report", OriginDecision::WouldDeny),
        ("off", OriginDecision::Off),
    ] {
        let peer = echo::start(&Via::Plain).await;
        let tap = enforcing(&peer)
            .set("origins.mode", mode)
            .set("origins.missing", "deny")
            .start()
            .await;
        assert_eq!(status(&tap, EVIL).await, 101, "{mode}");
        assert_eq!(status(&tap, "null").await, 101, "{mode}");
        let mut conn = tap.connect(Face::Plain).await;
        conn.open("/").await;
        drop(conn);
        for record in tap.websockets(3).await {
            let facts = record.origin.unwrap();
            let absent = facts.value.is_none() && mode == "off";
            let expected = if absent {
                OriginDecision::Absent
            } else {
                decision
            };
            assert_eq!(facts.decision, expected, "{mode}");
        }
    }
}

#[tokio::test]
async fn without_a_list_everything_passes_and_is_reported() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    assert_eq!(status(&tap, EVIL).await, 101);
    let origin = tap.websocket().await.origin.unwrap();
    assert_eq!(origin.decision, OriginDecision::WouldDeny);
    assert_eq!(origin.normalised.as_deref(), Some(EVIL));
}

#[tokio::test]
async fn a_missing_origin_passes_unless_it_is_denied() {
    let peer = echo::start(&Via::Plain).await;
    let tap = enforcing(&peer).start().await;
    for more in [&[][..], &[("Origin", "")]] {
        let mut conn = tap.connect(Face::Plain).await;
        assert_eq!(conn.upgrade("/", more).await.unwrap().status(), 101);
    }
    let tap = enforcing(&peer)
        .set("origins.missing", "deny")
        .start()
        .await;
    for more in [&[][..], &[("Origin", "")]] {
        let mut conn = tap.connect(Face::Plain).await;
        let answer = conn.upgrade("/", more).await.unwrap();
        assert_eq!(answer.status(), 403);
        let body = String::from_utf8(conn.body(&answer).await.unwrap()).unwrap();
        assert!(body.contains("origins: { missing: allow }"), "{body}");
    }
    for record in tap.websockets(2).await {
        assert_eq!(rule(&record), "tap.denied.origin_missing");
        assert_eq!(record.origin.unwrap().decision, OriginDecision::Denied);
    }
    assert_eq!(peer.log.connections(), 2);
}

#[tokio::test]
async fn plain_requests_of_any_page_pass() {
    let peer = echo::start(&Via::Plain).await;
    let tap = enforcing(&peer)
        .set("origins.missing", "deny")
        .start()
        .await;
    for origin in ["Origin: https://evil.example\r\n", "Origin: null\r\n", ""] {
        let mut conn = tap.connect(Face::Plain).await;
        let head =
            format!("GET /page HTTP/1.1\r\nHost: localhost\r\n{origin}Connection: close\r\n\r\n");
        conn.send(head.as_bytes()).await.unwrap();
        let answer = conn.head().await.unwrap();
        assert_ne!(answer.status(), 403, "{origin}: {}", answer.text());
        conn.rest().await;
    }
    let record = tap
        .wait_for("a request of a page", |record| {
            record.kind == Kind::Http
                && record
                    .origin
                    .as_ref()
                    .is_some_and(|facts| facts.normalised.as_deref() == Some(EVIL))
        })
        .await;
    assert_eq!(record.origin.unwrap().decision, OriginDecision::Off);
}

#[tokio::test]
async fn deny_with_close_says_why_where_a_script_can_read_it() {
    for face in Face::BOTH {
        let peer = echo::start(&Via::Plain).await;
        let tap = enforcing(&peer)
            .set("origins.deny_with", "close")
            .start()
            .await;
        let mut conn = tap.connect(face).await;
        let more = [
            ("Origin", EVIL),
            ("Sec-WebSocket-Protocol", "chat, superchat"),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ];
        let answer = conn.upgrade("/", &more).await.unwrap();
        assert_eq!(answer.status(), 101, "{}", answer.text());
        assert_eq!(
            answer.value("sec-websocket-accept").as_deref(),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        assert_eq!(answer.value("upgrade").as_deref(), Some("websocket"));
        // Otherwise a browser would fail the connection and not show the Close.
        let chosen = answer.value("sec-websocket-protocol");
        assert_eq!(chosen.as_deref(), Some("chat"));
        assert_eq!(answer.value("sec-websocket-extensions"), None);
        assert!(answer.value("x-wstap-session").is_some());
        let frame = conn.frame().await.unwrap();
        assert!(frame.mask.is_none() && frame.fin && frame.payload.len() <= 125);
        let (code, reason) = frame.as_close().expect("a Close");
        assert_eq!(code, Some(1008));
        assert_eq!(
            reason,
            "wstap: origin not in origins.allowed; add origins: { allowed: [\"https://evil.example\"] }"
        );
        // Data that was under way, then the answer.
        conn.send_masked(Frame::text("early")).await.unwrap();
        conn.send_masked(Frame::close(1008, "")).await.unwrap();
        let (frames, ending) = conn.frames_to_end().await;
        assert!(frames.is_empty(), "{frames:?}");
        let expected = match face {
            Face::Plain => Ending::Fin,
            Face::Tls => Ending::TlsClose,
        };
        assert_eq!(ending, expected);

        let record = tap.websocket().await;
        assert_eq!(rule(&record), "tap.denied.origin");
        assert_eq!(record.phase, Phase::Admission);
        assert!(record.gateway.is_none() && record.frames.is_none());
        let answer = record.answer.unwrap();
        assert_eq!((answer.by, answer.status), (AnswerBy::Tap, 101));
        let close = record.close;
        assert_eq!(close.first, Some(Party::Tap));
        let ours = close.tap.unwrap();
        assert_eq!(ours.code, Some(CloseCode(1008)));
        assert_eq!(ours.reason.as_str(), reason);
        let saw = close.client_saw.unwrap();
        assert_eq!((saw.code, saw.basis), (CloseCode(1008), SawBasis::Acked));
        assert_eq!(close.gateway_saw, None);
        assert_eq!(close.transport.client, TransportEnd::Local);
        assert_eq!(close.transport.gateway, TransportEnd::None);
        assert_eq!(peer.log.connections(), 0);
    }
}

#[tokio::test]
async fn a_refused_client_that_does_not_answer_the_close_is_let_go() {
    let peer = echo::start(&Via::Plain).await;
    let tap = enforcing(&peer)
        .set("origins.deny_with", "close")
        .set("timeouts.close", "300ms")
        .start()
        .await;
    let (mut silent, answer) = ask(&tap, Face::Plain, EVIL).await;
    assert_eq!(answer.status(), 101);
    let (frames, ending) = silent.frames_to_end().await;
    assert_eq!((frames.len(), ending), (1, Ending::Fin));
    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::TapDenied);
    assert_eq!(record.close.timer.unwrap().key, TimerKey::Close);
    assert_eq!(record.close.client_saw.unwrap().basis, SawBasis::Written);

    // One that is gone.
    let (conn, _) = ask(&tap, Face::Plain, EVIL).await;
    conn.abort();
    let records = tap.websockets(2).await;
    assert_eq!(class(&records[1]), Class::TapDenied);
}

#[tokio::test]
async fn a_close_that_nobody_answers_does_not_hold_the_drain() {
    let peer = echo::start(&Via::Plain).await;
    let mut tap = enforcing(&peer)
        .set("origins.deny_with", "close")
        .set("timeouts.close", "30s")
        .set("timeouts.drain", "1s")
        .start()
        .await;
    let (mut conn, _) = ask(&tap, Face::Plain, EVIL).await;
    conn.frame().await.expect("the Close");
    tap.signal_term();
    assert_eq!(tap.exited(STEP).await.code(), Some(0));
    let record = tap.websocket().await;
    assert_eq!(rule(&record), "tap.denied.origin");
    assert_eq!(record.close.tap.unwrap().code, Some(CloseCode(1008)));
}
