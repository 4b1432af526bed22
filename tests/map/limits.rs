//! Wrong arguments, unix sockets, the targets of packets, and requests that leave no trace.

use std::time::Duration;

use super::engine::{Engine, container, failing};
use super::{breaks, command, fits, is_fine, kinds, mapped, node, run};
use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Script};
use crate::support::deadline::promised;
use crate::support::log::{Entry, Seen};
use crate::support::netns::{self, HERE_PRIVATE, Hosts, count_packets, counted_packets, test_name};

#[tokio::test]
async fn wrong_arguments_are_usage_errors() {
    for arguments in [
        &["ftp://gateway"][..],
        &["gateway:1?token=canary"],
        &["ws://user:canary@gateway"],
        &["unix:relative"],
        &["--in", "docker:x"],
        &["--in", "netns:/nonexistent"],
        &["--budget", "1h"],
        &["--json", "--markdown"],
    ] {
        let run = run(command(arguments)).await;
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{arguments:?}");
        assert!(!run.stderr.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn unix_sockets() {
    let gateway = Gateway::start(&Via::Unix, Script::default()).await;
    let url = gateway.peer.url();
    let map = mapped(&[&url], None).await;
    is_fine(&map);
    let expected = ["client", "address", "listener", "process"];
    assert_eq!(kinds(&map), expected, "{map}");
    assert_eq!(node(&map, "process")["pid"], std::process::id());
    drop(gateway);

    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("socket");
    let url = format!("unix:{}", path.display());
    breaks(
        &mapped(&[&url], None).await,
        "client address",
        &["No such file"],
    );
    // Its process has ended.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let map = mapped(&[&url], None).await;
    breaks(
        &map,
        "client address",
        &["nothing listens", "left the file"],
    );
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    breaks(
        &mapped(&[&url], None).await,
        "client address",
        &["is not a socket"],
    );
}

/// One upgrade without a credential, no query, a polite end.
#[tokio::test]
async fn the_gateway_gets_nothing_but_an_upgrade() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let url = format!("ws://{}/path?token=canary", gateway.peer.addr());
    let mut command = command(&[&url]);
    command.env("OPENCLAW_GATEWAY_TOKEN", "canary");
    let run = run(command).await;
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    fits(&run.stdout);
    // Its first connection was only made.
    let seen = gateway.peer.log.wait("the end", |all| {
        let ended = |it: &&Entry| it.connection == 1 && matches!(it.seen, Seen::Ended(_));
        all.iter().find(ended).map(|_| all.to_vec())
    });
    let seen = seen.await;
    let frames = seen.iter().filter(|it| matches!(it.seen, Seen::Frame(_)));
    assert_eq!(frames.count(), 1, "a Close: {seen:?}");
    let text = format!("{seen:?}");
    assert!(!text.contains("canary"), "{text}");
}

/// A counter in the namespace sees every packet that does not go to the gateway.
#[tokio::test]
async fn nobody_else_gets_a_packet() {
    let name = test_name!(nobody_else_gets_a_packet);
    let Some(net) = netns::enter("map: to whom packets go", name).await else {
        return;
    };
    let gateway = Gateway::start(&Via::At((HERE_PRIVATE, 0).into()), Script::default()).await;
    let there = net.there();
    count_packets(&there, HERE_PRIVATE);
    let url = format!("ws://{HERE_PRIVATE}:{}", gateway.peer.addr().port());
    let place = format!("netns:/run/netns/{there}");
    is_fine(&mapped(&[&url, "--in", &place], None).await);
    let (others, to_it) = counted_packets(&there);
    assert_eq!(others, 0);
    // Two connections a run, three runs.
    assert!((20..100).contains(&to_it), "{to_it}");
}

/// An engine that accepts and says nothing does not hold the map up.
#[tokio::test]
async fn engine_that_hangs() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("engine");
    let _engine = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let url = format!("ws://{}", gateway.peer.addr());
    let mut command = command(&[&url, "--json", "--budget", "2s"]);
    command.env("DOCKER_HOST", format!("unix://{}", path.display()));
    let began = std::time::Instant::now();
    let run = run(command).await;
    assert!(began.elapsed() < promised(Duration::from_secs(4)));
    let map: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    is_fine(&map);
    let why_not = map["claims"]["why_not"].as_str().unwrap();
    assert!(why_not.contains("no answer within"), "{why_not}");
}

/// A container that the engine cannot describe, in time or at all, does not affect the others.
#[tokio::test]
async fn engine_that_fails_for_one() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let url = format!("ws://{}", gateway.peer.addr());
    let own = Some(std::process::id());
    for silently in [false, true] {
        // It asks for them in this order.
        let (first, second) = if silently {
            ("a-gateway", "b-broken")
        } else {
            ("b-gateway", "a-broken")
        };
        let broken = failing(container(second, "b", own), silently);
        let engine = Engine::start(vec![broken, container(first, "a", own)]);
        let mut command = command(&[&url, "--json", "--budget", "4s"]);
        command.env("DOCKER_HOST", engine.host());
        let run = run(command).await;
        let map: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        is_fine(&map);
        let container = &node(&map, "process")["container"];
        assert_eq!(container["name"], first, "{map}");
        let why_not = map["claims"]["why_not"].as_str().unwrap();
        assert!(why_not.starts_with("1 more container"), "{why_not}");
    }
}

/// A name with two addresses, of which one is dead, and one whose other address is only this host's own.
#[tokio::test]
async fn names_with_two_addresses() {
    let name = test_name!(names_with_two_addresses);
    let Some(net) = netns::enter("map: two addresses", name).await else {
        return;
    };
    let gateway = Gateway::start(&Via::At((HERE_PRIVATE, 0).into()), Script::default()).await;
    let there = net.there();
    let place = format!("netns:/run/netns/{there}");
    let url = format!("ws://claw:{}", gateway.peer.addr().port());
    let dead = format!("{HERE_PRIVATE} claw\n10.87.0.77 claw\n");
    let own = format!("{HERE_PRIVATE} claw\n::1 claw\n");
    let mut maps = Vec::new();
    for hosts in [dead, own] {
        let _hosts = Hosts::write(&there, &hosts);
        maps.push(mapped(&[&url, "--in", &place], None).await);
    }
    breaks(&maps[0], "name address", &["10.87.0.77"]);
    is_fine(&maps[1]);
    for map in &maps {
        let expected = [
            "client", "name", "address", "address", "listener", "process",
        ];
        assert_eq!(kinds(map), expected, "{map}");
        assert_eq!(node(map, "process")["pid"], std::process::id());
    }
}
