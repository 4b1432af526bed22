//! A well-behaved stand-in for the OpenClaw gateway: challenge, check of the token, `hello-ok`,
//! an answer to every request, pings, an empty Close answered by an empty one. Told to, it refuses
//! with any error and Close, announces its shutdown, or dies. Some methods it refuses or leaves without
//! an answer, and with other versions' permessage-deflate it compresses what it sends.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::{Peer, Seat, Via, serve};
use crate::support::conn::Conn;
use crate::support::deflate::Deflate;
use crate::support::frame::{CLOSE, Frame, PING, TEXT};
use crate::support::head::{self, Head, KEY};
use crate::support::log::Seen;

/// The token that it accepts, unless the test sets another.
pub const TOKEN: &str = "test-token-0123456789abcdef0123456789abcdef";
pub const CONN_ID: &str = "7f3d9c52-4a53-4d8e-9b1e-7f1f3d2c1b0a";

/// How it is to behave.
#[derive(Clone)]
pub struct Script {
    /// The token it accepts; `None` accepts everyone.
    pub token: Option<String>,
    /// It refuses every connect request with this.
    pub refusal: Option<Refusal>,
    /// `auth` of `hello-ok`.
    pub hello_auth: Value,
    /// `pluginSurfaceUrls` of `hello-ok`.
    pub surfaces: Value,
    /// It agrees to permessage-deflate; `Some(true)` without context takeover.
    pub deflate: Option<bool>,
    /// `server.bootId` of `hello-ok`.
    pub boot_id: &'static str,
    /// Connections after this many end before an answer.
    pub most: usize,
    /// It keeps the connections of plain requests. All but the first of a connection end it before an answer
    /// when their path begins so: `/fin`, `/rst`.
    pub keeps: bool,
    /// It resets the connection at the first request after the handshake.
    pub dies: bool,
}

/// A method that needs a scope which nobody has.
pub const DENIED: &str = "config.set";
/// A method that fails.
pub const FAILING: &str = "channels.send";
/// A method that is never answered.
pub const UNANSWERED: &str = "chat.send";

impl Default for Script {
    fn default() -> Self {
        Self {
            token: Some(TOKEN.to_owned()),
            refusal: None,
            hello_auth: json!({
                "method": "token", "role": "operator", "scopes": ["operator.read"],
            }),
            surfaces: json!({}),
            deflate: None,
            boot_id: "boot-1",
            most: usize::MAX,
            keeps: false,
            dies: false,
        }
    }
}

/// A `res` with `ok: false` and the Close that follows it.
#[derive(Clone)]
pub struct Refusal {
    pub error: Value,
    pub code: u16,
    pub reason: String,
}

impl Refusal {
    pub fn new(code: u16, reason: &str, error: Value) -> Self {
        Self {
            error,
            code,
            reason: reason.to_owned(),
        }
    }

    fn of_token(found: Option<&str>) -> Self {
        let (word, details) = match found {
            None => ("missing", "AUTH_TOKEN_MISSING"),
            Some(_) => ("mismatch", "AUTH_TOKEN_MISMATCH"),
        };
        let message = format!("unauthorized: gateway token {word} (provide gateway auth token)");
        let error = json!({
            "code": "INVALID_REQUEST", "message": message,
            "details": { "code": details, "authReason": format!("token_{word}") },
        });
        Self::new(1008, &message, error)
    }
}

/// What the test tells every open session to do.
#[derive(Clone, Debug)]
pub enum Order {
    Ping,
    Send(Frame),
    /// The `shutdown` event, Close 1012, FIN. It comes back after a restart only.
    Shutdown {
        reason: String,
    },
    /// FIN without a Close.
    Fin,
    /// RST.
    Die,
}

/// The stand-in and its control.
pub struct Gateway {
    pub peer: Peer,
    orders: broadcast::Sender<Order>,
    script: Arc<Mutex<Arc<Script>>>,
}

