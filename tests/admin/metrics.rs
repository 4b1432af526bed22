//! `/metrics`: its counts agree with the records, and Prometheus can read its format.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;

use wstap::session::SessionRecord;
use wstap::session::record::{Class, Kind};

use super::get;
use crate::peers::{Via, echo};
use crate::support::client::connect;
use crate::support::deadline::within;
use crate::support::frame::Frame;
use crate::support::packages::Program;
use crate::support::records::class;
use crate::support::skip::skip;
use crate::support::tap::{Face, Setup, Tap};

/// Every sample by its name with labels.
struct Samples(BTreeMap<String, f64>);

impl Samples {
    async fn of(tap: &Tap) -> Self {
        let answer = get(tap, "/metrics").await;
        assert_eq!(answer.status(), 200);
        let kind = answer.head.value("content-type").unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let mut all = BTreeMap::new();
        for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let twice = all.insert(name.to_owned(), value.parse().unwrap());
            assert!(twice.is_none(), "{name} stands twice");
        }
        Self(all)
    }

    /// 0 for one that is not there.
    fn of_name(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    #[track_caller]
    fn is(&self, name: &str, wanted: u64) {
        let found = self.of_name(name);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let wanted = wanted as f64;
        assert!(
            (found - wanted).abs() < 1e-9,
            "{name}: {found} for {wanted}"
        );
    }

    /// Waits until one has this value: a session ends a moment after its client.
    async fn with(tap: &Tap, name: &str, wanted: f64) -> Self {
        within(name, async {
            loop {
                let samples = Self::of(tap).await;
                if (samples.of_name(name) - wanted).abs() < 1e-9 {
                    return samples;
                }
            }
        })
        .await
    }
}

/// A handful of sessions that end in different ways.
async fn sessions(tap: &Tap) {
    for (face, code, messages) in [
        (Face::Plain, Some(1000), 3),
        (Face::Tls, Some(1000), 1),
        (Face::Tls, Some(4242), 0),
        (Face::Plain, None, 2),
    ] {
        let mut conn = tap.connect(face).await;
        conn.open("/").await;
        for at in 0..messages {
            let text = "x".repeat(100 * (at + 1));
            conn.send_masked(Frame::text(&text)).await.unwrap();
            assert_eq!(conn.frame().await.unwrap().as_text(), text);
        }
        let close = code.map_or_else(Frame::empty_close, |code| Frame::close(code, ""));
        conn.send_masked(close).await.unwrap();
        conn.rest().await;
    }
    let mut vanished = tap.connect(Face::Plain).await;
    vanished.open("/").await;
    vanished.abort();
    // A bare connect, and garbage.
    drop(connect(tap.addr(Face::Tls)).await);
    let mut garbage = tap.connect(Face::Plain).await;
    garbage.send(b"hello?\r\n\r\n").await.unwrap();
    garbage.rest().await;
}

fn sum(records: &[SessionRecord], of: impl Fn(&SessionRecord) -> Option<u64>) -> u64 {
    records.iter().filter_map(of).sum()
}

#[tokio::test]
async fn added_latency_is_counted_once_a_wake_up_while_sessions_are_open() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    let mut conn = tap.connect(Face::Tls).await;
    conn.open("/").await;
    let mut silent = tap.connect(Face::Plain).await;
    silent.open("/").await;
    for _ in 0..5 {
        conn.send_masked(Frame::text("hello")).await.unwrap();
        conn.frame().await.unwrap();
    }
    let page = get(&tap, "/metrics").await.body;
    let value = |name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("no {name}\n{page}"));
        value.trim().parse().unwrap()
    };
    let count = value("wstap_added_latency_seconds_count ");
    // An answer may come within the wake-up of its question.
    assert!((5.0..=10.0).contains(&count), "{count}");
    assert!(value("wstap_added_latency_seconds_sum ") > 0.0);
    let all = value("wstap_added_latency_seconds_bucket{le=\"+Inf\"} ");
    assert!((all - count).abs() < 1e-9);
    for conn in [&mut conn, &mut silent] {
        conn.send_masked(Frame::close(1000, "")).await.unwrap();
        conn.rest().await;
    }
    let records = tap.websockets(2).await;
    for record in records {
        let added = record.latency.as_ref().unwrap().added_us.unwrap();
        assert!(added.p50 > 0.0 && added.p50 <= added.p99 && added.p99 <= added.max);
    }
}

