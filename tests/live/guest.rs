//! A client that says exactly what a case needs.

use serde_json::{Value, json};
use uuid::Uuid;

use super::connected::{Session, Visit};
use super::gateway::TOKEN;
use crate::support::client::connect_narrow;
use crate::support::conn::Conn;
use crate::support::device::Device;
use crate::support::frame::Frame;
use crate::support::head;
use crate::support::tap::{Face, Tap};

/// A client before it connects: the right token and `operator.read`, unless changed.
#[derive(Clone, Debug)]
pub struct Guest {
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    params: Value,
    device: Option<Device>,
    /// What is changed after it was signed.
    tampered: Vec<(&'static str, Value)>,
    clock_ms: i64,
    receive_buffer: Option<usize>,
    /// It does not wait for the gateway's Close when it is refused.
    hasty: bool,
}

impl Guest {
    fn new(id: &str, mode: &str) -> Self {
        Self {
            target: "/".to_owned(),
            host: None,
            headers: Vec::new(),
            params: json!({
                "minProtocol": 4, "maxProtocol": 4,
                "client": {
                    "id": id, "version": "2026.9.6", "platform": "linux",
                    "deviceFamily": "Linux", "mode": mode, "instanceId": Uuid::new_v4(),
                },
                "caps": [], "auth": { "token": TOKEN },
                "role": "operator", "scopes": ["operator.read"],
            }),
            device: None,
            tampered: Vec::new(),
            clock_ms: 0,
            receive_buffer: None,
            hasty: false,
        }
    }

    /// The command line tool.
    pub fn cli() -> Self {
        Self::new("cli", "cli")
    }

    /// The gateway's own page in a browser.
    pub fn page(origin: &str) -> Self {
        Self::new("openclaw-control-ui", "webchat").header("Origin", origin)
    }

    /// A node host.
    pub fn node() -> Self {
        let node = Self::new("node-host", "node");
        node.param("/role", "node").param("/scopes", json!([]))
    }

    /// One that the gateway takes for remote, when it trusts whoever brings the header.
    #[must_use]
    pub fn from(self, address: &str) -> Self {
        self.header("X-Forwarded-For", address)
    }

    #[must_use]
    pub fn auth(self, auth: Value) -> Self {
        self.param("/auth", auth)
    }

    #[must_use]
    pub fn scopes(self, scopes: &[&str]) -> Self {
        self.param("/scopes", json!(scopes))
    }

    /// Sets one of the parameters of connect.
    #[must_use]
    pub fn param(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        set(&mut self.params, pointer, value.into());
        self
    }

    /// The device that it brings.
    pub fn own_device(&self) -> Option<&Device> {
        self.device.as_ref()
    }

    #[must_use]
    pub fn device(mut self, device: &Device) -> Self {
        self.device = Some(device.clone());
        self
    }

    /// Changes one of the parameters of connect when all is signed.
    #[must_use]
    pub fn tamper(mut self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.tampered.push((pointer, value.into()));
        self
    }

    /// Its clock is this much ahead.
    #[must_use]
    pub fn clock(mut self, ahead_ms: i64) -> Self {
        self.clock_ms = ahead_ms;
        self
    }

    #[must_use]
    pub fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

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

    /// None but those that every upgrade has.
    #[must_use]
    pub fn without_headers(mut self) -> Self {
        self.headers.clear();
        self
    }

    /// Its system takes only this many bytes before it reads.
    #[must_use]
    pub fn narrow(mut self, receive_buffer: usize) -> Self {
        self.receive_buffer = Some(receive_buffer);
        self
    }

    /// It closes by itself as soon as it is refused, as the real client does now and then.
    #[must_use]
    pub fn hasty(mut self) -> Self {
        self.hasty = true;
        self
    }

    /// Connects, is answered, and closes cleanly.
    pub async fn visit(&self, tap: &Tap) -> Visit {
        let mut session = self.greet(tap).await;
        if session.is_accepted() {
            session.say(Frame::empty_close()).await;
        }
        session.end().await
    }

