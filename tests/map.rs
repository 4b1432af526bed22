//! `wstap map` over the six topologies that gateways run in, each healthy and broken, and what it must not do.

mod engine;
mod limits;
mod owners;
mod proxies;
mod topologies;

use std::process::{Child, Stdio};

use serde_json::Value;
use tokio::process::Command;
use unicode_width::UnicodeWidthStr as _;

use crate::probe::{Run, output_of};
use crate::support::deadline::{STEP, poll};
use crate::support::netns::in_namespace;

/// `wstap map` with these arguments, in an environment with nothing of the tests' own.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
    command.arg("map").args(arguments).kill_on_drop(true);
    for name in [
        "OPENCLAW_GATEWAY_URL",
        "OPENCLAW_CONFIG_PATH",
        "OPENCLAW_STATE_DIR",
    ] {
        command.env_remove(name);
    }
    command
        .env("HOME", "/nonexistent")
        .env("DOCKER_HOST", "unix:///nonexistent")
        .stdin(Stdio::null());
    command
}

/// Its output.
pub async fn run(command: Command) -> Run {
    let run = output_of(command).await;
    for stream in [&run.stdout, &run.stderr] {
        assert!(!stream.contains("canary"), "a secret: {stream}");
    }
    run
}

/// The map in all three forms, which must agree. `engine` is the value of `DOCKER_HOST`.
pub async fn mapped(arguments: &[&str], engine: Option<&str>) -> Value {
    let run = async |form: &[&str]| {
        let mut command = command(arguments);
        command.args(form);
        if let Some(engine) = engine {
            command.env("DOCKER_HOST", engine);
        }
        run(command).await
    };
    let (json, text, markdown) = tokio::join!(run(&["--json"]), run(&[]), run(&["--markdown"]));
    let map: Value = serde_json::from_str(&json.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", json.stdout, json.stderr));
    is_whole(&map);
    let expected = Some(i32::from(!map["broken"].is_null()));
    assert_eq!(json.code, expected, "{map}");
    fits(&text.stdout);
    assert_eq!(text.code, expected, "{}\n{map}", text.stdout);
    assert_eq!(markdown.code, expected, "{}", markdown.stdout);
    assert!(markdown.stdout.contains("```mermaid\nflowchart TD\n"));
    assert_eq!(markdown.stdout.matches("```").count(), 2);
    // A person sees what a program sees.
    assert_eq!(
        text.stdout.contains("BROKEN"),
        expected == Some(1),
        "{}",
        text.stdout
    );
    map
}

/// 24 lines of 80 columns.
pub fn fits(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    assert!((3..=24).contains(&lines.len()), "{}: {text}", lines.len());
    for line in lines {
        assert!(line.width() <= 80, "{line:?}");
    }
}

/// Edges are between nodes, and each is verified by something or says why not.
fn is_whole(map: &Value) {
    assert_eq!(map["schema"], "wstap.map/1");
    let (nodes, edges) = (array(&map["nodes"]), array(&map["edges"]));
    assert_eq!(nodes[0]["kind"], "client", "{map}");
    for (nth, node) in nodes.iter().enumerate() {
        assert_eq!(node["id"], nth);
        let leads_here = |edge: &&Value| edge["to"] == nth;
        let leading = edges.iter().filter(leads_here).count();
        assert_eq!(leading, usize::from(nth > 0), "{nth}: {map}");
    }
    for edge in edges {
        for end in ["from", "to"] {
            assert!(edge[end].as_u64().expect("an id") < nodes.len() as u64);
        }
        assert_eq!(edge["verified"], !edge["by"].is_null(), "{map}");
        assert_eq!(edge["verified"], edge["why_not"].is_null(), "{map}");
    }
    let broken = edges.iter().position(|edge| !edge["broken"].is_null());
    assert_eq!(broken.is_some(), !map["broken"].is_null(), "{map}");
    if let Some(edge) = map["broken"]["edge"].as_u64() {
        let edge = &edges[usize::try_from(edge).expect("small")];
        assert_eq!(edge["broken"], map["broken"]["because"]);
        let next = map["broken"]["next"].as_str().expect("advice");
        assert!(!next.is_empty());
    }
}

pub fn array(value: &Value) -> &Vec<Value> {
    value.as_array().expect("an array")
}

/// The kinds of all nodes, in order.
pub fn kinds(map: &Value) -> Vec<&str> {
    let nodes = array(&map["nodes"]).iter();
    nodes
        .map(|it| it["kind"].as_str().expect("a kind"))
        .collect()
}

/// The source that verified each edge, in order.
pub fn proofs(map: &Value) -> Vec<&str> {
    let edges = array(&map["edges"]).iter();
    edges.map(|it| it["by"].as_str().unwrap_or("-")).collect()
}

/// The node of a kind that comes last.
pub fn node<'a>(map: &'a Value, kind: &str) -> &'a Value {
    let mut nodes = array(&map["nodes"]).iter().rev();
    let found = nodes.find(|it| it["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}: {map}"))
}

/// Kinds of both ends of the broken edge, and what is wrong.
pub fn broken(map: &Value) -> (String, String) {
    let Some(edge) = map["broken"]["edge"].as_u64() else {
        return ("none".to_owned(), String::new());
    };
    let edge = &map["edges"][usize::try_from(edge).expect("small")];
    let kind = |end: &str| {
        let id = edge[end].as_u64().expect("an id");
        let node = &map["nodes"][usize::try_from(id).expect("small")];
        node["kind"].as_str().expect("a kind").to_owned()
    };
    let because = map["broken"]["because"].as_str().expect("a reason");
    (
        format!("{} {}", kind("from"), kind("to")),
        because.to_owned(),
    )
}

/// Healthy: nothing is broken.
pub fn is_fine(map: &Value) {
    assert_eq!(broken(map).0, "none", "{map}");
}

/// The edge between these is broken, for a reason with these words.
pub fn breaks(map: &Value, edge: &str, words: &[&str]) {
    let (found, because) = broken(map);
    assert_eq!(found, edge, "{map}");
    for word in words {
        assert!(because.contains(word), "{word:?} in {because:?}: {map}");
    }
}

/// A process that does nothing; it is killed with this.
pub struct Idle(Child);

impl Idle {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// As `--in` has it.
    pub fn place(&self) -> String {
        format!("pid:{}", self.pid())
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command that becomes `sleep`, and waits until it has.
pub async fn idle(mut command: std::process::Command) -> Idle {
    let child = command.spawn().expect("start a process");
    let idle = Idle(child);
    let comm = format!("/proc/{}/comm", idle.pid());
    let is_up = poll(STEP, || {
        let name = std::fs::read_to_string(&comm).ok()?;
        (name == "sleep\n").then_some(())
    });
    assert!(is_up.await.is_some(), "no process");
    idle
}

pub fn sleep() -> std::process::Command {
    let mut command = std::process::Command::new("sleep");
    command.arg("600").stdin(Stdio::null());
    command
}

/// A listener in the network namespace of a process.
pub fn listener_in(place: &Idle, addr: (std::net::IpAddr, u16)) -> std::net::TcpListener {
    let path = format!("/proc/{}/ns/net", place.pid());
    let namespace = std::fs::File::open(path).expect("open a namespace");
    in_namespace(namespace, move || std::net::TcpListener::bind(addr)).expect("bind")
}

/// A listener that no other process has as a command's stdin, so that the process is its owner.
pub fn given(listener: std::net::TcpListener) -> Stdio {
    Stdio::from(std::os::fd::OwnedFd::from(listener))
}
