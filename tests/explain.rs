//! `wstap explain` as somebody at a shell meets it: rules, sessions, files, and what goes wrong.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// The widest line that may be printed.
const WIDTH: usize = 80;

fn wstap(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
    command.arg("explain").args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSTAP_")) {
        command.env_remove(name);
    }
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    let output = wstap(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let told = (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    );
    for line in told.1.lines().chain(told.2.lines()) {
        assert!(!line.contains('\u{1b}'), "colours only on a terminal");
        let json = line.starts_with('{');
        assert!(json || line.chars().count() <= WIDTH, "too wide: {line}");
    }
    told
}

/// The record of a rule's fixture, with another id.
fn record(rule: &str, id: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/verdicts");
    let text = fs::read_to_string(folder.join(format!("{rule}.json"))).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["id"] = id.into();
    value
}

const FIRST: &str = "019ab1c2-0000-7000-8000-000000000001";
const SECOND: &str = "019ab1c2-0000-7000-8000-000000000002";
const OLD: &str = "0199ffff-0000-7000-8000-000000000003";

/// A records file with a rotated one beside it.
fn files() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.jsonl");
    let mismatch = record("gateway.auth.token_mismatch", FIRST);
    let left = record("gateway.left.open", SECOND);
    fs::write(&path, format!("{mismatch}\n{left}\n")).unwrap();
    let old = record("client.left.open", OLD);
    fs::write(folder.path().join("r.jsonl.1"), format!("{old}\n")).unwrap();
    (folder, path)
}

#[test]
fn a_rule_a_class_and_a_near_miss() {
    let (code, out, _) = run(&["gateway.auth.token_mismatch"]);
    assert_eq!(code, 0);
    for part in ["What it means", "What it looks like", "What to do", "L2"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (code, out, _) = run(&["gateway.auth.token_mismatch", "--json"]);
    let page: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &page["explains"]), (0, &json!("rule")));
    assert_eq!(page["act_on"], "client");
    assert_eq!(page["example"]["verdict"]["rule"], page["rule"]);

    let (code, out, _) = run(&["gateway"]);
    assert_eq!(code, 0);
    assert!(out.contains("gateway.pairing.not_paired") && out.contains("gateway.left.open"));
    let (_, out, _) = run(&["client.left", "--json"]);
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(list["explains"], "rules");
    assert!(list["classes"][0]["rules"].as_array().unwrap().len() > 5);

    let (code, out, err) = run(&["gateway.auth.token_missmatch"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains("Did you mean\n  gateway.auth.token_mismatch"),
        "{err}"
    );
    let (code, out, _) = run(&["gateway.auth.token_missmatch", "--json"]);
    let none: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &none["explains"]), (1, &Value::Null));
    assert_eq!(none["perhaps"][0], "gateway.auth.token_mismatch");
    assert_eq!(run(&[]).0, 2);
}

