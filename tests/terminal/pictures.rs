//! Snapshots of the output at 80 and at 120 columns. Parts that differ from run to run are
//! replaced.

use std::fs;
use std::net::TcpListener;

use super::{demo, plain, shown};
use crate::support::pty::wstap;

/// The text with ids, times, durations, ports and process ids replaced.
fn redacted(text: &str) -> String {
    let text = plain(text);
    let mut done = String::new();
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        let starts_word = !done.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
        let found = starts_word.then(|| replaced(rest)).flatten();
        let (taken, instead) = found.unwrap_or((c.len_utf8(), ""));
        if instead.is_empty() {
            done.push(c);
        } else {
            done.push_str(instead);
        }
        rest = &rest[taken..];
    }
    done
}

/// The variable part at the beginning of a text: its length, and what to show instead.
fn replaced(text: &str) -> Option<(usize, &'static str)> {
    let span = |digits: fn(char) -> bool| text.find(|c| !digits(c)).unwrap_or(text.len());
    let number = span(|c| c.is_ascii_digit() || c == '.');
    let id = span(|c| c.is_ascii_hexdigit() || c == '-');
    let clock = span(|c| c.is_ascii_digit() || c == ':');
    let rest = |at: usize| &text[at..];
    if id == 36 {
        return Some((id, "[id]"));
    }
    if id == 8 && rest(id).starts_with(']') {
        return Some((id, "[short id]"));
    }
    if clock == 8 && rest(clock).starts_with('Z') {
        return Some((clock + 1, "[time]"));
    }
    if number > 0 && rest(number).starts_with(" ms") {
        return Some((number, "[n]"));
    }
    if let Some(port) = text.strip_prefix("127.0.0.1:") {
        let digits = port
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(port.len());
        return (digits > 0).then_some(("127.0.0.1:".len() + digits, "127.0.0.1:[port]"));
    }
    None
}

#[test]
fn only_what_differs_is_replaced() {
    let text = "09:29:00Z gateway.auth 127.0.0.1:34188 / 10.5 ms [session 0a1b2c3d] pid 7, sha256:450c623b 1008\n\
                id 01a1fd70-0ad5-7335-b2d8-b641c2926b0b";
    let told = "[time] gateway.auth 127.0.0.1:[port] / [n] ms [session [short id]] pid 7, sha256:450c623b 1008\n\
                id [id]";
    assert_eq!(redacted(text), told);
}

#[test]
fn the_demo() {
    let state = tempfile::tempdir().unwrap();
    for columns in [80, 120] {
        let (code, text) = shown(demo(state.path()), columns);
        assert_eq!(code, 0, "{text}");
        let text = redacted(&text);
        // The sessions whose lines break at the same places in every run, and the table.
        let scene = |title: &str| {
            let from = text.split(&format!("▸ {title}\n")).nth(1).unwrap();
            let end = from.find('▸').unwrap_or(from.len());
            format!("▸ {title}\n{}", &from[..end])
        };
        let scenes = [
            "a wrong token",
            "a device not yet approved",
            "an origin the tap refuses",
        ];
        let scenes = scenes.map(scene).concat();
        let table = &text[text.find('┌').unwrap()..];
        insta::assert_snapshot!(format!("demo_{columns}"), format!("{scenes}…\n{table}"));
    }
}

#[test]
fn explaining_a_rule_and_a_session() {
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/verdicts/gateway.auth.token_mismatch.json"
    );
    let folder = tempfile::tempdir().unwrap();
    let mut record: serde_json::Value =
        serde_json::from_slice(&fs::read(fixture).unwrap()).unwrap();
    record["id"] = "019ab1c2-0000-7000-8000-0123456789ab".into();
    let records = folder.path().join("r.jsonl");
    fs::write(&records, format!("{record}\n")).unwrap();
    for columns in [80, 120] {
        let (code, text) = shown(wstap(&["explain", "gateway.auth.token_mismatch"]), columns);
        assert_eq!(code, 0, "{text}");
        insta::assert_snapshot!(format!("rule_{columns}"), plain(&text));
        let mut command = wstap(&["explain", "456789ab"]);
        command.env("WSTAP_RECORDS", &records);
        let (code, text) = shown(command, columns);
        assert_eq!(code, 0, "{text}");
        insta::assert_snapshot!(format!("session_{columns}"), plain(&text));
    }
}

#[test]
fn a_configuration_with_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let text = "listeners:\n  - listen: 8443\ngateway:\n  url: http://openclaw-gateway:18789/ws\n  dialct: openclaw\n\
                origins:\n  allowed: [https://claw.example.com/]\ntimeouts: { idle: 30 }\n";
    fs::write(folder.path().join("wstap.yaml"), text).unwrap();
    for columns in [80, 120] {
        let mut command = wstap(&["check", "--config", "wstap.yaml"]);
        command.current_dir(folder.path());
        let (code, text) = shown(command, columns);
        assert_eq!(code, 2, "{text}");
        insta::assert_snapshot!(format!("mistakes_{columns}"), plain(&text));
    }
}

#[test]
fn a_start_that_fails() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("http://{}", taken.local_addr().unwrap());
    let pid = std::process::id().to_string();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    for columns in [80, 120] {
        let gateway = "http://127.0.0.1:18789";
        let command = wstap(&["serve", "--listen", &listen, "--gateway", gateway]);
        let (code, text) = shown(command, columns);
        assert_eq!(code, 2, "{text}");
        let text = redacted(&text).replace(name.trim(), "[program]");
        let text = text.replace(&format!("pid {pid}"), "pid [pid]");
        insta::assert_snapshot!(format!("start_{columns}"), text);
    }
}
