//! `wstap map` and a real engine: a published port, a shared namespace before and after the gateway's container is
//! started again, and two Compose projects of which the second cannot have the port.
//!
//! The gateways are programs of five lines that accept connections and say nothing.

use std::time::Instant;

use serde_json::Value;

use super::super::ONE;
use super::engine;
use crate::map::{breaks, fits, is_fine, kinds, node};
use crate::probe::rung;
use crate::support::deadline::STEP;
use crate::support::engine::Engine;

/// A listener at an address, which keeps what it accepts.
const GATEWAY: &str = "socket(S, PF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1); \
                       bind(S, sockaddr_in(18789, inet_aton(shift))); listen(S, 9); \
                       while (accept(my $$c, S)) { push @all, $$c }";

fn compose(bound: &str) -> String {
    format!(
        "version: '3'
services:
  gateway:
    image: debian:bookworm-slim
    init: true
    stop_grace_period: 1s
    command: [perl, -MSocket, -e, '{GATEWAY}', '{bound}']
    ports: ['18789:18789']
  client:
    image: debian:bookworm-slim
    init: true
    stop_grace_period: 1s
    command: [sleep, infinity]
    network_mode: 'service:gateway'
"
    )
}

/// The map of a run on the engine's host.
async fn mapped(engine: &Engine, arguments: &str) -> Value {
    let program = env!("CARGO_BIN_EXE_wstap");
    let text = engine.on_host(&format!("{program} map {arguments}")).await;
    eprintln!("{}", text.stdout);
    fits(&text.stdout);
    let said = engine
        .on_host(&format!("{program} map --json {arguments}"))
        .await;
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// The same, once the program in the container listens.
async fn mapped_when_up(engine: &Engine, arguments: &str) -> Value {
    let deadline = Instant::now() + STEP;
    loop {
        let map = mapped(engine, arguments).await;
        if map["broken"].is_null() || Instant::now() > deadline {
            return map;
        }
    }
}

/// The name of a service's container.
async fn container(engine: &Engine, service: &str) -> String {
    let script = format!(
        "docker ps -a --filter label=com.docker.compose.service={service} --format '{{{{.Names}}}}'"
    );
    let said = engine.shell(engine.folder(), &script).await.fine("ps");
    said.stdout.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn map_of_compose_projects() {
    let _turn = ONE.lock().await;
    let Some(engine) = engine("map: containers").await else {
        return;
    };
    let up = async |project: &str, bound: &str| {
        let file = engine.folder().join(format!("{project}.yaml"));
        std::fs::write(&file, compose(bound)).expect("write a file");
        let script = format!("docker-compose -p {project} -f {} up -d", file.display());
        engine.shell(engine.folder(), &script).await
    };
    up("a", "0.0.0.0").await.fine("up");
    let map = mapped_when_up(&engine, "").await;
    is_fine(&map);
    let (gateway, client) = (
        container(&engine, "gateway").await,
        container(&engine, "client").await,
    );
    let process = node(&map, "process");
    assert_eq!(process["container"]["name"], gateway, "{map}");
    assert_eq!(process["container"]["project"], "a");
    assert!(kinds(&map).contains(&"published_port"), "{map}");
    let owner = &map["claims"]["ports"][0]["owner"];
    assert_eq!(owner["container"]["name"], gateway, "{map}");

    // A second project cannot have the port.
    let said = up("b", "0.0.0.0").await;
    assert_ne!(said.code, Some(0), "{said:?}");
    let map = mapped(&engine, "").await;
    let (words, kind) = (["(project b)", "(project a)"], "published_port listener");
    breaks(&map, kind, &words);
    let wanted = &map["claims"]["ports"][0]["wanted_by"][0];
    assert_eq!(wanted["container"]["project"], "b", "{map}");
    let script = "docker-compose -p b -f b.yaml down -t 1";
    engine.shell(engine.folder(), script).await.fine("down");

    // The client shares the gateway's namespace, until that is another.
    let place = format!("--in container:{client}");
    let map = mapped_when_up(&engine, &place).await;
    is_fine(&map);
    assert_eq!(node(&map, "process")["container"]["name"], gateway);
    let label = node(&map, "client")["label"].as_str().expect("a label");
    assert!(label.contains(&format!("network of container {gateway}")));
    let script = format!("docker restart -t 1 {gateway}");
    engine.shell(engine.folder(), &script).await.fine("restart");
    let map = mapped(&engine, &place).await;
    let words = ["no longer the gateway's", gateway.as_str()];
    breaks(&map, "client address", &words);
    let program = env!("CARGO_BIN_EXE_wstap");
    let script = format!("{program} probe --json ws://127.0.0.1:18789 {place}");
    let said = engine.on_host(&script);
    let report: Value = serde_json::from_str(&said.await.stdout).expect("a report");
    let rung = rung(&report, "where");
    assert_eq!(rung["status"], "warn", "{report}");
    let because = rung["because"].as_str().expect("words");
    for word in words {
        assert!(because.contains(word), "{because}");
    }
    assert_eq!(report["first_failing"], "L1.tcp", "{report}");

    // Bound to its own loopback it gets nothing from the published port.
    let said = up("a", "127.0.0.1").await;
    said.fine("up again");
    let map = mapped(&engine, "").await;
    breaks(&map, "address listener", &["bound to 127.0.0.1:18789 only"]);
}
