//! Messages to the service manager (`sd_notify`).

use std::os::unix::net::UnixDatagram;

use super::*;
use crate::support::client::connect;
use crate::support::deadline::{STEP, poll};
use crate::support::tap::Face;

struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            path,
            _folder: folder,
        }
    }

    fn variable(&self) -> String {
        format!("NOTIFY_SOCKET={}", self.path.display())
    }

    /// The lines of the next message.
    async fn told(&self) -> Vec<String> {
        let mut room = [0; 4096];
        let message = poll(STEP, || self.socket.recv(&mut room).ok()).await;
        let count = message.expect("a message");
        let text = String::from_utf8(room[..count].to_vec()).expect("text");
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn ready_once_it_serves_and_stopping_when_it_drains() {
    let peer = echo::start(&Via::Plain).await;
    let manager = Manager::new();
    let setup = Setup::before(&peer).under(&["env", &manager.variable()]);
    let mut tap = setup.start().await;
    let told = manager.told().await;
    assert_eq!(told[0], "READY=1");
    let addr = tap.addr(Face::Plain);
    let status = format!("STATUS=serving on {addr}, ");
    assert!(told[1].starts_with(&status), "{told:?}");
    assert!(told[1].ends_with(&peer.url()), "{told:?}");
    let mut conn = connect(addr).await;
    conn.open("/").await;
    tap.signal_term();
    // At the beginning of the drain: the session is still there.
    assert_eq!(manager.told().await, ["STOPPING=1", "STATUS=draining"]);
    let (code, _) = conn.frame().await.unwrap().as_close().expect("a Close");
    assert_eq!(code, Some(1001));
    drop(conn);
    assert_eq!(tap.exited(STEP).await.code(), Some(0));
    let mut room = [0; 16];
    assert!(
        manager.socket.recv(&mut room).is_err(),
        "nothing more is told"
    );
}

#[tokio::test]
async fn a_reload_is_told_with_its_time() {
    let peer = echo::start(&Via::Plain).await;
    let manager = Manager::new();
    let setup = Setup::before(&peer).under(&["env", &manager.variable()]);
    let tap = setup.start().await;
    assert_eq!(manager.told().await[0], "READY=1");
    for (idle, outcome, status) in [("2h", "done", "applied"), ("0s", "refused", "refused")] {
        tap.set("timeouts.idle", idle);
        tap.reload(outcome).await;
        let told = manager.told().await;
        assert_eq!(told[0], "RELOADING=1");
        let micros = told[1].strip_prefix("MONOTONIC_USEC=").expect("the time");
        assert!(micros.parse::<u64>().expect("a number") > 0);
        let told = manager.told().await;
        assert_eq!(told[0], "READY=1");
        assert!(told[1].contains(status), "{told:?}");
    }
}

#[tokio::test]
async fn a_start_that_fails_is_never_ready() {
    let peer = echo::start(&Via::Plain).await;
    let manager = Manager::new();
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let setup = Setup::before(&peer)
        .set("listeners", json!([{ "listen": listen }]))
        .under(&["env", &manager.variable()]);
    let (code, _) = setup.start_in_vain().await;
    assert_eq!(code, Some(2));
    let mut room = [0; 16];
    assert!(manager.socket.recv(&mut room).is_err());
}

#[tokio::test]
async fn the_watchdog_is_answered() {
    let peer = echo::start(&Via::Plain).await;
    let manager = Manager::new();
    for workers in [1, 2] {
        let setup = Setup::before(&peer).set("workers", workers);
        let setup = setup.under(&["env", &manager.variable(), "WATCHDOG_USEC=200000"]);
        let _tap = setup.start().await;
        let mut alive = 0;
        while alive < 3 {
            alive += usize::from(manager.told().await == ["WATCHDOG=1"]);
        }
    }
}

/// With the variables of another process, or without a manager that listens, it just runs.
#[tokio::test]
async fn a_manager_that_is_gone_stops_nobody() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer);
    let setup = setup.under(&["env", "NOTIFY_SOCKET=/nonexistent/notify"]);
    let tap = setup.start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
}
