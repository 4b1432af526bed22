//! Echo round trips over TLS: straight to an echo server, and through the tap in front of the
//! same server without TLS. Direct and tapped rounds alternate in one run; trust the ratio.
//! Then what the tap's thread costs for one request and its answer, with `dialect: plain` and with
//! `dialect: openclaw`, again in turns.
//!
//! Everything runs in this process, each part on a thread of its own: the tap, the echo servers,
//! the client. `cargo bench --bench relay -- --rounds 20` for steadier figures.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};
use wstap::app::Bound;
use wstap::config::identity::Identity;
use wstap::config::{self, Overrides, TlsPolicy};
use wstap::transport::tls::{Lasting, Terminator};

const SIZES: [(usize, usize); 4] = [(32, 400), (1024, 400), (16 * 1024, 200), (64 * 1024, 100)];

/// What tells the echo server to send this many events of this size: `push 4096 1024`.
const PUSH: &str = "push ";

/// What the echo server answers to a message that asks for it.
const HELLO: &str = r#"{"type":"res","id":"c","ok":true,"payload":{"type":"hello-ok"}}"#;
const CONNECT: &str = r#"{"type":"req","id":"c","method":"connect","params":{}}"#;

type Socket = WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

fn main() {
    let rounds = rounds();
    let folder = tempfile::tempdir().unwrap();
    let echo = on_a_thread(plain_echo);
    let (tap, plain_task) = start_tap(folder.path(), echo, "plain");
    let (reading, reading_task) = start_tap(folder.path(), echo, "openclaw");
    let identity = Identity::load(
        &folder.path().join("dev-leaf.pem"),
        &folder.path().join("dev-leaf-key.pem"),
    )
    .unwrap();
    let tls_echo = on_a_thread(move || tls_echo(identity));
    let trust = trust(&folder.path().join("dev-ca.pem"));

    println!("| payload | direct p50 µs | tapped p50 µs | ratio | direct p99 | tapped p99 |");
    println!("|--:|--:|--:|--:|--:|--:|");
    runtime().block_on(async {
        let mut direct = connect(&trust, tls_echo).await;
        let mut tapped = connect(&trust, tap).await;
        for (size, trips) in SIZES {
            let (mut straight, mut through) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                straight.extend(measure(&mut direct, size, trips).await);
                through.extend(measure(&mut tapped, size, trips).await);
            }
            let (direct, tapped) = (Quantiles::of(straight), Quantiles::of(through));
            println!(
                "| {size} | {:.1} | {:.1} | {:.2} | {:.1} | {:.1} |",
                direct.p50,
                tapped.p50,
                tapped.p50 / direct.p50,
                direct.p99,
                tapped.p99,
            );
        }
        println!("\n| payload | plain CPU µs | openclaw CPU µs | ratio |");
        println!("|--:|--:|--:|--:|");
        let mut reading = connect(&trust, reading).await;
        for socket in [&mut tapped, &mut reading] {
            socket.send(Message::text(CONNECT)).await.unwrap();
            socket.next().await.unwrap().unwrap();
        }
        for (size, calls) in SIZES {
            let (mut plain, mut openclaw) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                plain.push(cost(&mut tapped, size, calls, plain_task).await);
                openclaw.push(cost(&mut reading, size, calls, reading_task).await);
            }
            let (plain, openclaw) = (median(plain), median(openclaw));
            let ratio = openclaw / plain;
            println!("| {size} | {plain:.2} | {openclaw:.2} | {ratio:.3} |");
        }
        println!("\n| at full speed | payload | plain CPU µs | openclaw CPU µs | ratio |");
        println!("|---|--:|--:|--:|--:|");
        for (traffic, size) in FLOODS {
            let (mut plain, mut openclaw) = (Vec::new(), Vec::new());
            for _ in 0..rounds * 2 {
                plain.push(flood(&mut tapped, traffic, size, plain_task).await);
                openclaw.push(flood(&mut reading, traffic, size, reading_task).await);
            }
            let (plain, openclaw) = (median(plain), median(openclaw));
            let (name, ratio) = (traffic.name(), openclaw / plain);
            println!("| {name} | {size} | {plain:.3} | {openclaw:.3} | {ratio:.3} |");
        }
    });
}

/// What flows without waiting for each message, so that one read of the tap holds many.
#[derive(Clone, Copy)]
enum Traffic {
    /// Of the gateway: an agent that talks.
    Events,
    /// Requests of the client, [`IN_FLIGHT`] at a time, and their answers.
    Calls,
}

impl Traffic {
    fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Calls => "calls",
        }
    }
}

const FLOODS: [(Traffic, usize); 4] = [
    (Traffic::Events, 256),
    (Traffic::Events, 1024),
    (Traffic::Calls, 256),
    (Traffic::Calls, 1024),
];

/// More at a time than any client has.
const IN_FLIGHT: usize = 32;

