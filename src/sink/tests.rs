//! Records that are explained by open sessions, whose own records are yet to come.

use super::live::Entry;
use super::*;
use crate::session::Facts;
use crate::session::moment::Anchor;
use crate::session::party::Phase;
use crate::session::record::GatewayFacts;

const URL: &str = "http://127.0.0.1:18789";

macro_rules! fixture {
    ($id:literal) => {{
        let text = include_str!(concat!("../../tests/fixtures/verdicts/", $id, ".json"));
        let mut record: SessionRecord = serde_json::from_str(text).unwrap();
        record.verdict = None;
        record.context = None;
        record.gateway.as_mut().unwrap().url = URL.to_owned();
        record
    }};
}

fn at(time: &str) -> Moment {
    Moment(time.parse().unwrap())
}

fn pipeline() -> RecordPipeline {
    RecordPipeline::new(Vec::new(), Wanted::ALL).keeping_recent()
}

/// A session that this gateway let in as soon as it began, and that is open.
fn open(pipeline: &RecordPipeline, id: u128, began: &str, url: &str) -> Entry {
    let start = Instant::now();
    let anchor = Anchor::new(at(began).0, start);
    // Newer sessions have greater ids.
    let id = uuid::Uuid::from_u128(id);
    let entry = pipeline.live().open(id, anchor, "127.0.0.1:40000");
    let mut facts = Facts {
        kind: Kind::Websocket,
        gateway: Some(GatewayFacts {
            url: url.to_owned(),
            ..GatewayFacts::default()
        }),
        ..Facts::default()
    };
    facts.client.addr = "127.0.0.1:40000".to_owned();
    for phase in [Phase::Admission, Phase::Dial, Phase::Upgrade] {
        facts.phase = phase;
        entry.live().reached(&facts, start);
    }
    let answered = start + Duration::from_millis(20);
    entry.live().answered(20, answered);
    for phase in [Phase::Handshake, Phase::Open] {
        facts.phase = phase;
        entry.live().reached(&facts, answered);
    }
    entry
}

/// The rule of a record that is published now, after others that die with it have had their time.
fn rule(pipeline: &RecordPipeline, record: &SessionRecord) -> String {
    let now = Instant::now();
    let id = record.id;
    pipeline.publish(record.clone(), now);
    pipeline.settle_one(now + 2 * SIBLINGS);
    let recent = pipeline.recent();
    let judged = recent.iter().find(|it| it.id == id).expect("it was judged");
    judged.verdict.as_ref().unwrap().rule.clone()
}

fn restart(pipeline: &RecordPipeline) {
    let at = at("2026-11-21T09:59:20Z");
    let down = memory::announcement(Some((at, Some(7000))), None).unwrap();
    pipeline.announce(URL, None, down);
}

#[test]
fn an_announced_restart_is_over_once_sessions_are_open_again() {
    let cases = [
        (
            fixture!("hop.fault.bad_gateway"),
            "hop.fault.bad_gateway",
            false,
        ),
        (
            fixture!("gateway.silent.closed"),
            "gateway.silent.closed",
            false,
        ),
        (
            fixture!("gateway.left.before_hello"),
            "gateway.left.before_hello",
            true,
        ),
    ];
    for (record, own, lost) in cases {
        let restarting = if lost {
            "gateway.lifecycle.lost_in_restart"
        } else {
            "gateway.lifecycle.restarting"
        };
        let with = |came: Option<(&str, &str)>| {
            let pipeline = pipeline();
            restart(&pipeline);
            let all: Vec<Entry> = came
                .map(|(began, url)| (0..50).map(|n| open(&pipeline, n, began, url)).collect())
                .unwrap_or_default();
            let rule = rule(&pipeline, &record);
            drop(all);
            rule
        };
        assert_eq!(with(Some(("2026-11-21T09:59:28Z", URL))), own);
        assert_eq!(with(None), restarting, "{own}");
        // They were there before, or are another gateway's.
        assert_eq!(
            with(Some(("2026-11-21T09:59:10Z", URL))),
            restarting,
            "{own}"
        );
        let other = with(Some(("2026-11-21T09:59:28Z", "http://other")));
        assert_eq!(other, restarting, "{own}");
    }
}

/// An address of a Docker network stands for many clients.
#[test]
fn three_reloads_behind_an_address_with_open_sessions_are_no_client_that_cancels_again_and_again() {
    let record = fixture!("client.left.again");
    let third = |came: Option<(&str, &str)>, down: bool| {
        let pipeline = pipeline();
        if down {
            restart(&pipeline);
        }
        let all: Vec<Entry> = came
            .map(|(began, url)| (0..20).map(|n| open(&pipeline, n, began, url)).collect())
            .unwrap_or_default();
        let mut last = String::new();
        for nth in 1..=3 {
            let mut record = record.clone();
            record.id = uuid::Uuid::from_u128(nth);
            last = rule(&pipeline, &record);
        }
        drop(all);
        last
    };
    assert_eq!(third(None, false), "client.left.again");
    for began in ["2026-11-21T09:59:28Z", "2026-11-21T07:00:00Z"] {
        let last = third(Some((began, URL)), false);
        assert_eq!(last, "client.left.upgrade", "{began}");
        let elsewhere = third(Some((began, "http://other")), false);
        assert_eq!(elsewhere, "client.left.again", "{began}");
    }
    // A gateway that is restarting answers nobody.
    assert_eq!(third(None, true), "client.left.upgrade");
}

/// A client that was shown our certificate and left without a request.
fn left_at_certificate(id: u128) -> SessionRecord {
    let text = include_str!("../../tests/fixtures/verdicts/tap.certificate.untrusted.json");
    let mut record: SessionRecord = serde_json::from_str(text).unwrap();
    record.id = uuid::Uuid::from_u128(id);
    (record.verdict, record.context) = (None, None);
    assert!(record.left_at_certificate());
    record
}

/// A browser opens two connections, sends its request on one and drops the other at the same
/// moment.
#[test]
fn a_request_that_comes_right_after_a_spare_connection_explains_it() {
    for (asks, expected) in [(true, "probe.tls"), (false, "tap.certificate.untrusted")] {
        let pipeline = pipeline();
        let now = Instant::now();
        let record = left_at_certificate(1);
        let client = record.client.clone();
        let later = record.closed_at;
        assert!(pipeline.publish(record, now).is_none(), "it waits");
        if asks {
            pipeline.asked(&client, later);
        }
        assert!(!pipeline.settle_one(now), "it waits for a second");
        assert!(pipeline.settle_one(now + 2 * SIBLINGS));
        let rule = pipeline.recent()[0].verdict.as_ref().unwrap().rule.clone();
        assert_eq!(rule, expected);
    }
}

/// Anybody can cause such connections: they do not take the places of sessions that wait.
#[test]
fn connections_without_a_request_leave_room_for_sessions() {
    let pipeline = pipeline();
    let now = Instant::now();
    for id in 0..=MAX_WAITING_VISITS {
        let judged = pipeline.publish(left_at_certificate(id as u128), now);
        assert_eq!(judged.is_some(), id == MAX_WAITING_VISITS, "{id}");
    }
    let lost = fixture!("gateway.left.open");
    assert!(
        pipeline.publish(lost, now).is_none(),
        "a session still waits"
    );
}
