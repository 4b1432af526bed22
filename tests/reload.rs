//! Another configuration while the tap runs: it applies to the sessions that begin from then on,
//! and those that are open do not notice.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::json;
use wstap::session::record::{Class, TimerKey};

use crate::admin::get;
use crate::peers::{Via, echo, http_plain};
use crate::support::certs::{Ca, Validity};
use crate::support::client::{connect_tls, try_connect_tls};
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::records::{class, rule};
use crate::support::reload::put;
use crate::support::tap::{Face, Setup, Tap};

/// Sessions that are open over all reloads.
const OPEN: usize = 1000;

const CLAW: &str = "https://claw.example.com";

async fn echoes(conn: &mut Conn, text: &str) {
    conn.send_masked(Frame::text(text)).await.unwrap();
    let answer = conn.frame().await.expect("an echo");
    assert_eq!(answer.as_text(), text);
}

/// The status that an upgrade gets now.
async fn status(tap: &Tap, origin: &str) -> u16 {
    let mut conn = tap.connect(Face::Plain).await;
    let answer = conn.upgrade("/", &[("Origin", origin)]).await.unwrap();
    if answer.status() == 101 {
        conn.send_masked(Frame::close(1000, "")).await.unwrap();
    }
    conn.rest().await;
    answer.status()
}

#[tokio::test]
async fn a_thousand_sessions_survive_twenty_reloads() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("limits", json!({ "per_client": 5000, "handshakes": 5000 }))
        .start()
        .await;
    let mut conns = Vec::with_capacity(OPEN);
    for at in 0..OPEN {
        let face = if at % 10 == 0 { Face::Tls } else { Face::Plain };
        let mut conn = tap.connect(face).await;
        conn.open("/").await;
        conns.push(conn);
    }
    for round in 0..20 {
        tap.set("timeouts.idle", format!("{}m", 60 + round));
        tap.set(
            "origins.allowed",
            json!([format!("https://{round}.example")]),
        );
        let told = tap.reload("done").await;
        assert!(told.contains("timeouts.idle: "), "{told}");
        // Some in each round, and each in some round.
        for conn in conns.iter_mut().skip(round).step_by(20) {
            echoes(conn, "still there").await;
        }
    }
    for conn in &mut conns {
        echoes(conn, "all of us").await;
        conn.send_masked(Frame::close(1000, "")).await.unwrap();
    }
    for conn in &mut conns {
        let (code, _) = conn.frame().await.unwrap().as_close().expect("a Close");
        assert_eq!(code, Some(1000));
    }
    let records = tap.websockets(OPEN).await;
    assert_eq!(records.len(), OPEN);
    let unwell = records.iter().find(|record| class(record) != Class::Ok);
    assert!(unwell.is_none(), "{unwell:#?}");
    assert_eq!(tap.reloads("done"), 20);
    assert_eq!(tap.reloads("refused"), 0);
}

