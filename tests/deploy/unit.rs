//! The systemd units, read by systemd itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::{document, read};
use crate::support::packages::Program;
use crate::support::skip::skip;

const SERVICE: &str = "deploy/wstap.service";
const SOCKET: &str = "deploy/wstap.socket";
/// `systemd-analyze security` rates from 0 to 10, here in tenths. What is left is the network, which
/// is the service's job.
const EXPOSURE: &str = "--threshold=15";

/// Both units in a folder, changed so that they can be read where wstap is not installed.
struct Units {
    analyze: Program,
    folder: TempDir,
}

impl Units {
    fn new() -> Option<Self> {
        let analyze = Program::find("systemd-analyze")?;
        let folder = TempDir::new().expect("a temporary folder");
        let service = read(SERVICE).replace("/usr/local/bin/wstap", env!("CARGO_BIN_EXE_wstap"));
        fs::write(folder.path().join("wstap.service"), service).expect("write a unit");
        fs::write(folder.path().join("wstap.socket"), read(SOCKET)).expect("write a unit");
        Some(Self { analyze, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn break_with(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("wstap.service")).expect("read a unit");
        assert!(text.contains(from), "{from}");
        fs::write(self.path("wstap.service"), text.replace(from, to)).expect("write a unit");
    }

    fn run(&self, words: &[&str], units: &[&str]) -> (bool, String) {
        let mut command: Command = self.analyze.command();
        command
            .args(words)
            .args(units.iter().map(|it| self.path(it)));
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("run systemd-analyze");
        let text = [stdout, stderr].concat();
        (
            status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    fn verify(&self) -> (bool, String) {
        self.run(&["verify", "--man=no"], &["wstap.service", "wstap.socket"])
    }

    /// The system calls in a set, including those of nested sets.
    fn system_calls(&self, set: &str) -> BTreeSet<String> {
        let (fine, said) = self.run(&["syscall-filter", set], &[]);
        assert!(fine, "{said}");
        let mut found = BTreeSet::new();
        for line in said.lines().filter_map(|line| line.strip_prefix("    ")) {
            match line.split_whitespace().next() {
                Some(set) if set.starts_with('@') => found.extend(self.system_calls(set)),
                Some(call) if !call.starts_with('#') => {
                    found.insert(call.to_owned());
                }
                _ => {}
            }
        }
        found
    }

    fn security(&self) -> (bool, String) {
        let words = ["security", "--offline=true", "--no-pager", EXPOSURE];
        self.run(&words, &["wstap.service"])
    }
}

fn units(test: &str) -> Option<Units> {
    let units = Units::new();
    if units.is_none() {
        skip(test, "systemd-analyze is missing: run make fetch");
    }
    units
}

#[test]
fn systemd_finds_nothing_wrong() {
    let Some(units) = units("deploy: systemd-analyze verify") else {
        return;
    };
    let (fine, said) = units.verify();
    assert!(fine && said.is_empty(), "{said}");
    units.break_with("ProtectSystem=strict", "ProtectSystem=always");
    let (_, said) = units.verify();
    assert!(said.contains("protect system"), "not noticed: {said}");
}

#[test]
fn the_service_is_shut_in() {
    let Some(units) = units("deploy: systemd-analyze security") else {
        return;
    };
    let (fine, said) = units.security();
    assert!(fine, "{said}");
    units.break_with("SystemCallFilter=", "#");
    units.break_with("DynamicUser=yes", "");
    let (fine, said) = units.security();
    assert!(!fine, "not noticed: {said}");
}

/// `SystemCallFilter=` against what the program does: it serves, with TLS, to good and bad clients.
#[test]
fn every_system_call_that_it_makes_is_allowed() {
    let test = "deploy: SystemCallFilter";
    let Some(units) = units(test) else {
        return;
    };
    let Some(strace) = Program::find("strace") else {
        return skip(test, "strace is missing: run make fetch");
    };
    let trace = units.path("trace");
    let mut command = strace.command();
    command.args(["-f", "-qq", "-o"]).arg(&trace);
    command.arg(env!("CARGO_BIN_EXE_wstap"));
    command.args(["demo", "--once", "--state-dir"]);
    let output = command
        .arg(units.path("state"))
        .output()
        .expect("run strace");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let trace = fs::read_to_string(trace).expect("read the trace");
    // `1234  read(3, …`; signals and ends of processes look otherwise.
    let calls = trace.lines().filter_map(|line| line.split_once(' '));
    let calls = calls.filter_map(|(_, rest)| rest.trim_start().split_once('('));
    let calls: BTreeSet<&str> = calls.map(|(call, _)| call).collect();
    let calls = calls.into_iter().filter(|call| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        call.chars().all(plain)
    });
    let calls: Vec<&str> = calls.collect();
    assert!(calls.contains(&"accept4"), "{calls:?}");

    let service = read(SERVICE);
    let [allowed, denied] = values(&service, "SystemCallFilter")[..] else {
        panic!("two filters: what is allowed, and what of that is not");
    };
    let mut filter = units.system_calls("@default");
    filter.extend(units.system_calls(allowed));
    for set in denied.trim_start_matches('~').split(' ') {
        let taken = units.system_calls(set);
        filter.retain(|call| !taken.contains(call));
    }
    let refused: Vec<&&str> = calls.iter().filter(|&&it| !filter.contains(it)).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(
        !filter.contains("mount") && !filter.contains("setuid"),
        "the filter filters"
    );
}

/// The values of a key, in their order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn the_units_and_the_configuration_agree() {
    let (service, config) = (read(SERVICE), document("deploy/systemd.yaml"));
    assert_eq!(values(&service, "Type"), ["notify"]);
    let start = values(&service, "ExecStart")[0];
    let check = values(&service, "ExecReload")[0];
    assert_eq!(
        start.replace(" serve ", " check "),
        check,
        "a reload checks what runs"
    );
    assert_eq!(values(&service, "ExecReload")[1], "/bin/kill -HUP $MAINPID");
    let state = format!("/var/lib/{}", values(&service, "StateDirectory")[0]);
    assert_eq!(config["state_dir"], state.as_str());
    let records = config["records"]["path"].as_str().expect("a file");
    assert!(records.starts_with(&state), "{records}");
    let (credential, _) = values(&service, "LoadCredential")[0]
        .split_once(':')
        .expect("a path");
    let path = format!("/run/credentials/wstap.service/{credential}");
    assert_eq!(config["fingerprint_key_file"], path.as_str());
    // The drain is 8 s unless it is set.
    assert_eq!(config.pointer("/timeouts/drain"), None);
    let stop: u64 = values(&service, "TimeoutStopSec")[0]
        .parse()
        .expect("seconds");
    assert!(stop > 10, "{stop}");
    // The socket has the name that the configuration would ask for it by.
    let name = values(&read(SOCKET), "FileDescriptorName")[0].to_owned();
    assert!(
        read("deploy/systemd.yaml").contains(&format!("systemd:{name}\"")),
        "{name}"
    );
}
