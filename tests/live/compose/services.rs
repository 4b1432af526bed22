//! The services: where each is, and how tap and command line tool run in their containers.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wstap::session::SessionRecord;

use crate::live::Install;
use crate::live::cli::Output;
use crate::live::gateway::{TOKEN, command};
use crate::live::visitor::Visitor;
use crate::support::certs;
use crate::support::conn::Conn;
use crate::support::containers::{Bridge, CONFIG_INSIDE, Container};
use crate::support::deadline::{STEP, poll, within};
use crate::support::netns::Net;
use crate::support::records::{self, is_websocket, tail};
use crate::support::wire::Wire;

const COMPOSE: &str = "deploy/compose.yaml";
const CONFIG: &str = "config/compose.yaml";
const PORT: u16 = 8443;
const LIMIT: Duration = Duration::from_mins(1);
/// The host's own address on the bridge, the first of the subnet as engines have it.
pub const HOST: Ipv4Addr = Ipv4Addr::new(172, 31, 87, 1);

/// The network of `deploy/compose.yaml`, with two containers more: a command line's, and one for a
/// second tap.
pub struct Town {
    pub bridge: Bridge,
    members: Vec<(&'static str, Ipv4Addr)>,
}

impl Town {
    pub fn new(net: &Net) -> Self {
        let file = shipped(COMPOSE);
        let subnet = &file["networks"]["gateway"]["ipam"]["config"][0]["subnet"];
        assert_eq!(subnet, "172.31.87.0/24", "HOST is in it");
        let addr = |name: &str| {
            let addr = &file["services"][name]["networks"]["gateway"]["ipv4_address"];
            addr.as_str()
                .and_then(|it| it.parse().ok())
                .expect("an address")
        };
        let members = vec![
            ("openclaw-gateway", addr("openclaw-gateway")),
            ("wstap", addr("wstap")),
            ("cli", Ipv4Addr::new(172, 31, 87, 4)),
            ("other", Ipv4Addr::new(172, 31, 87, 5)),
        ];
        let bridge = Bridge::new(net, HOST, &members);
        Self { bridge, members }
    }

    pub fn container(&self, name: &str) -> &Container {
        self.bridge.container(name)
    }

    pub fn addr(&self, name: &str) -> Ipv4Addr {
        let found = self.members.iter().find(|(it, _)| *it == name);
        found.expect("a member").1
    }

    pub fn command_line<'a>(&self, install: &'a Install) -> CommandLine<'a> {
        let container = self.container("cli").clone();
        CommandLine { container, install }
    }
}

