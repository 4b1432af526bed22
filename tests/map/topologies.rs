//! Six topologies: bridge, host, shared namespace, published port, reverse proxy (in `proxies`), two projects.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::engine::{Engine, container, id};
use super::{
    Idle, array, breaks, given, idle, is_fine, kinds, listener_in, mapped, node, proofs, sleep,
};
use crate::support::containers::{Bridge, Container};
use crate::support::netns::{self, HERE_PRIVATE, Net, test_name};
use crate::support::packages::Program;
use crate::support::skip::skip;

/// Addresses of the bridge. Networks of other tests on this machine, which are seen as well, have others.
fn member(last: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(10, 100 + high % 100, low, last)
}

const HOST: u8 = 1;
const GATEWAY: u8 = 2;
const CLIENT: u8 = 3;
const OTHER: u8 = 4;

/// The network is the test's own, and so are its ports.
const PORT: u16 = 18789;

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn bridge(net: &Net) -> Bridge {
    let members = [("gateway", GATEWAY), ("client", CLIENT), ("other", OTHER)];
    Bridge::new(
        net,
        member(HOST),
        &members.map(|(name, last)| (name, member(last))),
    )
}

/// The main process of a container: it listens there, or does nothing.
async fn main_process(container: &Container, listens: Option<(IpAddr, u16)>) -> Idle {
    let first = idle(container.run(&sleep())).await;
    let Some(addr) = listens else {
        return first;
    };
    let mut command = container.run(&sleep());
    command.stdin(given(listener_in(&first, addr)));
    idle(command).await
}

/// With its address in its network.
fn on_bridge(mut container: Value, last: u8) -> Value {
    container["NetworkSettings"]["Networks"]["bridge"] = json!({
        "IPAddress": member(last).to_string(), "GlobalIPv6Address": "",
    });
    container
}

/// With a port of the host.
fn published(mut container: Value, host_ip: &str) -> Value {
    let port = format!("{PORT}/tcp");
    let binding = json!([{ "HostIp": host_ip, "HostPort": PORT.to_string() }]);
    container["NetworkSettings"]["Ports"][&port] = binding.clone();
    container["HostConfig"]["PortBindings"][&port] = binding;
    container
}

#[tokio::test]
async fn bridge_network() {
    let name = test_name!(bridge_network);
    let Some(net) = netns::enter("map: a bridge network", name).await else {
        return;
    };
    let bridge = bridge(&net);
    let client = main_process(bridge.container("client"), None).await;
    let place = client.place();
    let url = format!("ws://gateway:{PORT}");
    let arguments = [url.as_str(), "--in", &place];

    let gateway = main_process(bridge.container("gateway"), Some((ANY, PORT))).await;
    // Another listener of that port in another namespace does not matter.
    let other = main_process(bridge.container("other"), Some((ANY, PORT))).await;
    let map = mapped(&arguments, None).await;
    is_fine(&map);
    let expected = ["client", "name", "address", "listener", "process"];
    assert_eq!(kinds(&map), expected, "{map}");
    assert_eq!(proofs(&map), ["proc", "socket", "socket", "proc"]);
    assert_eq!(node(&map, "process")["pid"], gateway.pid());
    let listener = node(&map, "listener")["label"].as_str().expect("a label");
    assert!(listener.starts_with("0.0.0.0:18789"), "{listener}");

    // With the engine its container and project are known.
    let engine = Engine::start(vec![
        on_bridge(container("a-gateway-1", "a", Some(gateway.pid())), GATEWAY),
        on_bridge(container("a-client-1", "a", Some(client.pid())), CLIENT),
        on_bridge(container("b-gateway-1", "b", Some(other.pid())), OTHER),
    ]);
    let map = mapped(&arguments, Some(&engine.host())).await;
    is_fine(&map);
    assert_eq!(node(&map, "process")["container"]["name"], "a-gateway-1");
    assert_eq!(node(&map, "process")["container"]["project"], "a");
    assert_eq!(node(&map, "client")["container"]["name"], "a-client-1");
    assert_eq!(array(&map["claims"]["gateways"]).len(), 3);
    for request in engine.requests() {
        assert!(request.starts_with("GET /containers/"), "{request}");
    }
    drop(gateway);

    // On its own loopback.
    let gateway = main_process(bridge.container("gateway"), Some((LOOPBACK, PORT))).await;
    let map = mapped(&arguments, None).await;
    let refused = format!("{}:18789 refuses", member(GATEWAY));
    let words = [refused.as_str(), "bound to 127.0.0.1:18789 only"];
    breaks(&map, "address listener", &words);
    let advice = map["broken"]["next"].as_str().expect("advice");
    assert!(advice.contains("--bind lan"), "{advice}");
    assert_eq!(node(&map, "process")["pid"], gateway.pid());
    assert!(!map.to_string().contains(&format!("pid {}", other.pid())));
    drop(gateway);

    // Not at all.
    let map = mapped(&arguments, None).await;
    breaks(&map, "address listener", &["nothing listens at port 18789"]);
    assert!(!map.to_string().contains(&format!("pid {}", other.pid())));
    let map = mapped(&["ws://nobody:1", "--in", &place], None).await;
    breaks(&map, "client name", &["nobody leads to no address"]);
}

