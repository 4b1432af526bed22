//! Facts about the machine on which the figures were measured.

use std::fs;
use std::process::Command;

use jiff::Timestamp;

use crate::report::Report;

/// Adds date, processor and kernel.
pub fn describe(report: &mut Report) {
    let date = Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
    report.fact("date", date);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    report.fact("processor", format!("{}, {cores} cores", processor()));
    report.fact("kernel", read("/proc/sys/kernel/osrelease"));
    report.fact("load when it began", read("/proc/loadavg"));
    report.fact("wstap's commit", commit());
    report.fact("wstap's build", build());
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = line.and_then(|line| line.split_once(": "));
    name.map_or("unknown", |(_, name)| name).to_owned()
}

fn build() -> &'static str {
    if std::env::var_os("WSTAP_PROGRAM").is_some() {
        "its own, as people run it"
    } else {
        "that of the bench, with what the tests' libraries switch on in ours"
    }
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
    text.trim().to_owned()
}

fn commit() -> String {
    let out = Command::new("git")
        .args([
            "-C",
            env!("CARGO_MANIFEST_DIR"),
            "describe",
            "--always",
            "--dirty",
        ])
        .output();
    match out {
        Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
