//! How much a probe takes: sockets at the same time, and time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{VARIABLE, command, run};
use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Script, TOKEN};
use crate::support::deadline::promised;
use crate::support::program::Program;
use crate::support::skip::skip;

/// The most sockets of the internet's families that were open at the same time, by strace's log.
fn most_sockets(log: &str) -> usize {
    let (mut open, mut most) = (BTreeSet::new(), 0);
    // Calls whose line was interrupted by another thread's.
    let mut begun = BTreeSet::new();
    for line in log.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or_default();
        let call = call.trim_start();
        let result = || {
            call.rsplit("= ")
                .next()?
                .split(' ')
                .next()?
                .parse::<u32>()
                .ok()
        };
        if call.starts_with("socket(AF_INET") {
            if call.contains("<unfinished") {
                begun.insert(thread.to_owned());
            } else {
                open.extend(result());
            }
        } else if call.starts_with("<... socket resumed>") && begun.remove(thread) {
            open.extend(result());
        } else if let Some(rest) = call.strip_prefix("close(") {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
            if let Some(descriptor) = digits.and_then(|digits| digits.parse().ok()) {
                open.remove(&descriptor);
            }
        }
        most = most.max(open.len());
    }
    most
}

#[test]
fn sockets_are_counted() {
    let log = "1  socket(AF_INET, SOCK_STREAM, 0) = 5\n2 socket(AF_INET6, SOCK_STREAM, 0 <unfinished ...>\n\
               1 socket(AF_UNIX, SOCK_STREAM, 0) = 6\n2 <... socket resumed>) = 7\n1 close(5) = 0\n\
               1 socket(AF_INET, SOCK_DGRAM, 0) = 5\n1 close(7 <unfinished ...>\n";
    assert_eq!(most_sockets(log), 2);
}

/// An engine that accepts and says nothing.
#[tokio::test]
async fn an_engine_that_hangs_is_within_the_budget() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("engine");
    let _engine = std::os::unix::net::UnixListener::bind(&path).unwrap();
    for place in ["container:claw", "compose:claw"] {
        let mut command = command(&["ws://claw:1", "--in", place, "--budget", "2s"]);
        command.env("DOCKER_HOST", format!("unix://{}", path.display()));
        let began = Instant::now();
        let run = run(command).await;
        assert!(began.elapsed() < promised(Duration::from_secs(3)));
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains("no answer within"), "{}", run.stderr);
    }
}

#[tokio::test]
async fn at_most_eight_sockets_at_once() {
    const TEST: &str = "probe: sockets at the same time";
    let Some(strace) = Program::find("strace") else {
        return skip(TEST, "strace is missing: run make fetch");
    };
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("strace");
    // Two addresses, of which one refuses.
    let url = format!("ws://localhost:{}", gateway.peer.addr().port());
    let probe = command(&[&url, "--json", "--token-env", VARIABLE]);
    let mut traced = strace.command();
    traced
        .args(["-f", "-qq", "-e", "trace=socket,close", "-o"])
        .arg(&log);
    traced
        .arg(probe.as_std().get_program())
        .args(probe.as_std().get_args());
    for (name, value) in probe.as_std().get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced.env(VARIABLE, TOKEN);
    let output = tokio::task::spawn_blocking(move || traced.output()).await;
    let output = output.unwrap().expect("run strace");
    assert!(output.status.success(), "{output:?}");
    let log = std::fs::read_to_string(&log).unwrap();
    let most = most_sockets(&log);
    assert!((4..=8).contains(&most), "{most} sockets at once");
    eprintln!("{most} sockets at once");
}
