//! The gateway of these sessions: it answers requests, echoes messages, closes with 1002 after a
//! breach of RFC 6455, and records which bytes arrived on which connection.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::tamper::{Change, Tampered};
use crate::support::frame::{CLOSE, Frame, TEXT};
use crate::support::head::{self, Head};

/// Delay of the answer to `/slow`: bytes that come during it arrive while the upgrade is pending.
const SLOW: Duration = Duration::from_millis(40);

/// The messages that came on each connection, by the tap's address. A list, because a port can be
/// used again.
#[derive(Clone, Default)]
pub struct Received(Arc<Mutex<HashMap<SocketAddr, Vec<Vec<Message>>>>>);

type Message = Vec<u8>;

impl Received {
    fn begin(&self, from: SocketAddr) {
        self.0
            .lock()
            .unwrap()
            .entry(from)
            .or_default()
            .push(Vec::new());
    }

    fn note(&self, from: SocketAddr, bytes: Message) {
        let mut all = self.0.lock().unwrap();
        let connections = all.get_mut(&from).expect("it has begun");
        connections.last_mut().expect("it has begun").push(bytes);
    }

    /// Everything that came so far, from every client.
    pub fn all(&self) -> HashSet<Message> {
        let all = self.0.lock().unwrap();
        all.values().flatten().flatten().cloned().collect()
    }

    /// For each connection from this address, whether it brought bytes that are not `known`.
    pub fn strange(&self, from: &str, known: &HashSet<Message>) -> Vec<bool> {
        let from: SocketAddr = from.parse().expect("an address");
        let all = self.0.lock().unwrap();
        let connections = all.get(&from).into_iter().flatten();
        connections
            .map(|messages| messages.iter().any(|bytes| !known.contains(bytes)))
            .collect()
    }
}

/// A running gateway.
pub struct Gateway {
    pub url: String,
    pub received: Received,
    task: JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    /// Starts it. With `tls`, `changes` alters what it sends on each connection.
    pub async fn start(
        tls: Option<TlsAcceptor>,
        mut changes: impl FnMut() -> Change + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let addr = listener.local_addr().expect("its address");
        let received = Received::default();
        let log = received.clone();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, from) = listener.accept().await.expect("accept");
                tcp.set_nodelay(true).expect("set TCP_NODELAY");
                let (log, tls) = (log.clone(), tls.clone());
                let change = changes();
                log.begin(from);
                connections.spawn(async move {
                    let io = Tampered::new(tcp, change);
                    // The records say how it ended.
                    let _ = match tls {
                        None => serve(io, from, &log).await,
                        Some(tls) => match tls.accept(io).await {
                            Ok(io) => serve(io, from, &log).await,
                            Err(error) => Err(error),
                        },
                    };
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            url: format!("{scheme}://{addr}"),
            received,
            task,
        }
    }
}

/// A request's head without the line by which the tap marks one of many that are alike. How many are under
/// way at once is chance.
fn without_mark(head: &[u8]) -> Message {
    let is_mark = |line: &&[u8]| line.to_ascii_lowercase().starts_with(b"via: 1.1 wstap-");
    head.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !is_mark(line))
        .collect::<Vec<_>>()
        .concat()
}

async fn serve<S>(mut io: S, from: SocketAddr, log: &Received) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buf = Vec::new();
    loop {
        let head = until(&mut io, &mut buf, Head::take).await?;
        if head.value("upgrade").is_some() {
            log.note(from, without_mark(&head.raw));
            if head.target() == "/slow" {
                tokio::time::sleep(SLOW).await;
            }
            let answer = head::switching(&head.accept_key(), None);
            io.write_all(&answer).await?;
            io.flush().await?;
            frames(&mut io, &mut buf, from, log).await?;
            return io.shutdown().await;
        }
        let length = head.value("content-length");
        let length: usize = length.map_or(0, |length| length.parse().unwrap_or(0));
        let body: Vec<u8> = until(&mut io, &mut buf, |buf| {
            (buf.len() >= length).then(|| buf.drain(..length).collect())
        })
        .await?;
        log.note(from, [without_mark(&head.raw), body].concat());
        let answer = head::response("200 OK", &[("Content-Length", "2")]);
        io.write_all(&[answer, b"ok".to_vec()].concat()).await?;
        io.flush().await?;
    }
}

async fn frames<S>(
    io: &mut S,
    buf: &mut Vec<u8>,
    from: SocketAddr,
    log: &Received,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let frame = until(io, buf, Frame::take).await?;
        log.note(from, frame.to_bytes());
        let control = frame.opcode >= CLOSE;
        let broken = frame.mask.is_none()
            || frame.rsv != 0
            || !matches!(frame.opcode, 0..=2 | 8..=10)
            || (control && (!frame.fin || frame.payload.len() > 125));
        if broken {
            return io.write_all(&Frame::close(1002, "").to_bytes()).await;
        }
        match frame.opcode {
            TEXT => {
                let echo = Frame::new(TEXT, frame.payload);
                io.write_all(&echo.to_bytes()).await?;
                io.flush().await?;
            }
            CLOSE => {
                let echo = Frame::new(CLOSE, frame.payload);
                return io.write_all(&echo.to_bytes()).await;
            }
            _ => {}
        }
    }
}

/// Reads until `take` finds a complete item at the front.
pub async fn until<S, T>(
    io: &mut S,
    buf: &mut Vec<u8>,
    mut take: impl FnMut(&mut Vec<u8>) -> Option<T>,
) -> io::Result<T>
where
    S: AsyncRead + Unpin,
{
    loop {
        if let Some(found) = take(buf) {
            return Ok(found);
        }
        if io.read_buf(buf).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
