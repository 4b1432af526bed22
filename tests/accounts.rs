//! Every opened session is in a record, in a `repeats.count` or in the counted losses, however the
//! tap or a session ends.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use wstap::app::Bound;
use wstap::config::{self, Overrides};
use wstap::session::SessionRecord;
use wstap::session::record::{Class, Kind};
use wstap::sink::{Consumer, Queue};

use crate::crowds::{accounts_for, silent};
use crate::peers::{Peer, Via, echo, no_status_line, tunnel};
use crate::support::client::connect;
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll, within};
use crate::support::frame::Frame;
use crate::support::head;
use crate::support::records::class;
use crate::support::reload::put;
use crate::support::tap::{Face, Setup};

/// A bug of a session's task: it panics where it logs from this module.
struct Panics(&'static str);

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == self.0
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        panic!("a bug, wanted by this test");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Keep(Sender<SessionRecord>);

impl Consumer for Keep {
    fn consume(&mut self, record: &SessionRecord) -> std::io::Result<()> {
        self.0.send(record.clone()).map_err(std::io::Error::other)
    }
}

/// A tap in this process.
struct Inside {
    addr: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    records: Receiver<SessionRecord>,
    task: tokio::task::JoinHandle<()>,
    tap: std::sync::Arc<wstap::proxy::Tap>,
    _state: TempDir,
}

impl Inside {
    async fn start(peer: &Peer, repeats: &str) -> Self {
        let state = TempDir::new().expect("a temporary folder");
        let text = format!(
            "listeners: [{{ listen: \"127.0.0.1:0\" }}]\n\
             gateway: {{ url: \"{}\", dialect: plain }}\n\
             records: {{ http: all, connections: all, repeats: {repeats} }}\n\
             timeouts: {{ drain: 200ms }}\n",
            peer.url()
        );
        let overrides = Overrides {
            state_dir: Some(state.path().to_owned()),
            ..Overrides::default()
        };
        let config = config::parse(&text, Path::new("test"), &overrides).expect("a configuration");
        let (sender, records) = channel();
        let queue = Queue::start("test", 1024, Keep(sender)).expect("a queue");
        let bound = Bound::bind(config, vec![queue]).await.expect("it binds");
        let addr = bound.listeners[0].place.addr().expect("an address");
        let tap = bound.tap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(bound.run(async move {
            drop(stopped.await);
        }));
        Self {
            addr,
            stop,
            records,
            task,
            tap,
            _state: state,
        }
    }

    async fn upgrade(&self) -> (Conn, u16) {
        let mut conn = connect(self.addr).await;
        let request = head::upgrade("/", "localhost", &[]);
        conn.send(&request).await.expect("send the request");
        let status = conn.head().await.map_or(0, |head| head.status());
        (conn, status)
    }

    /// Stops the tap; returns its records and the number of lost ones.
    async fn end(self) -> (Vec<SessionRecord>, u64) {
        drop(self.stop);
        within("the tap's end", self.task)
            .await
            .expect("the app itself does not panic");
        self.tap.pipeline().close(Duration::from_secs(5));
        assert_eq!(self.tap.pipeline().live().count(), 0, "without a record");
        let lost = self
            .tap
            .pipeline()
            .lost()
            .iter()
            .map(|(_, lost)| lost)
            .sum();
        (self.records.try_iter().collect(), lost)
    }
}

fn sessions(records: &[SessionRecord]) -> u64 {
    let counts = records.iter().map(|it| it.repeats.map_or(1, |it| it.count));
    counts.sum()
}

/// The tap runs on this thread, so that its tasks use this thread's subscriber.
#[tokio::test]
async fn a_session_whose_task_panics_is_accounted_for() {
    const FINE: u64 = 5;
    const PANICS: u64 = 150;
    for repeats in ["each", "join"] {
        // A frame without a mask: the relay logs the breach.
        let peer = echo::start(&Via::Plain).await;
        let tap = Inside::start(&peer, repeats).await;
        for _ in 0..FINE {
            let (mut conn, status) = tap.upgrade().await;
            assert_eq!(status, 101);
            conn.send_masked(Frame::close(1000, "")).await.unwrap();
            conn.frames_to_end().await;
        }
        // The end of a session is logged from the same module.
        let over = poll(STEP, || (tap.tap.connections() == 0).then_some(())).await;
        assert!(over.is_some(), "a session does not end");
        let buggy = tracing::subscriber::set_default(Panics("wstap::proxy::tunnel::relay"));
        for _ in 0..PANICS {
            let (mut conn, status) = tap.upgrade().await;
            assert_eq!(status, 101);
            conn.send(&Frame::text("no mask").to_bytes()).await.unwrap();
            conn.frames_to_end().await;
        }
        drop(buggy);
        let (records, lost) = tap.end().await;
        assert_eq!(sessions(&records) + lost, FINE + PANICS, "{repeats}");
        let faults = |record: &&SessionRecord| class(record) == Class::TapFault;
        let faults: Vec<_> = records.iter().filter(faults).cloned().collect();
        assert_eq!(sessions(&faults) + lost, PANICS, "{repeats}");
        assert!(faults.iter().all(|record| record.close.fault.is_some()));
        let joined = records.iter().any(|record| record.repeats.is_some());
        assert_eq!(joined, repeats == "join");
    }
}

/// The same before there is a tunnel: hyper's task panics.
#[tokio::test]
async fn a_request_whose_task_panics_is_accounted_for() {
    const PANICS: u64 = 5;
    // The end without an answer is logged.
    let peer = no_status_line::start(&Via::Plain).await;
    let tap = Inside::start(&peer, "each").await;
    let buggy = tracing::subscriber::set_default(Panics("wstap::proxy::request::exchange"));
    for _ in 0..PANICS {
        let (_, status) = tap.upgrade().await;
        assert_eq!(status, 0, "an answer");
    }
    drop(buggy);
    let (mut records, lost) = tap.end().await;
    records.retain(|record| record.kind == Kind::Websocket);
    assert_eq!(sessions(&records) + lost, PANICS);
    assert!(records.iter().all(|it| class(it) == Class::TapFault));
}

#[tokio::test]
async fn after_a_failed_reload_every_session_is_accounted_for() {
    const BEFORE: usize = 20;
    const AFTER: usize = 20;
    let (peer, _control) = tunnel::start(&Via::Plain).await;
    for repeats in ["each", "join"] {
        let mut tap = Setup::before(&peer)
            .set("records.repeats", repeats)
            .set("timeouts.drain", "500ms")
            .start()
            .await;
        let before = silent(&tap, Face::Plain, BEFORE).await;
        put(&tap.config_path(), "listeners: [");
        tap.reload("refused").await;
        let after = silent(&tap, Face::Tls, AFTER).await;
        // A second mistake, and the stop right after it.
        put(&tap.config_path(), "gateway: { url: 7 }");
        tap.signal_hup();
        assert_eq!(tap.terminate().await, Some(0));
        accounts_for(&tap, BEFORE + AFTER);
        let records = tap.records();
        assert!(records.iter().all(|it| class(it) == Class::TapDrain));
        drop((before, after));
    }
}

/// Runs `wstap demo --once`; returns standard output and the rest.
fn demo(more: &[&str]) -> (String, String) {
    let state = TempDir::new().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
    command
        .args(["demo", "--once", "--state-dir"])
        .arg(state.path())
        .args(more)
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1");
    let output = command.output().expect("run the demo");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{out}\n{err}");
    (out, err)
}

#[test]
fn the_demo_accounts_for_each_of_its_sessions() {
    // Each of its scenes, which it names before it plays them, is one session.
    let (out, err) = demo(&[]);
    let scenes = out.lines().filter(|it| it.starts_with('▸')).count();
    assert!(scenes > 0, "{out}");
    for losses in ["records were lost", "could not be ended"] {
        assert!(!err.contains(losses), "{err}");
    }
    let (out, err) = demo(&["--json"]);
    assert!(!err.contains("records were lost"), "{err}");
    let records: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let counts = records
        .iter()
        .map(|record| record["repeats"]["count"].as_u64().unwrap_or(1));
    assert_eq!(counts.sum::<u64>(), scenes as u64);
    let mut ids: Vec<_> = records.iter().map(|it| it["id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), scenes, "two records of one session");
}