#[tokio::test]
async fn host_network() {
    let name = test_name!(host_network);
    let Some(_net) = netns::enter("map: the host's network", name).await else {
        return;
    };
    let here = idle(sleep()).await;
    let mut command = sleep();
    command.stdin(given(listener_in(&here, (LOOPBACK, PORT))));
    let gateway = idle(command).await;
    let mut described = container("a-gateway-1", "a", Some(gateway.pid()));
    described["HostConfig"]["NetworkMode"] = json!("host");
    let engine = Engine::start(vec![described]);
    let engine = engine.host();
    let map = mapped(&[], Some(&engine)).await;
    is_fine(&map);
    let expected = ["client", "address", "listener", "process"];
    assert_eq!(kinds(&map), expected, "{map}");
    assert_eq!(proofs(&map), ["socket", "socket", "proc"]);
    assert_eq!(node(&map, "process")["container"]["name"], "a-gateway-1");
    let port = &map["claims"]["ports"][0];
    assert_eq!(port["port"], PORT, "{map}");
    assert_eq!(port["owner"]["container"]["project"], "a", "{map}");
    assert_eq!(port["owner"]["by"], "proc");

    let map = mapped(&[&format!("ws://{HERE_PRIVATE}:{PORT}")], Some(&engine)).await;
    breaks(&map, "address listener", &["bound to 127.0.0.1:18789 only"]);
    drop(gateway);
    let map = mapped(&[], None).await;
    let words = ["nothing listens at port 18789 of this host"];
    breaks(&map, "address listener", &words);
    assert!(map["claims"]["ports"][0]["owner"].is_null(), "{map}");
}

