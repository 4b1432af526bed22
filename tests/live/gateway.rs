//! The real gateway: started in a folder and a process group of its own, ended with the test.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::Install;
use crate::support::containers::Container;
use crate::support::deadline::{STEP, poll};
use crate::support::packages::free_port;
use crate::support::records::tail;
use crate::support::tap::signal;

/// The gateway's token.
pub const TOKEN: &str = "live-token-0123456789abcdef0123456789abcdef";

const CONFIG: &str = "openclaw.json";
const START: Duration = Duration::from_mins(3);
/// Somebody may take the free port before the gateway does.
const ATTEMPTS: usize = 3;

/// How the gateway is configured, beyond what every test needs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Reachable from other hosts (`bind: lan`), not on loopback alone.
    pub lan: bool,
    /// `gateway.trustedProxies`.
    pub trusted_proxies: Vec<String>,
    /// `gateway.controlUi.allowedOrigins`.
    pub allowed_origins: Vec<String>,
    /// Laid over the configuration, key by key; `null` takes a key away.
    pub more: Value,
    /// Variables of its environment.
    pub env: Vec<(&'static str, &'static str)>,
    /// Where it runs, when that is not here.
    pub place: Option<Place>,
}

/// A container, and where the gateway listens in it.
#[derive(Clone, Debug)]
pub struct Place {
    pub container: Container,
    /// As its own container reaches it. Its port is fixed: nobody else is in there.
    pub addr: SocketAddr,
}

/// A running gateway. It and its children are killed when dropped.
pub struct Gateway {
    child: Child,
    folder: TempDir,
    addr: SocketAddr,
    place: Option<Place>,
}

impl Gateway {
    /// Starts it on loopback and waits until it is ready.
    pub async fn start(install: &Install) -> Self {
        Self::start_with(install, &Options::default()).await
    }

    pub async fn start_with(install: &Install, options: &Options) -> Self {
        for attempt in 1.. {
            let mut gateway = Self::spawn(install, options);
            match gateway.wait_until_ready().await {
                Ok(()) => return gateway,
                Err(problem) if attempt >= ATTEMPTS => panic!("{problem}"),
                Err(problem) => eprintln!("attempt {attempt}: {problem}"),
            }
        }
        unreachable!("the loop ends by itself")
    }

    /// Starts it and does not wait: it is not even listening yet.
    pub fn launch(install: &Install, options: &Options) -> Self {
        Self::spawn(install, options)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join(CONFIG)
    }

    /// The folder of its state, which the command line tool on its host shares.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Gives it another configuration while it runs. It takes it over by itself, a moment later.
    pub fn rewrite(&self, options: &Options) {
        config(self.folder.path(), self.addr.port(), options);
    }

