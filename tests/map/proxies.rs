//! A reverse proxy in front, and what is behind it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{breaks, command, is_fine, kinds, mapped, node, proofs, run};
use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Script};
use crate::support::attached::{Attached, LONG};
use crate::support::deadline::{STEP, poll};
use crate::support::netns::{self, HERE_PRIVATE, test_name};
use crate::support::nginx;
use crate::support::packages::{Program, Running};
use crate::support::skip::skip;
use crate::support::tap::Setup;

/// In a network of the test's own.
const FRONT: u16 = 8001;

/// A listener that connects to these for each connection, and ends those before `kept` when its client ends.
async fn forwarder(to: Vec<SocketAddr>, kept: Vec<SocketAddr>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("bind");
    let addr = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            for addr in &kept {
                open.push(TcpStream::connect(addr).expect("connect"));
            }
            let to: Vec<TcpStream> = (to.iter())
                .map(|addr| TcpStream::connect(addr).expect("connect"))
                .collect();
            tokio::spawn(async move {
                let mut end = [0; 1024];
                while client.read(&mut end).await.is_ok_and(|count| count > 0) {}
                drop(to);
            });
        }
    });
    addr
}

/// A listener that accepts nothing, which its clients do not notice.
fn sink() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("its address");
    (listener, addr)
}

async fn nginx_before(program: &Program, upstream: SocketAddr) -> Running {
    nginx_at(FRONT, program, upstream).await
}

async fn nginx_at(port: u16, program: &Program, upstream: SocketAddr) -> Running {
    let folder = TempDir::new().expect("a temporary folder");
    let server = format!(
        "server {{
            listen 0.0.0.0:{port};
            location / {{
                proxy_pass http://{upstream};
                proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection upgrade;
            }}
        }}"
    );
    let command = nginx::command(program, folder.path(), &server);
    let running = Running::start(command, folder);
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let is_up = poll(STEP, || TcpStream::connect(addr).ok()).await;
    assert!(is_up.is_some(), "nginx: {}", running.stderr());
    running
}

#[tokio::test]
async fn reverse_proxy() {
    let name = test_name!(reverse_proxy);
    let Some(net) = netns::enter("map: a reverse proxy", name).await else {
        return;
    };
    let Some(program) = Program::find("nginx") else {
        skip("map: a reverse proxy", "nginx is missing: run make fetch");
        return;
    };
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let upstream = gateway.peer.addr();
    let nginx = nginx_before(&program, upstream).await;
    let there = format!("netns:/run/netns/{}", net.there());
    let url = format!("ws://{HERE_PRIVATE}:{FRONT}");
    let arguments = [url.as_str(), "--in", &there];
    let map = mapped(&arguments, None).await;
    is_fine(&map);
    let expected = [
        "client", "address", "listener", "proxy", "address", "listener", "process",
    ];
    assert_eq!(kinds(&map), expected, "{map}");
    let expected = ["socket", "socket", "proc", "socket", "socket", "proc"];
    assert_eq!(proofs(&map), expected);
    let label = node(&map, "proxy")["label"].as_str().expect("a label");
    assert!(label.starts_with("nginx, pid "), "{label}");
    assert_eq!(node(&map, "address")["label"], upstream.to_string());
    assert_eq!(node(&map, "process")["pid"], std::process::id());
    drop(gateway);

    let map = mapped(&arguments, None).await;
    breaks(&map, "proxy address", &["nginx answered 502"]);
    drop(nginx);
    let map = mapped(&arguments, None).await;
    breaks(&map, "address listener", &["nothing listens at port 8001"]);
}

/// Our own tap is a proxy as any other, and two in a row are followed.
#[tokio::test]
async fn taps_in_a_row() {
    let name = test_name!(taps_in_a_row);
    let Some(_net) = netns::enter("map: taps in a row", name).await else {
        return;
    };
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let inner = Setup::before(&gateway.peer).start().await;
    let to_inner = format!("http://{}", inner.addr(crate::support::tap::Face::Plain));
    let outer = Setup::before_url(&to_inner).start().await;
    let url = format!("ws://{}", outer.addr(crate::support::tap::Face::Plain));
    let map = mapped(&[&url], None).await;
    is_fine(&map);
    let secured = format!("wss://{}", outer.addr(crate::support::tap::Face::Tls));
    let by_tls = mapped(&[&secured], None).await;
    assert_eq!(kinds(&by_tls), kinds(&map), "{by_tls}");
    let expected = [
        "client", "address", "listener", "proxy", "address", "listener", "proxy", "address",
        "listener", "process",
    ];
    assert_eq!(kinds(&map), expected, "{map}");
    assert_eq!(node(&map, "process")["pid"], std::process::id());
    assert!(!proofs(&map).contains(&"-"), "{map}");
}

