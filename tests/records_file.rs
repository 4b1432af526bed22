//! What other programs do to the records file during writes, and which files are rejected.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::admin::get;
use crate::peers::{Peer, Via, echo};
use crate::support::deadline::{STEP, poll, promised};
use crate::support::records;
use crate::support::tap::{Face, Setup, Tap};

/// Time limit for the file to be back.
const AGAIN: Duration = Duration::from_secs(1);

/// A tap with its records in a folder of their own.
async fn tap(peer: &Peer) -> (Tap, PathBuf) {
    let setup = Setup::before(peer).admin();
    let folder = setup.path("logs");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("r.jsonl");
    let tap = setup
        .set("records.path", path.to_str().unwrap())
        .start()
        .await;
    (tap, path)
}

/// Runs one session to its end.
async fn session(tap: &Tap) {
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    conn.send_masked(crate::support::frame::Frame::close(1000, ""))
        .await
        .unwrap();
    conn.rest().await;
}

async fn appears(path: &Path, limit: Duration) -> bool {
    poll(limit, || path.exists().then_some(())).await.is_some()
}

async fn holds(path: &Path, count: usize) {
    let found = poll(STEP, || (records::read(path).len() == count).then_some(()));
    let found = found.await.is_some();
    assert!(found, "{} records", records::read(path).len());
}

/// Number of records that the file has lost, by `/metrics`.
async fn lost(tap: &Tap) -> u64 {
    let page = get(tap, "/metrics").await.body;
    let name = "wstap_records_dropped_total{sink=\"records\"} ";
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.expect("the sample").parse().expect("a number")
}

/// A service manager's umask must not take away what the configuration gives.
#[tokio::test]
async fn its_permissions_are_those_of_the_configuration_whatever_the_umask() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer).set("records.mode", "0640").under(&[
        "sh",
        "-c",
        "umask 077; exec \"$0\" \"$@\"",
    ]);
    let path = setup.path("with-mode.jsonl");
    let tap = setup
        .set("records.path", path.to_str().unwrap())
        .start()
        .await;
    session(&tap).await;
    holds(&path, 1).await;
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn a_file_that_is_moved_or_deleted_is_there_again_within_a_second() {
    let peer = echo::start(&Via::Plain).await;
    let (mut tap, path) = tap(&peer).await;
    let away = tap.folder().join("away");
    session(&tap).await;
    holds(&path, 1).await;

    fs::remove_file(&path).unwrap();
    assert!(appears(&path, promised(AGAIN)).await, "without any session");
    session(&tap).await;
    holds(&path, 1).await;

    // The record comes before the periodic check.
    fs::remove_file(&path).unwrap();
    session(&tap).await;
    holds(&path, 1).await;

    fs::rename(&path, &away).unwrap();
    assert!(appears(&path, promised(AGAIN)).await);
    session(&tap).await;
    holds(&path, 1).await;
    holds(&away, 1).await;

    let (folder, old) = (path.parent().unwrap(), tap.folder().join("old"));
    fs::rename(folder, &old).unwrap();
    fs::create_dir(folder).unwrap();
    assert!(appears(&path, promised(AGAIN)).await);
    session(&tap).await;
    holds(&path, 1).await;
    holds(&old.join("r.jsonl"), 1).await;
    assert_eq!(lost(&tap).await, 0);
    assert_eq!(tap.terminate().await, Some(0));
}

#[tokio::test]
async fn sighup_opens_the_file_again_at_once() {
    let peer = echo::start(&Via::Plain).await;
    let (tap, path) = tap(&peer).await;
    let mut waits = Vec::new();
    for round in 0..7 {
        fs::rename(&path, tap.folder().join(format!("away{round}"))).unwrap();
        tap.signal_hup();
        let began = Instant::now();
        assert!(appears(&path, promised(AGAIN)).await);
        waits.push(began.elapsed());
    }
    waits.sort();
    // The periodic check alone would take a quarter of a second on average.
    assert!(waits[3] < promised(Duration::from_millis(120)), "{waits:?}");
}

#[tokio::test]
async fn what_goes_nowhere_is_counted_and_told_at_the_end() {
    let peer = echo::start(&Via::Plain).await;
    let (mut tap, path) = tap(&peer).await;
    let folder = path.parent().unwrap().to_owned();
    fs::remove_dir_all(&folder).unwrap();
    for _ in 0..3 {
        session(&tap).await;
    }
    let counted = async || lost(&tap).await == 3;
    let until = Instant::now() + STEP;
    while !counted().await {
        assert!(Instant::now() < until, "{} lost", lost(&tap).await);
    }
    fs::create_dir(&folder).unwrap();
    assert!(appears(&path, promised(AGAIN)).await);
    session(&tap).await;
    holds(&path, 1).await;
    assert_eq!(tap.terminate().await, Some(0));
    let stderr = tap.stderr();
    assert!(stderr.contains("failed to write records"), "{stderr}");
    assert!(stderr.contains("sink=records lost=3"), "{stderr}");
}

/// A file that must not grow any more, as on a full disk.
#[tokio::test]
async fn a_file_that_is_full_loses_whole_records_and_counts_them() {
    const SESSIONS: usize = 40;
    let peer = echo::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer)
        .under(&["sh", "-c", "ulimit -f 64; exec \"$0\" \"$@\""])
        .set("output", "none")
        .start()
        .await;
    for _ in 0..SESSIONS {
        session(&tap).await;
    }
    assert_eq!(tap.terminate().await, Some(0));
    let text = tap.records_text();
    assert!(text.ends_with('\n') && text.len() <= 64 * 1024);
    let (kept, stderr) = (tap.records().len(), tap.stderr());
    assert!(kept > 0 && kept < SESSIONS, "{kept}");
    let lost = SESSIONS - kept;
    assert!(
        stderr.contains(&format!("sink=records lost={lost}")),
        "{stderr}"
    );
}

#[tokio::test]
async fn what_is_no_file_is_refused_at_the_start_and_by_check() {
    let peer = echo::start(&Via::Plain).await;
    for (name, words) in [
        ("fifo", "which is a FIFO"),
        ("socket", "which is a socket"),
        ("folder", "which is a folder"),
        ("none/r.jsonl", "does not exist"),
        ("/dev/null", "which is a device"),
        ("/dev/stdout", "a descriptor of the process"),
    ] {
        let setup = Setup::before(&peer);
        let path = setup.path(name);
        let _socket = match name {
            "fifo" => {
                let made = Command::new("mkfifo").arg(&path).status().unwrap();
                assert!(made.success());
                None
            }
            "folder" => {
                fs::create_dir(&path).unwrap();
                None
            }
            "socket" => Some(UnixListener::bind(&path).unwrap()),
            _ => None,
        };
        let config = setup.path("check.yaml");
        let text = format!(
            "gateway: {{ url: 'http://127.0.0.1:1' }}\nrecords:\n  path: {}\n",
            path.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
        command.arg("check").arg("--config").arg(&config);
        let checked = command.output().unwrap();
        let said = String::from_utf8(checked.stdout).unwrap();
        assert_eq!(checked.status.code(), Some(2), "{said}");
        assert!(
            said.contains("check.yaml:3:9: records.path: expected"),
            "{said}"
        );
        assert!(said.contains(words), "{name}: {said}");
        let path = path.to_str().unwrap();
        let (code, said) = setup.set("records.path", path).start_in_vain().await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("records.path: expected"), "{said}");
        assert!(said.contains(words), "{name}: {said}");
    }
}