    /// Runs the command line tool on the gateway's host: with its configuration and its state.
    pub async fn command_line(&self, install: &Install, args: &[&str]) -> Output {
        let mut command = command(install, self.folder.path());
        command.envs(configured(&self.config_path())).args(args);
        let mut command = placed(command, self.place.as_ref());
        command.stdin(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        let running = command.kill_on_drop(true).output();
        let output = timeout(START, running).await;
        let output = output.unwrap_or_else(|_| panic!("{args:?} hangs"));
        output.expect("run the command line tool")
    }

    /// As `gateway.url` has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// SIGUSR2: it restarts in the same process. Does not wait for it.
    pub fn restart(&self) {
        signal("USR2", &self.child.id().to_string());
    }

    /// SIGTERM: it stops cleanly. Returns when it is gone.
    pub async fn terminate(&mut self) {
        self.ask_to_stop();
        self.gone().await;
    }

    /// SIGKILL: a crash. Returns when it is gone.
    pub async fn kill(&mut self) {
        signal("KILL", &self.child.id().to_string());
        self.gone().await;
    }

    /// Returns once its log names a connection; the log shortens the id to `8…4` characters.
    pub async fn logged(&self, conn_id: &str) {
        let short = format!("{}…{}", &conn_id[..8], &conn_id[conn_id.len() - 4..]);
        let found = poll(STEP, || {
            let log = self.log();
            log.iter()
                .any(|line| line.contains(conn_id) || line.contains(&short))
                .then_some(())
        })
        .await;
        assert!(found.is_some(), "the gateway's log has no {short}");
    }

    /// The messages of its log file.
    pub fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("gateway.jsonl")).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter_map(|line| Some(line.get("message")?.as_str()?.to_owned()))
            .collect()
    }

    fn spawn(install: &Install, options: &Options) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let addr = options.place.as_ref().map_or_else(free_port, |it| it.addr);
        let config = config(folder.path(), addr.port(), options);
        let output = File::create(folder.path().join("output")).expect("create its output");
        let errors = output.try_clone().expect("a second handle");
        let mut command = command(install, folder.path());
        command
            .envs(configured(&config))
            .envs(options.env.iter().copied())
            .args(["gateway", "run", "--verbose"]);
        let mut command = placed(command, options.place.as_ref());
        // In a group of its own, so that its children can be ended with it.
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let child = command.spawn().expect("start the gateway");
        Self {
            child,
            folder,
            addr,
            place: options.place.clone(),
        }
    }

    /// Returns when it serves, or why it never will.
    pub async fn wait_until_ready(&mut self) -> Result<(), String> {
        let mut live = false;
        let ready = poll(START, || {
            if let Some(status) = self.child.try_wait().expect("wait for the gateway") {
                return Some(Err(status.to_string()));
            }
            // Before 2026.3 these paths answer with the Control UI's page, like any other.
            let says = |path, words| self.says(path, words) || self.says(path, "<title>");
            live = live || says("/healthz", "\"status\":\"live\"");
            (live && says("/readyz", "\"ready\":true")).then_some(Ok(()))
        })
        .await;
        let output = fs::read_to_string(self.folder.path().join("output")).unwrap_or_default();
        let output = tail(&output, 1500);
        match ready {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => Err(format!("the gateway ended with {status}:\n{output}")),
            None => Err(format!("the gateway was not ready in {START:?}:\n{output}")),
        }
    }

    /// Whether a GET is answered at once with a 200 and these words. Not every 200 is the gateway's:
    /// its port was free a moment ago, and another test's peer may have it now.
    fn says(&self, path: &str, words: &str) -> bool {
        let answer = self.get(path).unwrap_or_default();
        answer.starts_with("HTTP/1.1 200 ") && answer.contains(words)
    }

    /// The answer to a GET, head and body.
    fn get(&self, path: &str) -> Option<String> {
        const MOST: u64 = 64 * 1024;
        let limit = Duration::from_secs(1);
        let addr = self.addr;
        let mut tcp = match &self.place {
            Some(place) => place.container.connect(addr).ok()?,
            None => TcpStream::connect_timeout(&addr, limit).ok()?,
        };
        tcp.set_read_timeout(Some(limit)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        tcp.take(MOST).read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Sends SIGTERM and does not wait.
    pub fn ask_to_stop(&self) {
        signal("TERM", &self.child.id().to_string());
    }

    async fn gone(&mut self) {
        let child = &mut self.child;
        let gone = poll(STEP, || child.try_wait().expect("wait for the gateway")).await;
        assert!(gone.is_some(), "the gateway is still there");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // The group: the gateway has a helper process, which outlives it when it is killed.
        signal("KILL", &format!("-{}", self.child.id()));
        drop(self.child.wait());
    }
}

/// The variables that name its configuration file; the predecessor has one of its own.
pub fn configured(path: &Path) -> [(&'static str, &Path); 2] {
    [
        ("OPENCLAW_CONFIG_PATH", path),
        ("CLAWDBOT_CONFIG_PATH", path),
    ]
}

/// Node with the tool, and nothing of the user's own.
pub fn command(install: &Install, folder: &Path) -> Command {
    let home = folder.join("home");
    let state = folder.join("state");
    for folder in [&home, &state] {
        fs::create_dir_all(folder).expect("create a folder");
    }
    let mut command = Command::new(&install.node);
    command
        .arg(&install.openclaw)
        .env_clear()
        .current_dir(folder);
    for (name, value) in std::env::vars_os() {
        if name == "TMPDIR" || name == "LANG" || name == "TZ" {
            command.env(name, value);
        }
    }
    let bin = install.node.parent().expect("a folder").display();
    command
        .env("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin"))
        .env("HOME", home)
        .env("OPENCLAW_STATE_DIR", &state)
        .env("CLAWDBOT_STATE_DIR", &state)
        .env("NO_COLOR", "1");
    command
}

fn placed(command: Command, place: Option<&Place>) -> Command {
    match place {
        Some(place) => place.container.run(&command),
        None => command,
    }
}

fn config(folder: &Path, port: u16, options: &Options) -> PathBuf {
    let path = folder.join(CONFIG);
    let bind = if options.lan { "lan" } else { "loopback" };
    let mut config = json!({
        "gateway": {
            "mode": "local", "port": port, "bind": bind,
            "auth": { "mode": "token", "token": TOKEN },
            "trustedProxies": options.trusted_proxies,
            "controlUi": { "allowedOrigins": options.allowed_origins },
        },
        "logging": { "file": folder.join("gateway.jsonl"), "level": "debug" },
        "discovery": { "mdns": { "mode": "off" } },
    });
    lay_over(&mut config, &options.more);
    fs::write(&path, config.to_string()).expect("write the gateway's configuration");
    path
}

fn lay_over(below: &mut Value, above: &Value) {
    match above {
        Value::Object(keys) if below.is_object() => {
            let below = below.as_object_mut().expect("a mapping");
            for (key, value) in keys {
                if value.is_null() {
                    below.remove(key);
                } else {
                    lay_over(below.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        Value::Null => {}
        value => value.clone_into(below),
    }
}