#[tokio::test]
async fn origins_timeouts_limits_and_the_gateway_count_for_new_sessions() {
    let (first, second) = (
        echo::start(&Via::Plain).await,
        echo::start(&Via::Plain).await,
    );
    let tap = Setup::before(&first)
        .set("origins.allowed", json!([CLAW]))
        .start()
        .await;
    let mut open = tap.connect(Face::Plain).await;
    open.open("/").await;
    let other = "https://other.example";
    assert_eq!(status(&tap, other).await, 403);

    tap.set("origins.allowed", json!([CLAW, other]));
    tap.set("gateway.url", second.url());
    tap.set("gateway.forwarded", "overwrite");
    tap.set("timeouts.idle", "700ms");
    tap.set("limits.head_bytes", "8KiB");
    let told = tap.reload("done").await;
    for line in [
        format!("gateway.url: `{}` -> `{}`", first.url(), second.url()),
        "gateway.forwarded: not set -> `overwrite`".to_owned(),
        "limits.head_bytes: not set -> `8KiB`".to_owned(),
        format!("origins.allowed: added `{other}`"),
        "timeouts.idle: not set -> `700ms`".to_owned(),
    ] {
        assert!(told.contains(&line), "{line} in {told}");
    }
    assert!(told.contains("reload: done"), "{told}");

    // Another gateway, another list, and a header that names the client.
    let seen = first.log.connections();
    assert_eq!(status(&tap, other).await, 101);
    assert_eq!(first.log.connections(), seen);
    let head = second.log.head(0).await;
    assert_eq!(head.value("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    let mut conn = tap.connect(Face::Plain).await;
    let padding = "x".repeat(9000);
    let answer = conn.upgrade("/", &[("X-Padding", &padding)]).await.unwrap();
    assert_eq!(answer.status(), 431);
    // Another timer: for a new session, not for the one that is open.
    let mut idle = tap.connect(Face::Plain).await;
    idle.open("/").await;
    let (code, _) = idle.frame().await.unwrap().as_close().expect("a Close");
    assert_eq!(code, Some(1001));
    idle.send_masked(Frame::close(1001, "")).await.unwrap();
    idle.rest().await;
    let record = tap
        .wait_for("the idle session", |record| {
            rule(record) == "tap.timeout.idle"
        })
        .await;
    let timer = record.close.timer.as_ref().unwrap();
    assert_eq!((timer.key, timer.limit_ms), (TimerKey::Idle, 700));
    // A reload is no restart.
    let started = record.tap.started_at.expect("the tap's start");
    for record in tap.records() {
        assert_eq!(record.tap.started_at, Some(started));
        assert!(started < record.opened_at);
    }
    echoes(&mut open, "as before, with the first gateway").await;
}

#[tokio::test]
async fn a_kept_connection_is_served_under_the_configuration_of_each_request() {
    let (first, second) = (
        http_plain::start(&Via::Plain).await,
        http_plain::start(&Via::Plain).await,
    );
    let tap = Setup::before(&first).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.get("/").await.unwrap();
    tap.set("gateway.url", second.url());
    tap.reload("done").await;
    conn.get("/healthz").await.unwrap();
    assert_eq!(first.log.head(0).await.target(), "/");
    assert_eq!(second.log.head(0).await.target(), "/healthz");
}

#[tokio::test]
async fn a_refused_reload_changes_nothing_and_says_why() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer);
    let ca = Ca::new();
    let (cert, key) = ca.write_leaf(&setup.path(""), &["localhost"], Validity::Now);
    let tap = setup
        .set(
            "listeners",
            json!([
                { "listen": "127.0.0.1:0" },
                { "listen": "127.0.0.1:0",
                  "tls": { "certificates": [{ "cert": cert, "key": key }] } },
            ]),
        )
        .set("origins.allowed", json!([CLAW]))
        .set("reload", "signal")
        .admin()
        .start()
        .await;
    let good = fs::read_to_string(tap.config_path()).unwrap();

    // A list that would allow more, in a file with one mistake in it.
    tap.set("origins.allowed", json!([CLAW, "https://other.example"]));
    tap.set("timeouts.idle", "10");
    let told = tap.reload("refused").await;
    assert!(told.contains("wstap.yaml:1:"), "{told}");
    assert!(told.contains("timeouts.idle: expected"), "{told}");
    assert_eq!(status(&tap, "https://other.example").await, 403);

    put(&tap.config_path(), "gateway: {");
    let told = tap.reload("refused").await;
    assert!(told.contains("valid YAML"), "{told}");

    // A certificate without its key: the old pair stays.
    put(&tap.config_path(), &good);
    let kept = fs::read_to_string(&key).unwrap();
    let other = tempfile::tempdir().unwrap();
    let (_, stranger) = ca.write_leaf(other.path(), &["localhost"], Validity::Now);
    put(&key, &fs::read_to_string(stranger).unwrap());
    let told = tap.reload("refused").await;
    assert!(
        told.contains("listeners[1].tls.certificates[0].key"),
        "{told}"
    );
    put(&key, "");
    let told = tap.reload("refused").await;
    assert!(
        told.contains("listeners[1].tls.certificates[0].key"),
        "{told}"
    );
    let mut conn = connect_tls(tap.addr(Face::Tls), &ca.client()).await;
    conn.open("/").await;
    echoes(&mut conn, "the old pair").await;
    let metrics = get(&tap, "/metrics").await.body;
    for line in [
        "wstap_config_reloads_total{result=\"refused\"} 4",
        "wstap_config_last_reload_successful 0",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }

    put(&key, &kept);
    tap.reload("nothing is different").await;
    let metrics = get(&tap, "/metrics").await.body;
    for line in [
        "wstap_config_reloads_total{result=\"applied\"} 1",
        "wstap_config_last_reload_successful 1",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_noticed_without_a_signal() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer);
    // As Kubernetes mounts a secret: tls.crt -> ..data/tls.crt, ..data -> a folder of this version.
    let (old, new) = (Ca::new(), Ca::new());
    let mount = setup.path("mount");
    for (version, ca) in [("v1", &old), ("v2", &new)] {
        fs::create_dir_all(mount.join(version)).unwrap();
        ca.write_leaf(&mount.join(version), &["localhost"], Validity::Now);
    }
    symlink("v1", mount.join("..data")).unwrap();
    for name in ["leaf.pem", "leaf-key.pem"] {
        symlink(format!("..data/{name}"), mount.join(name)).unwrap();
    }
    let pair = json!({ "cert": mount.join("leaf.pem"), "key": mount.join("leaf-key.pem") });
    let tap = setup
        .set(
            "listeners",
            json!([{ "listen": "127.0.0.1:0", "tls": { "certificates": [pair] } }]),
        )
        .start()
        .await;
    let addr = tap.addr(Face::Tls);
    let mut open = connect_tls(addr, &old.client()).await;
    open.open("/").await;

    let before = tap.stderr().len();
    symlink("v2", mount.join("..new")).unwrap();
    fs::rename(mount.join("..new"), mount.join("..data")).unwrap();
    let told = tap.told(before, "done").await;
    assert!(told.contains("clients that pin a fingerprint"), "{told}");
    let mut conn = connect_tls(addr, &new.client()).await;
    conn.open("/").await;
    echoes(&mut conn, "the new one").await;
    assert!(
        try_connect_tls(addr, &old.client(), "localhost")
            .await
            .is_err()
    );
    echoes(&mut open, "untouched").await;

    // A rename of the file itself, back to the old one.
    let before = tap.stderr().len();
    for name in ["leaf.pem", "leaf-key.pem"] {
        let content = fs::read_to_string(mount.join("v1").join(name)).unwrap();
        put(&mount.join(name), &content);
    }
    tap.told(before, "done").await;
    let mut conn = connect_tls(addr, &old.client()).await;
    conn.open("/").await;
    echoes(&mut open, "untouched").await;
}

