//! Asks a container engine for its containers and their main processes, with GET requests only.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::param::clock_ticks_per_second;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// Where engines listen, unless `DOCKER_HOST` says otherwise. Podman answers the same requests.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/podman/podman.sock"];

/// Time limit for one request, unless the caller has less time.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// Maximum size of an answer.
const MOST: usize = 8 << 20;

/// Maximum difference, in seconds, between the start of a container's process and the time that its
/// engine reports: a slow start, and the kernel's rounding of the boot time.
const START_TOLERANCE: u64 = 5;

/// Compose's label for a container that runs a single command.
const ONE_OFF: &str = "com.docker.compose.oneoff";

/// The engine did not report the process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("DOCKER_HOST is {0}: only the engine of this host can be asked (unix:///path)")]
    Elsewhere(String),
    #[error(
        "found no container engine at {tried}\n  to do: set DOCKER_HOST=unix:///path to its socket, or give a process of the container: --in pid:N"
    )]
    NoEngine { tried: String },
    #[error("failed to ask the container engine at {path}: {why}")]
    Call { path: PathBuf, why: String },
    #[error("there is no container {0}\n  to do: `docker ps` lists the containers")]
    NoContainer(String),
    #[error("the container {0} is not running: `docker ps --all` shows why")]
    NotRunning(String),
    #[error(
        "no container of the Compose service {0} runs\n  to do: `docker compose ps` lists the services"
    )]
    NoService(String),
    #[error(
        "the engine says that the container {name} is process {pid}, and that is another one here: the engine \
         is in a virtual machine or in another PID namespace\n  to do: start wstap inside: `docker run --rm -it \
         --network container:{name} --user 0 --cap-add NET_ADMIN …`, or name a process here by --in pid:N"
    )]
    AnotherProcess { name: String, pid: u32 },
    #[error("{service} has {} containers: {}\n  to do: name one by --in container:NAME", names.len(), names.join(", "))]
    Several { service: String, names: Vec<String> },
}

/// A container, according to its engine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Container {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// Its name, with a slash before it.
    pub name: String,
    /// The id of its image: `sha256:…`.
    pub image: String,
    /// The configuration that it was created with.
    pub config: Configured,
    /// Its state.
    pub state: State,
    /// Its settings on the host.
    pub host_config: HostConfig,
    /// Its networks and addresses.
    pub network_settings: NetworkSettings,
}

impl Container {
    /// The name of the image that it was started from.
    #[must_use]
    pub(crate) fn image_name(&self) -> &str {
        &self.config.image
    }

    /// Its name, or the beginning of its id.
    #[must_use]
    pub(crate) fn short_name(&self) -> &str {
        match self.name.trim_start_matches('/') {
            "" => self.id.get(..12).unwrap_or(&self.id),
            name => name,
        }
    }

    /// A label of Compose's, such as `project`.
    #[must_use]
    pub(crate) fn compose(&self, label: &str) -> Option<&str> {
        let key = format!("com.docker.compose.{label}");
        self.config.labels.get(&key).map(String::as_str)
    }

    /// Its main process, if it runs and is visible to this process.
    #[must_use]
    pub(crate) fn pid(&self) -> Option<u32> {
        let pid = self.state.pid;
        (pid != 0 && is_process_of(pid, self)).then_some(pid)
    }
}

/// The configuration that a container was created with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Configured {
    /// The name of its image.
    pub image: String,
    /// Its labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Its exposed ports, such as `18789/tcp`.
    #[serde(deserialize_with = "or_default")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
}

/// The state of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct State {
    /// `running`, `created`, `exited` and the like.
    pub status: String,
    /// Its main process; 0 without one.
    pub pid: u32,
    /// When that started.
    pub started_at: String,
    /// Why it could not be started; empty if it could.
    pub error: String,
}

/// Texts of engines' errors about a host port that is taken, from Docker Engine 20.10.24: the first
/// if another container has the port, the second if a process outside of the engine has it.
const PORT_IS_TAKEN: [&str; 2] = ["port is already allocated", "address already in use"];

impl State {
    /// Whether it could not be started because somebody else has a port that it wants.
    #[must_use]
    pub(crate) fn port_is_taken(&self) -> bool {
        PORT_IS_TAKEN.iter().any(|it| self.error.contains(it))
    }
}

/// Settings of a container on its host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HostConfig {
    /// `bridge`, `host`, `container:ID` or the name of a network.
    pub network_mode: String,
    /// Ports of the host that it wants, by its own ports: `18789/tcp`.
    #[serde(deserialize_with = "or_default")]
    pub port_bindings: BTreeMap<String, Option<Vec<PortBinding>>>,
}

