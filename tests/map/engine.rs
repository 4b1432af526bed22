//! A stand-in container engine with the containers that a test sets; it records the requests that
//! it gets.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// The engine. It ends when this is dropped.
pub struct Engine {
    folder: TempDir,
    containers: Arc<Mutex<Vec<Value>>>,
    requests: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Engine {
    pub fn start(containers: Vec<Value>) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let listener = UnixListener::bind(folder.path().join("engine")).expect("bind");
        let containers = Arc::new(Mutex::new(containers));
        let requests = Arc::default();
        let (all, log) = (Arc::clone(&containers), Arc::clone(&requests));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // One after the other: the program asks so.
                answer(stream, &all, &log).await;
            }
        });
        Self {
            folder,
            containers,
            requests,
            serving,
        }
    }

    /// As `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path().display())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("engine")
    }

    /// From now on it has these.
    pub fn set(&self, containers: Vec<Value>) {
        *self.containers.lock().expect("the containers") = containers;
    }

    /// The first lines of all requests.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("the requests").clone()
    }
}

async fn answer(mut stream: UnixStream, all: &Mutex<Vec<Value>>, log: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next().unwrap_or_default().to_owned();
    log.lock().expect("the requests").push(line.clone());
    let target = line.split(' ').nth(1).unwrap_or_default();
    let body = found(target, &all.lock().expect("the containers"));
    let fails = body.as_ref().and_then(|it| it["Fails"].as_str());
    if fails == Some("silently") {
        return std::future::pending().await;
    }
    let (status, body) = match body {
        Some(_) if fails.is_some() => ("500 Internal Server Error", "{}".to_owned()),
        Some(body) => ("200 OK", body.to_string()),
        None => ("404 Not Found", "{}".to_owned()),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn found(target: &str, all: &[Value]) -> Option<Value> {
    let (path, _) = target.split_once('?').unwrap_or((target, ""));
    let rest = path.strip_prefix("/containers/")?;
    if rest == "json" {
        let listed = all.iter().map(|it| {
            json!({
                "Id": it["Id"], "Names": [it["Name"]], "Labels": it["Config"]["Labels"],
                "State": it["State"]["Status"],
            })
        });
        return Some(listed.collect());
    }
    let name = percent_decode_str(rest.strip_suffix("/json")?)
        .decode_utf8()
        .ok()?;
    let slashed = format!("/{name}");
    let is_it = |it: &&Value| it["Id"] == *name || it["Name"] == *slashed;
    all.iter().find(is_it).cloned()
}

/// A container as an engine describes it. Its secrets must not come out.
pub fn container(name: &str, project: &str, pid: Option<u32>) -> Value {
    json!({
        "Id": id(name), "Name": format!("/{name}"), "Image": "sha256:0",
        "Config": {
            "Image": "openclaw:local",
            "Env": ["OPENCLAW_GATEWAY_TOKEN=canary-of-the-engine"],
            "Labels": {
                "com.docker.compose.project": project, "com.docker.compose.service": "gateway",
            },
        },
        "State": {
            "Status": if pid.is_some() { "running" } else { "created" },
            "Pid": pid.unwrap_or(0), "StartedAt": started(pid), "Error": "",
        },
        "HostConfig": { "NetworkMode": format!("{project}_default"), "PortBindings": {} },
        "NetworkSettings": { "Ports": {}, "Networks": {} },
    })
}

/// One that the engine lists and does not describe: it answers 500, or nothing.
pub fn failing(mut container: Value, silently: bool) -> Value {
    container["Fails"] = json!(if silently { "silently" } else { "with 500" });
    container
}

/// When a process started, as an engine notes it.
fn started(pid: Option<u32>) -> String {
    let read = |path: &str| std::fs::read_to_string(path).expect("read a file");
    let Some(pid) = pid else {
        return "0001-01-01T00:00:00Z".to_owned();
    };
    let stat = read(&format!("/proc/{pid}/stat"));
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    let ticks: u64 = (fields.split(' ').nth(19))
        .and_then(|it| it.parse().ok())
        .expect("field 22");
    let seconds = i64::try_from(ticks / rustix::param::clock_ticks_per_second()).expect("small");
    let system = read("/proc/stat");
    let boot = system.lines().find_map(|it| it.strip_prefix("btime "));
    let boot: i64 = boot.and_then(|it| it.parse().ok()).expect("a time");
    let at = jiff::Timestamp::from_second(boot + seconds).expect("a time");
    at.to_string()
}

/// 64 digits, the same for the same name.
pub fn id(name: &str) -> String {
    let digits = data_encoding::HEXLOWER.encode(name.as_bytes());
    format!("{digits:0<64}")
}
