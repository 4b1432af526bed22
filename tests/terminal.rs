//! The program's output on a terminal: nothing too wide, no complaints, colours unless they are
//! turned off, and short ids that can be explained.
//!
//! `make shipped-program` runs these once more with the program as people build it.

mod gateway;
mod pictures;
mod start;

use std::fs;
use std::path::Path;
use std::process::Command;

use unicode_width::UnicodeWidthStr as _;

use crate::peers::{Via, echo};
use crate::support::deadline::{STEP, poll};
use crate::support::pty::{self, run, wstap};
use crate::support::tap::{Face, Setup};

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Runs it on a terminal of this width; every line has to fit.
fn shown(command: Command, columns: u16) -> (i32, String) {
    let told = format!("{command:?}");
    let (code, text) = run(command, columns);
    for line in plain(&text).lines() {
        assert!(line.width() <= columns.into(), "{told}: too wide: {line}");
    }
    (code, text)
}

fn demo(state: &Path) -> Command {
    wstap(&["demo", "--once", "--state-dir", state.to_str().unwrap()])
}

/// Commands that need nothing else, and their exit codes.
fn simple(folder: &Path) -> Vec<(Command, i32)> {
    let good = folder.join("good.yaml");
    let records = folder.join(format!("{}.jsonl", "a-long-name".repeat(12)));
    let text = format!(
        "gateway: {{ url: http://gw:1 }}\nlisteners: [{{ listen: '0.0.0.0:80' }}]\nrecords: {{ path: {} }}\n",
        records.display()
    );
    fs::write(&good, text).unwrap();
    let bad = folder.join("bad.yaml");
    fs::write(&bad, "listenrs: 1\ngateway: { url: gw }\n").unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let mut secret = wstap(&["fingerprint", "--env", "A_SHORT_SECRET"]);
    secret.env("A_SHORT_SECRET", "hunter2");
    vec![
        (wstap(&["version"]), 0),
        (wstap(&["--help"]), 0),
        (wstap(&["serve", "--help"]), 0),
        (wstap(&["check", "--config", good]), 0),
        (wstap(&["check", "--config", bad]), 2),
        (wstap(&["serve", "--config", bad]), 2),
        (wstap(&["serve"]), 2),
        (secret, 0),
        (wstap(&["explain", "gateway"]), 0),
        (wstap(&["explain", "tap.denied.origin"]), 0),
        (wstap(&["explain", "gateway.auth.token_missmatch"]), 1),
        (wstap(&["health", "--admin", "127.0.0.1:1"]), 1),
        (wstap(&["sessions", "--admin", "127.0.0.1:1"]), 1),
    ]
}

#[test]
fn no_command_complains_and_every_line_fits() {
    let folder = tempfile::tempdir().unwrap();
    for columns in [60, 80, 120] {
        for (command, expected) in simple(folder.path()) {
            let told = format!("{command:?}");
            let (code, text) = shown(command, columns);
            assert_eq!(code, expected, "{told}: {text}");
            assert!(!text.contains("tracing"), "{told}: {text}");
        }
    }
}