#[tokio::test]
async fn counts_are_those_of_the_records() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    sessions(&tap).await;
    tap.wait_for("the last record", |record| record.kind == Kind::Connection)
        .await;
    tap.websockets(5).await;
    let samples = Samples::with(&tap, "wstap_connections", 0.0).await;
    let records = tap.records();
    for kind in [Kind::Connection, Kind::Http, Kind::Websocket] {
        for wanted in Class::ALL {
            let of = |record: &&SessionRecord| record.kind == kind && class(record) == wanted;
            let count = records.iter().filter(of).count() as u64;
            let kind = format!("{kind:?}").to_lowercase();
            let name = format!(
                "wstap_sessions_total{{kind=\"{kind}\",class=\"{}\"}}",
                wanted.as_str()
            );
            assert!(samples.0.contains_key(&name), "{name} is always there");
            samples.is(&name, count);
        }
    }
    let frames = |record: &SessionRecord| record.frames.clone();
    for (metric, to_gateway, to_client) in [
        (
            "wstap_messages_total",
            sum(&records, |record| Some(frames(record)?.to_gateway.messages)),
            sum(&records, |record| Some(frames(record)?.to_client.messages)),
        ),
        (
            "wstap_relayed_bytes_total",
            sum(&records, |record| {
                Some(frames(record)?.to_gateway.wire_bytes)
            }),
            sum(&records, |record| {
                Some(frames(record)?.to_client.wire_bytes)
            }),
        ),
    ] {
        assert!(to_gateway > 0 && to_client > 0);
        samples.is(&format!("{metric}{{direction=\"to_gateway\"}}"), to_gateway);
        samples.is(&format!("{metric}{{direction=\"to_client\"}}"), to_client);
    }
    for (name, wanted) in [
        ("wstap_close_frames_total{from=\"client\",code=\"1000\"}", 2),
        (
            "wstap_close_frames_total{from=\"client\",code=\"other\"}",
            1,
        ),
        ("wstap_close_frames_total{from=\"client\",code=\"none\"}", 1),
        (
            "wstap_close_observed_total{leg=\"client\",code=\"1005\"}",
            1,
        ),
        (
            "wstap_close_observed_total{leg=\"gateway\",code=\"1006\"}",
            1,
        ),
        ("wstap_transport_ends_total{leg=\"client\",how=\"rst\"}", 1),
        ("wstap_upgrade_attempts_total{phase=\"closing\"}", 4),
        ("wstap_upgrade_attempts_total{phase=\"open\"}", 1),
        ("wstap_handshake_seconds_count{step=\"connect\"}", 5),
        ("wstap_handshake_seconds_count{step=\"upgrade\"}", 5),
        (
            "wstap_handshake_seconds_bucket{step=\"connect\",le=\"+Inf\"}",
            5,
        ),
        ("wstap_records_dropped_total{sink=\"records\"}", 0),
        ("wstap_gateway_up", 1),
        ("wstap_draining", 0),
        ("wstap_open_sessions{phase=\"open\"}", 0),
    ] {
        samples.is(name, wanted);
    }
    let expiry = format!(
        "wstap_certificate_expiry_timestamp_seconds{{listener=\"{}\",certificate=\"0\"}}",
        tap.addr(Face::Tls)
    );
    assert!(samples.of_name(&expiry) > 1.7e9, "{expiry}");
}

#[tokio::test]
async fn open_sessions_count_while_they_are_open() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    conn.send_masked(Frame::text("one")).await.unwrap();
    conn.frame().await.unwrap();
    let open = "wstap_open_sessions{phase=\"open\"}";
    let name = "wstap_messages_total{direction=\"to_client\"}";
    let samples = Samples::with(&tap, name, 1.0).await;
    samples.is(open, 1);
    samples.is("wstap_connections", 1);
    conn.send_masked(Frame::close(1000, "")).await.unwrap();
    conn.rest().await;
    let samples = Samples::with(&tap, open, 0.0).await;
    // What it had relayed stays counted.
    samples.is(name, 1);
}

#[tokio::test]
async fn what_a_client_sends_is_no_label() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    sessions(&tap).await;
    tap.websockets(5).await;
    let before = Samples::of(&tap).await.0.len();
    for at in 0..30_u16 {
        let mut conn = tap.connect(Face::Plain).await;
        let origin = format!("https://canary-{at}.example");
        let path = format!("/canary-{at}?token=canary-{at}");
        let upgraded = conn.upgrade(&path, &[("Origin", &origin)]).await.unwrap();
        assert_eq!(upgraded.status(), 101);
        let close = Frame::close(4000 + at, "canary");
        conn.send_masked(close).await.unwrap();
        conn.rest().await;
    }
    tap.websockets(35).await;
    let after = Samples::of(&tap).await;
    assert_eq!(after.0.len(), before, "{:?}", after.0.keys());
    assert!(!get(&tap, "/metrics").await.body.contains("canary"));
}

#[tokio::test]
async fn promtool_finds_nothing_wrong() {
    let Some(promtool) = Program::find("promtool") else {
        return skip(
            "promtool_finds_nothing_wrong",
            "promtool is missing: run make fetch",
        );
    };
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    let fresh = get(&tap, "/metrics").await.body;
    sessions(&tap).await;
    tap.websockets(5).await;
    let used = get(&tap, "/metrics").await.body;
    for page in [fresh, used] {
        let mut check = promtool
            .command()
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = check.stdin.take().unwrap();
        input.write_all(page.as_bytes()).unwrap();
        drop(input);
        let checked = check.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{said}\n{page}");
        assert_eq!(said, "", "{page}");
    }
}

#[tokio::test]
async fn every_metric_is_documented() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    assert_eq!(get(&tap, "/readyz").await.status(), 200);
    let page = get(&tap, "/metrics").await.body;
    let docs = include_str!("../../docs/admin.md");
    let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: Vec<&str> = names.filter_map(|rest| rest.split(' ').next()).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(
            docs.contains(&format!("`{name}`")),
            "{name} is not in docs/admin.md"
        );
    }
}
