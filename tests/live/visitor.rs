//! Clients of our own that say exactly what a test wants said, and what the gateway made of them.
//!
//! The gateway never says outright whom it takes for local. It shows by what it does: a local
//! client without a device keeps its scopes and a local client's new device is approved at once;
//! a remote one is left with no scopes, and its device has to be approved.

use std::fmt;

use serde_json::{Value, json};
use uuid::Uuid;
use wstap::session::SessionRecord;

use super::gateway::TOKEN;
use crate::support::conn::Conn;
use crate::support::device::Device;
use crate::support::frame::Frame;
use crate::support::head;
use crate::support::tap::Tap;

/// What a client is to the gateway: its id and its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    CommandLine,
    ControlUi,
}

/// A client that is about to connect, with the right token.
#[derive(Clone, Debug)]
pub struct Visitor {
    program: Program,
    device: Option<Device>,
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    /// Its `User-Agent`, like no other: joins with the gateway's log and the tap's records.
    pub agent: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No 101.
    Http { status: u16, body: String },
    Accepted {
        conn_id: String,
        scopes: Vec<String>,
    },
    /// An error, and a Close behind it. `details` is `error.details.code`.
    Refused {
        details: String,
        message: String,
        close: (Option<u16>, String),
    },
    /// A Close instead of the gateway's first message.
    Closed { code: Option<u16>, reason: String },
    /// It ended, or nothing came.
    Nothing(String),
    /// No connection.
    Unreachable(String),
}

impl Visitor {
    fn new(program: Program) -> Self {
        Self {
            program,
            device: None,
            target: "/".to_owned(),
            host: None,
            headers: Vec::new(),
            agent: format!("visitor-{}", Uuid::new_v4().simple()),
        }
    }

    /// As the command line tool connects.
    pub fn command_line() -> Self {
        Self::new(Program::CommandLine)
    }

    /// As the gateway's web page connects.
    pub fn browser(origin: &str) -> Self {
        Self::new(Program::ControlUi).header("Origin", origin)
    }

    /// With a device that the gateway has never seen.
    #[must_use]
    pub fn with_new_device(mut self) -> Self {
        self.device = Some(Device::new());
        self
    }

    /// Another path than `/`. The gateway takes any.
    #[must_use]
    pub fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Another `Host` than the address.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its device, as the gateway's log names it.
    pub fn device_id(&self) -> Option<&str> {
        self.device.as_ref().map(Device::id)
    }

    /// Connects, says who it is, reads the answer and leaves in order.
    pub async fn visit(&self, mut conn: Conn) -> Answer {
        let answer = match self.greet(&mut conn).await {
            Ok(answer) => answer,
            Err(problem) => Answer::Nothing(problem),
        };
        if matches!(answer, Answer::Accepted { .. }) {
            drop(conn.send_masked(Frame::empty_close()).await);
            conn.frames_to_end().await;
        }
        conn.finish().await;
        answer
    }

    /// The record of a visit by way of this tap.
    pub async fn record(&self, tap: &Tap) -> SessionRecord {
        let ours = |record: &SessionRecord| {
            let request = record.request.as_ref();
            let agent = request.and_then(|request| request.user_agent.as_ref());
            agent.is_some_and(|agent| agent.as_str() == self.agent)
        };
        tap.wait_for(&self.agent, ours).await
    }

    /// The same, but it stays if it was accepted.
    pub async fn greet(&self, conn: &mut Conn) -> Result<Answer, String> {
        let addr = conn.wire.tcp().and_then(|tcp| tcp.peer_addr().ok());
        let addr = addr.expect("a TCP connection").to_string();
        let host = self.host.as_ref().unwrap_or(&addr);
        let headers = self.headers.iter();
        let mut headers: Vec<(&str, &str)> = headers
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        headers.push(("User-Agent", &self.agent));
        conn.send(&head::upgrade(&self.target, host, &headers))
            .await
            .map_err(|error| error.to_string())?;
        let head = conn.head().await.map_err(|ending| format!("{ending:?}"))?;
        if head.status() != 101 {
            let body = conn.body(&head).await.unwrap_or_default();
            let body = String::from_utf8_lossy(&body).into_owned();
            let status = head.status();
            return Ok(Answer::Http { status, body });
        }
        let first = conn.frame().await.map_err(|ending| format!("{ending:?}"))?;
        if let Some((code, reason)) = first.as_close() {
            return Ok(Answer::Closed { code, reason });
        }
        let challenge = message(&first)?;
        let request = self.request(&challenge["payload"]).to_string();
        conn.send_masked(Frame::text(&request))
            .await
            .map_err(|error| error.to_string())?;
        loop {
            let frame = conn.frame().await.map_err(|ending| format!("{ending:?}"))?;
            let message = message(&frame)?;
            if message["type"] != "res" {
                continue;
            }
            if message["ok"] == true {
                return Ok(accepted(&message["payload"]));
            }
            // Answered, or the gateway waits a second for the echo.
            let close = conn.frame().await.ok();
            drop(conn.send_masked(Frame::empty_close()).await);
            let close = close.and_then(|close| close.as_close()).unwrap_or_default();
            return Ok(refused(&message["error"], close));
        }
    }

    fn request(&self, challenge: &Value) -> Value {
        let (id, mode) = match self.program {
            Program::CommandLine => ("cli", "cli"),
            Program::ControlUi => ("openclaw-control-ui", "webchat"),
        };
        let mut params = json!({
            "minProtocol": 4, "maxProtocol": 4,
            "client": {
                "id": id, "version": "2026.9.6", "platform": PLATFORM,
                "deviceFamily": FAMILY, "mode": mode, "instanceId": Uuid::new_v4(),
            },
            "caps": [], "auth": { "token": TOKEN }, "role": ROLE, "scopes": [SCOPE],
        });
        if let Some(device) = &self.device {
            params["device"] = device.sign(&params, challenge);
        }
        json!({ "type": "req", "id": "1", "method": "connect", "params": params })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { status, body } => write!(f, "HTTP {status} {body}"),
            Self::Accepted { scopes, .. } => write!(f, "accepted {scopes:?}"),
            Self::Refused { details, close, .. } => write!(f, "{details} {close:?}"),
            Self::Closed { code, reason } => write!(f, "Close {code:?} {reason}"),
            Self::Nothing(problem) => write!(f, "nothing: {problem}"),
            Self::Unreachable(problem) => write!(f, "unreachable: {problem}"),
        }
    }
}

const PLATFORM: &str = "linux";
const FAMILY: &str = "Linux";
const ROLE: &str = "operator";
const SCOPE: &str = "operator.read";

/// A message of the gateway.
fn message(frame: &Frame) -> Result<Value, String> {
    serde_json::from_slice(&frame.payload).map_err(|_| format!("{:?}", frame.as_close()))
}

fn accepted(hello: &Value) -> Answer {
    let scopes = hello["auth"]["scopes"].as_array();
    let scopes = scopes.into_iter().flatten().filter_map(Value::as_str);
    Answer::Accepted {
        conn_id: text(&hello["server"]["connId"]),
        scopes: scopes.map(str::to_owned).collect(),
    }
}

fn refused(error: &Value, close: (Option<u16>, String)) -> Answer {
    Answer::Refused {
        details: text(&error["details"]["code"]),
        message: text(&error["message"]),
        close,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
