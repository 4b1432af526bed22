//! Well-behaved: sends each client the address that it sees, as a text frame after the 101 or as the
//! response body, and then echoes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::support::conn::Conn;
use crate::support::frame::{CLOSE, Frame};
use crate::support::head;
use crate::support::wire::Wire;

/// A running one; it ends when this is dropped.
pub struct Namer {
    pub port: u16,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

/// What it saw of its clients.
#[derive(Default)]
struct Seen {
    /// Firewall marks of the accepted sockets, by the client's address.
    marks: Mutex<HashMap<SocketAddr, u32>>,
    open: AtomicUsize,
}

impl Namer {
    /// The firewall mark of its socket with this client.
    pub fn mark_of(&self, client: SocketAddr) -> u32 {
        let marks = self.seen.marks.lock().unwrap();
        *marks.get(&client).expect("a client that has come")
    }

    /// Clients that it serves now.
    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::Relaxed)
    }
}

/// On this address and a free port.
pub async fn start(on: &str) -> Namer {
    serve_on(TcpListener::bind((on, 0)).await.expect("bind"))
}

/// The same with TLS.
pub async fn start_tls(on: &str, config: Arc<ServerConfig>) -> Namer {
    serve_tls_on(TcpListener::bind((on, 0)).await.expect("bind"), config)
}

/// With TLS, on this listener.
pub fn serve_tls_on(listener: TcpListener, config: Arc<ServerConfig>) -> Namer {
    let port = listener.local_addr().expect("its address").port();
    let acceptor = TlsAcceptor::from(config);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut sessions = JoinSet::new();
        loop {
            let (stream, peer) = listener.accept().await.expect("accept");
            let acceptor = acceptor.clone();
            sessions.spawn(async move {
                if let Ok(tls) = acceptor.accept(stream).await {
                    serve(Wire::Tls(Box::new(tls.into())), peer).await;
                }
            });
        }
    });
    Namer {
        port,
        seen: Arc::default(),
        _tasks: tasks,
    }
}

/// On this listener.
pub fn serve_on(listener: TcpListener) -> Namer {
    let port = listener.local_addr().expect("its address").port();
    let (seen, mut tasks) = (Arc::<Seen>::default(), JoinSet::new());
    let noting = Arc::clone(&seen);
    tasks.spawn(async move {
        let mut sessions = JoinSet::new();
        loop {
            let (stream, peer) = listener.accept().await.expect("accept");
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            let mark = SockRef::from(&stream).mark().expect("its mark");
            noting.marks.lock().unwrap().insert(peer, mark);
            noting.open.fetch_add(1, Ordering::Relaxed);
            let noting = Arc::clone(&noting);
            sessions.spawn(async move {
                serve(Wire::Plain(stream), peer).await;
                noting.open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    Namer {
        port,
        seen,
        _tasks: tasks,
    }
}

async fn serve(wire: Wire, peer: SocketAddr) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string();
    let mut conn = Conn::patient(wire);
    while let Ok(head) = conn.head().await {
        if head.value("sec-websocket-key").is_none() {
            let brought = head.values("x-forwarded-for").join(",");
            let body = format!("{peer} {brought}");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if conn.wire.send(answer.as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        let switching = head::switching(&head.accept_key(), None);
        if conn.wire.send(&switching).await.is_err()
            || conn.send_frame(&Frame::text(&peer)).await.is_err()
        {
            return;
        }
        while let Ok(frame) = conn.frame().await {
            let is_close = frame.opcode == CLOSE;
            let echo = Frame::new(frame.opcode, frame.payload);
            if conn.send_frame(&echo).await.is_err() {
                return;
            }
            if is_close {
                return conn.wire.finish().await;
            }
        }
        return;
    }
}