#[tokio::test]
async fn shared_namespace() {
    let name = test_name!(shared_namespace);
    let Some(net) = netns::enter("map: a shared namespace", name).await else {
        return;
    };
    let bridge = bridge(&net);
    let inside = bridge.container("gateway");
    let gateway = main_process(inside, Some((LOOPBACK, PORT))).await;
    let client = main_process(&bridge.container("client").sharing(inside), None).await;
    let mut sharing = container("a-client-1", "a", Some(client.pid()));
    let shared = format!("container:{}", id("a-gateway-1"));
    sharing["HostConfig"]["NetworkMode"] = json!(shared);
    sharing["Config"]["Labels"]["com.docker.compose.service"] = json!("client");
    let with = |pid: Option<u32>| vec![sharing.clone(), container("a-gateway-1", "a", pid)];
    let engine = Engine::start(with(Some(gateway.pid())));
    let (host, place) = (engine.host(), client.place());
    let map = mapped(&["--in", &place], Some(&host)).await;
    is_fine(&map);
    let label = node(&map, "client")["label"].as_str().expect("a label");
    assert!(
        label.contains("network of container a-gateway-1"),
        "{label}"
    );
    assert_eq!(node(&map, "process")["container"]["name"], "a-gateway-1");
    drop(gateway);

    // It was started again, and has another namespace.
    let again = main_process(bridge.container("other"), Some((LOOPBACK, PORT))).await;
    engine.set(with(Some(again.pid())));
    let map = mapped(&["--in", &place], Some(&host)).await;
    let words = ["no longer the gateway's", "a-gateway-1", "was restarted"];
    breaks(&map, "client address", &words);
    let advice = map["broken"]["next"].as_str().expect("advice");
    assert!(advice.contains("--force-recreate client"), "{advice}");

    // What listens at loopback now is not the gateway.
    let stranger = bridge.container("client").sharing(inside);
    let stranger = main_process(&stranger, Some((LOOPBACK, PORT))).await;
    let map = mapped(&["--in", &place], Some(&host)).await;
    breaks(&map, "client address", &words);
    drop(stranger);
    // By its address the gateway is reached from any namespace of its network.
    drop(again);
    let url = format!("ws://other:{PORT}");
    let by_name = [url.as_str(), "--in", &place];
    let again = main_process(bridge.container("other"), Some((ANY, PORT))).await;
    engine.set(with(Some(again.pid())));
    let map = mapped(&by_name, Some(&host)).await;
    is_fine(&map);
    assert_eq!(node(&map, "process")["pid"], again.pid(), "{map}");
    let label = node(&map, "client")["label"].as_str().expect("a label");
    assert!(label.contains("no longer the gateway's"), "{label}");
    drop(again);
    let again = main_process(bridge.container("other"), Some((LOOPBACK, PORT))).await;
    engine.set(with(Some(again.pid())));
    breaks(&mapped(&by_name, Some(&host)).await, "client name", &words);

    engine.set(with(None));
    let map = mapped(&["--in", &place], Some(&host)).await;
    breaks(&map, "client address", &["does not run"]);
    engine.set(vec![sharing.clone()]);
    let map = mapped(&["--in", &place], Some(&host)).await;
    breaks(&map, "client address", &["does not exist any more"]);
    // Without an engine nobody knows.
    let map = mapped(&["--in", &place], None).await;
    breaks(&map, "address listener", &["nothing listens"]);
}

#[tokio::test]
async fn published_port() {
    let name = test_name!(published_port);
    let Some(net) = netns::enter("map: a published port", name).await else {
        return;
    };
    let Some(nft) = Program::find("nft") else {
        skip("map: published port", "nft is missing: run make fetch");
        return;
    };
    let bridge = bridge(&net);
    let gateway = main_process(bridge.container("gateway"), Some((ANY, PORT))).await;
    let there = format!("netns:/run/netns/{}", net.there());
    let url = format!("ws://{HERE_PRIVATE}:{PORT}");
    let arguments = [url.as_str(), "--in", &there];
    let described = on_bridge(container("a-gateway-1", "a", Some(gateway.pid())), GATEWAY);
    let engine = Engine::start(vec![published(described.clone(), "0.0.0.0")]);
    let host = engine.host();

    // Translated by a packet filter: our connection is in the container's table.
    bridge.publish(&nft, PORT, member(GATEWAY), false);
    let map = mapped(&arguments, Some(&host)).await;
    is_fine(&map);
    let expected = ["client", "address", "published_port", "listener", "process"];
    assert_eq!(kinds(&map), expected, "{map}");
    assert_eq!(proofs(&map), ["socket", "socket", "socket", "proc"]);
    assert_eq!(node(&map, "process")["container"]["name"], "a-gateway-1");
    assert_eq!(map["claims"]["ports"][0]["owner"]["by"], "engine");
    // The table shows that without an engine as well.
    let map = mapped(&arguments, None).await;
    is_fine(&map);
    assert_eq!(kinds(&map)[2], "nat", "{map}");
    assert_eq!(node(&map, "process")["pid"], gateway.pid());

    // With another source address it is in nobody's: the engine says where it goes, or it is not verified.
    bridge.publish(&nft, PORT, member(GATEWAY), true);
    let map = mapped(&arguments, Some(&host)).await;
    is_fine(&map);
    assert_eq!(kinds(&map)[2], "published_port", "{map}");
    assert_eq!(node(&map, "process")["pid"], gateway.pid());
    let map = mapped(&arguments, None).await;
    is_fine(&map);
    drop(gateway);

    // The port is published on loopback, and the client is another host.
    let none = bridge.container("other").addr();
    bridge.publish(&nft, 1, none, false);
    let gateway = main_process(bridge.container("gateway"), Some((ANY, PORT))).await;
    let described = on_bridge(container("a-gateway-1", "a", Some(gateway.pid())), GATEWAY);
    engine.set(vec![published(described.clone(), "127.0.0.1")]);
    let map = mapped(&arguments, Some(&host)).await;
    let words = ["published at 127.0.0.1:18789 only"];
    breaks(&map, "address published_port", &words);
    drop(gateway);

    // It is published, and in the container the gateway is bound to loopback.
    bridge.publish(&nft, PORT, member(GATEWAY), false);
    let gateway = main_process(bridge.container("gateway"), Some((LOOPBACK, PORT))).await;
    let described = on_bridge(container("a-gateway-1", "a", Some(gateway.pid())), GATEWAY);
    engine.set(vec![published(described, "0.0.0.0")]);
    let map = mapped(&arguments, Some(&host)).await;
    breaks(&map, "address listener", &["bound to 127.0.0.1:18789 only"]);
    assert_eq!(node(&map, "process")["pid"], gateway.pid());
}

