//! A client that has connected, and what it saw when all is over.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::conn::Conn;
use crate::support::frame::{CLOSE, Frame, PING, TEXT};
use crate::support::wire::Ending;

/// A client that has connected.
pub struct Session {
    pub conn: Conn,
    /// Its `User-Agent`, like no other: by it the record is found.
    pub agent: String,
    /// The answer's status line and headers, and its body where there was no 101.
    pub status: Option<u16>,
    pub challenge: Value,
    /// To connect.
    pub answer: Value,
    /// The code that it observed, as a WebSocket library would report it.
    saw: Option<u16>,
    said_close: bool,
}

/// What a client saw of a session that is over.
#[derive(Debug)]
pub struct Visit {
    pub agent: String,
    pub status: Option<u16>,
    pub answer: Value,
    pub saw: Option<u16>,
}

impl Session {
    pub fn new(conn: Conn, agent: String) -> Self {
        Self {
            conn,
            agent,
            status: None,
            challenge: Value::Null,
            answer: Value::Null,
            saw: None,
            said_close: false,
        }
    }

    /// Sends this request for an upgrade and reads the answer.
    pub async fn upgrade(&mut self, request: &[u8]) {
        drop(self.conn.send(request).await);
        let Ok(head) = self.conn.head().await else {
            return;
        };
        self.status = Some(head.status());
        if head.status() != 101 {
            drop(self.conn.body(&head).await);
        }
    }

    pub async fn take_challenge(&mut self) {
        if let Some(message) = self.message().await {
            self.challenge = message["payload"].clone();
        }
    }

    pub fn is_accepted(&self) -> bool {
        self.answer["ok"] == true
    }

    /// Sends a frame, masked.
    pub async fn say(&mut self, frame: Frame) {
        self.said_close |= frame.opcode == CLOSE;
        // The gateway may be gone already.
        drop(self.conn.send_masked(frame).await);
    }

    /// It will not answer a Close.
    pub fn mute(&mut self) {
        self.said_close = true;
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) {
        drop(self.conn.send(bytes).await);
    }

    /// A request and its answer; null when there is none.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = Uuid::new_v4().to_string();
        let request = json!({ "type": "req", "id": id, "method": method, "params": params });
        self.say(Frame::text(&request.to_string())).await;
        self.answer_to(&id).await
    }

    pub async fn answer_to(&mut self, id: &str) -> Value {
        while let Some(message) = self.message().await {
            if message["type"] == "res" && message["id"] == id {
                return message;
            }
        }
        Value::Null
    }

    /// The next message; `None` when the session ended instead. Pings are answered, and a Close.
    pub async fn message(&mut self) -> Option<Value> {
        while self.saw.is_none() {
            match self.conn.frame().await {
                Ok(frame) if frame.opcode == TEXT => {
                    return serde_json::from_slice(&frame.payload).ok();
                }
                Ok(frame) if frame.opcode == PING => self.say(Frame::pong(&frame.payload)).await,
                Ok(frame) => self.notice(&frame).await,
                Err(ending) => {
                    assert_ne!(ending, Ending::StillOpen, "nothing came any more");
                    self.saw = Some(1006);
                }
            }
        }
        None
    }

    async fn notice(&mut self, frame: &Frame) {
        let Some((code, _)) = frame.as_close() else {
            return;
        };
        self.saw = Some(code.unwrap_or(1005));
        if !self.said_close {
            let echo = code.map_or_else(Frame::empty_close, |code| Frame::close(code, ""));
            self.say(echo).await;
        }
    }

    /// Reads to the end, and ends it on this side.
    pub async fn end(mut self) -> Visit {
        if self.status == Some(101) {
            while self.message().await.is_some() {}
        }
        self.conn.finish().await;
        // The other side ends it too before the record is whole.
        drop(self.conn.rest().await);
        Visit {
            agent: self.agent,
            status: self.status,
            answer: self.answer,
            saw: self.saw,
        }
    }
}
