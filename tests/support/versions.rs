//! Reports the versions of other programs that a test runs with.
//!
//! The lines go to the test's captured output, so they appear when it fails, and also when it hangs and
//! the runner kills it. A test that fails on only one machine often depends on another version of these
//! programs.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use super::program;

thread_local! {
    /// Once per thread: tests have a thread each, and so does captured output.
    static REPORTED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// An installed program. Finding it reports its version.
#[derive(Clone, Debug)]
pub struct Program(program::Program);

impl Program {
    /// `None` if it is not installed.
    pub fn find(name: &str) -> Option<Self> {
        let program = program::Program::find(name)?;
        report(name, || {
            let mut command = program.command();
            command.args(flag(name)?);
            Some(first_line(command))
        });
        Some(Self(program))
    }

    /// A command that starts it.
    pub fn command(&self) -> Command {
        self.0.command()
    }
}

/// Reports a dependency of this test, once. `version` returns `None` for a program that does not
/// print one.
pub fn report(name: &str, version: impl FnOnce() -> Option<String>) {
    if REPORTED.with_borrow_mut(|reported| reported.insert(name.to_owned())) {
        let version = version();
        let version = version.as_deref().unwrap_or("version unknown");
        eprintln!("this test depends on another program: {name}: {version}");
    }
}

/// The first line that a command prints, on stdout or stderr.
pub fn first_line(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let text = match output {
        Ok(output) if output.stdout.is_empty() => output.stderr,
        Ok(output) => output.stdout,
        Err(error) => return format!("does not start: {error}"),
    };
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Arguments that make a program print its version and exit. `None` for a program without such a
/// flag.
fn flag(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "certutil" => return None,
        "haproxy" | "nft" | "nginx" => &["-v"],
        "ip" | "strace" => &["-V"],
        "openssl" => &["version"],
        _ => &["--version"],
    })
}

#[test]
fn every_program_that_is_here_says_its_version() {
    for name in [
        "chromium",
        "haproxy",
        "ip",
        "nft",
        "nginx",
        "openssl",
        "promtool",
        "strace",
        "systemd-analyze",
    ] {
        let Some(program) = program::Program::find(name) else {
            continue;
        };
        let mut command = program.command();
        command.args(flag(name).expect("it has a flag"));
        let line = first_line(command);
        let is_version = line.chars().any(|it| it.is_ascii_digit()) && line.contains('.');
        assert!(is_version, "{name}: {line}");
    }
}

#[test]
fn a_version_is_reported_once_a_test() {
    let mut asked = 0;
    for _ in 0..2 {
        report("a program", || {
            asked += 1;
            None
        });
    }
    assert_eq!(asked, 1);
}
