//! The stand-in gateway: answers the dialect's handshake and every message, and does nothing else.
//!
//! A separate process with one thread. It serves the same sessions with and without TLS: without
//! TLS behind proxies, with TLS for clients that connect directly.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::certs::Certificate;
use super::frames::{self, BINARY, CLOSE, TEXT};
use super::head::{self, Path};
use super::order::{DRIP, PUSH};
use super::process::Running;
use super::role::{self, Role};
use super::{Fallible, clock, slow, talk};

const BUFFER: usize = 64 * 1024;

/// A gateway at work.
pub struct Gateway {
    pub process: Running,
    pub plain: SocketAddr,
    pub tls: SocketAddr,
}

impl Gateway {
    /// Starts it on loopback. The folder holds the certificate.
    pub fn start(folder: &std::path::Path, core: usize) -> Fallible<Self> {
        Self::start_on(folder, Ipv4Addr::LOCALHOST.into(), core)
    }

    /// Starts it on this address.
    pub fn start_on(folder: &std::path::Path, ip: IpAddr, core: usize) -> Fallible<Self> {
        let ip = ip.to_string();
        let command = role::command(Role::Gateway, [folder.as_os_str(), ip.as_ref()]);
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

/// The role: prints where it listens and serves until it is ended.
pub fn play(folder: &std::path::Path, ip: IpAddr) -> Fallible<()> {
    let acceptor = TlsAcceptor::from(Certificate::in_folder(folder).server()?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let plain = TcpListener::bind((ip, 0)).await?;
        let tls = TcpListener::bind((ip, 0)).await?;
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

/// Drops errors of clients and proxies that leave without a Close: the bench reports those on its
/// own side.
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
    if head::asks_for(&bytes[..end], Path::Session) {
        out.extend(frames::of_server(TEXT, talk::CHALLENGE.as_bytes()));
    }
    bytes.drain(..end);
    // When the frame at the front began to come.
    let mut began = clock::now()?;
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
            if frame.payload.starts_with(DRIP) {
                drip(&mut stream, frame.payload).await?;
                continue;
            }
            if frame.opcode == BINARY {
                out.extend(slow::tell(began));
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
        let is_new = bytes.is_empty();
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if is_new {
            began = clock::now()?;
        }
    }
}

/// Sends events as a talking agent does.
async fn push(stream: &mut (impl AsyncWrite + Unpin), order: &[u8]) -> Fallible<()> {
    let [count, size] = numbers(order)?;
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

/// Sends one frame slowly, and then the time when it began, in another frame.
async fn drip(stream: &mut (impl AsyncWrite + Unpin), order: &[u8]) -> Fallible<()> {
    let [pieces, size, pause] = numbers(order)?;
    let frame = frames::of_server(BINARY, &vec![b'x'; pieces * size]);
    let began = clock::now()?;
    for (index, piece) in frame.chunks(frame.len().div_ceil(pieces)).enumerate() {
        if index > 0 {
            sleep(Duration::from_micros(pause as u64)).await;
        }
        stream.write_all(piece).await?;
        stream.flush().await?;
    }
    stream.write_all(&slow::tell(began)).await?;
    Ok(stream.flush().await?)
}

/// The numbers after the keyword of an order.
fn numbers<const COUNT: usize>(order: &[u8]) -> Fallible<[usize; COUNT]> {
    let order = std::str::from_utf8(order)?;
    let numbers = order.split(' ').skip(1).map(str::parse);
    let numbers: Vec<usize> = numbers.collect::<Result<_, _>>()?;
    let count = numbers.len();
    let numbers = numbers.try_into();
    numbers.map_err(|_| format!("an order with {count} numbers instead of {COUNT}").into())
}
