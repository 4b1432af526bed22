//! The owner of a port: several processes at one port, and processes that have the names of others.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use super::{Idle, array, given, idle, kinds, mapped, node, sleep};
use crate::support::deadline::{STEP, poll};
use crate::support::netns::{self, test_name};

fn held_by_sleep(listener: TcpListener) -> Command {
    let mut command = sleep();
    command.stdin(given(listener));
    command
}

#[tokio::test]
async fn a_port_of_two_processes_is_the_dialled_ones() {
    let name = test_name!(a_port_of_two_processes_is_the_dialled_ones);
    let Some(_net) = netns::enter("map: two processes at a port", name).await else {
        return;
    };
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = first.local_addr().expect("its address").port();
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let second = TcpListener::bind((other, port)).expect("bind");
    let first = idle(held_by_sleep(first)).await;
    let second = idle(held_by_sleep(second)).await;
    for (ip, owner) in [(Ipv4Addr::LOCALHOST, &first), (other, &second)] {
        let url = format!("ws://{ip}:{port}");
        let map = mapped(&[&url], None).await;
        assert_eq!(node(&map, "process")["pid"], owner.pid(), "{map}");
        let ports = array(&map["claims"]["ports"]);
        let claim = ports.iter().find(|it| it["port"] == port).expect("a claim");
        assert_eq!(claim["owner"]["pid"], owner.pid(), "{map}");
    }
}

/// The engine's proxy is known by its program.
#[tokio::test]
async fn a_name_is_no_proof() {
    let name = test_name!(a_name_is_no_proof);
    let Some(_net) = netns::enter("map: a process with another's name", name).await else {
        return;
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let addr: SocketAddr = listener.local_addr().expect("its address");
    let decoy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = decoy.local_addr().expect("its address").port().to_string();
    let folder = tempfile::TempDir::new().expect("a folder");
    let program = folder.path().join("docker-proxy");
    std::os::unix::fs::symlink("/bin/sh", &program).expect("link");
    let mut command = Command::new(&program);
    // A shell that waits for a child: it keeps its own name.
    let script = "sleep 600 & wait";
    command.args([
        "-c",
        script,
        "x",
        "-container-ip",
        "127.0.0.1",
        "-container-port",
        &port,
    ]);
    command
        .stdin(given(listener))
        .stdout(Stdio::null())
        .process_group(0);
    let child = command.spawn().expect("start a process");
    let group = child.id();
    let impostor = Idle(child);
    let comm = format!("/proc/{group}/comm");
    let is_up = poll(STEP, || {
        let name = std::fs::read_to_string(&comm).ok()?;
        (name == "docker-proxy\n").then_some(())
    });
    assert!(is_up.await.is_some(), "no process");
    let map = mapped(&[&format!("ws://{addr}")], None).await;
    crate::support::tap::signal("KILL", &format!("-{group}"));
    assert!(!kinds(&map).contains(&"published_port"), "{map}");
    let ends_at_decoy = array(&map["nodes"]).iter().any(|it| {
        it["label"]
            .as_str()
            .is_some_and(|label| label.contains(&port))
    });
    assert!(!ends_at_decoy, "{map}");
    drop((impostor, decoy));
}
