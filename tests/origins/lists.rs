//! The gateway's own list: read, followed, compared with ours.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use wstap::session::SessionRecord;
use wstap::session::record::{Class, Miss};

use super::{CLAW, EVIL, ask, enforcing, status};
use crate::peers::openclaw::{Gateway, Refusal, Script, TOKEN};
use crate::peers::{Via, echo};
use crate::support::deadline::{STEP, poll};
use crate::support::frame::Frame;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};

/// How often the log says something.
fn told(tap: &Tap, what: &str) -> usize {
    tap.stderr().matches(what).count()
}

async fn until_told(tap: &Tap, what: &str) {
    let found = poll(STEP, || (told(tap, what) > 0).then_some(())).await;
    assert!(found.is_some(), "no {what:?} in:\n{}", tap.stderr());
}

/// The gateway's own configuration file, in a folder of its own.
struct GatewayFile {
    _folder: TempDir,
    path: PathBuf,
}

impl GatewayFile {
    fn new(allowed: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("openclaw.json");
        let file = Self {
            _folder: folder,
            path,
        };
        file.write(allowed);
        file
    }

    fn text(allowed: &[&str]) -> String {
        let list = json!(allowed);
        format!(
            "// own comments\n{{ gateway: {{ controlUi: {{ allowedOrigins: {list}, }}, }}, }}\n"
        )
    }

    fn write(&self, allowed: &[&str]) {
        fs::write(&self.path, Self::text(allowed)).unwrap();
    }

    /// As editors do it.
    fn replace(&self, allowed: &[&str]) {
        let new = self.path.with_extension("new");
        fs::write(&new, Self::text(allowed)).unwrap();
        fs::rename(new, &self.path).unwrap();
    }

