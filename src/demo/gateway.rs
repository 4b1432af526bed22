//! A stand-in for the `OpenClaw` gateway: challenge, connect, hello-ok, the refusals and closes of
//! the real one, and some faults that the real one does not have.
//!
//! It serves for demonstration and fast tests; tests against the real gateway are in `tests/live`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::ws::handshake::accept_key;

/// The token that the stand-in accepts.
pub(super) const TOKEN: &str = "demo-token-that-anybody-may-know-0001";

/// Maximum size of a message on `/demo/small`.
pub(super) const SMALL_LIMIT: usize = 64 * 1024;

/// The slow frame: number of pieces, and bytes of each.
const PIECES: usize = 8;
const PIECE: usize = 32 * 1024;

/// The pause between two pieces.
const PAUSE: Duration = Duration::from_millis(60);

/// A running stand-in; dropping it ends it.
pub(super) struct StandIn {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StandIn {
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Err(error) = serve(stream).await {
                        tracing::trace!(%error, "a session of the stand-in ended");
                    }
                });
            }
        });
        Ok(Self { addr, task })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// The parts of a request head that the stand-in needs.
struct Head {
    path: String,
    key: Option<String>,
    origin: Option<String>,
}

async fn serve(mut stream: TcpStream) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let head = read_head(&mut stream).await?;
    let Some(key) = &head.key else {
        return Ok(answer_page(&mut stream, &head.path).await?);
    };
    let accept = match head.path.as_str() {
        "/demo/page" => return Ok(foreign_page(&mut stream).await?),
        "/demo/accept-key" => accept_key(b"another client's key"),
        _ => accept_key(key.as_bytes()),
    };
    let switching = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(switching.as_bytes()).await?;
    let mut config = WebSocketConfig::default();
    if head.path == "/demo/small" {
        config.max_message_size = Some(SMALL_LIMIT);
        config.max_frame_size = Some(SMALL_LIMIT);
    }
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    Session { socket }.run(&head).await
}

async fn read_head(stream: &mut TcpStream) -> io::Result<Head> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() > 64 * 1024 {
            return Err(io::Error::other("the head is too large"));
        }
        bytes.push(stream.read_u8().await?);
    }
    let mut lines = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut lines);
    request.parse(&bytes).map_err(io::Error::other)?;
    let header = |name: &str| {
        let found = request
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(found.value).into_owned())
    };
    Ok(Head {
        path: request.path.unwrap_or("/").to_owned(),
        key: header("sec-websocket-key"),
        origin: header("origin").filter(|origin| !origin.is_empty()),
    })
}

