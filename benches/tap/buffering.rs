//! One frame in slow pieces: when does the other side get the first of them?
//!
//! Both ends are in this process, for one clock. A proxy that streams passes a piece on as it comes; one
//! that wants the whole frame or message first keeps it for all the pauses.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{Connection, ServerConfig, ServerConnection};

use crate::bench::{Bench, turns};
use crate::report::DIRECT;
use crate::support::client::{Client, Stream};
use crate::support::frames::{self, BINARY};
use crate::support::numbers::Pooled;
use crate::support::process::{self, Running};
use crate::support::{Fallible, head};

pub const GROUP: &str = "frame buffering: µs until the first piece of a frame arrives";

const PIECES: usize = 4;
const PIECE: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Way {
    ToGateway,
    ToClient,
}

/// The row of a direction, as budgets name it.
pub const TO_GATEWAY: &str = "to the gateway: p50";
pub const TO_CLIENT: &str = "to the client: p50";

impl Way {
    fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::ToGateway => (TO_GATEWAY, "to the gateway: slowest"),
            Self::ToClient => (TO_CLIENT, "to the client: slowest"),
        }
    }
}

/// Both ends of one session, and the proxy between them.
struct Lane {
    name: &'static str,
    client: Client,
    gateway: Stream,
    _process: Option<Running>,
}

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    process::pin_self(bench.stage.core)?;
    let near = NearGateway::start(bench.stage.certificate.server()?)?;
    let mut lanes: Vec<(&'static str, Fallible<Lane>)> = vec![(DIRECT, direct(bench, &near))];
    for proxy in &bench.proxies {
        let lane = proxy
            .start(&bench.stage, near.plain)
            .and_then(|(process, door)| Lane::open(proxy.name(), &near, &door, Some(process)));
        lanes.push((proxy.name(), lane));
    }
    for way in [Way::ToGateway, Way::ToClient] {
        let mut times = vec![Vec::new(); lanes.len()];
        for round in 0..bench.plan.frames {
            for turn in turns(lanes.len(), round) {
                let lane = &mut lanes[turn].1;
                if let Ok(open) = lane {
                    match open.first_piece(way, bench.plan.pause) {
                        Ok(time) => times[turn].push(time),
                        Err(error) => *lane = Err(error),
                    }
                }
            }
        }
        for ((name, lane), times) in lanes.iter().zip(times) {
            let pooled = Pooled::new(times);
            let (p50, slowest) = way.labels();
            for (label, share) in [(p50, 0.5), (slowest, 1.0)] {
                let found = match lane {
                    Ok(_) => pooled.quantile(share).ok_or_else(|| "no frame".into()),
                    Err(error) => Err(error.to_string().into()),
                };
                bench.less(GROUP, label, name, found);
            }
        }
    }
    Ok(())
}

fn direct(bench: &Bench, near: &NearGateway) -> Fallible<Lane> {
    let door = bench.stage.secured(near.tls)?;
    Lane::open(DIRECT, near, &door, None)
}

impl Lane {
    fn open(
        name: &'static str,
        near: &NearGateway,
        door: &crate::support::client::Door,
        process: Option<Running>,
    ) -> Fallible<Self> {
        let client = Client::open(door)?;
        let gateway = near.arrived.recv_timeout(PATIENCE)?;
        Ok(Self {
            name,
            client,
            gateway,
            _process: process,
        })
    }

    /// From before the first piece is written until its first byte is read at the other end.
    fn first_piece(&mut self, way: Way, pause: Duration) -> Fallible<Duration> {
        let payload = vec![b'x'; PIECES * PIECE];
        let (frame, from, to) = match way {
            Way::ToGateway => (
                frames::of_client(BINARY, &payload),
                &mut self.client.stream,
                &mut self.gateway,
            ),
            Way::ToClient => (
                frames::of_server(BINARY, &payload),
                &mut self.gateway,
                &mut self.client.stream,
            ),
        };
        let (sent, got) = thread::scope(|scope| {
            let sender = scope.spawn(|| send(from, &frame, pause));
            let got = receive(to, frame.len());
            (sender.join(), got)
        });
        let sent = sent.map_err(|_| "the sender ended")??;
        let got = got.map_err(|error| format!("{} kept the frame: {error}", self.name))?;
        Ok(got.duration_since(sent))
    }
}

/// In pieces; says when it began.
fn send(stream: &mut Stream, frame: &[u8], pause: Duration) -> Fallible<Instant> {
    let started = Instant::now();
    for (index, piece) in frame.chunks(PIECE).enumerate() {
        if index > 0 {
            thread::sleep(pause);
        }
        stream.write_all(piece)?;
    }
    Ok(started)
}

/// All of it, and when its first byte came. Every proxy passes frames on as long as they are: the key
/// that masks them is all that some change.
fn receive(stream: &mut Stream, whole: usize) -> Fallible<Instant> {
    let mut buffer = vec![0; PIECES * PIECE];
    let mut first = None;
    let mut left = whole;
    while left > 0 {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err("the connection ended within it".into());
        }
        first.get_or_insert_with(Instant::now);
        left = left.saturating_sub(count);
    }
    first.ok_or_else(|| "there was nothing to receive".into())
}

/// A gateway in this process that opens every WebSocket and hands it out.
struct NearGateway {
    plain: SocketAddr,
    tls: SocketAddr,
    arrived: Receiver<Stream>,
}

impl NearGateway {
    fn start(tls: Arc<ServerConfig>) -> Fallible<Self> {
        let (sender, arrived) = channel();
        Ok(Self {
            plain: Self::listen(None, sender.clone())?,
            tls: Self::listen(Some(tls), sender)?,
            arrived,
        })
    }

    fn listen(tls: Option<Arc<ServerConfig>>, sender: Sender<Stream>) -> Fallible<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        // It waits for clients until the process ends.
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                // A peer that only looked whether somebody listens is no session.
                if let Ok(stream) = accept(tcp, tls.clone())
                    && sender.send(stream).is_err()
                {
                    return;
                }
            }
        });
        Ok(addr)
    }
}

fn accept(tcp: TcpStream, tls: Option<Arc<ServerConfig>>) -> Fallible<Stream> {
    let tls = tls.map(ServerConnection::new).transpose()?;
    let mut stream = Stream::new(tcp, tls.map(Connection::Server))?;
    let (request, _) = stream.read_head()?;
    stream.write_all(head::response(&request)?.as_bytes())?;
    Ok(stream)
}