    fn named(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

/// Asks again and again until this origin gets this status.
async fn until_status(tap: &Tap, origin: &str, wanted: u16) {
    let deadline = tokio::time::Instant::now() + STEP;
    while status(tap, origin).await != wanted {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{origin} never got {wanted}; stderr:\n{}",
            tap.stderr()
        );
    }
}

#[tokio::test]
async fn the_gateways_list_is_followed_when_it_changes() {
    let peer = echo::start(&Via::Plain).await;
    let file = GatewayFile::new(&[CLAW]);
    let tap = Setup::before(&peer)
        .set("origins.from_gateway_config", file.named())
        .set("origins.allowed", json!(["https://ours.example"]))
        .start()
        .await;
    until_told(&tap, "stricter than those before 2026.3").await;
    assert_eq!(status(&tap, CLAW).await, 101);
    assert_eq!(status(&tap, "https://ours.example").await, 101);
    assert_eq!(status(&tap, EVIL).await, 403);
    let by_file = |record: &SessionRecord| {
        let rule = record
            .origin
            .as_ref()
            .and_then(|facts| facts.rule.as_deref());
        rule == Some("gateway: https://claw.example.com")
    };
    tap.wait_for("the entry of the file", by_file).await;

    file.write(&["https://new.example"]);
    until_status(&tap, "https://new.example", 101).await;
    assert_eq!(status(&tap, CLAW).await, 403);

    file.replace(&[CLAW, "https://slash.example/"]);
    until_status(&tap, CLAW, 101).await;
    assert_eq!(status(&tap, "https://new.example").await, 403);
    let warning =
        "https://slash.example/, which ends with a slash: write \"https://slash.example\"";
    until_told(&tap, warning).await;

    // Broken: the last good list stays, and the log says so once.
    fs::write(&file.path, "{ gateway: ").unwrap();
    until_told(&tap, "stays in force").await;
    assert_eq!(status(&tap, CLAW).await, 101);
    assert_eq!(status(&tap, EVIL).await, 403);

    fs::remove_file(&file.path).unwrap();
    file.write(&["https://again.example"]);
    until_status(&tap, "https://again.example", 101).await;
    assert_eq!(told(&tap, "stays in force"), 1, "{}", tap.stderr());
    assert_eq!(told(&tap, warning), 1);
}

#[tokio::test]
async fn dead_entries_are_warned_of_at_start_and_match_nothing() {
    let peer = echo::start(&Via::Plain).await;
    let file = GatewayFile::new(&["https://slash.example/", "https://*.wild.example"]);
    let tap = Setup::before(&peer)
        .set("origins.from_gateway_config", file.named())
        .start()
        .await;
    until_told(&tap, "write \"https://slash.example\"").await;
    for (origin, why) in [
        ("https://slash.example", Miss::TrailingSlash),
        ("https://a.wild.example", Miss::Wildcard),
    ] {
        assert_eq!(status(&tap, origin).await, 403, "{origin}");
        let near = |record: &SessionRecord| {
            let nearest = record
                .origin
                .as_ref()
                .and_then(|facts| facts.nearest.as_ref());
            nearest.is_some_and(|nearest| nearest.why == why)
        };
        tap.wait_for("the nearest entry", near).await;
    }
    assert_eq!(peer.log.connections(), 0);
}

#[tokio::test]
async fn pages_of_the_gateways_own_address_pass_with_its_file() {
    let peer = echo::start(&Via::Plain).await;
    let file = GatewayFile::new(&[CLAW]);
    let tap = Setup::before(&peer)
        .set("origins.from_gateway_config", file.named())
        .start()
        .await;
    let own = format!("http://{}", tap.addr(Face::Plain));
    assert_eq!(status(&tap, &own).await, 101);
    assert_eq!(status(&tap, "http://localhost:5173").await, 101);
    // Not for a client that comes through another proxy.
    let mut conn = tap.connect(Face::Plain).await;
    let more = [("Origin", own.as_str()), ("X-Forwarded-For", "203.0.113.9")];
    assert_eq!(conn.upgrade("/", &more).await.unwrap().status(), 403);
    for (origin, rule) in [
        (own.as_str(), Some("gateway: same origin")),
        ("http://localhost:5173", Some("gateway: local loopback")),
        (own.as_str(), None),
    ] {
        let found = |record: &SessionRecord| {
            let facts = record.origin.as_ref().unwrap();
            facts.normalised.as_deref() == Some(origin) && facts.rule.as_deref() == rule
        };
        tap.wait_for(rule.unwrap_or("a refusal"), found).await;
    }

    // Nor if headers name each client to the gateway: it sees none as local then.
    let tap = Setup::before(&peer)
        .set("origins.from_gateway_config", file.named())
        .set("gateway.forwarded", "overwrite")
        .start()
        .await;
    assert_eq!(status(&tap, "http://localhost:5173").await, 403);

    // Without the file our list alone counts.
    let tap = enforcing(&peer).start().await;
    let own = format!("http://{}", tap.addr(Face::Plain));
    assert_eq!(status(&tap, &own).await, 403);
}

/// A handshake as the command line does it, from a page.
async fn handshake(tap: &Tap, origin: &str) {
    let (mut conn, answer) = ask(tap, Face::Plain, origin).await;
    assert_eq!(answer.status(), 101, "{}", answer.text());
    conn.introduce(&json!({ "token": TOKEN })).await;
    conn.send_masked(Frame::close(1000, "")).await.unwrap();
    conn.rest().await;
}

#[tokio::test]
async fn lists_that_disagree_are_warned_of_once_for_each_origin() {
    // By the gateway's file.
    let peer = echo::start(&Via::Plain).await;
    let file = GatewayFile::new(&["https://theirs.example"]);
    let tap = enforcing(&peer)
        .set("origins.from_gateway_config", file.named())
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(status(&tap, CLAW).await, 101);
        assert_eq!(status(&tap, "https://theirs.example").await, 101);
    }
    let text = format!("add \"{CLAW}\" to gateway.controlUi.allowedOrigins");
    until_told(&tap, &text).await;
    tap.websockets(6).await;
    assert_eq!(told(&tap, &text), 1);
    assert_eq!(told(&tap, "theirs.example"), 0);

    // The gateway refuses what we let in.
    let message = "origin not allowed (open the Control UI from the gateway host)";
    let error = json!({
        "code": "INVALID_REQUEST", "message": message,
        "details": { "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED" },
    });
    let script = Script {
        refusal: Some(Refusal::new(1008, message, error)),
        ..Script::default()
    };
    let gateway = Gateway::start(&Via::Plain, script).await;
    let tap = enforcing(&gateway.peer).openclaw().start().await;
    for _ in 0..2 {
        handshake(&tap, CLAW).await;
    }
    let text = format!("the gateway has refused {CLAW}, which we let in");
    until_told(&tap, &text).await;
    let records = tap.websockets(2).await;
    assert!(
        records
            .iter()
            .all(|record| class(record) == Class::GatewayOrigin)
    );
    let evidence = &records[0].verdict.as_ref().unwrap().evidence;
    assert!(
        evidence
            .iter()
            .any(|it| it.fact.contains("our own list lets it in")),
        "{evidence:?}"
    );
    assert_eq!(told(&tap, &text), 1);

    // The gateway accepts what enforce would refuse.
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let tap = enforcing(&gateway.peer)
        .openclaw()
        .set("origins.mode", "report")
        .start()
        .await;
    for _ in 0..2 {
        handshake(&tap, EVIL).await;
    }
    let text = format!("origins: {{ allowed: [\"{EVIL}\"] }}");
    until_told(&tap, &text).await;
    tap.websockets(2).await;
    assert_eq!(told(&tap, &text), 1);
}
