//! A reverse proxy in front, and what is behind it.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use tempfile::TempDir;

use super::{breaks, is_fine, kinds, mapped, node, proofs};
use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Script};
use crate::support::deadline::{STEP, poll};
use crate::support::netns::{self, HERE_PRIVATE, test_name};
use crate::support::nginx;
use crate::support::packages::{Program, Running};
use crate::support::skip::skip;
use crate::support::tap::Setup;

/// In a network of the test's own.
const FRONT: u16 = 8001;

async fn nginx_before(program: &Program, upstream: SocketAddr) -> Running {
    let folder = TempDir::new().expect("a temporary folder");
    let server = format!(
        "server {{
            listen 0.0.0.0:{FRONT};
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
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, FRONT));
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
    let expected = [
        "client", "address", "listener", "proxy", "address", "listener", "proxy", "address",
        "listener", "process",
    ];
    assert_eq!(kinds(&map), expected, "{map}");
    assert_eq!(node(&map, "process")["pid"], std::process::id());
    assert!(!proofs(&map).contains(&"-"), "{map}");
}