#[tokio::test]
async fn what_was_refused_for_a_file_is_taken_once_that_file_is_mended() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer);
    let (folder, gateways) = (setup.path("new"), setup.path("gateway.json"));
    let tap = setup.start().await;
    fs::create_dir_all(&folder).unwrap();
    let ca = Ca::new();
    let (cert, key) = ca.write_leaf(&folder, &["localhost"], Validity::Now);
    let (whole, later) = (fs::read_to_string(&key).unwrap(), folder.join("later.pem"));
    fs::rename(&key, &later).unwrap();

    // The configuration comes before the key that it names, and the gateway's file is half written.
    let before = tap.stderr().len();
    fs::write(&gateways, "{ \"gateway\": {").unwrap();
    tap.set("origins.from_gateway_config", json!(gateways));
    let listeners = json!([
        { "listen": "127.0.0.1:0" },
        { "listen": "127.0.0.1:0", "tls": { "certificates": [{ "cert": cert, "key": key }] } },
    ]);
    tap.set("listeners", listeners);
    let told = tap.told(before, "refused").await;
    assert!(told.contains("origins.from_gateway_config"), "{told}");
    let before = tap.stderr().len();
    put(&gateways, "{}");
    let told = tap.told(before, "refused").await;
    assert!(!told.contains("origins.from_gateway_config"), "{told}");
    assert!(
        told.contains("listeners[1].tls.certificates[0].key"),
        "{told}"
    );
    let before = tap.stderr().len();
    put(&key, &whole);
    tap.told(before, "done").await;
}