#[tokio::test]
async fn two_projects() {
    let name = test_name!(two_projects);
    let Some(net) = netns::enter("map: two projects", name).await else {
        return;
    };
    let Some(nft) = Program::find("nft") else {
        skip("map: two projects", "nft is missing: run make fetch");
        return;
    };
    let bridge = bridge(&net);
    let gateway = main_process(bridge.container("gateway"), Some((ANY, PORT))).await;
    let there = format!("netns:/run/netns/{}", net.there());
    let url = format!("ws://{HERE_PRIVATE}:{PORT}");
    let arguments = [url.as_str(), "--in", &there];
    bridge.publish(&nft, PORT, member(GATEWAY), false);
    let first = on_bridge(container("a-gateway-1", "a", Some(gateway.pid())), GATEWAY);
    let first = published(first, "0.0.0.0");
    let mut second = container("b-gateway-1", "b", None);
    let port = format!("{PORT}/tcp");
    let binding = |port: u16| json!([{ "HostIp": "", "HostPort": port.to_string() }]);
    second["HostConfig"]["PortBindings"][&port] = binding(PORT + 1);
    let engine = Engine::start(vec![second.clone(), first.clone()]);
    let host = engine.host();
    let map = mapped(&arguments, Some(&host)).await;
    is_fine(&map);
    let claim = &map["claims"]["ports"][0];
    assert_eq!(claim["owner"]["container"]["project"], "a", "{map}");
    assert_eq!(claim["wanted_by"], json!([]));
    assert_eq!(array(&map["claims"]["gateways"]).len(), 2);

    // It was stopped, and nobody has tried to start it: wanted, and no fault.
    second["HostConfig"]["PortBindings"][&port] = binding(PORT);
    engine.set(vec![second.clone(), first.clone()]);
    let map = mapped(&arguments, Some(&host)).await;
    is_fine(&map);
    let wanted = &map["claims"]["ports"][0]["wanted_by"][0];
    assert_eq!(wanted["container"]["project"], "b", "{map}");

    // What could not be started for another reason, or wants another address, has lost nothing to this one.
    let error = "failed to set up container networking: port is already allocated\u{1b}[2J";
    let runtime = "OCI runtime create failed: exec: \"gateway\": executable file not found";
    for (error, host_ip) in [(runtime, ""), (error, "192.0.2.77")] {
        let mut other = published(second.clone(), host_ip);
        other["NetworkSettings"]["Ports"] = json!({});
        other["State"]["Error"] = json!(error);
        engine.set(vec![other, first.clone()]);
        let map = mapped(&arguments, Some(&host)).await;
        is_fine(&map);
        let wanted = &map["claims"]["ports"][0]["wanted_by"][0];
        assert_eq!(wanted["container"]["project"], "b", "{map}");
    }

    second["State"]["Error"] = json!(error);
    engine.set(vec![second, first]);
    let map = mapped(&arguments, Some(&host)).await;
    let words = [
        "container b-gateway-1 (project b) wants host port 18789 too",
        "container a-gateway-1 (project a)",
        "already allocated",
    ];
    breaks(&map, "published_port listener", &words);
}
