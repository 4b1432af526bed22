//! The real binary, `wstap serve`, started for one test and stopped with it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use wstap::session::SessionRecord;

use super::conn::Conn;
use super::deadline::{STEP, poll};
use super::pty::program;
use super::{certs, client, records};
use crate::peers::Peer;

/// The listener of the tap that a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Plain,
    Tls,
}

impl Face {
    pub const BOTH: [Self; 2] = [Self::Plain, Self::Tls];
}

/// The configuration of a tap to start.
///
/// Unless changed: one plain and one TLS listener, `dialect: plain`, every record in a file.
pub struct Setup {
    folder: TempDir,
    config: Value,
    env: Vec<(&'static str, &'static str)>,
    under: Vec<String>,
    passed: Vec<OwnedFd>,
    output: Option<OwnedFd>,
}

impl Setup {
    /// In front of a peer. A peer with TLS needs its CA as well: [`Setup::gateway_ca`].
    pub fn before(peer: &Peer) -> Self {
        Self::before_url(&peer.url())
    }

    pub fn before_url(gateway: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let config = json!({
            "listeners": [
                { "listen": "127.0.0.1:0" },
                { "listen": "127.0.0.1:0", "tls": { "self_signed": { "names": ["localhost"] } } },
            ],
            "gateway": { "url": gateway, "dialect": "plain" },
            "records": { "path": folder.path().join("records.jsonl"), "http": "all", "connections": "all", "repeats": "each" },
            "state_dir": folder.path().join("state"),
        });
        Self {
            folder,
            config,
            env: Vec::new(),
            under: Vec::new(),
            passed: Vec::new(),
            output: None,
        }
    }

