//! The image and the Compose files in a container engine, unedited, with the commands of
//! `deploy/README.md`, the real gateway and its real command line tool.
//!
//! One thing is not real: the compiler. `deploy/Dockerfile` is built as it is, on stand-ins for its base
//! images (`support::engine`), and the stand-in's `cargo` hands out the program that the other tests run
//! instead of compiling it once more for six minutes. So everything of the file is tested but that its
//! sources compile in `rust:slim`; `deploy::dockerfile` has Cargo read the context.
//!
//! `docker compose` is `docker-compose` here, and `sudo` is left out.

mod attach;
mod map;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use wstap::session::SessionRecord;
use wstap::session::record::dialect::{ConnectResult, DialectFacts};
use wstap::session::record::verdict::ActOn;
use wstap::session::record::{Class, GatewayErrorKind};

use super::visitor::{Answer, Visitor};
use super::{Install, turn};
use crate::support::certs;
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll, within};
use crate::support::engine::{Engine, Said};
use crate::support::records::{self, class, is_websocket, rule};
use crate::support::skip::skip;
use crate::support::wire::Wire;

const IMAGE: &str = "wstap:0.1.0";
const OPENCLAW: &str = "openclaw:local";
/// A gateway in a container reads a gigabyte of programs when it starts, beside other tests.
const START: Duration = Duration::from_mins(4);

/// The repository's `deploy/` and `config/` in a folder of the test's, and the engine.
struct Project {
    engine: Engine,
    root: TempDir,
    /// `-f FILE …`, or nothing.
    files: &'static str,
}

impl Project {
    async fn new(test: &str, install: &Install, files: &'static str) -> Option<Self> {
        let engine = engine(test).await?;
        let modules = install.openclaw.ancestors().nth(2).expect("node_modules");
        engine.import_gateway(modules, OPENCLAW).await;
        let root = TempDir::new().expect("a temporary folder");
        for folder in ["deploy", "config"] {
            fs::create_dir(root.path().join(folder)).expect("create a folder");
            for file in fs::read_dir(repository(folder)).expect("read a folder") {
                let file = file.expect("a file");
                // What somebody has made there is not the repository's.
                if file.path().is_file() {
                    let copy = root.path().join(folder).join(file.file_name());
                    fs::copy(file.path(), copy).expect("copy a file");
                }
            }
        }
        build(&engine, "docker build ").await;
        Some(Self {
            engine,
            root,
            files,
        })
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("deploy")
    }

    /// Runs commands in `deploy/`, as the page has them.
    async fn run(&self, script: &str) -> Said {
        let compose = format!("docker-compose {}", self.files);
        let script = script
            .replace("sudo ", "")
            .replace("docker compose -f compose.shared.yaml", "docker compose")
            .replace(
                "docker compose -f docker-compose.yml -f compose.upstream-override.yaml",
                "docker compose",
            )
            .replace("docker compose exec", "docker compose exec -T")
            .replace("docker compose", compose.trim());
        self.engine.shell(&self.folder(), &script).await
    }

    /// Runs the real command line tool in a container, as the page says.
    async fn cli(&self, args: &str) -> Said {
        let cli = block("cli() {");
        let (function, _) = cli.rsplit_once("cli gateway").expect("an example");
        self.run(&format!("{function}cli {args}")).await
    }

    /// The same with a token that is wrong.
    async fn cli_with_wrong_token(&self, args: &str) -> Said {
        let cli = block("cli() {");
        let (function, _) = cli.rsplit_once("cli gateway").expect("an example");
        let wrong = "TOKEN=0123456789abcdef0123456789abcdef0123456789";
        self.run(&format!("{function}{wrong}\ncli {args}")).await
    }

    /// Runs it in the gateway's network namespace, with the token that this command prints.
    async fn call_inside(&self, token: &str) {
        let script = format!(
            "docker run --rm --network \"container:$(docker compose ps -q openclaw-gateway)\" \
             openclaw:local node dist/index.js gateway call health \
             --url ws://127.0.0.1:18789 --token \"$({token})\""
        );
        self.run(&script).await.fine("gateway call health");
    }

    fn records(&self) -> Vec<SessionRecord> {
        let volume = self.engine.volume("deploy_wstap-state");
        let mut found = records::read(&volume.join("records.jsonl"));
        found.retain(is_websocket);
        found
    }

