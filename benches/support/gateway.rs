//! The stand-in gateway: answers the dialect's handshake and every message, and does nothing else.
//!
//! A process of its own with one thread. The same sessions with and without TLS: without it behind
//! proxies, with it for clients that come straight.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;

use super::certs::Certificate;
use super::frames::{self, CLOSE, TEXT};
use super::process::Running;
use super::role::{self, Role};
use super::{Fallible, head, talk};

/// What tells it to send so many events of a size: `push 4096 1024`.
const PUSH: &[u8] = b"push ";

const BUFFER: usize = 64 * 1024;

/// The message that tells it to send so many events of this size.
pub fn order(count: usize, size: usize) -> Vec<u8> {
    [PUSH, format!("{count} {size}").as_bytes()].concat()
}

/// A gateway at work.
pub struct Gateway {
    pub process: Running,
    pub plain: SocketAddr,
    pub tls: SocketAddr,
}

impl Gateway {
    /// Starts it. The folder holds the certificate.
    pub fn start(folder: &Path, core: usize) -> Fallible<Self> {
        let command = role::command(Role::Gateway, [folder]);
        let process = Running::start("gateway", &command, folder, core)?;
        let line = process.first_line()?;
        let mut addrs = line.split_whitespace().map(str::parse);
        let (Some(Ok(plain)), Some(Ok(tls))) = (addrs.next(), addrs.next()) else {
            return Err(format!("the gateway said {line:?} instead of two addresses").into());
        };
        Ok(Self {
            process,
            plain,
            tls,
        })
    }
}

/// The role: says where it listens and serves until it is ended.
pub fn play(folder: &Path) -> Fallible<()> {
    let acceptor = TlsAcceptor::from(Certificate::in_folder(folder).server()?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let plain = TcpListener::bind("127.0.0.1:0").await?;
        let tls = TcpListener::bind("127.0.0.1:0").await?;
        let mut out = std::io::stdout();
        writeln!(out, "{} {}", plain.local_addr()?, tls.local_addr()?)?;
        out.flush()?;
        loop {
            tokio::select! {
                accepted = plain.accept() => {
                    let (stream, _) = accepted?;
                    stream.set_nodelay(true)?;
                    tokio::spawn(async move { ignore(session(stream).await) });
                }
                accepted = tls.accept() => {
                    let (stream, _) = accepted?;
                    stream.set_nodelay(true)?;
                    tokio::spawn(secured(acceptor.clone(), stream));
                }
            }
        }
    })
}

async fn secured(acceptor: TlsAcceptor, stream: TcpStream) {
    // rustls by itself would read 4 KiB at a time.
    let stream = BufReader::with_capacity(BUFFER, stream);
    if let Ok(stream) = acceptor.accept(stream).await {
        ignore(session(stream).await);
    }
}

/// Clients and proxies that leave without a word are theirs to explain.
fn ignore(_: Fallible<()>) {}

async fn session(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Fallible<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if let Some(end) = head::length(&bytes) {
            break end;
        }
    };
    let mut out = head::response(&bytes[..end])?.into_bytes();
    bytes.drain(..end);
    loop {
        let mut at = 0;
        let mut closing = false;
        while let Some(frame) = frames::first(&mut bytes[at..])? {
            at += frame.size;
            closing |= frame.opcode == CLOSE;
            if frame.payload.starts_with(PUSH) {
                push(&mut stream, frame.payload).await?;
                continue;
            }
            let payload = match frame.opcode {
                TEXT => talk::answer(frame.payload),
                _ => frame.payload,
            };
            frames::write_header(&mut out, frame.opcode, payload.len(), 0);
            out.extend_from_slice(payload);
        }
        bytes.drain(..at);
        if !out.is_empty() {
            stream.write_all(&out).await?;
            stream.flush().await?;
            out.clear();
        }
        if closing {
            return Ok(stream.shutdown().await?);
        }
        bytes.reserve(16 * 1024);
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}

/// Sends events as an agent does that talks.
async fn push(stream: &mut (impl AsyncWrite + Unpin), order: &[u8]) -> Fallible<()> {
    let order = std::str::from_utf8(order)?;
    let mut numbers = order.split(' ').skip(1).map(str::parse::<usize>);
    let (Some(Ok(count)), Some(Ok(size))) = (numbers.next(), numbers.next()) else {
        return Err("an order to push without numbers".into());
    };
    let front = r#"{"type":"event","event":"agent","payload":""#;
    let filler = "x".repeat(size.saturating_sub(front.len() + 2));
    let event = frames::of_server(TEXT, format!("{front}{filler}\"}}").as_bytes());
    let batch = (BUFFER / event.len()).max(1);
    let all = event.repeat(batch);
    let mut left = count;
    while left > 0 {
        let now = left.min(batch);
        stream.write_all(&all[..now * event.len()]).await?;
        left -= now;
    }
    Ok(stream.flush().await?)
}
