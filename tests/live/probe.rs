//! `wstap probe` and the real gateway.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;
use tempfile::TempDir;

use super::gateway::{Gateway, Options, TOKEN};
use super::turn;
use crate::probe::{Run, broken, command, is_whole, run, rung};
use crate::support::deadline::poll;

const VARIABLE: &str = "PROBE_SECRET";

/// A probe with this secret.
async fn probe(url: &str, secret: Option<&str>) -> Value {
    let mut command = command(&[url, "--json"]);
    if let Some(secret) = secret {
        command
            .args(["--token-env", VARIABLE])
            .env(VARIABLE, secret);
    }
    let run = run(command).await;
    assert!(
        secret.is_none_or(|secret| !run.stdout.contains(secret)),
        "a secret in the output"
    );
    let report = run.report();
    is_whole(&report);
    report
}

/// The gateway's devices and pairing requests.
async fn devices(gateway: &Gateway, install: &super::Install) -> Value {
    let args = [
        "devices",
        "list",
        "--json",
        "--url",
        &gateway.url().replace("http", "ws"),
        "--token",
        TOKEN,
    ];
    let output = gateway.command_line(install, &args).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn secrets_of_all_kinds_and_nothing_is_left_behind() {
    let Some((_turn, install)) = turn("live: probe").await else {
        return;
    };
    let gateway = Gateway::start(&install).await;
    let url = gateway.url().replace("http", "ws");
    // The command line tool pairs itself first.
    let _ = devices(&gateway, &install).await;
    let before = devices(&gateway, &install).await;

    let right = probe(&url, Some(TOKEN)).await;
    assert_eq!(broken(&right).0, "none", "{right}");
    assert_eq!(rung(&right, "L1.health")["because"], "live and ready");
    assert_eq!(rung(&right, "L2.auth")["status"], "pass");
    let skew = right["clock_skew_ms"].as_f64().expect("a clock");
    assert!(skew.abs() < 1000.0, "{skew}");
    assert_eq!(right["versions"]["protocol"], 4);

    let wrong = probe(&url, Some("wrong-0123456789abcdef0123456789abcdef")).await;
    let at_auth = |rule: &str| ("L2.auth".to_owned(), rule.to_owned());
    assert_eq!(
        broken(&wrong),
        at_auth("gateway.auth.token_mismatch"),
        "{wrong}"
    );
    // Without a secret it takes a device.
    let missing = probe(&url, None).await;
    assert_eq!(missing["first_failing"], "L2.auth", "{missing}");

    assert_eq!(
        devices(&gateway, &install).await,
        before,
        "the gateway keeps something"
    );
}

/// A probe in the name of the device whose state is in this folder.
async fn probe_as(url: &str, state: &Path) -> Run {
    let mut command = command(&[url, "--json", "--token-env", VARIABLE, "--device-state"]);
    command.arg(state).env(VARIABLE, TOKEN);
    run(command).await
}

/// What is in a folder: size and time of each file.
fn listing(folder: &Path) -> BTreeMap<std::path::PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let metadata = entry.metadata().expect("metadata");
        let changed = metadata.modified().expect("a time");
        found.insert(entry.path(), (metadata.len(), changed));
        if metadata.is_dir() {
            found.extend(listing(&entry.path()));
        }
    }
    found
}

/// Its devices and requests, but for when it last saw each.
fn unseen(mut devices: Value) -> Value {
    for device in devices["paired"].as_array_mut().expect("paired devices") {
        device["lastSeenAtMs"] = Value::Null;
    }
    devices
}

#[tokio::test]
async fn a_paired_device_makes_every_rung_decidable() {
    let Some((_turn, install)) = turn("live: probe with a device").await else {
        return;
    };
    let gateway = Gateway::start(&install).await;
    let url = gateway.url().replace("http", "ws");
    // A gateway approves devices of its own host by itself.
    let first = probe_as(&url, &gateway.state()).await;
    assert!(first.stderr.contains("a paired device"), "{}", first.stderr);
    let before = unseen(devices(&gateway, &install).await);
    assert_eq!(before["paired"].as_array().map(Vec::len), Some(1));

    // As it is while the gateway has the database open, and a copy.
    let copy = TempDir::new().expect("a folder");
    fs::create_dir(copy.path().join("state")).expect("create a folder");
    for end in ["", "-wal", "-shm"] {
        let name = format!("state/openclaw.sqlite{end}");
        fs::copy(gateway.state().join(&name), copy.path().join(&name)).expect("copy the database");
    }
    let had = listing(copy.path());
    for state in [gateway.state(), copy.path().to_owned()] {
        let report = probe_as(&url, &state).await.report();
        is_whole(&report);
        assert_eq!(broken(&report).0, "none", "{report}");
        for id in ["L2.auth", "L2.scopes", "L3.channels"] {
            assert_eq!(rung(&report, id)["status"], "pass", "{report}");
        }
        let granted = &rung(&report, "L2.scopes")["facts"]["granted"];
        assert_eq!(*granted, serde_json::json!(["operator.read"]), "{report}");
    }
    assert_eq!(
        listing(copy.path()),
        had,
        "reading the device wrote something"
    );
    assert_eq!(unseen(devices(&gateway, &install).await), before);
}

/// The log has one line for each connect request of a probe.
#[tokio::test]
async fn one_connect_a_run() {
    let Some((_turn, install)) = turn("live: one connect of a probe").await else {
        return;
    };
    let gateway = Gateway::start_with(&install, &Options::default()).await;
    let url = gateway.url().replace("http", "ws");
    let refused = || {
        let lines = gateway.log();
        lines
            .iter()
            .filter(|line| line.contains("reason=token_mismatch"))
            .count()
    };
    let before = refused();
    let wrong = probe(&url, Some("wrong-0123456789abcdef0123456789abcdef")).await;
    assert_eq!(wrong["first_failing"], "L2.auth");
    let seen = poll(crate::support::deadline::STEP, || {
        (refused() > before).then(refused)
    })
    .await;
    assert_eq!(seen, Some(before + 1), "{:?}", gateway.log());
}