/// A YAML or JSON file of the repository.
pub fn shipped(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A tap with the configuration that is shipped. Killed when dropped.
pub struct Service {
    child: Child,
    container: Container,
    seen: std::cell::Cell<usize>,
}

impl Service {
    /// Starts it with these variables, as `environment` of a Compose file sets them.
    pub async fn start(container: &Container, env: &[(&str, &str)]) -> Self {
        let key = "0123456789abcdef0123456789abcdef";
        container.secret("wstap-fingerprint-key", key, user());
        container.volume_of(user());
        let stderr = container.folder().join("stderr");
        let file = File::create(&stderr).expect("create stderr");
        // The records of an earlier tap are in the same file.
        let seen = websockets(container).len();
        let mut child = wstap(container, &["serve"], env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("start wstap");
        let said = || fs::read_to_string(&stderr).unwrap_or_default();
        let up = poll(2 * STEP, || {
            let ended = child.try_wait().expect("wait for wstap").is_some();
            let up = said().contains("forwarding to ");
            (up || ended).then_some(up)
        })
        .await;
        let service = Self {
            child,
            container: container.clone(),
            seen: seen.into(),
        };
        assert_eq!(
            up,
            Some(true),
            "wstap does not start:\n{}",
            tail(&said(), 1500)
        );
        service
    }

    /// Its effective and its bounding capabilities, and whether it can get none by others.
    pub fn capabilities(&self) -> (u64, u64, bool) {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("read /proc");
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect("a line").trim()
        };
        let set = |name| u64::from_str_radix(value(name), 16).expect("hexadecimal");
        (set("CapEff:"), set("CapBnd:"), value("NoNewPrivs:") == "1")
    }

    /// Whether it can do its job. `HEALTHCHECK` asks for less.
    pub async fn is_ready(&self) -> bool {
        let mut health =
            tokio::process::Command::from(wstap(&self.container, &["health", "--ready"], &[]));
        health.stdin(Stdio::null()).kill_on_drop(true);
        let output = within("wstap health", health.output()).await;
        output.expect("run wstap health").status.success()
    }

    /// A client's connection from a container, by one of the names of the certificate.
    pub async fn connect_from(&self, container: &Container, name: &str) -> Conn {
        let tcp = container.connect(self.addr()).expect("connect to the tap");
        self.over(tcp, name).await
    }

    /// TLS over this connection.
    pub async fn over(&self, tcp: TcpStream, name: &str) -> Conn {
        tcp.set_nonblocking(true).expect("set non-blocking");
        let tcp = tokio::net::TcpStream::from_std(tcp).expect("a tokio stream");
        let trust = certs::trusting_file(&self.container.state().join("dev-ca.pem"));
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tls = within("TLS", TlsConnector::from(trust).connect(name, tcp)).await;
        Conn::bounded(Wire::Tls(Box::new(tls.expect("TLS").into())))
    }

    /// The record of a visit.
    pub async fn visited_from(&self, container: &Container) -> SessionRecord {
        let visitor = Visitor::command_line();
        visitor
            .visit(self.connect_from(container, "wstap").await)
            .await;
        self.record_of(&visitor).await
    }

    pub async fn record_of(&self, visitor: &Visitor) -> SessionRecord {
        let ours = |record: &SessionRecord| {
            let agent = record
                .request
                .as_ref()
                .and_then(|it| it.user_agent.as_ref());
            agent.is_some_and(|agent| agent.as_str() == visitor.agent)
        };
        let look = || self.records().into_iter().find(|record| ours(record));
        let found = poll(STEP, look)
            .await
            .unwrap_or_else(|| panic!("no record:\n{}", records::summary(&self.records())));
        self.seen.set(websockets(&self.container).len());
        found
    }

    /// The next record of an upgrade attempt.
    pub async fn newest(&self) -> SessionRecord {
        let seen = self.seen.get();
        let look = || websockets(&self.container).into_iter().nth(seen);
        let found = poll(STEP, look).await.expect("a record");
        self.seen.set(seen + 1);
        found
    }

    /// How many upgrade attempts it has recorded, one that is made now included.
    pub async fn settled(&self) -> usize {
        let marker = Visitor::command_line();
        let conn = self.connect_from(&self.container, "wstap").await;
        marker.visit(conn).await;
        self.record_of(&marker).await;
        websockets(&self.container).len()
    }

    pub fn records(&self) -> Vec<SessionRecord> {
        records::read(&records_file(&self.container))
    }

    fn addr(&self) -> SocketAddr {
        (self.container.addr(), PORT).into()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        let unexplained = records::unexplained(&self.container.state());
        assert!(
            unexplained.is_empty() || std::thread::panicking(),
            "{unexplained}"
        );
    }
}

fn records_file(container: &Container) -> std::path::PathBuf {
    container.state().join("records.jsonl")
}

fn websockets(container: &Container) -> Vec<SessionRecord> {
    let mut found = records::read(&records_file(container));
    found.retain(is_websocket);
    found
}

/// The program in a container, as image and Compose file run it.
fn wstap(container: &Container, args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
    command.args(args).env("WSTAP_CONFIG", CONFIG_INSIDE);
    command.env("NO_COLOR", "1").envs(env.iter().copied());
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(CONFIG);
    container.run_confined(&command, user(), &config)
}

/// The image's user.
fn user() -> u32 {
    let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/Dockerfile");
    let text = fs::read_to_string(dockerfile).expect("read the Dockerfile");
    let user = text.lines().find_map(|line| line.strip_prefix("USER "));
    let (user, _) = user.and_then(|it| it.split_once(':')).expect("a USER");
    user.parse().expect("a number")
}

/// The real command line tool in its container, with a device that it keeps.
pub struct CommandLine<'a> {
    pub container: Container,
    install: &'a Install,
}

impl CommandLine<'_> {
    /// `gateway call METHOD` to a URL, trusting the tap's development CA.
    pub async fn call(&self, method: &str, url: &str, tap: &Service) -> Output {
        self.run(&["gateway", "call", method], url, tap).await
    }

    /// Like `call`, with any command.
    pub async fn run(&self, args: &[&str], url: &str, tap: &Service) -> Output {
        let mut command = command(self.install, self.container.folder());
        command
            .args(args)
            .args(["--url", url, "--token", TOKEN])
            .env(
                "OPENCLAW_CONFIG_PATH",
                self.container.folder().join("none.json"),
            )
            .env(
                "NODE_EXTRA_CA_CERTS",
                tap.container.state().join("dev-ca.pem"),
            );
        let mut command = self.container.run(&command);
        command.stdin(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        let running = timeout(LIMIT, command.kill_on_drop(true).output()).await;
        let output = running
            .expect("it hangs")
            .expect("run the command line tool");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Output {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            code: output.status.code(),
        }
    }
}