async fn answer_page(stream: &mut TcpStream, path: &str) -> io::Result<()> {
    let (kind, body) = match path {
        "/healthz" | "/health" => ("application/json", r#"{"ok":true,"status":"live"}"#),
        _ => (
            "text/html",
            "<!doctype html><title>stand-in</title><p>The demo's stand-in gateway.",
        ),
    };
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// The answer of a misplaced reverse proxy: its own page.
async fn foreign_page(stream: &mut TcpStream) -> io::Result<()> {
    let body = "<html><title>Welcome to nginx!</title></html>";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: text/html\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

struct Session {
    socket: WebSocketStream<TcpStream>,
}

impl Session {
    async fn run(mut self, head: &Head) -> Result<(), Error> {
        self.say(&json!({
            "type": "event", "event": "connect.challenge",
            "payload": {
                "nonce": "00000000-0000-4000-8000-000000000000",
                "ts": jiff::Timestamp::now().as_millisecond(), "capabilities": [],
            },
        }))
        .await?;
        let Some(connect) = self.hear().await? else {
            return Ok(());
        };
        if let Some((error, reason)) = refusal(&connect, head) {
            let id = connect.get("id").cloned().unwrap_or(Value::Null);
            self.say(&json!({ "type": "res", "id": id, "ok": false, "error": error }))
                .await?;
            return self.end(CloseCode::Policy, &reason).await;
        }
        self.say(&hello(&connect)).await?;
        match head.path.as_str() {
            "/demo/reset" => self.break_off_in_mid_frame().await,
            "/demo/fin" => {
                let mut stream = self.socket.into_inner();
                Ok(stream.shutdown().await?)
            }
            "/demo/restart" => {
                let payload = json!({ "reason": "gateway restarting", "restartExpectedMs": 1500 });
                self.say(&json!({ "type": "event", "event": "shutdown", "payload": payload }))
                    .await?;
                self.end(CloseCode::Restart, "service restart").await
            }
            "/demo/slow" => {
                self.dribble().await?;
                self.talk().await
            }
            _ => self.talk().await,
        }
    }

    /// Answers requests until the client closes; a message that is too large gets a 1009.
    async fn talk(mut self) -> Result<(), Error> {
        loop {
            match self.hear().await {
                Ok(Some(request)) => {
                    let id = request.get("id").cloned().unwrap_or(Value::Null);
                    let asks = request.get("method").and_then(Value::as_str);
                    let payload = match asks {
                        Some("channels.status") => json!({ "channelAccounts": {} }),
                        _ => json!({}),
                    };
                    self.say(&json!({ "type": "res", "id": id, "ok": true, "payload": payload }))
                        .await?;
                }
                Ok(None) => return Ok(()),
                Err(Error::Capacity(_)) => return self.end(CloseCode::Size, "").await,
                Err(error) => return Err(error),
            }
        }
    }

    /// The next text message as JSON; `None` when the client has closed.
    async fn hear(&mut self) -> Result<Option<Value>, Error> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Ok(Some(serde_json::from_str(&text).unwrap_or(Value::Null)));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(None),
            }
        }
    }

    async fn say(&mut self, message: &Value) -> Result<(), Error> {
        self.socket.send(Message::text(message.to_string())).await
    }

    /// Closes with a code and waits for the client's answer.
    async fn end(mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.socket
            .close(Some(CloseFrame {
                code,
                reason: reason.to_owned().into(),
            }))
            .await?;
        while let Some(Ok(_)) = self.socket.next().await {}
        Ok(())
    }

    async fn break_off_in_mid_frame(self) -> Result<(), Error> {
        let mut stream = self.socket.into_inner();
        // A text frame of 1,000 bytes, of which only 100 are sent.
        stream.write_all(&[0x81, 126, 0x03, 0xe8]).await?;
        stream.write_all(&[b'x'; 100]).await?;
        stream.flush().await?;
        // The reset must not overtake the bytes.
        tokio::time::sleep(PAUSE).await;
        stream.set_zero_linger()?;
        Ok(())
    }

    /// One frame in pieces: a proxy that buffers frames would hold it back until the end.
    async fn dribble(&mut self) -> Result<(), Error> {
        let stream = self.socket.get_mut();
        let length = u64::try_from(PIECES * PIECE).unwrap_or(0);
        stream.write_all(&[0x81, 127]).await?;
        stream.write_all(&length.to_be_bytes()).await?;
        let piece = vec![b'x'; PIECE];
        for _ in 0..PIECES {
            stream.write_all(&piece).await?;
            stream.flush().await?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

/// The gateway's refusal, if any, checked in its order: origin, token, device.
fn refusal(connect: &Value, head: &Head) -> Option<(Value, String)> {
    let params = connect.get("params")?;
    let error = |code: &str, message: &str, details: Value| {
        (
            json!({ "code": code, "message": message, "details": details }),
            message.to_owned(),
        )
    };
    if head.origin.is_some() {
        let message = "origin not allowed (open the Control UI from the gateway host or allow it \
                       in gateway.controlUi.allowedOrigins)";
        let details =
            json!({ "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": "origin not allowed" });
        return Some(error("INVALID_REQUEST", message, details));
    }
    if params.pointer("/auth/token").and_then(Value::as_str) != Some(TOKEN) {
        let message = "unauthorized: gateway token mismatch (provide gateway auth token)";
        let details = json!({ "code": "AUTH_TOKEN_MISMATCH", "authReason": "token_mismatch" });
        return Some(error("INVALID_REQUEST", message, details));
    }
    if params.get("device").is_some() {
        let request = "5f1d2a52-3a49-4c6b-9a53-6f3c1a9f0c11";
        let message =
            format!("pairing required: device is not approved yet (requestId: {request})");
        let details = json!({
            "code": "PAIRING_REQUIRED", "reason": "not-paired", "requestId": request,
            "deviceId": "demo-device",
        });
        return Some(error("NOT_PAIRED", &message, details));
    }
    None
}

fn hello(connect: &Value) -> Value {
    json!({
        "type": "res", "id": connect.get("id").cloned().unwrap_or(Value::Null), "ok": true,
        "payload": {
            "type": "hello-ok", "protocol": 4,
            "server": { "version": "stand-in", "buildId": "demo", "bootId": "demo", "connId": "demo" },
            "auth": { "method": "token", "role": "operator", "scopes": ["operator.read"] },
            "policy": { "maxPayload": SMALL_LIMIT, "tickIntervalMs": 30000 },
        },
    })
}