impl Gateway {
    pub async fn start(via: &Via, script: Script) -> Self {
        let (orders, _) = broadcast::channel(16);
        let sender = orders.clone();
        let script = Arc::new(Mutex::new(Arc::new(script)));
        let current = Arc::clone(&script);
        let peer = serve(via, move |conn, seat| {
            let script = Arc::clone(&current.lock().expect("no panic"));
            session(conn, seat, script, sender.subscribe())
        })
        .await;
        Self {
            peer,
            orders,
            script,
        }
    }

    /// Behaves otherwise from the next session on, as another process at the same address would.
    pub fn becomes(&self, script: Script) {
        *self.script.lock().expect("no panic") = Arc::new(script);
    }

    /// Tells every session that is connected now.
    pub fn tell(&self, order: Order) {
        self.orders.send(order).expect("a session is connected");
    }
}

/// A connect request as the command line tool sends it on loopback: without a device.
pub fn connect_request(auth: &Value) -> Frame {
    let request = json!({
        "type": "req", "id": "1", "method": "connect",
        "params": {
            "minProtocol": 4, "maxProtocol": 4,
            "client": {
                "id": "cli", "version": "2026.9.6", "platform": "linux", "mode": "cli",
                "instanceId": "2c6a3f5e-11aa-4c1b-8a45-0f5d1f8c9b7a",
            },
            "caps": [], "auth": auth, "role": "operator", "scopes": ["operator.read"],
        },
    });
    Frame::text(&request.to_string())
}

/// A client's part of the handshake inside the tunnel.
impl Conn {
    /// Waits for the challenge, sends this `auth`, and gives the gateway's answer.
    pub async fn introduce(&mut self, auth: &Value) -> Frame {
        self.introduce_with(connect_request(auth)).await
    }

    /// The same with any connect request.
    pub async fn introduce_with(&mut self, request: Frame) -> Frame {
        let challenge = self.frame().await.expect("the challenge");
        assert_eq!(challenge.opcode, TEXT, "no challenge");
        self.send_masked(request).await.expect("send connect");
        self.frame().await.expect("an answer to connect")
    }

    /// The same with a token that the gateway accepts.
    pub async fn log_in(&mut self, token: &str) {
        let hello = self.introduce(&json!({ "token": token })).await;
        assert!(hello.as_text().contains("hello-ok"), "{}", hello.as_text());
    }
}

async fn session(
    mut conn: Conn,
    seat: Seat,
    script: Arc<Script>,
    mut orders: broadcast::Receiver<Order>,
) {
    let mut codec = script.deflate.map(Deflate::new);
    let extensions = codec.as_ref().map(Deflate::agreed);
    let Some(mut head) = seat.head(&mut conn).await else {
        return;
    };
    if seat.connection >= script.most {
        return;
    }
    if script.keeps && no_websocket(&head).is_some() {
        match keep(conn, &seat).await {
            Some((kept, upgrade)) => (conn, head) = (kept, upgrade),
            None => return,
        }
    }
    let agrees = match no_websocket(&head) {
        Some(answer) => answer,
        None => head::switching_with(&head.accept_key(), None, extensions),
    };
    let opens = agrees.starts_with(b"HTTP/1.1 101");
    if seat.send(&mut conn, &agrees).await.is_none() || !opens {
        conn.finish().await;
        seat.frames(&mut conn).await;
        return;
    }
    let host = head.value("host").unwrap_or_default();
    let mut connected = false;
    let first = wire(&mut codec, vec![challenge()]);
    if seat.send(&mut conn, &first).await.is_none() {
        return;
    }
    loop {
        let frame = tokio::select! {
            order = orders.recv() => {
                let Ok(order) = order else { return };
                match obey(&mut conn, &seat, order).await {
                    Next::Go => continue,
                    Next::Over => break,
                    Next::Abort => return conn.abort(),
                }
            }
            frame = conn.frame() => match frame {
                Ok(frame) => frame,
                Err(ending) => {
                    seat.note(Seen::Ended(ending));
                    conn.finish().await;
                    return;
                }
            },
        };
        seat.note(Seen::Frame(frame.clone()));
        let frame = match &mut codec {
            Some(codec) if frame.rsv == 4 => codec.inflated(&frame),
            _ => frame,
        };
        let answers = match frame.opcode {
            CLOSE => {
                drop(conn.send_frame(&Frame::empty_close()).await);
                break;
            }
            PING => vec![Frame::pong(&frame.payload)],
            TEXT if connected && script.dies => return conn.abort(),
            TEXT if connected => reply(&frame).into_iter().collect(),
            TEXT => {
                let answers = script.answer_connect(&frame, &host);
                connected = answers.iter().all(|answer| answer.opcode != CLOSE);
                answers
            }
            _ => Vec::new(),
        };
        let closing = answers.iter().any(|answer| answer.opcode == CLOSE);
        let bytes = wire(&mut codec, answers);
        if seat.send(&mut conn, &bytes).await.is_none() || closing {
            break;
        }
    }
    conn.finish().await;
    seat.frames(&mut conn).await;
}

