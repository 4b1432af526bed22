//! `wstap attach` in the network namespace that the test runs in.

use std::fs::File;
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use wstap::session::SessionRecord;

use super::deadline::{STEP, poll};
use super::program::Program;
use super::records;
use super::tap::signal;

/// How it is attached unless a test says otherwise.
pub const LONG: &[&str] = &["--for", "1h"];

/// A process of `wstap attach`. It is killed when this is dropped.
pub struct Attached {
    child: Child,
    folder: TempDir,
}

/// The program with these arguments.
pub fn command(arguments: &[&str]) -> Command {
    let program = std::env::var_os("WSTAP_PROGRAM")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_wstap")), PathBuf::from);
    let mut command = Command::new(program);
    command
        .arg("attach")
        .args(arguments)
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    nft().on_path_of(&mut command);
    command
}

/// A command run through this wrapper, which runs its remaining arguments.
fn under(words: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(words[0]);
    outer
        .args(&words[1..])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// Its outputs as files, for [`Attached::stderr`].
fn files(folder: &Path) -> (Stdio, Stdio) {
    let stream = |name| File::create(folder.join(name)).expect("create a file");
    (stream("stdout").into(), stream("stderr").into())
}

/// `nft`, of this machine or as fetched.
pub fn nft() -> Program {
    Program::find("nft").expect("make fetch gets nft")
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("run wstap attach")
}

/// `--status --json`.
pub fn status() -> Option<Value> {
    let output = run(&["--status", "--json"]);
    let parsed = serde_json::from_slice(&output.stdout).ok();
    parsed.filter(|_| output.status.success())
}

impl Attached {
    /// Starts it and waits until it says that it is attached.
    pub async fn start(port: u16, more: &[&str]) -> Self {
        Self::launch(port, more).begun().await
    }

    /// The same with this limit of open files (`ulimit -n`).
    pub async fn start_with_descriptors(port: u16, more: &[&str], limit: u32) -> Self {
        Self::launch_with_descriptors(port, more, limit)
            .begun()
            .await
    }

    /// Starts it with this limit of open files.
    pub fn launch_with_descriptors(port: u16, more: &[&str], limit: u32) -> Self {
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        Self::launch_under(&["sh", "-c", &script], port, more)
    }

    /// Starts it through this wrapper, which runs its remaining arguments.
    pub fn launch_under(words: &[&str], port: u16, more: &[&str]) -> Self {
        Self::launch_in(port, more, words, files)
    }

    pub async fn begun(self) -> Self {
        let mut attached = self;
        let said = poll(STEP, || {
            let ended = attached.child.try_wait().expect("look at wstap");
            assert!(ended.is_none(), "ended: {ended:?}: {}", attached.stderr());
            attached.stderr().contains("attached to port").then_some(())
        });
        assert!(said.await.is_some(), "not attached: {}", attached.stderr());
        attached
    }

    /// Starts it.
    pub fn launch(port: u16, more: &[&str]) -> Self {
        Self::launch_in(port, more, &[], files)
    }

    /// Starts it with both outputs on this pipe.
    pub fn launch_on(port: u16, more: &[&str], output: &PipeWriter) -> Self {
        let stream = || output.try_clone().expect("a second handle");
        Self::launch_in(port, more, &[], |_| (stream().into(), stream().into()))
    }

    fn launch_in(
        port: u16,
        more: &[&str],
        words: &[&str],
        outputs: impl FnOnce(&Path) -> (Stdio, Stdio),
    ) -> Self {
        let folder = TempDir::new().expect("a folder");
        let port = port.to_string();
        let records = folder.path().join("records.jsonl");
        let records = records.to_str().expect("a path in UTF-8");
        let mut arguments = vec!["--port", port.as_str(), "--records", records];
        arguments.extend(
            ["--dialect", "plain"]
                .iter()
                .filter(|_| !more.contains(&"--dialect")),
        );
        arguments.extend(more);
        let (stdout, stderr) = outputs(folder.path());
        let mut command = command(&arguments);
        if !words.is_empty() {
            command = under(words, &command);
        }
        let child = command
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("start wstap attach");
        Self { child, folder }
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stdout")).unwrap_or_default()
    }

    /// The process that holds its table.
    pub fn nft_child(&self) -> String {
        // The thread that started it is its parent.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("its threads");
        let children = tasks.flatten().map(|task| task.path().join("children"));
        let children = children.filter_map(|path| std::fs::read_to_string(path).ok());
        let pids: String = children.collect();
        pids.trim().to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        signal(name, &self.pid().to_string());
    }

    /// Every record so far.
    pub fn records(&self) -> Vec<SessionRecord> {
        records::read(&self.folder.path().join("records.jsonl"))
    }

    /// Waits for this many records.
    pub async fn records_once(&self, count: usize) -> Vec<SessionRecord> {
        let found = poll(STEP, || {
            let records = self.records();
            (records.len() >= count).then_some(records)
        });
        found.await.unwrap_or_else(|| {
            panic!(
                "{count} records expected: {:?}\n{}",
                self.records(),
                self.stderr()
            )
        })
    }

    /// The record of the client with this `User-Agent`.
    pub async fn record_of(&self, agent: &str) -> SessionRecord {
        let ours = |record: &SessionRecord| {
            let request = record.request.as_ref();
            let found = request.and_then(|request| request.user_agent.as_ref());
            found.is_some_and(|found| found.as_str() == agent)
        };
        let found = poll(STEP, || self.records().into_iter().find(ours)).await;
        found.unwrap_or_else(|| {
            let records = records::summary(&self.records());
            panic!("no record of {agent}:\n{records}{}", self.stderr())
        })
    }

    /// Ends it as Ctrl-C does, and waits until it has ended.
    pub async fn detach(mut self) {
        self.signal("TERM");
        let (status, _) = self.ended().await;
        assert!(status.success(), "{status}: {}", self.stderr());
    }

    /// Kills it, and waits until its table has followed it, which takes milliseconds.
    pub async fn killed(mut self) {
        self.signal("KILL");
        self.ended().await;
        let gone = poll(STEP, || {
            (!snapshot().contains("wstap_attach")).then_some(())
        });
        assert!(gone.await.is_some(), "{}", snapshot());
    }

    /// Waits until it has ended; returns its status, and the time that it took.
    pub async fn ended(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let child = &mut self.child;
        let status = poll(STEP, || child.try_wait().expect("look at wstap")).await;
        let status = status.unwrap_or_else(|| panic!("it did not end: {}", self.stderr()));
        (status, began.elapsed())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Also one that is stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The packet filter, the routes and the setting for marks, without addresses that the kernel is
/// still making.
pub fn snapshot() -> String {
    let text = |program: &str, arguments: &[&str]| {
        let mut command = match program {
            "nft" => nft().command(),
            program => Command::new(program),
        };
        let output = command.args(arguments).output().expect("run the program");
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter(|line| !line.contains("fe80::"));
        lines.fold(format!("{program}:\n"), |all, line| all + line + "\n")
    };
    [
        text("nft", &["list", "ruleset"]),
        text("ip", &["-4", "rule"]),
        text("ip", &["-6", "rule"]),
        text("ip", &["-4", "route", "show", "table", "all"]),
        text("ip", &["-6", "route", "show", "table", "all"]),
        std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fwmark_accept").expect("a setting"),
    ]
    .concat()
}
