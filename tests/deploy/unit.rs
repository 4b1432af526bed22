//! The systemd units, read by systemd itself.

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