/// A connection that a process keeps open after ours has ended is not for us, and of two that end
/// with ours nobody knows which one is.
#[tokio::test]
async fn connections_of_others_are_not_taken_for_the_way() {
    // Other tests connect as well, from this process and while this one looks.
    let name = test_name!(connections_of_others_are_not_taken_for_the_way);
    let Some(_net) = netns::enter("map: connections of others", name).await else {
        return;
    };
    let (_keep, other) = sink();
    let addr = forwarder(Vec::new(), vec![other]).await;
    let map = mapped(&[&format!("ws://{addr}")], None).await;
    is_fine(&map);
    let end = ["client", "address", "listener", "process"];
    assert_eq!(kinds(&map), end, "{map}");

    let (_keep, one) = sink();
    let addr = forwarder(vec![one, other], Vec::new()).await;
    let map = mapped(&[&format!("ws://{addr}")], None).await;
    is_fine(&map);
    assert_eq!(proofs(&map), ["socket", "socket", "proc", "-"], "{map}");
    let why_not = map["edges"][3]["why_not"].as_str().expect("a reason");
    assert!(why_not.contains("connections to 2 addresses"), "{why_not}");

    let addr = forwarder(vec![one, one], vec![other]).await;
    let map = mapped(&[&format!("ws://{addr}")], None).await;
    is_fine(&map);
    assert_eq!(node(&map, "address")["label"], one.to_string(), "{map}");
    assert_eq!(
        kinds(&map)[3..],
        ["proxy", "address", "listener", "process"]
    );
}

/// A server that calls somebody else while our connection is open is no proxy: not by one connection, and not by one
/// to another address each time.
#[tokio::test]
async fn servers_that_call_others_are_not_proxies() {
    // Other tests connect as well, from this process and while this one looks.
    let name = test_name!(servers_that_call_others_are_not_proxies);
    let Some(_net) = netns::enter("map: servers", name).await else {
        return;
    };
    for always in [false, true] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("bind");
        let addr = listener.local_addr().expect("its address");
        let serving = tokio::spawn(async move {
            let mut sinks = Vec::new();
            for nth in 0.. {
                let (mut client, _) = listener.accept().await.expect("accept");
                // The first connection is only made, the second is the first that is held.
                let call = (always || nth == 1).then(|| {
                    let (listener, addr) = sink();
                    sinks.push(listener);
                    TcpStream::connect(addr).expect("connect")
                });
                tokio::spawn(async move {
                    let mut end = [0; 1024];
                    while client.read(&mut end).await.is_ok_and(|count| count > 0) {}
                    drop(call);
                });
            }
        });
        let run = run(command(&[&format!("ws://{addr}"), "--json"])).await;
        serving.abort();
        let map: serde_json::Value = serde_json::from_str(&run.stdout).expect("a map");
        is_fine(&map);
        let end = node(&map, "process");
        assert_eq!(end["pid"], std::process::id(), "{map}");
        assert!(!kinds(&map).contains(&"proxy"), "{map}");
        if always {
            assert_eq!(proofs(&map), ["socket", "socket", "proc", "-"], "{map}");
            let why_not = map["edges"][3]["why_not"].as_str().expect("a reason");
            assert!(why_not.contains("nothing to do with ours"), "{why_not}");
        } else {
            assert_eq!(proofs(&map), ["socket", "socket", "proc"], "{map}");
        }
    }
}

/// A server that answers 503, as OpenClaw does while it ends, is no proxy whose upstream is gone.
#[tokio::test]
async fn servers_that_are_not_ready_are_not_proxies() {
    // Other tests connect as well, from this process and while this one looks.
    let name = test_name!(servers_that_are_not_ready_are_not_proxies);
    let Some(_net) = netns::enter("map: servers", name).await else {
        return;
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("bind");
    let addr = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
                if client.read(&mut request).await.is_ok_and(|count| count > 0) {
                    let _ = client.write_all(answer).await;
                    while client.read(&mut request).await.is_ok_and(|count| count > 0) {}
                }
            });
        }
    });
    let map = mapped(&[&format!("ws://{addr}")], None).await;
    is_fine(&map);
    let end = ["client", "address", "listener", "process"];
    assert_eq!(kinds(&map), end, "{map}");
    assert_eq!(proofs(&map), ["socket", "socket", "proc"], "{map}");
    let label = node(&map, "process")["label"].as_str().expect("a label");
    assert!(label.contains("answered 503: `wstap probe`"), "{label}");
}