#[tokio::test]
async fn a_configuration_that_vanishes_changes_nothing_and_may_come_back() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("origins.allowed", json!([CLAW]))
        .start()
        .await;
    let away = tap.config_path().with_extension("away");
    let before = tap.stderr().len();
    fs::rename(tap.config_path(), &away).unwrap();
    let told = tap.told(before, "refused").await;
    assert!(told.contains("expected a readable file"), "{told}");
    assert_eq!(status(&tap, "https://other.example").await, 403);
    assert_eq!(status(&tap, CLAW).await, 101);
    let before = tap.stderr().len();
    fs::rename(&away, tap.config_path()).unwrap();
    tap.told(before, "nothing is different").await;
}

#[tokio::test]
async fn a_reload_while_the_tap_shuts_down_does_no_harm() {
    let peer = echo::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer)
        .set("timeouts.drain", "3s")
        .start()
        .await;
    let mut open = tap.connect(Face::Plain).await;
    open.open("/").await;
    tap.signal_term();
    let (code, _) = open.frame().await.unwrap().as_close().expect("a Close");
    assert_eq!(code, Some(1001));
    tap.set("timeouts.drain", "1h");
    tap.set("gateway.url", "http://127.0.0.1:1");
    for _ in 0..10 {
        tap.signal_hup();
    }
    open.send_masked(Frame::close(1001, "")).await.unwrap();
    open.rest().await;
    assert!(tap.exited(Duration::from_secs(30)).await.success());
    let records = tap.websockets(1).await;
    assert_eq!(records.len(), 1);
    assert_eq!(tap.reloads("done") + tap.reloads("refused"), 0);
}

#[tokio::test]
async fn the_file_itself_is_followed_unless_only_the_signal_counts() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let before = tap.stderr().len();
    tap.set("session_header", false);
    let told = tap.told(before, "done").await;
    assert!(told.contains("session_header: not set -> false"), "{told}");
    let mut conn = tap.connect(Face::Plain).await;
    let answer = conn.open("/").await;
    assert_eq!(answer.value("x-wstap-session"), None);
}

#[tokio::test]
async fn what_only_a_start_can_change_is_told_and_stays() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).set("reload", "signal").start().await;
    let elsewhere = tap.folder().join("elsewhere.jsonl");
    tap.set("records.keep", 3);
    tap.set("records.path", json!(elsewhere));
    tap.set("output", "json");
    tap.set("admin", json!({ "listen": "127.0.0.1:0" }));
    tap.set("listeners", json!([{ "listen": "127.0.0.1:1" }]));
    let told = tap.reload("done").await;
    let later = "(takes effect at the next start)";
    for key in [
        "records.keep: not set -> 3",
        "/elsewhere.jsonl`",
        "admin.listen: not set -> `127.0.0.1:0`",
        "output: not set -> `json`",
        "listeners[0].listen: `127.0.0.1:0` -> `127.0.0.1:1`",
    ] {
        assert!(told.contains(&format!("{key} {later}")), "{key} in {told}");
    }
    for face in Face::BOTH {
        tap.connect(face).await.open("/").await;
    }
    assert_eq!(tap.websockets(2).await.len(), 2);
    assert!(!elsewhere.exists());
    // Whether others than this host can connect decides who is local: that is no small change.
    // A proxy that speaks for others changes it as well.
    let proxied = json!({ "listen": "127.0.0.1:0", "proxy_protocol": { "from": ["127.0.0.1"] } });
    for listener in [json!({ "listen": "0.0.0.0:0" }), proxied] {
        tap.set("listeners", json!([listener]));
        let told = tap.reload("refused").await;
        let words = "expected clients of this host only, as at the start";
        assert!(told.contains(words), "{told}");
        let words = "or a `proxy_protocol`, by which a proxy speaks for others): who is local for \
                     the gateway depends on it, so start wstap again";
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn many_signals_at_once_are_one_or_two_reloads() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).set("reload", "signal").start().await;
    for _ in 0..50 {
        tap.signal_hup();
    }
    tap.set("timeouts.idle", "5m");
    tap.reload("done").await;
    // None is lost: the one after the change was seen.
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    echoes(&mut conn, "alive").await;
    assert_eq!(tap.reloads("refused"), 0);
    assert_eq!(tap.reloads("done"), 1);
}