#[test]
fn colours_are_there_unless_they_are_turned_off() {
    let state = tempfile::tempdir().unwrap();
    let (code, text) = shown(demo(state.path()), 80);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("\u{1b}["), "{text}");
    let mut quiet = demo(state.path());
    // Log lines too: whatever is logged must not bring colours back.
    quiet.env("NO_COLOR", "1").env("RUST_LOG", "wstap=debug");
    let (code, text) = run(quiet, 80);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("DEBUG") && !text.contains('\u{1b}'), "{text}");
    for (mut command, _) in simple(state.path()) {
        command.env("NO_COLOR", "1");
        let (_, text) = run(command, 80);
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[tokio::test]
async fn the_short_id_of_a_line_can_be_explained() {
    let peer = echo::start(&Via::Plain).await;
    let (theirs, ours) = pty::open(80);
    let mut tap = Setup::before(&peer).printing_to(theirs).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    drop(conn);
    let record = tap.websocket().await;
    assert_eq!(tap.terminate().await, Some(0));
    let text = tokio::task::spawn_blocking(move || pty::read(ours)).await;
    let text = plain(&text.unwrap());
    let line = text
        .split("[session ")
        .nth(1)
        .unwrap_or_else(|| panic!("{text}"));
    let short = line.split(']').next().unwrap();
    assert!(record.id.to_string().ends_with(short), "{text}");
    let mut command = wstap(&["explain", short]);
    command.env("WSTAP_RECORDS", tap.folder().join("records.jsonl"));
    let (code, page) = shown(command, 80);
    assert_eq!(code, 0, "{page}");
    assert!(page.contains(&record.id.to_string()), "{page}");
}

#[tokio::test]
async fn a_line_that_is_piped_stays_whole() {
    let peer = echo::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open(&format!("/{}", "long".repeat(20))).await;
    drop(conn);
    let record = tap.websocket().await;
    let two = poll(STEP, || {
        let text = tap.stdout();
        (text.lines().count() == 2).then_some(text)
    });
    let text = two.await.unwrap_or_else(|| tap.stdout());
    let whole = format!("[session {}]", record.id);
    assert!(text.ends_with(&format!("{whole}\n")), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(tap.terminate().await, Some(0));
}

#[tokio::test]
async fn a_client_that_fails_again_and_again_is_told_in_short_and_recorded_each_time() {
    // Nobody listens there any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = port.local_addr().unwrap();
    drop(port);
    let mut tap = Setup::before_url(&format!("http://{addr}")).start().await;
    let mut seen = 0;
    for _ in 0..9 {
        let mut conn = tap.connect(Face::Plain).await;
        let _ = conn.upgrade("/", &[]).await;
        drop(conn);
        tap.newest(&mut seen).await;
    }
    assert_eq!(tap.terminate().await, Some(0));
    let text = tap.stdout();
    assert_eq!(text.matches("next: ").count(), 1, "{text}");
    // Of 8 more the first, second, fourth and eighth.
    assert_eq!(text.matches(": again").count(), 4, "{text}");
    assert!(text.contains("again, 8 times in "), "{text}");
    let records = tap.records();
    let records = records.iter().filter(|record| record.verdict.is_some());
    assert!(records.count() >= 9);
}

#[test]
fn a_session_is_looked_for_where_flag_environment_and_configuration_say() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/verdicts/gateway.left.open.json"
    );
    let id = |digit: char| format!("019ab1c2-0000-7000-8000-00000000000{digit}");
    let at = |name: &str, digit| {
        let mut record: serde_json::Value =
            serde_json::from_slice(&fs::read(fixture).unwrap()).unwrap();
        record["id"] = id(digit).into();
        let path = folder.path().join(name);
        fs::write(&path, format!("{record}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (flag, env, file) = (at("flag", '1'), at("env", '2'), at("file", '3'));
    let config = folder.path().join("tap.yaml");
    let text = format!("gateway: {{ url: http://gw }}\nrecords: {{ path: {file} }}\n");
    fs::write(&config, text).unwrap();
    let found = |args: &[&str], variable: Option<&str>| {
        let mut command = wstap(&[&["explain", "019ab1c2"], args].concat());
        command.env("WSTAP_CONFIG", &config);
        if let Some(path) = variable {
            command.env("WSTAP_RECORDS", path);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        ['1', '2', '3']
            .into_iter()
            .find(|digit| text.contains(&id(*digit)))
    };
    assert_eq!(found(&["--records", &flag], Some(&env)), Some('1'));
    assert_eq!(found(&[], Some(&env)), Some('2'));
    assert_eq!(found(&[], Some("")), Some('3'));
    assert_eq!(found(&[], None), Some('3'));
    // And where nobody says, what to set.
    let output = wstap(&["explain", "019ab1c2"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for name in [
        "--records FILE",
        "WSTAP_RECORDS=FILE",
        "--config",
        "WSTAP_CONFIG",
    ] {
        assert!(told.contains(name), "{told}");
    }
}

#[test]
fn the_version_says_how_it_was_built() {
    let output = wstap(&["version", "--json"]).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["features"], serde_json::json!(["aws-lc-rs"]));
    assert!(told["rustc"].as_str().unwrap().starts_with("rustc "));
    assert!(told.as_object().unwrap().contains_key("commit"));
}

#[test]
fn health_asks_at_the_default_address_or_says_how_to_name_another() {
    let output = wstap(&["health"]).output().unwrap();
    // A tap of somebody else may be there.
    if output.status.code() == Some(1) {
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("127.0.0.1:8480"), "{told}");
    }
    let mut command = wstap(&["health"]);
    let told = command.env("WSTAP_ADMIN", "127.0.0.1:1").output().unwrap();
    let text = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(1));
    assert!(text.contains("127.0.0.1:1: "), "{text}");
}