/// Packets to what the proxy forwards to are lost.
#[tokio::test]
async fn upstream_that_does_not_answer() {
    let name = test_name!(upstream_that_does_not_answer);
    let Some(net) = netns::enter("map: a dead upstream", name).await else {
        return;
    };
    let Some(program) = Program::find("nginx") else {
        skip("map: a dead upstream", "nginx is missing: run make fetch");
        return;
    };
    // A neighbour that is known and does not exist: otherwise the kernel says that it is not found.
    netns::ip_here(
        &net,
        "neigh add 10.87.0.77 lladdr 02:00:00:00:00:77 dev cable",
    );
    let dead = "10.87.0.77:18789".parse().expect("an address");
    let _nginx = nginx_before(&program, dead).await;
    let map = mapped(&[&format!("ws://127.0.0.1:{FRONT}")], None).await;
    let words = ["nginx gets no answer from 10.87.0.77:18789"];
    breaks(&map, "proxy address", &words);
}

/// Whose webhooks come in at port 80: by the path that was followed, else by connections that are open.
#[tokio::test]
async fn webhook_ingress() {
    let name = test_name!(webhook_ingress);
    let Some(_net) = netns::enter("map: webhook ingress", name).await else {
        return;
    };
    let Some(program) = Program::find("nginx") else {
        skip("map: webhook ingress", "nginx is missing: run make fetch");
        return;
    };
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 18789));
    let gateway = Gateway::start(&Via::At(at), Script::default()).await;
    let _nginx = nginx_at(80, &program, at).await;
    let claim = |map: &serde_json::Value, port: u16| {
        let ports = super::array(&map["claims"]["ports"]).iter();
        let mut found = ports.filter(|it| it["port"] == port);
        found
            .next()
            .cloned()
            .unwrap_or_else(|| panic!("no {port}: {map}"))
    };
    let us = format!("pid {}", std::process::id());
    let leads_to_us = |claim: &serde_json::Value| {
        claim["leads_to"]
            .as_str()
            .is_some_and(|it| it.ends_with(&us))
    };
    let _other = TcpListener::bind("127.0.0.1:3000").expect("bind");
    let map = mapped(&["ws://127.0.0.1:80"], None).await;
    is_fine(&map);
    assert!(!map.to_string().contains("Feishu"), "{map}");
    assert!(leads_to_us(&claim(&map, 80)), "{map}");
    let label = &claim(&map, 80)["owner"]["label"];
    assert!(label.as_str().expect("a label").starts_with("nginx, pid "));
    // Past it: nothing says that it leads to a gateway, and anything may listen there.
    let map = mapped(&["ws://127.0.0.1:18789"], None).await;
    is_fine(&map);
    let ports = super::array(&map["claims"]["ports"]);
    assert!(ports.iter().all(|it| it["port"] != 80), "{map}");
    assert!(leads_to_us(&claim(&map, 18789)), "{map}");
    // Somebody's session through it does.
    let front = crate::support::wire::Wire::Plain(
        tokio::net::TcpStream::connect("127.0.0.1:80")
            .await
            .expect("connect"),
    );
    let mut session = crate::support::conn::Conn::bounded(front);
    session.open("/").await;
    let map = mapped(&["ws://127.0.0.1:18789"], None).await;
    assert!(leads_to_us(&claim(&map, 80)), "{map}");
    drop(gateway);
}

/// A tap that was attached takes the connection of a port where somebody else listens, and dials with its client's
/// address.
#[tokio::test]
async fn attached_tap() {
    let name = test_name!(attached_tap);
    let Some(net) = netns::enter("map: an attached tap", name).await else {
        return;
    };
    let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 18789));
    let gateway = Gateway::start(&Via::At(at), Script::default()).await;
    let there = format!("netns:/run/netns/{}", net.there());
    let url = format!("ws://{HERE_PRIVATE}:18789");
    let arguments = [url.as_str(), "--in", &there];
    let map = mapped(&arguments, None).await;
    is_fine(&map);
    let direct = ["client", "address", "listener", "process"];
    assert_eq!(kinds(&map), direct, "{map}");

    let attached = Attached::start(18789, LONG).await;
    let map = mapped(&arguments, None).await;
    is_fine(&map);
    let tapped = [
        "client", "address", "nat", "listener", "proxy", "address", "listener", "process",
    ];
    assert_eq!(kinds(&map), tapped, "{map}");
    assert_eq!(node(&map, "proxy")["pid"], attached.pid(), "{map}");
    assert_eq!(node(&map, "process")["pid"], std::process::id());
    attached.detach().await;
    drop(gateway);
}