/// Answers plain requests, of which the first has been read, until one asks for a WebSocket.
async fn keep(mut conn: Conn, seat: &Seat) -> Option<(Conn, Head)> {
    let answer = head::response("200 OK", &[("Content-Length", "0")]);
    loop {
        seat.send(&mut conn, &answer).await?;
        let next = seat.head(&mut conn).await?;
        if no_websocket(&next).is_none() {
            return Some((conn, next));
        }
        match next.target().split('/').nth(1) {
            Some("fin") => {
                conn.finish().await;
                return None;
            }
            Some("rst") => {
                conn.abort();
                return None;
            }
            _ => {}
        }
    }
}

/// The part of the Control UI's page by which it is recognised.
const PAGE: &str = "<!doctype html>\n<html data-openclaw-control-ui-build=\"1\"></html>\n";

const BAD_KEY: &str = "Missing or invalid Sec-WebSocket-Key header";
const BAD_VERSION: &str = "Missing or invalid Sec-WebSocket-Version header";

/// Its answer to a request that is no WebSocket handshake, or a broken one.
fn no_websocket(head: &Head) -> Option<Vec<u8>> {
    let says = |name: &str, word: &str| {
        let values = head.values(name).join(",").to_ascii_lowercase();
        values.split(',').any(|item| item.trim() == word)
    };
    let version = head.values("sec-websocket-version").join(",");
    let key = head.values("sec-websocket-key").join(",");
    let (status, kind, body) = match (says("upgrade", "websocket"), says("connection", "upgrade")) {
        (false, _) => ("200 OK", "text/html; charset=utf-8", PAGE),
        (true, false) => (
            "400 Bad Request",
            "text/plain; charset=utf-8",
            "Bad Request",
        ),
        (true, true) if key.len() != KEY.len() => ("400 Bad Request", "text/html", BAD_KEY),
        (true, true) if version != "13" && version != "8" => {
            ("400 Bad Request", "text/html", BAD_VERSION)
        }
        (true, true) => return None,
    };
    let length = body.len().to_string();
    let mut headers = vec![
        ("Connection", "close"),
        ("Content-Type", kind),
        ("Content-Length", &length),
    ];
    match body {
        BAD_KEY => {}
        BAD_VERSION => headers.push(("Sec-WebSocket-Version", "13, 8")),
        _ => headers.push(("Permissions-Policy", "camera=(), geolocation=()")),
    }
    let mut answer = head::response(status, &headers);
    answer.extend_from_slice(body.as_bytes());
    Some(answer)
}

enum Next {
    Go,
    Over,
    Abort,
}