    /// Sets `a.b.c`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.config;
        for name in key.split('.') {
            let keys = place.as_object_mut().expect("a mapping");
            place = keys
                .entry(name)
                .or_insert_with(|| Value::Object(Map::new()));
        }
        *place = value.into();
        self
    }

    /// An admin listener on a free port of loopback.
    #[must_use]
    pub fn admin(self) -> Self {
        self.set("admin.listen", "127.0.0.1:0")
    }

    /// A path for a file of the test's that the configuration names.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[must_use]
    pub fn openclaw(self) -> Self {
        self.set("gateway.dialect", "openclaw")
    }

    /// Trusts this CA for the gateway.
    #[must_use]
    pub fn gateway_ca(self, ca: &certs::Ca, server_name: &str) -> Self {
        let path = ca.write(self.folder.path());
        self.set("gateway.tls.ca", path.to_string_lossy().into_owned())
            .set("gateway.tls.server_name", server_name)
    }

    /// `RUST_LOG=trace`.
    #[must_use]
    pub fn trace(self) -> Self {
        self.env("RUST_LOG", "trace")
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    /// `ulimit -n`.
    #[must_use]
    pub fn descriptors(self, limit: u32) -> Self {
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        self.under(&["sh", "-c", &script])
    }

    /// Started through this wrapper, which runs its remaining arguments.
    #[must_use]
    pub fn under(mut self, words: &[&str]) -> Self {
        self.under = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// With a standard output other than a file.
    #[must_use]
    pub fn printing_to(mut self, output: OwnedFd) -> Self {
        self.output = Some(output);
        self
    }

    /// With sockets that are open already, as systemd passes them: with their names, at most two.
    #[must_use]
    pub fn passing(mut self, sockets: Vec<(&str, OwnedFd)>) -> Self {
        let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
        // They come as the first two descriptors and go on as the ones that systemd uses.
        let script = format!(
            "exec 3<&0 4>&1 </dev/null >stdout
            [ {count} = 2 ] || exec 4>&-
            LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={} exec \"$0\" \"$@\"",
            names.join(":"),
            count = names.len(),
        );
        self.passed = sockets.into_iter().map(|(_, socket)| socket).collect();
        self.under(&["sh", "-c", &script])
    }

    /// Starts it and waits until it listens.
    pub async fn start(self) -> Tap {
        let listeners = self.config["listeners"].as_array().map_or(0, Vec::len);
        let mut tap = self.spawn();
        tap.wait_until_it_listens(listeners).await;
        tap
    }

    /// Starts it and waits until it ends by itself; returns its exit code and its output.
    pub async fn start_in_vain(self) -> (Option<i32>, String) {
        let mut tap = self.spawn();
        let status = tap.exited(2 * STEP).await;
        (status.code(), tap.stderr())
    }

    fn spawn(self) -> Tap {
        let folder = self.folder.path();
        let config = folder.join("wstap.yaml");
        // JSON is YAML.
        fs::write(&config, self.config.to_string()).expect("write the configuration");
        let stdout = File::create(folder.join("stdout")).expect("create stdout");
        let stderr = File::create(folder.join("stderr")).expect("create stderr");
        let mut words = self.under;
        words.push(program().display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.arg("serve").arg("--config").arg(&config);
        for name in [
            "WSTAP_LISTEN",
            "WSTAP_GATEWAY",
            "WSTAP_ALLOWED_ORIGINS",
            "WSTAP_CONFIG",
            "WSTAP_ADMIN",
            "WSTAP_RECORDS",
            "WSTAP_LOG_FORMAT",
        ] {
            command.env_remove(name);
        }
        command
            .env_remove("WSTAP_STATE_DIR")
            .env_remove("RUST_LOG")
            .env("NO_COLOR", "1");
        command
            .envs(self.env)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
        if let Some(output) = self.output {
            command.stdout(output);
        }
        let mut passed = self.passed.into_iter();
        if let Some(first) = passed.next() {
            command.stdin(first);
        }
        if let Some(second) = passed.next() {
            command.stdout(second);
        }
        let child = command.spawn().expect("start wstap");
        Tap {
            child,
            folder: self.folder,
            listeners: Vec::new(),
        }
    }
}

/// A running tap. Killed when dropped.
pub struct Tap {
    child: Child,
    folder: TempDir,
    listeners: Vec<(Face, SocketAddr)>,
}

impl Tap {
    /// Where it listens.
    pub fn addr(&self, face: Face) -> SocketAddr {
        let found = self.listeners.iter().find(|(it, _)| *it == face);
        found.unwrap_or_else(|| panic!("no {face:?} listener")).1
    }

    /// Where its admin listener is (`admin.listen`).
    pub fn admin(&self) -> SocketAddr {
        let stderr = self.stderr();
        let line = stderr
            .lines()
            .find_map(|line| line.strip_prefix("admin on http://"));
        let addr = line.expect("an admin listener");
        addr.trim().parse().expect("its address")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its folder, for files that belong to a test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many descriptors it has open (`/proc/PID/fd`).
    pub fn open_descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(path).expect("read /proc").count()
    }

    /// A client's connection to it.
    pub async fn connect(&self, face: Face) -> Conn {
        match face {
            Face::Plain => client::connect(self.addr(face)).await,
            Face::Tls => client::connect_tls(self.addr(face), &self.trust()).await,
        }
    }

    /// Its development CA.
    pub fn dev_ca(&self) -> PathBuf {
        self.folder.path().join("state/dev-ca.pem")
    }

    /// A TLS client that trusts its development CA.
    pub fn trust(&self) -> Arc<ClientConfig> {
        certs::trusting_file(&self.dev_ca())
    }

    pub fn stdout(&self) -> String {
        read_lossy(&self.folder.path().join("stdout"))
    }

    pub fn stderr(&self) -> String {
        read_lossy(&self.folder.path().join("stderr"))
    }

    /// The records file as it is.
    pub fn records_text(&self) -> String {
        read_lossy(&self.records_path())
    }

    /// Every record so far.
    pub fn records(&self) -> Vec<SessionRecord> {
        records::read(&self.records_path())
    }

    /// The first record like this, as soon as it is there.
    pub async fn wait_for(
        &self,
        what: &str,
        is_it: impl Fn(&SessionRecord) -> bool,
    ) -> SessionRecord {
        let look = || self.records().into_iter().find(|record| is_it(record));
        poll(STEP, look).await.unwrap_or_else(|| {
            panic!(
                "waited {STEP:?} for {what}; records:\n{}stderr ends:\n{}",
                records::summary(&self.records()),
                records::tail(&self.stderr(), 1500),
            )
        })
    }

    /// The first record of an upgrade attempt.
    pub async fn websocket(&self) -> SessionRecord {
        self.wait_for("a websocket record", records::is_websocket)
            .await
    }

    /// The next record of an upgrade attempt, after the `seen` ones.
    pub async fn newest(&self, seen: &mut usize) -> SessionRecord {
        *seen += 1;
        self.websockets(*seen).await.pop().expect("a record")
    }

    /// The record of the client with this `User-Agent`; `what` names it if the record does not
    /// come.
    pub async fn record_of(&self, agent: &str, what: &str) -> SessionRecord {
        let ours = |record: &SessionRecord| {
            let request = record.request.as_ref();
            let found = request.and_then(|request| request.user_agent.as_ref());
            found.is_some_and(|found| found.as_str() == agent)
        };
        self.wait_for(what, ours).await
    }

    /// This many records of upgrade attempts, in the order of the file.
    pub async fn websockets(&self, count: usize) -> Vec<SessionRecord> {
        let look = || {
            let mut found = self.records();
            found.retain(records::is_websocket);
            (found.len() >= count).then_some(found)
        };
        poll(STEP, look).await.unwrap_or_else(|| {
            panic!(
                "no {count} websocket records:\n{}",
                records::summary(&self.records())
            )
        })
    }

    /// The records, as soon as there are this many.
    pub async fn wait_for_count(&self, count: usize) -> Vec<SessionRecord> {
        let look = || Some(self.records()).filter(|found| found.len() >= count);
        poll(STEP, look)
            .await
            .unwrap_or_else(|| panic!("no {count} records:\n{}", records::summary(&self.records())))
    }

    /// Resident memory in KiB (`/proc/PID/status`).
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("read /proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next());
        kib.and_then(|kib| kib.parse().ok()).expect("VmRSS in KiB")
    }

    /// Processor time so far, in ticks of 10 ms (`/proc/PID/stat`).
    pub fn cpu_ticks(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(path).expect("read /proc");
        // The name in brackets may hold blanks.
        let rest = stat.rsplit(')').next().unwrap_or_default();
        let fields = rest.split_whitespace().skip(11).take(2);
        fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    /// Sends SIGKILL.
    pub fn signal_kill(&self) {
        signal("KILL", &self.child.id().to_string());
    }

    /// Sends SIGTERM.
    pub fn signal_term(&self) {
        signal("TERM", &self.child.id().to_string());
    }

    /// Sends SIGHUP.
    pub fn signal_hup(&self) {
        signal("HUP", &self.child.id().to_string());
    }

    /// The file of its configuration.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("wstap.yaml")
    }

    /// Waits until it has exited by itself.
    pub async fn exited(&mut self, limit: Duration) -> ExitStatus {
        let child = &mut self.child;
        let status = poll(limit, || child.try_wait().expect("wait for wstap")).await;
        status.unwrap_or_else(|| {
            panic!(
                "wstap did not exit; stderr ends:\n{}",
                records::tail(&self.stderr(), 1500)
            )
        })
    }

    /// SIGTERM, and its exit code.
    pub async fn terminate(&mut self) -> Option<i32> {
        self.signal_term();
        self.exited(STEP).await.code()
    }

    async fn wait_until_it_listens(&mut self, wanted: usize) {
        let limit = 2 * STEP;
        let ready = poll(limit, || {
            let stderr = self.stderr();
            let listeners: Vec<_> = stderr.lines().filter_map(listening_on).collect();
            // Unix sockets have no address to connect to.
            let bound = stderr
                .lines()
                .filter(|line| line.starts_with("listening on "))
                .count();
            let forwards = stderr.lines().any(|line| line.contains("forwarding to "));
            if bound >= wanted && forwards {
                return Some(Ok(listeners));
            }
            self.child.try_wait().expect("wait for wstap").map(Err)
        })
        .await;
        match ready {
            Some(Ok(listeners)) => self.listeners = listeners,
            Some(Err(status)) => {
                panic!(
                    "wstap ended before it listened: {status}; stderr:\n{}",
                    self.stderr()
                )
            }
            None => panic!(
                "wstap did not listen in {limit:?}; stderr:\n{}",
                self.stderr()
            ),
        }
    }

    fn records_path(&self) -> PathBuf {
        self.folder.path().join("records.jsonl")
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // It may have exited; a child that was not waited for keeps its id.
        drop(self.child.kill());
        drop(self.child.wait());
        // Tests look at the records that they care about; these are all of them.
        let unexplained = records::unexplained(self.folder.path());
        let already_failing = std::thread::panicking();
        assert!(
            unexplained.is_empty() || already_failing,
            "the tap has no verdict on what this test did (`unknown`), which is a bug of a rule or \
             of a fact:\n{unexplained}"
        );
    }
}

/// Sends a signal to one process, or with a leading `-` to one process group.
pub fn signal(name: &str, target: &str) {
    let script = r#"kill -s "$0" -- "$1""#;
    let mut command = Command::new("sh");
    command
        .args(["-c", script, name, target])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // It fails when the process is gone already, and then there is nothing to do.
    command.status().expect("run sh");
}

/// `listening on https://127.0.0.1:PORT`
fn listening_on(line: &str) -> Option<(Face, SocketAddr)> {
    let (_, url) = line.split_once("listening on ")?;
    let (scheme, rest) = url.trim().split_once("://")?;
    let face = match scheme {
        "http" => Face::Plain,
        "https" => Face::Tls,
        _ => return None,
    };
    let addr = rest.split(|c: char| c.is_whitespace() || c == '/').next()?;
    Some((face, addr.parse().ok()?))
}

fn read_lossy(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

#[test]
fn the_line_that_says_where_it_listens() {
    let plain = (Face::Plain, "127.0.0.1:4711".parse().unwrap());
    assert_eq!(
        listening_on("listening on http://127.0.0.1:4711"),
        Some(plain)
    );
    let tls = (Face::Tls, "127.0.0.1:4711".parse().unwrap());
    assert_eq!(
        listening_on("listening on https://127.0.0.1:4711"),
        Some(tls)
    );
    assert_eq!(listening_on("forwarding to http://127.0.0.1:4711"), None);
}