    /// The record of the session that a command has just had: the last one, and a new one.
    async fn record_after(&self, before: usize) -> SessionRecord {
        let look = || self.records().split_off(before).pop();
        let found = poll(STEP, look).await;
        found.unwrap_or_else(|| panic!("no record:\n{}", records::summary(&self.records())))
    }

    /// A connection from outside by the published port.
    async fn connect(&self) -> Conn {
        let tcp = self.engine.connect(8443).expect("the published port");
        tcp.set_nonblocking(true).expect("set non-blocking");
        let tcp = tokio::net::TcpStream::from_std(tcp).expect("a tokio stream");
        let trust = certs::trusting_file(&self.folder().join("dev-ca.pem"));
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = within("TLS", TlsConnector::from(trust).connect(name, tcp)).await;
        Conn::bounded(Wire::Tls(Box::new(tls.expect("TLS").into())))
    }

    /// The record of a visit from outside. The gateway's token is not this visitor's.
    async fn visited(&self) -> SessionRecord {
        self.visited_by(&Visitor::command_line()).await.1
    }

    async fn visited_by(&self, visitor: &Visitor) -> (Answer, SessionRecord) {
        let answer = visitor.visit(self.connect().await).await;
        let is_it = |record: &SessionRecord| {
            let request = record.request.as_ref();
            let agent = request.and_then(|it| it.user_agent.as_ref());
            agent.is_some_and(|agent| agent.as_str() == visitor.agent)
        };
        let look = || self.records().into_iter().find(|record| is_it(record));
        (answer, poll(STEP, look).await.expect("a record"))
    }

