//! Memory of the tap while a peer sends only the smallest possible frames, or messages of the
//! dialect no two of which are alike. It must be the same after a hundred thousand and after a
//! million of them, and so must the size of the record. TLS on both legs.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::{Connection, ServerConfig, ServerConnection};
use serde_json::Value;

use super::distinct::Distinct;
use super::gate::{Outcome, Place};
use super::support::client::{Client, Door, Stream};
use super::support::frames::{CLOSE, TEXT, of_client, of_server};
use super::support::process::Running;
use super::support::tap::Setup;
use super::support::{Fallible, head};

const FEW: usize = 100_000;
const MANY: usize = 1_000_000;
/// Allowed growth for ten times as many frames: for the allocator and the clock, and not one byte
/// per frame.
const ROOM_KIB: usize = 128;
/// Allowed growth of the record: larger numbers have more digits.
const ROOM_OF_RECORD: usize = 400;
/// Number of bytes per write.
const BATCH: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

const PING: u8 = 9;
const CONTINUATION: u8 = 0;
/// The FIN bit in the first byte of a frame.
const FIN: u8 = 0x80;

#[derive(Clone, Copy, Debug)]
enum Flood {
    /// Messages of one byte.
    Bytes,
    /// Empty messages.
    Empty,
    Pings,
    /// One message in fragments of one byte.
    Fragments,
    /// Messages of one byte, with each byte of a frame in a separate TLS record.
    TlsRecords,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Client,
    Gateway,
}

/// A flood and its sender.
#[derive(Clone, Copy)]
enum Kind {
    Small(Flood, From),
    Distinct(Distinct),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small(flood, from) => write!(f, "{flood:?} by the {from:?}"),
            Self::Distinct(flood) => f.write_str(flood.words()),
        }
    }
}

const SMALL: [Flood; 5] = [
    Flood::Bytes,
    Flood::Empty,
    Flood::Pings,
    Flood::Fragments,
    Flood::TlsRecords,
];

fn kinds() -> impl Iterator<Item = Kind> {
    let small = SMALL
        .into_iter()
        .flat_map(|flood| [From::Client, From::Gateway].map(|from| Kind::Small(flood, from)));
    small.chain(Distinct::ALL.map(Kind::Distinct))
}

pub fn gate(place: &Place<'_>) -> Fallible<Outcome> {
    let gateway = Gateway::start(place.certificate.server()?)?;
    let setup = Setup {
        name: "flooded",
        tls_to_gateway: true,
        ..Setup::default()
    };
    let (tap, addr) = setup.start(place.folder, place.certificate, gateway.addr, place.core)?;
    let door = Door {
        addr,
        tls: Some(place.certificate.client(Resumption::disabled())?),
    };
    let mut flooded = Flooded {
        tap: &tap,
        door: &door,
        gateway: &gateway,
        records: &place.folder.join("flooded.jsonl"),
        sessions: 0,
    };
    let mut words = Vec::new();
    for kind in kinds() {
        // The first session allocates what is needed only once.
        flooded.session(kind, 1000)?;
        let few = flooded.session(kind, FEW)?;
        let many = flooded.session(kind, MANY)?;
        let grown = many.kib.saturating_sub(few.kib);
        let longer = many.record.saturating_sub(few.record);
        let told = format!(
            "flood of {kind}: {} KiB after {FEW}, {} KiB after {MANY}; records of \
             {} and {} bytes",
            few.kib, many.kib, few.record, many.record
        );
        if grown > ROOM_KIB || longer > ROOM_OF_RECORD {
            return Err(told.into());
        }
        words.push(told);
    }
    Ok(Outcome::Held(words))
}

/// The tap's memory when the flood had ended, and the size of its record.
struct Left {
    kib: usize,
    record: usize,
}

struct Flooded<'a> {
    tap: &'a Running,
    door: &'a Door,
    gateway: &'a Gateway,
    records: &'a Path,
    sessions: usize,
}

impl Flooded<'_> {
    /// Runs a session with a flood of `count` frames, and returns what it left.
    fn session(&mut self, kind: Kind, count: usize) -> Fallible<Left> {
        let mut client = Client::open(self.door)?;
        let mut gateway = self.gateway.next()?;
        match kind {
            Kind::Small(flood, from) => send(flood, from, count, &mut client.stream, &mut gateway)?,
            Kind::Distinct(flood) => flood.send(count, &mut client, &mut gateway)?,
        }
        let kib = self.tap.pss()?;
        std::thread::scope(|scope| {
            let answering = scope.spawn(move || answer_close(&mut gateway));
            client.close()?;
            answering.join().map_err(|_| "the gateway panicked")?
        })?;
        self.sessions += 1;
        let record = self.record()?;
        Ok(Left { kib, record })
    }

    /// The size of the newest record, once it is written.
    fn record(&self) -> Fallible<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(self.records)?;
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let is_session = |line: &&str| {
                let record: Option<Value> = serde_json::from_str(line).ok();
                record.is_some_and(|record| record["kind"] == "websocket")
            };
            let mut records = whole.lines().filter(is_session);
            if let Some(line) = records.nth(self.sessions - 1) {
                return Ok(line.len());
            }
            if Instant::now() > deadline {
                return Err(format!("no record of session {}", self.sessions).into());
            }
            sleep(Duration::from_millis(10));
        }
    }
}

