//! The gateway restarts while the tap is attached.

use std::time::Duration;

use serde_json::Value;
use tokio::time::interval;
use wstap::session::SessionRecord;
use wstap::session::record::{Class, TapMode};

use super::LONG;
use super::clients::{Brings, Way};
use super::evidence::Visit;
use crate::live::connected::{Session, Visit as Seen};
use crate::live::gateway::Gateway;
use crate::live::guest::Guest;
use crate::live::visitor::Answer;
use crate::support::attached::{Attached, status};
use crate::support::deadline::within;
use crate::support::frame::Frame;
use crate::support::netns::Net;
use crate::support::records::{class, rule};
use crate::support::tap::Setup;

/// How often a client tries.
const TRY_EVERY: Duration = Duration::from_millis(20);

pub async fn is_judged_as_inline(net: &Net, gateway: &Gateway) {
    let port = gateway.addr().port();
    let inline = Setup::before_url(&gateway.url()).openclaw().start().await;
    // Established before the other tap is attached, which leaves them alone.
    let inline_session = Guest::cli().accepted(&inline).await;
    let inline_waiting = Guest::cli().open(&inline).await;

    let attached = Attached::start(port, LONG).await;
    let local = accepted(net, port, Way::LOOPBACK).await;
    let waiting = open(net, port, Way::LOOPBACK).await;
    gateway.restart();
    let (inline_session, inline_waiting, local, waiting, newcomers) = tokio::join!(
        inline_session.end(),
        inline_waiting.end(),
        local.end(),
        waiting.end(),
        newcomers(net, port),
    );

    for (what, inline_visit, attached_visit) in [
        ("in a session", inline_session, local),
        ("before hello", inline_waiting, waiting),
    ] {
        let by_inline = inline.record_of(&inline_visit.agent, what).await;
        let by_attached = attached.record_of(&attached_visit.agent).await;
        eprintln!("{what}: {} / {}", rule(&by_attached), rule(&by_inline));
        assert_eq!(attached_visit.saw, inline_visit.saw, "{what}");
        assert_eq!(rule(&by_attached), rule(&by_inline), "{what}");
        assert_eq!(class(&by_attached), Class::GatewayLifecycle, "{what}");
        assert_eq!(by_attached.tap.mode, TapMode::Attached, "{what}");
    }
    for visit in newcomers {
        let record = attached.record_of(&visit.agent).await;
        eprintln!("{:?}: {}", visit.status, rule(&record));
        assert_expected(&visit, &record);
    }

    let state = status().expect("a status");
    assert_eq!(state["state"], "attached", "{state}");
    assert_eq!(state["pid"], attached.pid(), "{state}");
    assert_eq!(state["failed_checks"], 0, "{state}");
    let visit = Visit::make(net, port, Way::LOOPBACK, Brings::Token).await;
    assert!(matches!(visit.answer, Answer::Accepted { .. }), "{visit:?}");
    let record = attached.record_of(&visit.visitor.agent).await;
    assert_eq!(rule(&record), "ok.client_closed");
    attached.detach().await;
}

async fn accepted(net: &Net, port: u16, way: Way) -> Session {
    let mut session = open(net, port, way).await;
    Guest::cli().introduce(&mut session).await;
    assert!(session.is_accepted(), "{:?}", session.answer);
    session
}

/// As far as the challenge.
async fn open(net: &Net, port: u16, way: Way) -> Session {
    let conn = way.connect(net, port).await.expect("connect");
    let mut session = Guest::cli().knock(conn).await;
    session.take_challenge().await;
    session
}

/// Clients that come one after the other until the gateway has been away and accepts again: the first
/// of each kind of answer.
async fn newcomers(net: &Net, port: u16) -> Vec<Seen> {
    let mut seen: Vec<(String, Seen)> = Vec::new();
    let mut tick = interval(TRY_EVERY);
    let waiting = async {
        loop {
            tick.tick().await;
            let conn = Way::LOOPBACK.connect(net, port).await;
            let conn = conn.expect("the tap accepts while the gateway is away");
            let session = Guest::cli().knock(conn).await;
            let visit = greeted(session).await;
            let kind = format!(
                "{:?} {}",
                visit.status, visit.answer["error"]["details"]["reason"]
            );
            let is_back = visit.answer["ok"] == true;
            if is_back
                && seen
                    .iter()
                    .any(|(known, _)| known.contains("startup-sidecars"))
            {
                break;
            }
            if !is_back && seen.iter().all(|(known, _)| *known != kind) {
                seen.push((kind, visit));
            }
        }
    };
    within("the gateway to come back", waiting).await;
    seen.into_iter().map(|(_, visit)| visit).collect()
}

async fn greeted(mut session: Session) -> Seen {
    if session.status == Some(101) {
        session.take_challenge().await;
        Guest::cli().introduce(&mut session).await;
        if session.is_accepted() {
            session.say(Frame::empty_close()).await;
        }
    }
    session.end().await
}

/// The rules that the same moments have in front of the gateway (`signatures::lifecycle`).
fn assert_expected(visit: &Seen, record: &SessionRecord) {
    let reason = visit.answer.pointer("/error/details/reason");
    let expected = match (visit.status, reason.and_then(Value::as_str)) {
        (Some(502), _) => "gateway.lifecycle.restarting",
        (Some(503), _) => "gateway.lifecycle.admission_closed",
        (_, Some("startup-sidecars")) => "gateway.lifecycle.starting",
        (_, Some("gateway-restarting")) => "gateway.lifecycle.unavailable",
        _ => return assert_eq!(class(record), Class::GatewayLifecycle, "{visit:?}"),
    };
    assert_eq!(rule(record), expected, "{visit:?}");
}