async fn obey(conn: &mut Conn, seat: &Seat, order: Order) -> Next {
    let frames = match order {
        Order::Ping => vec![Frame::ping(b"")],
        Order::Send(frame) => vec![frame],
        Order::Shutdown { reason } => {
            let mut payload = json!({ "reason": reason });
            if reason.contains("restart") {
                payload["restartExpectedMs"] = json!(1500);
            }
            let event = json!({ "type": "event", "event": "shutdown", "payload": payload });
            vec![
                Frame::text(&event.to_string()),
                Frame::close(1012, "service restart"),
            ]
        }
        Order::Fin => return Next::Over,
        Order::Die => return Next::Abort,
    };
    let over = frames.iter().any(|frame| frame.opcode == CLOSE);
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
    if seat.send(conn, &bytes).await.is_none() || over {
        Next::Over
    } else {
        Next::Go
    }
}

fn challenge() -> Frame {
    let payload = json!({
        "nonce": "6f0f5c3e-3a0b-4f64-9c83-0d7d3a5b1f11", "ts": 1_795_000_000_000_u64,
        "capabilities": ["model-catalog-snapshot"],
    });
    let event = json!({ "type": "event", "event": "connect.challenge", "payload": payload });
    Frame::text(&event.to_string())
}

/// Any request after the handshake is answered with its own parameters, but for some.
fn reply(frame: &Frame) -> Option<Frame> {
    let request: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
    let (id, method) = (&request["id"], request["method"].as_str());
    let answer = match method {
        Some(UNANSWERED) => return None,
        Some(DENIED) => json!({
            "type": "res", "id": id, "ok": false, "error": {
                "code": "FORBIDDEN", "message": "missing scope: operator.admin",
                "details": {
                    "code": "MISSING_SCOPE", "missingScope": "operator.admin",
                    "requiredScopes": ["operator.admin"],
                },
            },
        }),
        Some(FAILING) => json!({
            "type": "res", "id": id, "ok": false,
            "error": { "code": "UNAVAILABLE", "message": "channel is not connected" },
        }),
        Some("channels.status") => json!({
            "type": "res", "id": id, "ok": true, "payload": { "channelAccounts": {} },
        }),
        _ => json!({ "type": "res", "id": id, "ok": true, "payload": request["params"] }),
    };
    Some(Frame::text(&answer.to_string()))
}

fn wire(codec: &mut Option<Deflate>, frames: Vec<Frame>) -> Vec<u8> {
    let frames = frames.into_iter().map(|frame| match codec {
        Some(codec) if frame.opcode == TEXT => codec.deflated(frame),
        _ => frame,
    });
    frames.flat_map(|frame| frame.to_bytes()).collect()
}

impl Script {
    fn answer_connect(&self, frame: &Frame, host: &str) -> Vec<Frame> {
        let request: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
        let id = &request["id"];
        let token = request["params"]["auth"]["token"].as_str();
        let wrong = self
            .token
            .as_deref()
            .is_some_and(|right| token != Some(right));
        let refusal = self
            .refusal
            .clone()
            .or_else(|| wrong.then(|| Refusal::of_token(token)));
        if let Some(refusal) = refusal {
            let answer = json!({ "type": "res", "id": id, "ok": false, "error": refusal.error });
            let close = Frame::close(refusal.code, &refusal.reason);
            return vec![Frame::text(&answer.to_string()), close];
        }
        let payload = json!({
            "type": "hello-ok", "protocol": 4,
            "server": {
                "version": "2026.9.6", "buildId": "build-1", "bootId": self.boot_id, "connId": CONN_ID,
            },
            "features": { "methods": ["health"], "events": ["tick"], "capabilities": [] },
            "snapshot": { "presence": [{ "host": host }], "authMode": "token" },
            "pluginSurfaceUrls": self.surfaces,
            "auth": self.hello_auth,
            "policy": {
                "maxPayload": 26_214_400, "maxBufferedBytes": 52_428_800, "tickIntervalMs": 30_000,
            },
        });
        let answer = json!({ "type": "res", "id": id, "ok": true, "payload": payload });
        vec![Frame::text(&answer.to_string())]
    }
}
