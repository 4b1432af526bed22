//! One WebSocket client on blocking sockets, so that the client adds little to a round trip.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, Connection};

use super::Fallible;
use super::frames::{self, CLOSE, Counter, Ended, TEXT};
use super::head::{self, Path};
use super::talk::{self, Messages};

/// No answer within this time ends a bench.
const PATIENCE: Duration = Duration::from_secs(20);
const BUFFER: usize = 64 * 1024;

/// The address that a client connects to, and whether it uses TLS.
#[derive(Clone, Debug)]
pub struct Door {
    pub addr: SocketAddr,
    pub tls: Option<Arc<ClientConfig>>,
}

/// A byte stream of either end, with or without TLS.
///
/// Reads all available bytes from the socket; rustls by itself would read 4 KiB at a time.
pub struct Stream {
    tcp: TcpStream,
    tls: Option<Box<Connection>>,
    raw: Box<[u8]>,
    /// The range of `raw` that rustls has not processed yet.
    unread: (usize, usize),
}

impl Stream {
    pub fn new(tcp: TcpStream, tls: Option<Connection>) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            tcp,
            tls: tls.map(Box::new),
            raw: vec![0; BUFFER].into(),
            unread: (0, 0),
        })
    }

    /// Reads at least one byte, or returns 0 at the end.
    pub fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.tcp.read(out);
        };
        loop {
            match tls.reader().read(out) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            if self.unread.0 == self.unread.1 {
                self.unread = (0, self.tcp.read(&mut self.raw)?);
            }
            let mut slice = &self.raw[self.unread.0..self.unread.1];
            self.unread.0 += tls.read_tls(&mut slice)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            while tls.wants_write() {
                tls.write_tls(&mut self.tcp)?;
            }
        }
    }

    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return self.tcp.write_all(bytes);
        };
        while !bytes.is_empty() {
            bytes = &bytes[tls.writer().write(bytes)?..];
            while tls.wants_write() {
                tls.write_tls(&mut self.tcp)?;
            }
        }
        Ok(())
    }

    /// Reads up to the end of a head, and returns the head and the bytes after it.
    pub fn read_head(&mut self) -> Fallible<(Vec<u8>, Vec<u8>)> {
        let mut bytes = Vec::new();
        let mut part = [0; 4096];
        loop {
            let count = self.read(&mut part)?;
            if count == 0 {
                return Err("the connection ended in the handshake".into());
            }
            bytes.extend_from_slice(&part[..count]);
            if let Some(end) = head::length(&bytes) {
                let rest = bytes.split_off(end);
                return Ok((bytes, rest));
            }
        }
    }
}

/// An open WebSocket.
pub struct Client {
    pub stream: Stream,
    counter: Counter,
    buffer: Box<[u8]>,
    /// Messages that came and were not consumed yet.
    unheard: usize,
}

impl Client {
    /// Connects and upgrades, without the dialect's handshake.
    pub fn open(door: &Door) -> Fallible<Self> {
        Self::open_at(door, Path::Bare)
    }

    fn open_at(door: &Door, path: Path) -> Fallible<Self> {
        let tcp = TcpStream::connect_timeout(&door.addr, PATIENCE)?;
        let tls = match &door.tls {
            Some(config) => {
                let name = "localhost".try_into()?;
                let connection = ClientConnection::new(Arc::clone(config), name)?;
                Some(Connection::Client(connection))
            }
            None => None,
        };
        let mut stream = Stream::new(tcp, tls)?;
        stream.write_all(head::request(path).as_bytes())?;
        let (answer, rest) = stream.read_head()?;
        head::check(&answer)?;
        let mut client = Self {
            stream,
            counter: Counter::default(),
            buffer: vec![0; BUFFER].into(),
            unheard: 0,
        };
        client.unheard = client.counter.feed(&rest).messages;
        Ok(client)
    }

    /// Connects, upgrades, and completes the handshake of the dialect.
    pub fn greet(door: &Door) -> Fallible<Self> {
        let mut client = Self::open_at(door, Path::Session)?;
        client.hear(1)?;
        client.say(&frames::of_client(TEXT, talk::CONNECT.as_bytes()))?;
        Ok(client)
    }

    /// Sends a message and waits for the whole of the answer.
    pub fn say(&mut self, frame: &[u8]) -> Fallible<()> {
        self.stream.write_all(frame)?;
        self.hear(1)
    }

    /// Waits for this many messages.
    pub fn hear(&mut self, messages: usize) -> Fallible<()> {
        while self.unheard < messages {
            let heard = self.read()?;
            if heard.closes > 0 {
                return Err("got a Close instead of an answer".into());
            }
            self.unheard += heard.messages;
        }
        self.unheard -= messages;
        Ok(())
    }

    /// Reads the next bytes as they come; the caller must assemble whole frames.
    pub fn read_some(&mut self) -> Fallible<Vec<u8>> {
        match self.stream.read(&mut self.buffer)? {
            0 => Err("the connection ended".into()),
            count => Ok(self.buffer[..count].to_vec()),
        }
    }

    fn read(&mut self) -> Fallible<Ended> {
        match self.stream.read(&mut self.buffer)? {
            0 => Err("the connection ended".into()),
            count => Ok(self.counter.feed(&self.buffer[..count])),
        }
    }

    /// Does `count` round trips and returns the time of each.
    pub fn trips(&mut self, messages: &mut Messages, count: usize) -> Fallible<Vec<Duration>> {
        (0..count)
            .map(|_| {
                let frame = messages.next();
                let started = Instant::now();
                self.say(frame)?;
                Ok(started.elapsed())
            })
            .collect()
    }

    /// Ends the session as the protocol requires.
    pub fn close(mut self) -> Fallible<()> {
        let body = 1000_u16.to_be_bytes();
        self.stream.write_all(&frames::of_client(CLOSE, &body))?;
        while self.read()?.closes == 0 {}
        if let Some(tls) = &mut self.stream.tls {
            tls.send_close_notify();
            tls.write_tls(&mut self.stream.tcp)?;
        }
        Ok(())
    }
}
