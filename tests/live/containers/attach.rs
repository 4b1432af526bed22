//! `wstap attach` and container engines: beside the gateway's container by the commands of `deploy/README.md`,
//! and from the engine's host.
//!
//! The gateway of the long test is a stand-in that names its clients: a server of this process whose socket is in
//! the container's network namespace, as are the clients' sockets in theirs. Its container does nothing.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::timeout;
use wstap::session::SessionRecord;
use wstap::session::record::{Class, TapMode};

use super::super::ONE;
use super::{Project, block, build, engine};
use crate::peers::names_its_client::{self, Namer};
use crate::probe::{broken, rung};
use crate::support::attached;
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, promised};
use crate::support::engine::{Engine, Said};
use crate::support::frame::Frame;
use crate::support::netns::in_namespace;
use crate::support::records::{self, class};
use crate::support::wire::Wire;

/// What the commands of the page name.
const GATEWAY: &str = "openclaw-gateway";
const PORT: u16 = 18789;

/// How soon new connections go straight to the gateway again.
const PROMISED: Duration = Duration::from_secs(5);

/// For one attempt while the tap is going down.
const ATTEMPT: Duration = Duration::from_secs(1);

/// A container on the gateway's network that does nothing.
const IDLE: &str = "docker run -d --init --network attach";

/// The engine with a gateway and a client in containers.
struct Place {
    engine: Engine,
    gateway: Ipv4Addr,
    _stand_in: Namer,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// In the gateway's network namespace.
    Inside,
    /// In another container on the same bridge.
    Beside,
}

