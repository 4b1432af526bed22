//! A `gateway.url` that leads back to the tap: an error where it is visible at the start, and 508
//! where a proxy on the way sends everything back.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use wstap::session::SessionRecord;
use wstap::session::record::Class;

use crate::peers::{Seat, Via, echo, serve};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll};
use crate::support::netns::{self, HERE_V4, test_name};
use crate::support::program::free_port;
use crate::support::records::{class, rule};
use crate::support::tap::{Face, Setup, Tap};

/// A port mapping that forwards to an address that is set later.
struct Mapping {
    addr: SocketAddr,
    listener: Option<TcpListener>,
    task: Option<JoinHandle<()>>,
}

impl Mapping {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            addr: listener.local_addr().unwrap(),
            listener: Some(listener),
            task: None,
        }
    }

    fn leads_to(&mut self, target: SocketAddr) {
        let listener = self.listener.take().expect("told once");
        self.task = Some(tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(target).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        }));
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A tap in front of a port mapping that leads back to it.
async fn round() -> (Mapping, Tap) {
    let mut mapping = Mapping::new().await;
    let tap = Setup::before_url(&format!("http://{}", mapping.addr))
        .start()
        .await;
    mapping.leads_to(tap.addr(Face::Plain));
    (mapping, tap)
}

/// The record of an upgrade that ran into the loop.
pub async fn looped() -> SessionRecord {
    let (_mapping, tap) = round().await;
    let mut conn = tap.connect(Face::Plain).await;
    let client = conn.wire.tcp().unwrap().local_addr().unwrap().to_string();
    assert_eq!(conn.upgrade("/ws", &[]).await.unwrap().status(), 508);
    let ours = |record: &SessionRecord| record.client.addr == client;
    tap.wait_for("the client's own record", ours).await
}

#[tokio::test]
async fn what_comes_back_is_answered_508_on_each_turn() {
    let (_mapping, tap) = round().await;
    let mut conn = tap.connect(Face::Plain).await;
    let answer = conn.upgrade("/ws", &[]).await.unwrap();
    assert_eq!(answer.status(), 508);
    let status = answer.value("proxy-status").expect("it is ours");
    assert_eq!(status, "wstap; error=proxy_loop_detected");
    // Eight passes are not suspicious, the ninth is marked, and the tenth recognises the mark.
    let records = tap.websockets(10).await;
    assert_eq!(records.len(), 10);
    for record in &records {
        assert_eq!(rule(record), "tap.denied.loop");
        assert_eq!(record.answer.as_ref().unwrap().status, 508);
    }
    let mut conn = tap.connect(Face::Plain).await;
    assert_eq!(conn.get("/page").await.unwrap().0.status(), 508);
    let records = tap.wait_for_count(20).await;
    assert!(records.iter().all(|it| rule(it) == "tap.denied.loop"));
}

/// Each of these clients sends the example key of RFC 6455, as test tools do.
#[tokio::test]
async fn clients_that_are_alike_are_no_loop() {
    const CLIENTS: usize = 20;
    let peer = serve(&Via::Plain, |mut conn: Conn, seat: Seat| async move {
        let Some(head) = seat.head(&mut conn).await else {
            return;
        };
        seat.told().await;
        let answer = crate::support::head::switching(&head.accept_key(), None);
        seat.send(&mut conn, &answer).await;
        seat.frames(&mut conn).await;
    })
    .await;
    let last = Setup::before(&peer).start().await;
    // Two taps in a row are allowed.
    let first = Setup::before_url(&format!("http://{}", last.addr(Face::Plain)))
        .start()
        .await;
    let mut conns = Vec::new();
    for _ in 0..CLIENTS {
        let mut conn = first.connect(Face::Plain).await;
        let request = crate::support::head::upgrade("/", "localhost", &[]);
        conn.send(&request).await.unwrap();
        conns.push(conn);
    }
    // All of them wait at the same time.
    let all = || (peer.log.requests() >= CLIENTS).then_some(());
    poll(STEP, all).await.expect("all of them arrive");
    let heads = peer.log.heads();
    let marked = heads.iter().filter(|head| !head.values("via").is_empty());
    // Which requests are marked depends on both taps: each marks those beyond its first eight.
    assert!(marked.count() >= CLIENTS - 8);
    for _ in 0..CLIENTS {
        peer.go();
    }
    for conn in &mut conns {
        assert_eq!(conn.head().await.unwrap().status(), 101);
    }
}

#[tokio::test]
async fn a_single_client_adds_nothing_to_its_requests() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    for _ in 0..20 {
        tap.connect(Face::Plain).await.open("/").await;
    }
    assert!(
        peer.log
            .heads()
            .iter()
            .all(|head| head.values("via").is_empty())
    );
}

#[tokio::test]
async fn a_listener_of_ours_as_the_gateway_is_no_start() {
    let addr = free_port();
    let listeners = json!([{ "listen": format!("[::]:{}", addr.port()) }]);
    for url in [
        format!("http://{addr}"),
        format!("http://localhost:{}", addr.port()),
        format!("ws://[::1]:{}", addr.port()),
    ] {
        let setup = Setup::before_url(&url).set("listeners", listeners.clone());
        let (code, stderr) = setup.start_in_vain().await;
        assert_eq!(code, Some(2), "{stderr}");
        for words in ["wstap.yaml:1:", "gateway.url: expected", "listeners[0]"] {
            assert!(stderr.contains(words), "{stderr}");
        }
    }
}

/// Loops that the configuration does not show: addresses of interfaces, and sockets by another
/// path.
#[tokio::test]
async fn an_address_of_this_host_is_ours_where_a_listener_takes_all() {
    let name = test_name!(an_address_of_this_host_is_ours_where_a_listener_takes_all);
    let Some(_net) = netns::enter("a gateway on an interface of ours", name).await else {
        return;
    };
    let port = free_port().port();
    let url = format!("http://{HERE_V4}:{port}");
    let listeners = json!([{ "listen": format!("0.0.0.0:{port}") }]);
    let setup = Setup::before_url(&url).set("listeners", listeners);
    let (code, stderr) = setup.start_in_vain().await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("where listeners[0] listens"), "{stderr}");

    // Also on the admin listener.
    let setup = Setup::before_url(&format!("http://localhost:{port}"));
    let setup = setup.set("admin.listen", format!("127.0.0.1:{port}"));
    let (code, stderr) = setup.start_in_vain().await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("where admin.listen listens"), "{stderr}");
}

#[tokio::test]
async fn a_unix_socket_of_ours_is_ours_by_any_path() {
    let folder = tempfile::TempDir::new().unwrap();
    let own = folder.path().join("own.sock");
    let link = folder.path().join("link.sock");
    std::os::unix::fs::symlink(&own, &link).unwrap();
    let listeners = json!([{ "listen": format!("unix:{}", own.display()) }]);
    for path in [&own, &link] {
        let setup = Setup::before_url(&format!("unix:{}", path.display()));
        let setup = setup.set("listeners", listeners.clone());
        let (code, stderr) = setup.start_in_vain().await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("where listeners[0] listens"), "{stderr}");
    }
}

#[tokio::test]
async fn a_reload_does_not_turn_the_gateway_into_ourselves() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    tap.set("gateway.url", format!("http://{}", tap.addr(Face::Plain)));
    let told = tap.reload("refused").await;
    assert!(told.contains("where listeners[0] listens"), "{told}");
    // It keeps serving with the old configuration.
    tap.connect(Face::Plain).await.open("/").await;
    let record = tap.websocket().await;
    assert_ne!(class(&record), Class::TapDenied);
}