/// CPU time of a thread for one event, or for one request and its answer, in microseconds.
async fn flood(socket: &mut Socket, traffic: Traffic, size: usize, task: u32) -> f64 {
    const COUNT: usize = 4096;
    let before = cpu_ns(task);
    match traffic {
        Traffic::Events => {
            let order = Message::text(format!("{PUSH}{COUNT} {size}"));
            socket.send(order).await.unwrap();
            for _ in 0..COUNT {
                socket.next().await.unwrap().unwrap();
            }
        }
        Traffic::Calls => {
            for batch in 0..COUNT / IN_FLIGHT {
                for call in 0..IN_FLIGHT {
                    let call = batch * IN_FLIGHT + call;
                    socket.feed(request(call, size)).await.unwrap();
                }
                socket.flush().await.unwrap();
                for _ in 0..IN_FLIGHT {
                    socket.next().await.unwrap().unwrap();
                }
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a bench")]
    let cost = (cpu_ns(task) - before) as f64 / (COUNT as f64 * 1000.0);
    cost
}

fn request(call: usize, size: usize) -> Message {
    let front =
        format!(r#"{{"type":"req","id":"{call:08}","method":"bench.call","ok":true,"params":""#);
    let filler = "x".repeat(size.saturating_sub(front.len() + 2));
    Message::text(format!("{front}{filler}\"}}"))
}

/// CPU time of a thread for one request of this size and its equally long answer, in microseconds.
async fn cost(socket: &mut Socket, size: usize, calls: usize, task: u32) -> f64 {
    let before = cpu_ns(task);
    for call in 0..calls {
        socket.send(request(call, size)).await.unwrap();
        socket.next().await.unwrap().unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "a bench")]
    let cost = (cpu_ns(task) - before) as f64 / (calls as f64 * 1000.0);
    cost
}

fn cpu_ns(task: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/task/{task}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    *values.get(values.len() / 2).unwrap()
}

fn rounds() -> usize {
    let mut args = std::env::args().skip_while(|arg| arg != "--rounds").skip(1);
    args.next()
        .and_then(|value| value.parse().ok())
        .unwrap_or(6)
}

/// In microseconds.
struct Quantiles {
    p50: f64,
    p99: f64,
}

impl Quantiles {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            times
                .get(times.len() * percent / 100)
                .map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        Self {
            p50: at(50),
            p99: at(99),
        }
    }
}

async fn measure(socket: &mut Socket, size: usize, trips: usize) -> Vec<Duration> {
    let payload = vec![b'x'; size];
    let mut times = Vec::with_capacity(trips);
    for _ in 0..trips {
        let message = Message::binary(payload.clone());
        let started = Instant::now();
        socket.send(message).await.unwrap();
        socket.next().await.unwrap().unwrap();
        times.push(started.elapsed());
    }
    times
}

async fn connect(trust: &TlsConnector, addr: SocketAddr) -> Socket {
    let tcp = TcpStream::connect(addr).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = trust.connect(name, tcp).await.unwrap();
    client_async(format!("wss://localhost:{}/", addr.port()), stream)
        .await
        .unwrap()
        .0
}

fn trust(ca: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Where it listens, and its thread.
fn start_tap(state_dir: &Path, gateway: SocketAddr, dialect: &str) -> (SocketAddr, u32) {
    let text = format!(
        "listeners: [{{ listen: 127.0.0.1:0, tls: {{ self_signed: {{ names: [localhost] }} }} }}]\n\
         gateway: {{ url: \"http://{gateway}\", dialect: {dialect} }}\n"
    );
    let overrides = Overrides {
        state_dir: Some(state_dir.to_owned()),
        ..Overrides::default()
    };
    let config = config::parse(&text, Path::new("bench"), &overrides).unwrap();
    let (sender, task) = std::sync::mpsc::channel();
    let addr = on_a_thread(async move || {
        let task = rustix::thread::gettid().as_raw_nonzero().get();
        sender.send(u32::try_from(task).unwrap()).unwrap();
        let bound = Bound::bind(config, Vec::new()).await.unwrap();
        let addr = bound.listeners.first().unwrap().place.addr().unwrap();
        (addr, async move { bound.run(std::future::pending()).await })
    });
    (addr, task.recv().unwrap())
}

async fn plain_echo() -> (SocketAddr, impl Future<Output = ()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(echo(stream));
        }
    })
}

async fn tls_echo(identity: Identity) -> (SocketAddr, impl Future<Output = ()>) {
    let lasting = Lasting::new(None).unwrap();
    let server = Terminator::new(vec![identity], TlsPolicy::default(), &lasting).unwrap();
    let acceptor = TlsAcceptor::from(Arc::clone(server.config()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move { echo(acceptor.accept(stream).await.unwrap()).await });
        }
    })
}

async fn echo(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut socket = accept_async(stream).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        let answer = match message {
            Message::Text(text) if text == CONNECT => Message::text(HELLO),
            Message::Text(text) if text.starts_with(PUSH) => {
                push(&mut socket, &text).await;
                continue;
            }
            Message::Text(text) => Message::text(text.replacen("req", "res", 1)),
            binary if binary.is_binary() => binary,
            _ => continue,
        };
        if socket.send(answer).await.is_err() {
            break;
        }
    }
}

async fn push(socket: &mut WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>, order: &str) {
    let mut numbers = order.split(' ').skip(1).map(|word| word.parse().unwrap());
    let (count, size): (usize, usize) = (numbers.next().unwrap(), numbers.next().unwrap());
    let front = r#"{"type":"event","event":"agent","payload":""#;
    let filler = "x".repeat(size.saturating_sub(front.len() + 2));
    let event = Message::text(format!("{front}{filler}\"}}"));
    for _ in 0..count {
        if socket.feed(event.clone()).await.is_err() {
            return;
        }
    }
    // A client that has left needs no more.
    drop(socket.flush().await);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Starts a server on a thread of its own and returns where it listens.
fn on_a_thread<S, F, Run>(start: S) -> SocketAddr
where
    S: FnOnce() -> F + Send + 'static,
    F: Future<Output = (SocketAddr, Run)>,
    Run: Future<Output = ()>,
{
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async move {
            let (addr, run) = start().await;
            sender.send(addr).unwrap();
            run.await;
        });
    });
    receiver.recv().unwrap()
}