    /// Waits until the gateway is ready, as it says itself in its container.
    async fn gateway_is_up(&self) {
        // Its own probe: ten wrong tokens within a minute would lock our address out.
        let script = "docker compose exec openclaw-gateway bash -c 'exec 3<>/dev/tcp/127.0.0.1/18789
            printf \"GET /readyz HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n\" >&3
            head -n 1 <&3 | grep -q \" 200 \"'";
        let deadline = Instant::now() + START;
        while self.run(script).await.code != Some(0) {
            assert!(Instant::now() < deadline, "the gateway does not start");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// What the engine knows of a service's container.
    async fn inspect(&self, service: &str) -> Value {
        let script = format!("docker inspect \"$(docker compose ps -q {service})\"");
        let said = self.run(&script).await.fine("docker inspect");
        let mut all: Value = serde_json::from_str(&said.stdout).expect("JSON");
        all[0].take()
    }

    async fn up(&self, setup: &str) {
        self.run(&block(setup)).await.fine("the first start");
        let copy = block("docker cp ");
        let deadline = Instant::now() + START;
        while self.run(&copy).await.code != Some(0) {
            assert!(Instant::now() < deadline, "no CA in the volume");
        }
        self.gateway_is_up().await;
    }
}

/// A running engine with the base images; `None`: skip.
async fn engine(test: &str) -> Option<Engine> {
    let engine = match Engine::start().await {
        Ok(engine) => engine,
        Err(why) => {
            skip(test, &why);
            return None;
        }
    };
    let dockerfile = fs::read_to_string(repository("deploy/Dockerfile")).expect("read a file");
    let program = Path::new(env!("CARGO_BIN_EXE_wstap"));
    engine.import_bases(program, &dockerfile).await;
    Some(engine)
}

/// Builds an image by the first line of the block that has these words.
async fn build(engine: &Engine, words: &str) {
    let block = block(words);
    let line = block.lines().next().expect("a line");
    let outcome = engine.shell(&repository(""), line).await;
    outcome.fine("docker build");
}

/// The block of commands in `deploy/README.md` that has these words.
fn block(words: &str) -> String {
    let page = fs::read_to_string(repository("deploy/README.md")).expect("read the page");
    let blocks = page.split("```sh\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    let found = blocks.find(|block| block.contains(words));
    found.unwrap_or_else(|| panic!("no {words}")).to_owned()
}

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn next(record: &SessionRecord) -> &str {
    &record.verdict.as_ref().expect("a verdict").next
}

fn act_on(record: &SessionRecord) -> ActOn {
    record.verdict.as_ref().expect("a verdict").act_on
}

#[tokio::test]
async fn compose_on_a_bridge_network() {
    let test = "live: containers";
    let Some((_turn, install)) = turn(test).await else {
        return;
    };
    let Some(project) = Project::new(test, &install, "").await else {
        return;
    };
    project.up("cp openclaw.json openclaw/").await;
    assert_the_image(&project).await;
    a_command_line_in_a_container(&project).await;
    past_the_tap(&project, "cat secrets/openclaw-gateway-token").await;
    an_outage_leaves_the_tap_healthy(&project, |record| {
        let advice =
            "check the name in gateway.url, or its container is not running: `docker compose ps";
        assert_eq!(rule(record), "gateway.unreachable.dns");
        assert!(next(record).starts_with(advice), "{}", next(record));
    })
    .await;
    a_crash_loop(&project, |record| {
        rule(record) == "gateway.unreachable.dns"
            && next(record)
                .contains("restarts again and again, read `docker compose logs openclaw-gateway`")
    })
    .await;
}

#[tokio::test]
async fn compose_in_one_namespace() {
    let test = "live: containers, one namespace";
    let Some((_turn, install)) = turn(test).await else {
        return;
    };
    let files = "-f compose.shared.yaml";
    let Some(project) = Project::new(test, &install, files).await else {
        return;
    };
    project.up("cp openclaw.shared.json openclaw/").await;
    a_command_line_in_a_container(&project).await;
    past_the_tap(&project, "cat secrets/openclaw-gateway-token").await;
    let refused = |record: &SessionRecord| {
        rule(record) == "gateway.unreachable.loopback_in_container"
            && next(record).contains("or start the gateway")
    };
    an_outage_leaves_the_tap_healthy(&project, |record| {
        assert!(refused(record), "{}", rule(record));
    })
    .await;
    a_crash_loop(&project, refused).await;
}

/// Nothing but the program, and nothing that others could read or write.
async fn assert_the_image(project: &Project) {
    let script = "docker run --rm --entrypoint sh wstap:0.1.0 -c '
        id -u
        stat -c %a:%u:%g /var/lib/wstap /usr/local/bin/wstap
        ls /etc/ssl/certs'";
    let said = project.run(script).await.fine("the image");
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(
        lines,
        ["10001", "700:10001:10001", "755:0:0", "ca-certificates.crt"]
    );
    let volume = project.engine.volume("deploy_wstap-state");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(volume).expect("a volume").permissions(),
    );
    assert_eq!(mode & 0o777, 0o700, "the volume has the image's mode");
    let tap = project.inspect("wstap").await;
    assert_eq!(tap["Config"]["Image"], IMAGE);
    assert_eq!(tap["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(tap["HostConfig"]["CapDrop"], json!(["ALL"]));
}

/// A wrong token, the right one, and a device that is approved with the command of the page.
async fn a_command_line_in_a_container(project: &Project) {
    let before = project.records().len();
    let wrong = project.cli_with_wrong_token("gateway call health").await;
    assert_ne!(wrong.code, Some(0), "{}", wrong.stdout);
    let record = project.record_after(before).await;
    assert_eq!(class(&record), Class::GatewayAuth);
    assert_eq!(rule(&record), "gateway.auth.token_mismatch");

    let before = project.records().len();
    let fine = project.cli("gateway call health").await;
    fine.fine("gateway call health");
    let record = project.record_after(before).await;
    assert_eq!(class(&record), Class::Ok);
    let dialect = record
        .dialect
        .as_ref()
        .and_then(DialectFacts::openclaw)
        .expect("a dialect");
    assert_eq!(dialect.result, ConnectResult::Accepted);

    let before = project.records().len();
    for args in ["cron list", "devices list"] {
        let refused = project.cli(args).await;
        assert_ne!(refused.code, Some(0), "{}", refused.stdout);
    }
    let record = project.record_after(before).await;
    assert_eq!(class(&record), Class::GatewayPairing);
    let facts = record.dialect.as_ref().and_then(DialectFacts::openclaw);
    let error = facts.and_then(|facts| facts.error.as_ref());
    let request = error.and_then(|error| error.request_id.as_ref());
    let request = request.expect("a request").as_str().to_owned();
    assert!(next(&record).contains(&request), "{}", next(&record));
    let approve = block("devices approve REQUEST_ID");
    let approve = approve.replace("REQUEST_ID", &request);
    project.run(&approve).await.fine("devices approve");
    let before = project.records().len();
    project.cli("devices list").await.fine("devices list");
    assert_eq!(class(&project.record_after(before).await), Class::Ok);
}

/// A command line in the gateway's namespace leaves no record, as the page says.
async fn past_the_tap(project: &Project, token: &str) {
    let before = project.records().len();
    project.call_inside(token).await;
    // Ours, that comes after it, and nothing else.
    project.visited().await;
    assert_eq!(project.records().len(), before + 1);
}

/// The engine's health check asks for liveness; `/readyz` covers the gateway.
async fn an_outage_leaves_the_tap_healthy(project: &Project, explained: impl Fn(&SessionRecord)) {
    project
        .run("docker compose stop -t 5 openclaw-gateway")
        .await
        .fine("stop");
    let checks = |tap: &Value| {
        let log = tap["State"]["Health"]["Log"].as_array().cloned();
        log.unwrap_or_default()
    };
    let last = checks(&project.inspect("wstap").await).pop();
    let record = project.visited().await;
    assert_eq!(class(&record), Class::GatewayUnreachable);
    explained(&record);
    let answer = "docker compose exec wstap bash -c 'exec 3<>/dev/tcp/127.0.0.1/8480
        printf \"GET /readyz HTTP/1.1\\r\\nHost: 127.0.0.1:8480\\r\\nConnection: close\\r\\n\\r\\n\" >&3
        head -n 1 <&3'";
    let answer = project.run(answer).await.fine("/readyz");
    assert!(answer.stdout.starts_with("HTTP/1.1 503 "), "{answer:?}");
    let ready = project
        .run("docker compose exec wstap wstap health --ready")
        .await;
    assert_eq!(ready.code, Some(1), "{ready:?}");
    assert!(ready.stdout.starts_with("not ready: gateway "), "{ready:?}");
    // Two checks of the engine's that began after the gateway was gone.
    let deadline = Instant::now() + START;
    loop {
        let tap = project.inspect("wstap").await;
        let log = checks(&tap);
        let known = log.iter().position(|check| Some(check) == last.as_ref());
        let new = &log[known.map_or(0, |at| at + 1)..];
        if new.len() >= 2 {
            assert!(new.iter().all(|check| check["ExitCode"] == 0), "{log:?}");
            assert_eq!(tap["State"]["Health"]["Status"], "healthy");
            break;
        }
        assert!(Instant::now() < deadline, "the engine does not check");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    project
        .run("docker compose start openclaw-gateway")
        .await
        .fine("start");
    project.gateway_is_up().await;
    let before = project.records().len();
    let fine = project.cli("gateway call health").await;
    fine.fine("gateway call health after a restart");
    assert_eq!(class(&project.record_after(before).await), Class::Ok);
}

/// A broken image, as after an upgrade: the gateway's program ends as soon as it starts. An engine waits
/// longer each time before the next start, unless the one before took ten seconds.
async fn a_crash_loop(project: &Project, is_explained: impl Fn(&SessionRecord) -> bool) {
    let broken = "docker build -q -t openclaw:broken - <<'END'
FROM openclaw:local
USER root
RUN echo 'process.exit(1)' >dist/index.js
USER node
END
OPENCLAW_IMAGE=openclaw:broken docker compose up -d --no-deps openclaw-gateway";
    project.run(broken).await.fine("a broken gateway");
    let deadline = Instant::now() + START;
    let record = loop {
        let record = loop {
            let gateway = project.inspect("openclaw-gateway").await;
            if gateway["RestartCount"].as_u64() > Some(1)
                && gateway["State"]["Status"] == "restarting"
            {
                break project.visited().await;
            }
            assert!(Instant::now() < deadline, "{}", gateway["State"]);
        };
        if is_explained(&record) {
            break record;
        }
        let rest = records::summary(&project.records());
        assert!(Instant::now() < deadline, "never explained:\n{rest}");
    };
    assert_eq!(class(&record), Class::GatewayUnreachable);
    assert_eq!(act_on(&record), ActOn::Operator);
    let gateway = record.gateway.as_ref().expect("a gateway");
    let kind = gateway.error.as_ref().map(|error| error.kind);
    let kinds = [GatewayErrorKind::Dns, GatewayErrorKind::Refused];
    assert!(kind.is_some_and(|kind| kinds.contains(&kind)), "{kind:?}");
}

/// A file of the shape that OpenClaw ships: the gateway publishes its port, and the command line shares the
/// gateway's namespace.
const UPSTREAM: &str = r#"
services:
  openclaw-gateway:
    image: ${OPENCLAW_IMAGE:-openclaw:local}
    environment:
      HOME: /home/node
      OPENCLAW_GATEWAY_TOKEN: ${OPENCLAW_GATEWAY_TOKEN}
    volumes:
      - ${OPENCLAW_CONFIG_DIR}:/home/node/.openclaw
    ports:
      - "${OPENCLAW_GATEWAY_PORT:-18789}:18789"
    init: true
    restart: unless-stopped
    command: ["node", "dist/index.js", "gateway", "--bind", "${OPENCLAW_GATEWAY_BIND:-lan}", "--port", "18789"]
  openclaw-cli:
    image: ${OPENCLAW_IMAGE:-openclaw:local}
    network_mode: "service:openclaw-gateway"
    environment:
      HOME: /home/node
      OPENCLAW_GATEWAY_TOKEN: ${OPENCLAW_GATEWAY_TOKEN}
    volumes:
      - ${OPENCLAW_CONFIG_DIR}:/home/node/.openclaw
    stdin_open: true
    tty: true
    init: true
    entrypoint: ["node", "dist/index.js"]
    depends_on: [openclaw-gateway]
"#;

const OVERRIDE: &str = "-f docker-compose.yml -f compose.upstream-override.yaml";

#[tokio::test]
async fn the_tap_in_front_of_openclaws_own_file() {
    let test = "live: containers, OpenClaw's own file";
    let Some((_turn, install)) = turn(test).await else {
        return;
    };
    let Some(project) = Project::new(test, &install, OVERRIDE).await else {
        return;
    };
    let folder = project.folder();
    fs::write(folder.join("docker-compose.yml"), UPSTREAM).expect("write a file");
    let env = "OPENCLAW_CONFIG_DIR=./openclaw\nOPENCLAW_GATEWAY_PORT=127.0.0.1:18789\n\
               OPENCLAW_GATEWAY_TOKEN=";
    let config = json!({ "gateway": {
        "mode": "local", "auth": { "mode": "token" },
        "controlUi": { "allowedOrigins": ["https://localhost:8443"] },
    } });
    fs::create_dir(folder.join("openclaw")).expect("create a folder");
    fs::write(folder.join("openclaw/openclaw.json"), config.to_string()).expect("write a file");
    fs::write(folder.join(".env"), env).expect("write a file");
    project
        .run("openssl rand -hex 32 >>.env && chown -R 1000 openclaw")
        .await
        .fine("the token");
    let run = block("run --rm openclaw-cli");
    let (up, call) = run.split_once('\n').expect("two commands");
    project.run(up).await.fine("the first start");
    let copy = block("docker cp ");
    project.run(&copy).await.fine("the CA");
    project.gateway_is_up().await;

    let call = call.replace("run --rm", "run --rm -T");
    let wrong = call.replace(
        "openclaw-cli",
        "-e OPENCLAW_GATEWAY_TOKEN=0123456789abcdef0123 openclaw-cli",
    );
    let before = project.records().len();
    let said = project.run(&wrong).await;
    assert_ne!(said.code, Some(0), "{}", said.stdout);
    let record = project.record_after(before).await;
    assert_eq!(class(&record), Class::GatewayAuth);
    assert_eq!(rule(&record), "gateway.auth.token_mismatch");
    assert!(
        record.client.addr.starts_with("127.0.0.1:"),
        "{}",
        record.client.addr
    );

    let before = project.records().len();
    project.run(&call).await.fine("gateway call health");
    assert_eq!(class(&project.record_after(before).await), Class::Ok);

    // Where it is without the override.
    past_the_tap(&project, "sed -n s/^OPENCLAW_GATEWAY_TOKEN=//p .env").await;
    attach::the_real_gateway(&project).await;

    project
        .run("docker compose stop -t 5 openclaw-gateway")
        .await
        .fine("stop");
    let record = project.visited().await;
    assert_eq!(rule(&record), "gateway.unreachable.dns");
}