/// Sends a flood of `count` frames and waits until all have arrived.
fn send(
    flood: Flood,
    from: From,
    count: usize,
    client: &mut Stream,
    gateway: &mut Stream,
) -> Fallible<()> {
    let (sender, receiver) = match from {
        From::Client => (client, gateway),
        From::Gateway => (gateway, client),
    };
    let frames = Frames::new(flood, from, count);
    let size = frames.size();
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || swallow(receiver, size));
        frames.send(sender)?;
        reading.join().map_err(|_| "the receiver panicked")?
    })
}

/// Reads `size` bytes and discards them.
fn swallow(stream: &mut Stream, size: usize) -> Fallible<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut left = size;
    while left > 0 {
        match stream.read(&mut buffer)? {
            0 => return Err(format!("the connection ended {left} bytes too early").into()),
            count => left = left.checked_sub(count).ok_or("more came than was sent")?,
        }
    }
    Ok(())
}

/// The gateway's part of an orderly end.
fn answer_close(stream: &mut Stream) -> Fallible<()> {
    let mut buffer = [0; 1024];
    if stream.read(&mut buffer)? == 0 {
        return Err("the client left without a Close".into());
    }
    stream.write_all(&of_server(CLOSE, &1000_u16.to_be_bytes()))?;
    // How the connection ends afterwards is up to the tap.
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    Ok(())
}

/// The frames of a flood.
struct Frames {
    first: Vec<u8>,
    middle: Vec<u8>,
    last: Vec<u8>,
    /// Number of frames in the middle part.
    count: usize,
    byte_by_byte: bool,
}

impl Frames {
    fn new(flood: Flood, from: From, count: usize) -> Self {
        let frame = |opcode, payload: &[u8], fin: bool| {
            let mut frame = match from {
                From::Client => of_client(opcode, payload),
                From::Gateway => of_server(opcode, payload),
            };
            if !fin {
                frame[0] &= !FIN;
            }
            frame
        };
        let alike = |frame: Vec<u8>| Self {
            first: Vec::new(),
            middle: frame,
            last: Vec::new(),
            count,
            byte_by_byte: false,
        };
        match flood {
            Flood::Bytes => alike(frame(TEXT, b"x", true)),
            Flood::Empty => alike(frame(TEXT, b"", true)),
            Flood::Pings => alike(frame(PING, b"x", true)),
            Flood::Fragments => Self {
                first: frame(TEXT, b"x", false),
                last: frame(CONTINUATION, b"x", true),
                ..alike(frame(CONTINUATION, b"x", false))
            },
            Flood::TlsRecords => {
                let middle = frame(TEXT, b"x", true);
                Self {
                    count: count / middle.len(),
                    byte_by_byte: true,
                    ..alike(middle)
                }
            }
        }
    }

    fn size(&self) -> usize {
        self.first.len() + self.middle.len() * self.count + self.last.len()
    }

    fn send(&self, stream: &mut Stream) -> Fallible<()> {
        if self.byte_by_byte {
            for _ in 0..self.count {
                for byte in &self.middle {
                    stream.write_all(std::slice::from_ref(byte))?;
                }
            }
            return Ok(());
        }
        let batch = BATCH / self.middle.len();
        let all = self.middle.repeat(batch);
        stream.write_all(&self.first)?;
        for _ in 0..self.count / batch {
            stream.write_all(&all)?;
        }
        let rest = self.count % batch * self.middle.len();
        stream.write_all(&all[..rest])?;
        Ok(stream.write_all(&self.last)?)
    }
}

/// A gateway that returns the sessions that come to it once they are open.
struct Gateway {
    addr: SocketAddr,
    sessions: std::sync::mpsc::Receiver<Stream>,
}

impl Gateway {
    /// Starts it on a thread that ends with this process.
    fn start(config: Arc<ServerConfig>) -> Fallible<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let (hand_out, sessions) = std::sync::mpsc::channel();
        Builder::new().name("gateway".to_owned()).spawn(move || {
            for tcp in listener.incoming().flatten() {
                // A connection that is not from our client is a health check by the tap itself.
                let opened = Self::open(tcp, &config);
                if opened.is_ok_and(|stream| hand_out.send(stream).is_err()) {
                    return;
                }
            }
        })?;
        Ok(Self { addr, sessions })
    }

    fn open(tcp: std::net::TcpStream, config: &Arc<ServerConfig>) -> Fallible<Stream> {
        let tls = ServerConnection::new(Arc::clone(config))?;
        let mut stream = Stream::new(tcp, Some(Connection::Server(tls)))?;
        let (request, _) = stream.read_head()?;
        let answer = head::response(&request)?;
        if !head::is_ours(&request) {
            return Err("somebody else".into());
        }
        stream.write_all(answer.as_bytes())?;
        Ok(stream)
    }

    fn next(&self) -> Fallible<Stream> {
        Ok(self.sessions.recv_timeout(PATIENCE)?)
    }
}
