//! Clients of our own that send exactly what a test needs, and how the gateway treated them.
//!
//! The gateway never says outright whom it takes for local. It shows by what it does: a local
//! client without a device keeps its scopes and a local client's new device is approved at once;
//! a remote one is left with no scopes, and its device has to be approved.

use std::fmt;

use serde_json::{Value, json};
use uuid::Uuid;
use wstap::session::SessionRecord;

use super::guest::Guest;
use crate::support::conn::Conn;
use crate::support::device::Device;
use crate::support::frame::Frame;
use crate::support::tap::Tap;

/// A client that is about to connect, with the right token.
#[derive(Clone, Debug)]
pub struct Visitor {
    guest: Guest,
    /// Its `User-Agent`, like no other: joins with the gateway's log and the tap's records.
    pub agent: String,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No 101.
    Http { status: u16, body: String },
    Accepted {
        conn_id: String,
        scopes: Vec<String>,
    },
    /// An error, and a Close after it. `details` is `error.details.code`.
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
    fn new(guest: Guest) -> Self {
        let agent = format!("visitor-{}", Uuid::new_v4().simple());
        Self { guest, agent }
    }

    /// As the command line tool connects.
    pub fn command_line() -> Self {
        Self::new(Guest::cli())
    }

    /// As the gateway's web page connects.
    pub fn browser(origin: &str) -> Self {
        Self::new(Guest::page(origin))
    }

    /// With a device that the gateway has never seen.
    #[must_use]
    pub fn with_new_device(mut self) -> Self {
        self.guest = self.guest.device(&Device::new());
        self
    }

    /// The same, device and all, once more: with a `User-Agent` of its own.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.guest.clone())
    }

    /// With another token than the gateway's.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.guest = self.guest.auth(json!({ "token": token }));
        self
    }

    /// Another path than `/`. The gateway takes any.
    #[must_use]
    pub fn target(mut self, target: &str) -> Self {
        self.guest = self.guest.target(target);
        self
    }

    /// Another `Host` than the address.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.guest = self.guest.host(host);
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.guest = self.guest.header(name, value);
        self
    }

    /// Its device, as the gateway's log names it.
    pub fn device_id(&self) -> Option<&str> {
        self.guest.own_device().map(Device::id)
    }

    /// Connects, says who it is, reads the answer and closes cleanly.
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
        tap.record_of(&self.agent, &self.agent).await
    }

    /// The same, but it stays if it was accepted.
    pub async fn greet(&self, conn: &mut Conn) -> Result<Answer, String> {
        let upgrade = self.guest.upgrade_request(conn, &self.agent);
        conn.send(&upgrade)
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
        let request = self
            .guest
            .connect_request(&challenge["payload"])
            .to_string();
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