    /// Connects, asks for one thing, and closes cleanly. The answer is in the visit.
    pub async fn ask(&self, tap: &Tap, method: &str) -> Visit {
        let mut session = self.accepted(tap).await;
        let answer = session.call(method, json!({})).await;
        session.say(Frame::empty_close()).await;
        Visit {
            answer,
            ..session.end().await
        }
    }

    /// Stays, and it must have been accepted.
    pub async fn accepted(&self, tap: &Tap) -> Session {
        let session = self.greet(tap).await;
        assert!(session.is_accepted(), "{:?}", session.answer);
        session
    }

    /// As far as the gateway's answer to connect, if one comes.
    pub async fn greet(&self, tap: &Tap) -> Session {
        let mut session = self.open(tap).await;
        self.introduce(&mut session).await;
        session
    }

    /// The same on any connection, also one to the gateway itself.
    pub async fn greet_on(&self, conn: Conn) -> Session {
        let mut session = self.open_on(conn).await;
        self.introduce(&mut session).await;
        session
    }

    /// The connect request, signed over the session's challenge, and its answer.
    pub async fn introduce(&self, session: &mut Session) {
        if session.challenge.is_null() {
            return;
        }
        let request = self.connect_request(&session.challenge);
        session.say(Frame::text(&request.to_string())).await;
        session.answer = session.answer_to("1").await;
        if self.hasty && session.answer["ok"] == false {
            session.say(Frame::close(1008, "connect failed")).await;
        }
    }

    /// As far as the challenge, if one comes.
    pub async fn open(&self, tap: &Tap) -> Session {
        let conn = match self.receive_buffer {
            None => tap.connect(Face::Plain).await,
            Some(size) => connect_narrow(tap.addr(Face::Plain), size).await,
        };
        self.open_on(conn).await
    }

    async fn open_on(&self, conn: Conn) -> Session {
        let mut session = self.knock(conn).await;
        if session.status == Some(101) {
            session.take_challenge().await;
        }
        session
    }

    /// As far as the answer to the upgrade.
    pub async fn knock(&self, conn: Conn) -> Session {
        let agent = format!("guest-{}", Uuid::new_v4().simple());
        let request = self.upgrade_request(&conn, &agent);
        let mut session = Session::new(conn, agent);
        session.upgrade(&request).await;
        session
    }

    /// The request for an upgrade on this connection, as the program of this name.
    pub fn upgrade_request(&self, conn: &Conn, agent: &str) -> Vec<u8> {
        let addr = conn.wire.tcp().and_then(|tcp| tcp.peer_addr().ok());
        let addr = addr.expect("a TCP connection").to_string();
        let host = self.host.as_ref().unwrap_or(&addr);
        let headers = self.headers.iter();
        let mut headers: Vec<(&str, &str)> = headers
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        headers.push(("User-Agent", agent));
        head::upgrade(&self.target, host, &headers)
    }

    /// The connect request, signed over the challenge where it has a device.
    pub fn connect_request(&self, challenge: &Value) -> Value {
        let mut params = self.params.clone();
        if let Some(device) = &self.device {
            let mut challenge = challenge.clone();
            let now = challenge["ts"].as_i64().expect("a time");
            challenge["ts"] = json!(now + self.clock_ms);
            params["device"] = device.sign(&params, &challenge);
        }
        for (pointer, value) in &self.tampered {
            set(&mut params, pointer, value.clone());
        }
        json!({ "type": "req", "id": "1", "method": "connect", "params": params })
    }
}

/// Sets a place in a tree; `null` takes it away.
fn set(tree: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = tree.pointer_mut(parent).expect("a place");
    let parent = parent.as_object_mut().expect("a mapping");
    match value {
        Value::Null => drop(parent.remove(key)),
        value => drop(parent.insert(key.to_owned(), value)),
    }
}