/// The networks and addresses of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NetworkSettings {
    /// Ports of the host that it has, by its own ports.
    #[serde(deserialize_with = "or_default")]
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Endpoints by the names of the networks.
    #[serde(deserialize_with = "or_default")]
    pub networks: BTreeMap<String, Endpoint>,
}

/// A container in one network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Endpoint {
    /// Its IPv4 address; empty while it does not run.
    #[serde(rename = "IPAddress")]
    pub ip: String,
    /// Its IPv6 address.
    #[serde(rename = "GlobalIPv6Address")]
    pub ipv6: String,
    /// Names by which the network knows it.
    #[serde(rename = "DNSNames", deserialize_with = "or_default")]
    pub dns_names: Vec<String>,
    /// The same in the answers of older engines.
    #[serde(rename = "Aliases", deserialize_with = "or_default")]
    pub aliases: Vec<String>,
}

/// A port of the host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PortBinding {
    /// Empty for all addresses.
    pub host_ip: String,
    /// Digits; empty for any free port.
    pub host_port: String,
}

/// Engines write `null` for empty values.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// All containers, running ones first, up to a maximum, and how many are left out. It ends at the deadline with those
/// that it has; what cannot be read until then is left out.
pub(crate) fn containers(
    most: usize,
    deadline: Instant,
) -> Result<(Vec<Container>, usize), EngineError> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let (path, status, body) = get("/containers/json?all=true", left())?;
    let mut listed: Vec<Listed> = parse(&path, status, &body)?;
    listed.sort_by_key(|it| (it.state != "running", it.id.clone()));
    let mut found = Vec::new();
    let mut left_out = listed.len();
    for it in listed.iter().take(most) {
        if Instant::now() > deadline {
            break;
        }
        match container(&it.id, left()) {
            // It may have gone since it was listed.
            Err(EngineError::NoContainer(_)) => {}
            // A container that the engine cannot describe does not affect the others.
            Err(_) => continue,
            Ok(container) => found.push(container),
        }
        left_out = left_out.saturating_sub(1);
    }
    Ok((found, left_out))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    labels: HashMap<String, String>,
    #[serde(default)]
    state: String,
}

/// The main process of a container, if it is visible to this process.
pub(crate) fn main_process(container: &Container) -> Result<u32, EngineError> {
    let name = container.short_name().to_owned();
    match container.state.pid {
        0 => Err(EngineError::NotRunning(name)),
        pid if is_process_of(pid, container) => Ok(pid),
        pid => Err(EngineError::AnotherProcess { name, pid }),
    }
}

/// A container by its name or id, running or not.
pub(crate) fn container(name: &str, limit: Duration) -> Result<Container, EngineError> {
    let name_in_path = utf8_percent_encode(name, NON_ALPHANUMERIC);
    let target = format!("/containers/{name_in_path}/json");
    let (path, status, body) = get(&target, limit)?;
    if status == StatusCode::NOT_FOUND {
        return Err(EngineError::NoContainer(name.to_owned()));
    }
    parse(&path, status, &body)
}

/// Whether this process is the container's. If the engine does not share our PID namespace, the
/// same number means another process, whose network must not be changed.
///
/// The control group of a container has its id as a name, except with some rootless engines, which
/// create none. A process that started when the container did is accepted as well.
fn is_process_of(pid: u32, container: &Container) -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let groups = read(&format!("/proc/{pid}/cgroup"));
    if !container.id.is_empty() && groups.contains(&container.id) {
        return true;
    }
    let started = started_at(&read("/proc/stat"), &read(&format!("/proc/{pid}/stat")));
    let by_engine = container.state.started_at.parse::<Timestamp>();
    let (Some(started), Ok(by_engine)) = (started, by_engine) else {
        return false;
    };
    started.abs_diff(by_engine.as_second()) <= START_TOLERANCE
}

/// The second in which a process started, computed from `/proc/stat` and its own `stat`
/// (`proc_pid_stat(5)`, field 22).
fn started_at(system: &str, process: &str) -> Option<i64> {
    let boot = system
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?;
    let boot: i64 = boot.trim().parse().ok()?;
    // The name of the program may have spaces and parentheses; state, field 3, comes after it.
    let (_, fields) = process.rsplit_once(") ")?;
    let ticks: u64 = fields.split(' ').nth(19)?.parse().ok()?;
    let seconds = ticks / clock_ticks_per_second();
    boot.checked_add(i64::try_from(seconds).ok()?)
}

