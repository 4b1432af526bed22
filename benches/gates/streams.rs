//! Sessions in streams of one HTTP/2 connection (RFC 8441), for as many sessions as open files allow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Request, StatusCode};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::support::Fallible;
use super::support::frames::{CLOSE, Counter, Ended, TEXT, of_client};
use super::support::talk::{CONNECT, Messages};

const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
/// Window of the connection. With the usual 64 KiB the library treats 140 small unread answers as
/// an attack.
const WINDOW: u32 = 8 << 20;

/// Open sessions on one connection.
pub struct Streams {
    runtime: Runtime,
    sessions: Vec<Session>,
}

struct Session {
    send: SendStream<Bytes>,
    receive: RecvStream,
    counter: Counter,
}

impl Streams {
    /// Opens `count` sessions, each through the handshake of the dialect.
    pub fn open(addr: SocketAddr, tls: &ClientConfig, count: usize) -> Fallible<Self> {
        // A separate thread, because the tap's pings need answers even while the bench is idle.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let all = async {
            let tcp = TcpStream::connect(addr).await?;
            tcp.set_nodelay(true)?;
            let connector = TlsConnector::from(Arc::new(tls));
            let stream = connector.connect("localhost".try_into()?, tcp).await?;
            let (mut opener, connection) = h2::client::Builder::new()
                .initial_connection_window_size(WINDOW)
                .handshake(stream)
                .await?;
            tokio::spawn(connection);
            let mut sessions = Vec::with_capacity(count);
            for _ in 0..count {
                sessions.push(Session::greet(&mut opener, addr).await?);
            }
            Fallible::Ok(sessions)
        };
        let sessions = runtime.block_on(async { timeout(PATIENCE, all).await })??;
        Ok(Self { runtime, sessions })
    }

    /// Sends one message each way in every session; returns how many answered.
    pub fn once(&mut self, size: usize) -> Fallible<usize> {
        let sessions = &mut self.sessions;
        let all = async {
            let mut messages = Messages::new(size);
            for session in &mut *sessions {
                session.say(messages.next(), false)?;
            }
            let mut answered = 0;
            for session in sessions {
                answered += session.hear().await?.messages;
            }
            Fallible::Ok(answered)
        };
        self.runtime
            .block_on(async { timeout(PATIENCE, all).await })?
    }

    /// Ends every session as the protocol requires.
    pub fn close(self) -> Fallible<()> {
        let mut sessions = self.sessions;
        let all = async {
            for session in &mut sessions {
                session.say(&of_client(CLOSE, &1000_u16.to_be_bytes()), true)?;
            }
            for session in &mut sessions {
                if session.hear().await?.closes == 0 {
                    return Err("a stream ended without an answer to its Close".into());
                }
            }
            Ok(())
        };
        self.runtime
            .block_on(async { timeout(PATIENCE, all).await })?
    }
}

impl Session {
    async fn greet(opener: &mut SendRequest<Bytes>, addr: SocketAddr) -> Fallible<Self> {
        let mut ready = opener.clone().ready().await?;
        // The tap's settings may still be on their way; the caller has a time limit.
        while !ready.is_extended_connect_protocol_enabled() {
            sleep(PAUSE).await;
        }
        let mut request = Request::builder()
            .method("CONNECT")
            .uri(format!("https://localhost:{}/", addr.port()))
            .header("sec-websocket-version", "13")
            .header("user-agent", "bench")
            .body(())?;
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
        let (answer, send) = ready.send_request(request, false)?;
        let answer = answer.await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("a stream was answered with {}", answer.status()).into());
        }
        let mut session = Self {
            send,
            receive: answer.into_body(),
            counter: Counter::default(),
        };
        session.hear().await?;
        session.say(&of_client(TEXT, CONNECT.as_bytes()), false)?;
        session.hear().await?;
        Ok(session)
    }

    fn say(&mut self, frame: &[u8], last: bool) -> Fallible<()> {
        Ok(self.send.send_data(Bytes::copy_from_slice(frame), last)?)
    }

    /// Reads until some bytes complete a frame or message, and returns what they completed.
    async fn hear(&mut self) -> Fallible<Ended> {
        loop {
            let bytes = self.receive.data().await.ok_or("a stream ended")??;
            self.receive.flow_control().release_capacity(bytes.len())?;
            let ended = self.counter.feed(&bytes);
            if ended != Ended::default() {
                return Ok(ended);
            }
        }
    }
}