#[test]
fn a_session_is_found_by_a_part_of_its_id_in_rotated_files_too() {
    let (_folder, path) = files();
    let path = path.to_str().unwrap();
    let (code, out, err) = run(&[FIRST, "--records", path]);
    assert_eq!(code, 0, "{err}");
    for part in [
        "Step by step",
        "Close 1008",
        "gateway.auth.token_mismatch (certain)",
        "next: ",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (code, out, _) = run(&["0199", "--records", path]);
    assert_eq!(code, 0);
    assert!(
        out.contains(OLD) && out.contains("client.left.open"),
        "{out}"
    );
    let (code, out, _) = run(&[SECOND, "--records", path, "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["explains"]), (0, &json!("session")));
    assert_eq!(told["verdict"]["rule"], "gateway.left.open");
    assert!(told["steps"].as_array().unwrap().len() > 5);
    assert_eq!(told["unreadable"]["count"], 0);
}

#[test]
fn unknown_and_ambiguous_ids_say_what_was_looked_at() {
    let (_folder, path) = files();
    let path = path.to_str().unwrap();
    let (code, _, err) = run(&["019ab1c2", "--records", path]);
    assert_eq!(code, 1);
    assert!(
        err.contains("2 sessions'") && err.contains(FIRST) && err.contains(SECOND),
        "{err}"
    );
    let (code, _, err) = run(&["ffff", "--records", path]);
    assert_eq!(code, 1);
    let told = err.replace('\n', " ");
    assert!(
        told.contains("(2 records)") && told.contains("(1 record)"),
        "{err}"
    );
    let (code, _, err) = run(&["ffff"]);
    assert_eq!(code, 2);
    assert!(err.contains("--records FILE"), "{err}");
    let (code, _, err) = run(&["ffff", "--records", "/no/such/file"]);
    assert_eq!(code, 2);
    assert!(err.contains("failed to read /no/such/file"), "{err}");
}

#[test]
fn the_records_file_is_that_of_the_configuration() {
    let (folder, path) = files();
    let config = folder.path().join("wstap.yaml");
    let text = format!(
        "listeners: [{{ listen: '127.0.0.1:0' }}]\ngateway: {{ url: 'http://gw' }}\n\
         records: {{ path: '{}' }}\n",
        path.display()
    );
    fs::write(&config, text).unwrap();
    let (code, out, err) = run(&[FIRST, "--config", config.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("gateway.auth.token_mismatch"));
    let output = wstap(&[FIRST])
        .env("WSTAP_CONFIG", &config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    fs::write(&config, "gateway: { url: 'ftp://gw' }\n").unwrap();
    let (code, _, err) = run(&[FIRST, "--config", config.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(
        err.contains("gateway.url") && err.contains("--records"),
        "{err}"
    );
}

#[test]
fn a_file_is_summarised_and_broken_lines_are_told() {
    let (_folder, path) = files();
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let mut other = record("gateway.left.open", OLD);
    other["verdict"] = json!({
        "rule": "gateway.left.before", "class": "gateway.left", "party": "gateway",
        "act_on": "gateway", "layer": "L1", "confidence": "likely", "summary": "s",
        "evidence": [], "next": "n"
    });
    write!(
        file,
        "not JSON \u{1b}[2J\n{{}}\n{other}\n{{\"schema\":\"wstap"
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let (code, out, err) = run(&[path]);
    assert_eq!(code, 0, "{err}");
    let told = out.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "3 sessions",
        "3 unreadable lines; the first:",
        "line 3:",
        "1 older file beside it not read",
        "gateway.left.before, now gateway.left.open",
        "2 open 1 client",
        "next: on the gateway host run",
    ] {
        assert!(told.contains(part), "{part}: {out}");
    }
    let (code, out, _) = run(&[path, "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["explains"]), (0, &json!("file")));
    assert_eq!(
        (&told["records"], &told["unreadable"]["count"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(told["changed"][0]["stored"], "gateway.left.before");
    assert_eq!(told["without_verdict"], 2);
}

#[test]
fn records_come_by_stdin_too() {
    let pipe = |args: &[&str], text: &str| {
        let mut child = wstap(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), out)
    };
    let text = format!("{}\n", record("gateway.left.open", FIRST));
    let (code, out) = pipe(&["-"], &text);
    assert_eq!(code, 0);
    assert!(
        out.contains("1 session,") && out.contains("gateway.left"),
        "{out}"
    );
    let (code, out) = pipe(&[FIRST, "--records", "-"], &text);
    assert_eq!(code, 0);
    assert!(out.contains("Step by step"), "{out}");
    assert_eq!(pipe(&["-"], "nothing\n").0, 1);
}

#[test]
fn a_hundred_thousand_lines_take_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.jsonl");
    let mut file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
    let mut line = record("client.fault.tls", FIRST);
    for number in 0..100_000_u32 {
        // Each of another client: what a scan of the whole Internet would leave.
        let mut id = String::new();
        write!(id, "019ab1c2-0000-7000-8000-{number:012}").unwrap();
        line["id"] = id.into();
        line["client"]["addr"] = format!("10.{}.{}.1:5", number / 256, number % 256).into();
        writeln!(file, "{line}").unwrap();
    }
    drop(file);
    let mut child = wstap(&["-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&fs::read(&path).unwrap()).unwrap();
    // All but what a pipe holds has been read; it still waits for the end.
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["records"], 100_000);
    assert_eq!(told["clients_left_out"], 90_000);
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(
        peak < 40 * 1024,
        "{peak} KiB for {} KiB",
        fs::metadata(&path).unwrap().len() / 1024
    );
}

#[test]
fn what_a_running_tap_writes_is_told_with_its_phases_and_its_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wstap"))
        .args(["demo", "--once", "--json", "--state-dir"])
        .arg(folder.path().join("state"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let path = folder.path().join("demo.jsonl");
    fs::write(&path, &output.stdout).unwrap();
    let path = path.to_str().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 15);
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let id = record["id"].as_str().unwrap();
        assert!(record["client"]["tls"]["handshake_ms"].as_f64().unwrap() > 0.0);
        let (code, out, err) = run(&[id, "--records", path, "--json"]);
        assert_eq!(code, 0, "{err}");
        let told: Value = serde_json::from_str(&out).unwrap();
        // The verdict from the file is the tap's own, word for word.
        assert_eq!(told["verdict"], record["verdict"]);
        let phases = told["phases"].as_array().unwrap();
        let names: Vec<_> = phases.iter().map(|one| &one["phase"]).collect();
        assert_eq!(names[..3], ["accept", "request", "admission"], "{id}");
        // No gateway is dialled for a refused client.
        let refused = record["verdict"]["class"] == "tap.denied";
        assert_eq!(names.contains(&&json!("dial")), !refused, "{id}");
        assert_eq!(names.last().unwrap(), &&record["phase"], "{id}");
        let sum: f64 = phases.iter().map(|one| one["ms"].as_f64().unwrap()).sum();
        let duration = record["duration_ms"].as_f64().unwrap();
        assert!((sum - duration).abs() < 0.1, "{sum} of {duration}");
        let (code, out, _) = run(&[id, "--records", path]);
        assert_eq!(code, 0);
        assert!(out.contains("TLS is agreed"), "{out}");
    }
    let (code, out, _) = run(&[path]);
    assert_eq!(code, 0);
    assert!(
        out.contains("15 sessions") && !out.contains("unreadable"),
        "{out}"
    );
    assert!(!out.contains("Judged otherwise"), "{out}");
}