/// The only running container of a Compose service.
pub(crate) fn container_of_service(
    service: &str,
    limit: Duration,
) -> Result<Container, EngineError> {
    container(&id_of_service(service, limit)?, limit)
}

fn id_of_service(service: &str, limit: Duration) -> Result<String, EngineError> {
    let label = format!("com.docker.compose.service={service}");
    let filters = serde_json::json!({ "label": [label] }).to_string();
    let filters = utf8_percent_encode(&filters, NON_ALPHANUMERIC);
    let (path, status, body) = get(&format!("/containers/json?filters={filters}"), limit)?;
    let mut listed: Vec<Listed> = parse(&path, status, &body)?;
    // Containers of `docker compose run` do not serve clients.
    listed.retain(|it| it.labels.get(ONE_OFF).is_none_or(|it| it != "True"));
    listed.sort_by(|a, b| a.names.cmp(&b.names));
    match listed.as_slice() {
        [] => Err(EngineError::NoService(service.to_owned())),
        [one] => Ok(one.id.clone()),
        several => Err(EngineError::Several {
            service: service.to_owned(),
            names: several.iter().map(name_of).collect(),
        }),
    }
}

fn name_of(listed: &Listed) -> String {
    let name = listed.names.first().unwrap_or(&listed.id);
    name.trim_start_matches('/').to_owned()
}

fn parse<T: for<'de> Deserialize<'de>>(
    path: &Path,
    status: StatusCode,
    body: &[u8],
) -> Result<T, EngineError> {
    let failed = |why: String| EngineError::Call {
        path: path.to_owned(),
        why,
    };
    if status != StatusCode::OK {
        return Err(failed(format!("it answered {status}")));
    }
    serde_json::from_slice(body).map_err(|error| failed(error.to_string()))
}

fn get(target: &str, limit: Duration) -> Result<(PathBuf, StatusCode, Bytes), EngineError> {
    let path = socket()?;
    let failed = |why: String| EngineError::Call {
        path: path.clone(),
        why,
    };
    // A separate single-threaded runtime, because the namespace must be entered before there are
    // other threads.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let answer = runtime.block_on(async { timeout(limit, call(&path, target)).await });
    match answer {
        Ok(Ok((status, body))) => Ok((path, status, body)),
        Ok(Err(why)) => Err(failed(why)),
        Err(_) => Err(failed(format!(
            "no answer within {:.1} s",
            limit.as_secs_f64()
        ))),
    }
}

async fn call(path: &Path, target: &str) -> Result<(StatusCode, Bytes), String> {
    let stream = UnixStream::connect(path).await.map_err(|error| {
        if error.kind() == io::ErrorKind::PermissionDenied {
            format!("{error}; run it as root, or as a member of the engine's group")
        } else {
            error.to_string()
        }
    })?;
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(words)?;
    tokio::spawn(driver);
    let request = Request::get(target)
        .header(HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(words)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MOST).collect().await;
    let body = body.map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes()))
}

fn socket() -> Result<PathBuf, EngineError> {
    if let Ok(host) = std::env::var("DOCKER_HOST")
        && !host.is_empty()
    {
        return match host.strip_prefix("unix://") {
            Some(path) => Ok(path.into()),
            None => Err(EngineError::Elsewhere(host)),
        };
    }
    let found = SOCKETS.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| EngineError::NoEngine {
        tried: SOCKETS.join(" and "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_a_containers_by_the_time_of_its_start() {
        let own = std::process::id();
        let read = |path: &str| fs::read_to_string(path).unwrap();
        let started = started_at(&read("/proc/stat"), &read("/proc/self/stat"));
        let started = Timestamp::from_second(started.unwrap()).unwrap();
        let container = |started: Timestamp| Container {
            id: "none".to_owned(),
            state: State {
                pid: own,
                started_at: started.to_string(),
                ..State::default()
            },
            ..Container::default()
        };
        assert!(is_process_of(own, &container(started)));
        let hour = jiff::SignedDuration::from_hours(1);
        assert!(!is_process_of(own, &container(started - hour)));
    }

    #[test]
    fn the_name_of_a_program_does_not_shift_its_fields() {
        let process = "7 (a) R b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let ticks = 12_345 / i64::try_from(clock_ticks_per_second()).unwrap();
        assert_eq!(
            started_at("cpu 1\nbtime 1000\n", process),
            Some(1000 + ticks)
        );
        assert_eq!(started_at("", process), None);
    }
}