impl Place {
    async fn new(engine: Engine) -> Self {
        let script = format!(
            "docker network create attach
             {IDLE} --name {GATEWAY} -p 127.0.0.1:{PORT}:{PORT} debian:bookworm-slim sleep infinity
             {IDLE} --name client debian:bookworm-slim sleep infinity"
        );
        engine.shell(engine.folder(), &script).await.fine("start");
        let script = format!(
            "docker inspect -f '{{{{.NetworkSettings.Networks.attach.IPAddress}}}}' {GATEWAY}"
        );
        let said = engine.shell(engine.folder(), &script).await.fine("inspect");
        let namespace = engine.namespace(GATEWAY).await;
        // As Node listens. The container has no IPv6.
        let listener = in_namespace(namespace, || {
            let listener = TcpListener::bind(("::", PORT))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = tokio::net::TcpListener::from_std(listener.expect("bind"));
        Self {
            engine,
            gateway: said.stdout.trim().parse().expect("an address"),
            _stand_in: names_its_client::serve_on(listener.expect("a tokio listener")),
        }
    }

    /// Runs commands of the page, with the volume in a folder of the test's.
    async fn run(&self, script: &str) -> Said {
        self.engine.shell(self.engine.folder(), script).await
    }

    /// Starts a command of the page that stays, in the background and not on a terminal. The stand-in does not
    /// speak as the real gateway does.
    async fn start(&self, command: &str) {
        let command = command.trim_end().replace("--rm -it", "-d --name tap");
        let command = format!("{command} --dialect plain");
        self.run(&command).await.fine("docker run");
        self.said("docker logs tap 2>&1", "attached to port").await;
    }

    /// Runs a command until it prints these words.
    async fn said(&self, script: &str, words: &str) -> String {
        let deadline = Instant::now() + STEP;
        loop {
            let said = self.run(script).await;
            if said.stdout.contains(words) {
                return said.stdout;
            }
            assert!(Instant::now() < deadline, "no {words:?}: {said:?}");
        }
    }

    /// The program on the engine's host.
    async fn attach(&self, arguments: &str) -> Said {
        let program = env!("CARGO_BIN_EXE_wstap");
        let script = format!("{program} attach {arguments}");
        self.engine.on_host(&script).await
    }

    /// It refuses, with these words.
    async fn refuses(&self, arguments: &str, words: &[&str]) {
        let said = self.attach(arguments).await;
        assert_eq!(said.code, Some(1), "{arguments}: {said:?}");
        for word in words {
            assert!(said.stderr.contains(word), "{word:?} in {}", said.stderr);
        }
    }

    async fn connect(&self, from: From) -> std::io::Result<TcpStream> {
        let (container, ip) = match from {
            From::Inside => (GATEWAY, Ipv4Addr::LOCALHOST),
            From::Beside => ("client", self.gateway),
        };
        let to = SocketAddr::from((ip, PORT));
        let namespace = self.engine.namespace(container).await;
        in_namespace(namespace, move || TcpStream::connect_timeout(&to, STEP))
    }

    /// A session from its beginning to its end: the client's own address, and the one that the gateway sees.
    async fn session(&self, from: From) -> (SocketAddr, SocketAddr) {
        let tcp = self.connect(from).await.expect("connect");
        session(tcp).await
    }

    /// Both clients are tapped, and the gateway sees each as it is.
    async fn is_tapped(&self) -> Vec<SocketAddr> {
        let (local, seen) = self.session(From::Inside).await;
        assert_eq!(local.ip(), seen.ip());
        assert_ne!(local.port(), seen.port(), "past the tap");
        let (remote, seen) = self.session(From::Beside).await;
        assert_eq!(remote, seen);
        assert_ne!(remote.ip(), self.gateway);
        vec![local, remote]
    }

    /// The records of this file, once it has this many.
    async fn records(&self, file: &str, count: usize) -> Vec<SessionRecord> {
        let file = self.file(file);
        let deadline = Instant::now() + STEP;
        loop {
            let records = records::read(&file);
            if records.len() >= count {
                return records;
            }
            let summary = records::summary(&records);
            assert!(Instant::now() < deadline, "{count} records: {summary}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.engine.folder().join(name)
    }
}

fn conn(tcp: TcpStream) -> Conn {
    tcp.set_nonblocking(true).expect("set non-blocking");
    let tcp = tokio::net::TcpStream::from_std(tcp).expect("a tokio stream");
    Conn::bounded(Wire::Plain(tcp))
}

async fn session(tcp: TcpStream) -> (SocketAddr, SocketAddr) {
    let own = tcp.local_addr().expect("its address");
    let mut conn = conn(tcp);
    conn.open("/").await;
    let named = conn.frame().await.expect("the gateway names its client");
    let seen = named.as_text().parse().expect("an address");
    conn.send_masked(Frame::close(1000, ""))
        .await
        .expect("send");
    conn.rest().await;
    (own, seen)
}

/// As the status and the first lines show it.
fn named(namespace: &File) -> String {
    let inode = namespace.metadata().expect("its inode").ino();
    format!("net:[{inode}]")
}

fn assert_tapped(records: &[SessionRecord], clients: &[SocketAddr]) {
    for client in clients {
        let record = records
            .iter()
            .find(|it| it.client.addr == client.to_string());
        let summary = records::summary(records);
        let record = record.unwrap_or_else(|| panic!("no record of {client}: {summary}"));
        assert_eq!(record.tap.mode, TapMode::Attached);
        assert_eq!(class(record), Class::Ok);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attach_to_a_gateway_in_a_container() {
    let _turn = ONE.lock().await;
    let Some(engine) = engine("attach: containers").await else {
        return;
    };
    build(&engine, "--target attach").await;
    let place = Place::new(engine).await;
    past_the_tap(&place).await;
    beside_the_gateway(&place).await;
    what_it_needs(&place).await;
    killed(&place).await;
    from_the_host(&place).await;
    probed(&place).await;
    from_elsewhere(&place).await;
    by_its_service(&place).await;
    restarted(&place).await;
}

/// The addresses that the tests below compare are those that the gateway sees anyway.
async fn past_the_tap(place: &Place) {
    for from in [From::Inside, From::Beside] {
        let (own, seen) = place.session(from).await;
        assert_eq!(own, seen, "{from:?}");
    }
}

/// Confined as far as it goes, with the records in a volume; asked and ended from containers without any
/// capability.
async fn beside_the_gateway(place: &Place) {
    place.start(&block("mkdir -p incident")).await;
    let clients = place.is_tapped().await;
    let questions = block("attach --status");
    let (status, detach) = questions.split_once('\n').expect("two commands");
    let said = place.run(status).await.fine("--status");
    assert!(said.stdout.contains("attached to port 18789"), "{said:?}");
    let namespace = named(&place.engine.namespace(GATEWAY).await);
    assert!(said.stdout.contains(&namespace), "{said:?}");
    let records = place.records("incident/incident.jsonl", 2).await;
    assert_tapped(&records, &clients);

    // It takes no orders from another user.
    let other = detach.replace("--user 0", "--user 10001");
    let said = place.run(&other).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("only root"), "{said:?}");

    let said = place.run(detach).await.fine("--detach");
    assert!(said.stdout.starts_with("detached"), "{said:?}");
    let ended = place.run("docker wait tap && docker rm tap").await;
    assert!(ended.stdout.starts_with("0\n"), "{ended:?}");
    past_the_tap(place).await;
    let left = format!(
        "docker run --rm --network container:{GATEWAY} --user 0 --cap-add NET_ADMIN --entrypoint sh \
         wstap:0.1.0-attach -c 'nft list ruleset; echo == ; ip rule; ip route show table all protocol 77'"
    );
    let left = place.run(&left).await.fine("what is left");
    assert!(!left.stdout.contains("wstap"), "{left:?}");
    // Only in the rules and routes: the engine's nftables rules have ports, which may contain any
    // digits.
    let (_, rules) = left.stdout.split_once("==").expect("both");
    assert!(!rules.contains("77"), "{left:?}");
}

/// `NET_ADMIN` as root, and the programs. What is missing is said.
async fn what_it_needs(place: &Place) {
    let command = block("--cap-add NET_ADMIN \\\n  wstap:0.1.0-attach attach");
    for (from, to, words) in [
        ("--user 0 ", "", "--user 0"),
        ("--cap-add NET_ADMIN ", "", "--cap-add NET_ADMIN"),
        ("0.1.0-attach", "0.1.0", "no program nft"),
    ] {
        if to == "0.1.0" {
            build(&place.engine, "docker build ").await;
        }
        let command = command.replace("-it", "").replace(from, to);
        let said = place.run(&command).await;
        assert_eq!(said.code, Some(1), "without {from}: {said:?}");
        assert!(said.stderr.contains("nothing was changed"), "{said:?}");
        assert!(said.stderr.contains(words), "without {from}: {said:?}");
    }
}

/// The first command of the page, and an end without warning.
async fn killed(place: &Place) {
    place
        .start(&block(
            "--cap-add NET_ADMIN \\\n  wstap:0.1.0-attach attach",
        ))
        .await;
    place.is_tapped().await;
    place
        .run("docker kill -s KILL tap && docker wait tap && docker rm tap")
        .await
        .fine("docker kill");
    let began = Instant::now();
    while !is_direct(place).await {
        let waited = began.elapsed();
        assert!(waited < promised(PROMISED), "not direct after {waited:?}");
    }
    eprintln!("direct {:?} after the container's end", began.elapsed());
    for _ in 0..10 {
        past_the_tap(place).await;
    }
}

async fn is_direct(place: &Place) -> bool {
    let attempt = async {
        let tcp = place.connect(From::Inside).await.ok()?;
        let own = tcp.local_addr().ok()?;
        let mut conn = conn(tcp);
        conn.upgrade("/", &[]).await.ok()?;
        let named = conn.frame().await.ok()?;
        Some(named.as_text() == own.to_string())
    };
    timeout(ATTEMPT, attempt).await.ok().flatten() == Some(true)
}

/// By the container's name; not at the port that the engine's proxy has.
async fn from_the_host(place: &Place) {
    place
        .refuses(
            &format!("--port {PORT} --for 1h"),
            &["docker-proxy", "--in container:NAME", "nothing was changed"],
        )
        .await;
    let (records, log) = (place.file("host.jsonl"), place.file("host.log"));
    let (records, log) = (records.display(), log.display());
    let start = format!(
        "--in container:{GATEWAY} --port {PORT} --for 1h --dialect plain --records {records} >{log} 2>&1 &"
    );
    place.attach(&start).await.fine("start");
    let words = format!(
        "port {PORT} in {}",
        named(&place.engine.namespace(GATEWAY).await)
    );
    place.said(&format!("cat {log}"), &words).await;
    let clients = place.is_tapped().await;
    assert_tapped(&place.records("host.jsonl", 2).await, &clients);
    let status = format!("--in container:{GATEWAY} --status --json");
    let said = place.attach(&status).await.fine("--status");
    let status: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(status["port"], PORT);
    assert_eq!(status["ended_count"], 2);
    let detach = format!("--in container:{GATEWAY} --detach");
    place.attach(&detach).await.fine("--detach");
    place.said(&format!("cat {log}"), "2 fine").await;
    past_the_tap(place).await;

    place
        .refuses(
            &format!("--in container:nobody --port {PORT} --for 1h"),
            &["there is no container nobody", "docker ps"],
        )
        .await;
    let stopped = format!("{IDLE} --name stopped debian:bookworm-slim true && docker wait stopped");
    place.run(&stopped).await.fine("a container that has ended");
    place
        .refuses(
            &format!("--in container:stopped --port {PORT} --for 1h"),
            &["the container stopped is not running"],
        )
        .await;
}

/// `wstap probe` from a client's container: its names and its environment are those of the container.
async fn probed(place: &Place) {
    let probe = async |arguments: &str| {
        let program = env!("CARGO_BIN_EXE_wstap");
        let script = format!("{program} probe {arguments} --json");
        let said = place.engine.on_host(&script).await;
        serde_json::from_str::<Value>(&said.stdout)
            .unwrap_or_else(|error| panic!("{error}: {said:?}"))
    };
    let report = probe(&format!("ws://{GATEWAY}:{PORT} --in container:client")).await;
    let place_of = &report["where"];
    assert_eq!(
        place_of["container"]["image"], "debian:bookworm-slim",
        "{report}"
    );
    let id = place
        .run("docker inspect -f '{{.Id}}' client")
        .await
        .fine("inspect");
    assert_eq!(place_of["container"]["id"], id.stdout.trim());
    assert_eq!(place_of["resolver"], serde_json::json!(["127.0.0.11"]));
    let name = rung(&report, "L1.name");
    assert_eq!(
        name["facts"]["answers"],
        serde_json::json!([place.gateway.to_string()])
    );
    assert_eq!(rung(&report, "L1.tcp")["status"], "pass", "{report}");
    // The stand-in is no OpenClaw gateway.
    assert_eq!(report["first_failing"], "L1.challenge", "{report}");

    // Inside a container 127.0.0.1 is the container.
    let report = probe(&format!("ws://127.0.0.1:{PORT} --in container:client")).await;
    let expected = (
        "L1.tcp".to_owned(),
        "gateway.unreachable.loopback_in_container".to_owned(),
    );
    assert_eq!(broken(&report), expected, "{report}");

    let report = probe(&format!("ws://openclaw:{PORT} --in container:client")).await;
    assert_eq!(broken(&report).1, "gateway.unreachable.dns", "{report}");
    let next = &rung(&report, "L1.name")["verdict"]["next"];
    assert!(
        next.as_str()
            .expect("text")
            .contains("`docker compose ps -a openclaw`"),
        "{next}"
    );
}

/// Where the engine's process ids are another's, as with an engine in a virtual machine. This process is in the
/// PID namespace around it.
async fn from_elsewhere(place: &Place) {
    let name = format!("container:{GATEWAY}");
    let mut command = attached::command(&["--in", &name, "--port", "18789", "--for", "1h"]);
    command.env("DOCKER_HOST", place.engine.host());
    let output = tokio::process::Command::from(command).output().await;
    let output = output.expect("run wstap attach");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is another one here"), "{text}");
    assert!(
        text.contains("--network container:openclaw-gateway"),
        "{text}"
    );
}

/// A container that restarts gets another network namespace: a tap that stayed in the old one would claim to be
/// attached, and tap nothing.
async fn restarted(place: &Place) {
    let command = block("--cap-add NET_ADMIN \\\n  wstap:0.1.0-attach attach");
    place.start(&command.replace(GATEWAY, "client")).await;
    place
        .run("docker restart -t 1 client")
        .await
        .fine("restart");
    let ended = place.run("docker wait tap && docker logs tap 2>&1").await;
    assert!(ended.stdout.starts_with("0\n"), "{ended:?}");
    assert!(ended.stdout.contains("lost its interfaces"), "{ended:?}");
}

/// Of a Compose file: one container of the service, none, and several.
async fn by_its_service(place: &Place) {
    let folder = place.file("compose");
    fs::create_dir(&folder).expect("create a folder");
    let file = "services:\n  gateway: { image: 'debian:bookworm-slim', init: true, command: sleep infinity }\n";
    fs::write(folder.join("docker-compose.yml"), file).expect("write a file");
    let compose = async |arguments: &str| {
        let script = format!("docker-compose {arguments}");
        place.engine.shell(&folder, &script).await.fine(arguments)
    };
    compose("up -d").await;
    // Another container of the same service, that serves nobody.
    compose("run -d gateway sleep infinity").await;
    let named = named(&place.engine.namespace("compose_gateway_1").await);
    let attach = format!("--in compose:gateway --port {PORT} --for 1s --grace 1s");
    let said = place.attach(&attach).await.fine("attach");
    assert!(said.stderr.contains(&named), "{named}: {}", said.stderr);
    place
        .refuses(
            &format!("--in compose:nobody --port {PORT} --for 1h"),
            &["no container of the Compose service nobody runs"],
        )
        .await;
    compose("up -d --scale gateway=2").await;
    place
        .refuses(
            &attach,
            &[
                "gateway has 2 containers: compose_gateway_1, compose_gateway_2",
                "--in container:NAME",
            ],
        )
        .await;
}

/// The real gateway, and its own command line tool in its network namespace, which no tap in front of it sees.
pub(super) async fn the_real_gateway(project: &Project) {
    build(&project.engine, "--target attach").await;
    let container = "\"container:$(docker compose ps -q openclaw-gateway)\"";
    let command = block("mkdir -p incident")
        .replace("--rm -it", "-d --name tap")
        .replace("container:openclaw-gateway", container);
    project.run(&command).await.fine("attach");
    let deadline = Instant::now() + STEP;
    while !project
        .run("docker logs tap 2>&1")
        .await
        .stdout
        .contains("attached to port")
    {
        assert!(Instant::now() < deadline, "not attached");
    }
    project
        .call_inside("sed -n s/^OPENCLAW_GATEWAY_TOKEN=//p .env")
        .await;
    let said = project
        .run("docker kill -s TERM tap && docker wait tap")
        .await;
    assert!(said.stdout.ends_with("0\n"), "{said:?}");
    let records = records::read(&project.folder().join("incident/incident.jsonl"));
    let summary = records::summary(&records);
    let local = records
        .iter()
        .find(|it| it.client.addr.starts_with("127.0.0.1:"));
    let record = local.unwrap_or_else(|| panic!("no record of a local client: {summary}"));
    assert_eq!(record.tap.mode, TapMode::Attached);
    assert_eq!(class(record), Class::Ok, "{summary}");
}
