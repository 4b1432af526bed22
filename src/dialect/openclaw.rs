//! The `OpenClaw` gateway protocol: the handshake, requests and their answers, the shutdown event.
//!
//! What is read and why, observed with gateway 2026.9.6: the gateway sends `connect.challenge`
//! first; the client's first frame is a `connect` request that carries the only credential the
//! gateway looks at; the answer is `hello-ok` or `res` with `ok: false`, which a Close follows in
//! the same millisecond. Of later messages only the front is looked at: for the `shutdown` event,
//! and to match `req` with `res`.

mod body;
pub(crate) mod endpoint;
mod front;
mod page;
mod read;
mod rpc;
mod secrets;

use std::sync::LazyLock;
use std::time::Instant;

use memchr::memmem::Finder;
use serde_json::Value;

use self::front::{Front, Kind};
use self::rpc::Rpc;
use super::profile::{Attribution, Profile, profile};
use super::protocol::{Dialect, Ending, Message};
use crate::session::credential::{Credential, Fingerprinter};
use crate::session::party::Direction;
use crate::session::record::DialectFacts;
use crate::session::record::dialect::openclaw::{
    ClientIdentity, DeviceFacts, DialectError, Endpoint, FirstMessage, FirstOfGateway,
    OpenClawFacts, ProtocolRange, ServerIdentity, announces,
};
use crate::session::record::dialect::{ConnectResult, ShutdownFacts};
use crate::session::secrets::SeenSecrets;
use crate::session::text::PeerText;
use crate::ws::{CloseCode, Opcode};

/// See [`Profile`].
pub(crate) static PROFILE: Profile = Profile {
    // Other services of the gateway do look at the request's headers.
    ignores_head: |target| {
        endpoint::of(target) == Endpoint::Gateway && !endpoint::may_be_canvas(target)
    },
    body: body::kind_of,
    attribution: Some(Attribution {
        // Not exempt from attribution, and answers both on a loopback gateway and elsewhere (seen
        // with 2026.9.6; `/healthz` is exempt).
        path: "/readyz",
        takes: body::takes_attribution,
        takes_us_for_local: body::takes_us_for_local,
    }),
    credential_headers: &["x-openclaw-token"],
    protected_headers: &["x-openclaw-scopes"],
    capability_path: Some(["__openclaw__", "cap"]),
    answers_are_known: true,
    listens_on_loopback: true,
    // It pings every 25 s and ends a session that does not answer one or two pings later.
    ping_limit_ms: Some(20_000.0),
    has_no_time_limit: true,
    ..profile("openclaw", |fingerprinter, target| {
        Box::new(OpenClaw::new(fingerprinter.clone(), target))
    })
};

/// Enough for every connect request: the gateway's own limit for frames before `hello-ok`, since 2026.4.
const HANDSHAKE_BYTES: usize = 64 * 1024;

/// Enough for a whole `shutdown` event (70 to 120 bytes in practice) and for a whole error.
const ANSWER_BYTES: usize = 1024;

/// Enough for type, id and method of a request; the id is 38 bytes long, a method at most 40.
const REQUEST_BYTES: usize = 256;

/// How the gateway's events begin. Most messages are events, and all but one are irrelevant here.
const EVENT: &[u8] = br#"{"type":"event","event":""#;

/// Cheap tests before parsing; built once, because building one costs more than a short message.
static HELLO: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"hello-ok\""));
static ACCEPTED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"accepted\""));

/// The keys of `params.auth` that hold a credential. Any other key in there holds one too, but
/// under a name that the gateway does not know.
const AUTH_KEYS: [&str; 6] = [
    "token",
    "password",
    "deviceToken",
    "bootstrapToken",
    "approvalRuntimeToken",
    "agentRuntimeIdentityToken",
];

/// Number of events after a connect request that show that it was accepted.
const EVENTS_THAT_PROVE: u32 = 3;

/// Maximum number of credentials taken from one connect frame.
const MAX_CREDENTIALS: usize = 12;

/// Reads one session.
#[derive(Debug)]
pub(crate) struct OpenClaw {
    fingerprinter: Fingerprinter,
    endpoint: Endpoint,
    /// Whether a plugin may serve this path.
    may_be_plugins: bool,
    /// Whether a canvas may be served at this path.
    may_be_canvas: bool,
    first_of_gateway: Option<FirstOfGateway>,
    challenge_at: Option<Instant>,
    connect_at: Option<Instant>,
    answered_at: Option<Instant>,
    first_message: Option<FirstMessage>,
    connect: Option<Box<Connect>>,
    connect_id: Option<String>,
    credentials: Vec<Credential>,
    seen: SeenSecrets,
    result: ConnectResult,
    /// The error in a refusal.
    error: Option<Box<DialectError>>,
    hello: Option<Box<Hello>>,
    rpc: Rpc,
    shutdown: Option<Box<Shutdown>>,
    /// Number of events after the connect request before an answer to it was read, and the time of
    /// the first.
    unanswered_events: Option<(u32, Instant)>,
}

/// The parts of the connect request that are kept.
#[derive(Debug, Default)]
struct Connect {
    client: Option<ClientIdentity>,
    device: DeviceFacts,
    role: Option<PeerText>,
    scopes: Option<Vec<PeerText>>,
    protocol: ProtocolRange,
}

/// The gateway's announcement that it shuts down.
#[derive(Debug)]
struct Shutdown {
    reason: Option<PeerText>,
    expected: Option<u64>,
    at: Instant,
}

/// The parts of `hello-ok` that are kept.
#[derive(Debug)]
struct Hello {
    agreed: Option<u64>,
    conn_id: Option<PeerText>,
    server: Option<ServerIdentity>,
    granted: Granted,
    issued_token: Option<String>,
    max_payload: Option<u64>,
    max_buffered: Option<u64>,
    tick_interval_ms: Option<u64>,
}

/// The scopes that were granted. Nearly always the requested scopes, which are then not stored
/// twice.
#[derive(Debug)]
enum Granted {
    AsAsked,
    These(Option<Vec<PeerText>>),
}

impl OpenClaw {
    /// A reader for one session with this request target.
    #[must_use]
    pub(crate) fn new(fingerprinter: Fingerprinter, target: &str) -> Self {
        Self {
            fingerprinter,
            endpoint: endpoint::of(target),
            may_be_plugins: !endpoint::is_root(target),
            may_be_canvas: endpoint::may_be_canvas(target),
            first_of_gateway: None,
            challenge_at: None,
            connect_at: None,
            answered_at: None,
            first_message: None,
            connect: None,
            connect_id: None,
            credentials: Vec::new(),
            seen: SeenSecrets::default(),
            result: ConnectResult::None,
            error: None,
            hello: None,
            rpc: Rpc::default(),
            shutdown: None,
            unanswered_events: None,
        }
    }

    fn read_client(&mut self, message: &Message<'_>, now: Instant) {
        if self.first_message.is_some() {
            return self.read_request(message, now);
        }
        let value = read::json(message);
        let kind = match (&value, message) {
            (
                _,
                Message {
                    opcode: Opcode::Binary,
                    ..
                },
            ) => FirstMessage::Binary,
            (
                _,
                Message {
                    compressed: true, ..
                },
            ) => FirstMessage::Compressed,
            (_, Message { whole: false, .. }) => FirstMessage::TooLong,
            (None, _) => FirstMessage::NotJson,
            (Some(value), _) if read::str(value, "/type") != Some("req") => {
                FirstMessage::NotARequest
            }
            (Some(value), _) if read::str(value, "/method") != Some("connect") => {
                FirstMessage::OtherRequest
            }
            _ => FirstMessage::Connect,
        };
        self.first_message = Some(kind);
        match (kind, &value) {
            (FirstMessage::Connect, Some(value)) => {
                self.connect_at = Some(now);
                self.read_connect(value);
            }
            // This may be another protocol's login.
            (_, Some(value)) => secrets::named_in(value, &mut self.seen),
            _ => {}
        }
    }

    fn read_connect(&mut self, value: &Value) {
        self.connect_id = read::str(value, "/id").map(str::to_owned);
        let Some(params) = value.get("params") else {
            return;
        };
        self.connect = Some(Box::new(Connect {
            client: params.get("client").map(|client| ClientIdentity {
                id: read::text(client, "/id"),
                mode: read::text(client, "/mode"),
                version: read::text(client, "/version"),
            }),
            device: DeviceFacts {
                present: params.get("device").is_some_and(Value::is_object),
                id: read::text(params, "/device/id"),
            },
            role: read::text(params, "/role"),
            scopes: read::texts(params, "/scopes"),
            protocol: ProtocolRange {
                min: read::number(params, "/minProtocol"),
                max: read::number(params, "/maxProtocol"),
                agreed: None,
            },
        }));
        let Some(auth) = params.get("auth") else {
            return;
        };
        secrets::all_in(auth, &mut self.seen);
        let Some(auth) = auth.as_object() else {
            return;
        };
        // No more room than needed: they are kept for the whole session.
        self.credentials
            .reserve_exact(auth.len().min(MAX_CREDENTIALS));
        for (key, value) in auth {
            let Some(secret) = value.as_str() else {
                continue;
            };
            if self.credentials.len() == MAX_CREDENTIALS {
                break;
            }
            let known = AUTH_KEYS.contains(&key.as_str());
            // An unknown key is the client's text: it could be anything, the secret included.
            let name = if known { key.as_str() } else { "(unknown)" };
            let place = format!("frame:connect.params.auth.{name}");
            self.credentials.push(
                Credential::observe(&self.fingerprinter, &place, secret.as_bytes())
                    .with_effective(known),
            );
        }
    }

    /// A message of the client after its first.
    fn read_request(&mut self, message: &Message<'_>, now: Instant) {
        if message.compressed {
            self.rpc.unseen_to_gateway();
        } else {
            let front = Front::read(message.bytes);
            self.rpc.client_said(front, message.end, now);
        }
    }

    /// Looks at the gateway's first message. If it does not challenge and the client does not
    /// connect, the path is a plugin's, unless no plugin can have it.
    fn greet(&mut self, message: &Message<'_>) {
        let first = match message {
            _ if message.opcode == Opcode::Binary => FirstOfGateway::Binary,
            _ if message.compressed || !message.whole => FirstOfGateway::Unread,
            _ => match read::json_of_gateway(message) {
                Some(value) if read::str(&value, "/event") == Some("connect.challenge") => {
                    FirstOfGateway::Challenge
                }
                Some(_) => FirstOfGateway::Json,
                None => FirstOfGateway::Text,
            },
        };
        self.first_of_gateway = Some(first);
        let speaks_otherwise = matches!(
            first,
            FirstOfGateway::Json | FirstOfGateway::Text | FirstOfGateway::Binary
        );
        let connects = self.first_message == Some(FirstMessage::Connect);
        if speaks_otherwise && self.may_be_plugins && !connects {
            self.endpoint = if self.may_be_canvas {
                Endpoint::Canvas
            } else {
                Endpoint::Plugin
            };
        }
    }

    /// The service, as far as the end of the session shows more: where a canvas may be, a gateway
    /// that says nothing owes nothing to a client that does not connect.
    fn served_by(&self) -> Endpoint {
        let silent = self.first_of_gateway.is_none() && self.first_message.is_none();
        if self.may_be_canvas && silent {
            Endpoint::Canvas
        } else {
            self.endpoint
        }
    }

    fn read_gateway(&mut self, message: &Message<'_>, now: Instant) {
        if self.first_of_gateway.is_none() {
            self.greet(message);
        }
        if message.opcode == Opcode::Binary || self.endpoint != Endpoint::Gateway {
            return;
        }
        if message.compressed {
            return self.rpc.unseen_to_client();
        }
        if self.result != ConnectResult::None {
            return self.read_later(message, now);
        }
        let Some(value) = read::json_of_gateway(message) else {
            self.read_cut_hello(message, now);
            return;
        };
        match read::str(&value, "/type") {
            Some("event") => self.read_event(&value, now),
            Some("res") if self.answers_connect(&value) => self.read_answer(&value, now),
            Some("res") => {
                let front = Front::read(message.bytes);
                self.rpc.gateway_said(front, says_accepted(message), now);
            }
            _ => {}
        }
    }

    /// A message of the gateway after its answer to connect.
    fn read_later(&mut self, message: &Message<'_>, now: Instant) {
        if let Some(name) = message.bytes.strip_prefix(EVENT)
            && !matches!(name.first(), Some(b's' | b'\\'))
        {
            return;
        }
        if message.bytes.trim_ascii_start().first() != Some(&b'{') {
            return;
        }
        let front = Front::read(message.bytes);
        if front.kind != Some(Kind::Event) {
            return self.rpc.gateway_said(front, says_accepted(message), now);
        }
        if front.shutdown == Some(true) {
            match read::json_of_gateway(message) {
                Some(value) => self.read_event(&value, now),
                None => {
                    self.shutdown.get_or_insert_with(|| {
                        Box::new(Shutdown {
                            reason: None,
                            expected: None,
                            at: now,
                        })
                    });
                }
            }
        }
    }

    /// Whether a response carries the id of the connect request. A response before any request
    /// was read (an unreadable first frame) is taken for its answer.
    fn answers_connect(&self, value: &Value) -> bool {
        match (&self.connect_id, read::str(value, "/id")) {
            (Some(asked), Some(answered)) => asked == answered,
            _ => true,
        }
    }

    fn read_event(&mut self, value: &Value, now: Instant) {
        match read::str(value, "/event") {
            Some("connect.challenge") => {
                self.challenge_at.get_or_insert(now);
            }
            Some("shutdown") => {
                let reason = read::text(value, "/payload/reason");
                let expected = read::number(value, "/payload/restartExpectedMs");
                self.shutdown.get_or_insert_with(|| {
                    Box::new(Shutdown {
                        reason,
                        expected,
                        at: now,
                    })
                });
            }
            // Only an accepted client gets events. One event may overtake the answer; if several
            // came, hello-ok came before them and could not be read.
            Some(_) if self.connect_at.is_some() && self.result == ConnectResult::None => {
                let (count, first) = self.unanswered_events.get_or_insert((0, now));
                *count += 1;
                if *count >= EVENTS_THAT_PROVE {
                    self.result = ConnectResult::Accepted;
                    self.answered_at.get_or_insert(*first);
                }
            }
            _ => {}
        }
    }

    fn read_answer(&mut self, value: &Value, now: Instant) {
        match value.get("ok").and_then(Value::as_bool) {
            Some(true) => self.read_hello(value.get("payload").unwrap_or(&Value::Null)),
            Some(false) => {
                self.result = ConnectResult::Refused;
                self.error = Some(Box::new(read::error(
                    value.get("error").unwrap_or(&Value::Null),
                )));
            }
            None => return,
        }
        self.answered_at.get_or_insert(now);
    }

    fn read_hello(&mut self, payload: &Value) {
        self.result = ConnectResult::Accepted;
        secrets::handed_out(payload, &mut self.seen);
        let issued_token = read::str(payload, "/auth/deviceToken").map(|token| {
            let print = self.fingerprinter.fingerprint(token.as_bytes());
            print.as_str().to_owned()
        });
        let granted = read::texts(payload, "/auth/scopes");
        let as_asked = self
            .connect
            .as_ref()
            .is_some_and(|connect| connect.scopes == granted);
        self.hello = Some(Box::new(Hello {
            agreed: read::number(payload, "/protocol"),
            conn_id: read::text(payload, "/server/connId"),
            server: payload.get("server").map(|server| ServerIdentity {
                version: read::text(server, "/version"),
                build_id: read::text(server, "/buildId"),
                boot_id: read::text(server, "/bootId"),
                uptime_ms: read::number(payload, "/snapshot/uptimeMs"),
            }),
            granted: if as_asked {
                Granted::AsAsked
            } else {
                Granted::These(granted)
            },
            issued_token,
            max_payload: read::number(payload, "/policy/maxPayload"),
            max_buffered: read::number(payload, "/policy/maxBufferedBytes"),
            tick_interval_ms: read::number(payload, "/policy/tickIntervalMs"),
        }));
    }

    /// A `hello-ok` that is too long to be read whole still proves that the gateway accepted the
    /// client.
    fn read_cut_hello(&mut self, message: &Message<'_>, now: Instant) {
        if !message.whole && HELLO.find(message.bytes).is_some() {
            self.result = ConnectResult::Accepted;
            self.answered_at.get_or_insert(now);
        }
    }
}

/// Whether a response says that the work was accepted and its result will follow with the same id,
/// as for agent runs.
fn says_accepted(message: &Message<'_>) -> bool {
    message.whole
        && ACCEPTED.find(message.bytes).is_some()
        && read::json_of_gateway(message)
            .is_some_and(|value| read::str(&value, "/payload/status") == Some("accepted"))
}

impl Dialect for OpenClaw {
    fn wants(&self, direction: Direction, opcode: Opcode) -> usize {
        if self.endpoint != Endpoint::Gateway {
            return 0;
        }
        match (direction, opcode) {
            (Direction::ToClient, _) if self.first_of_gateway.is_none() => HANDSHAKE_BYTES,
            (Direction::ToGateway, _) if self.first_message.is_none() => HANDSHAKE_BYTES,
            (Direction::ToGateway, Opcode::Text) => REQUEST_BYTES,
            (Direction::ToClient, Opcode::Text) if self.result == ConnectResult::None => {
                HANDSHAKE_BYTES
            }
            (Direction::ToClient, Opcode::Text) => ANSWER_BYTES,
            _ => 0,
        }
    }

    fn message(&mut self, direction: Direction, message: &Message<'_>, now: Instant) {
        match direction {
            Direction::ToGateway => self.read_client(message, now),
            Direction::ToClient => self.read_gateway(message, now),
        }
    }

    /// Services with another protocol have no handshake that is known here.
    fn is_open(&self) -> bool {
        self.result == ConnectResult::Accepted || self.endpoint != Endpoint::Gateway
    }

    fn was_open(&self) -> bool {
        self.is_open() || self.served_by() != Endpoint::Gateway
    }

    fn seen(&self) -> Option<&SeenSecrets> {
        Some(&self.seen)
    }

    fn going_down(&self) -> Option<(Instant, Option<u64>)> {
        let said = self.shutdown.as_deref()?;
        Some((said.at, said.expected))
    }

    fn announces(&self, code: Option<CloseCode>, reason: &[u8]) -> bool {
        announces(code, reason)
    }

    fn process(&self) -> Option<PeerText> {
        self.hello.as_ref()?.server.as_ref()?.boot_id.clone()
    }

    fn facts(&self, ending: &Ending<'_>) -> (DialectFacts, Vec<Credential>) {
        let anchor = ending.anchor;
        let mut facts = OpenClawFacts {
            endpoint: Some(self.served_by()),
            first_of_gateway: self.first_of_gateway,
            challenge_at: self.challenge_at.map(|at| anchor.at(at)),
            connect_at: self.connect_at.map(|at| anchor.at(at)),
            answered_at: self.answered_at.map(|at| anchor.at(at)),
            first_message: self.first_message,
            result: self.result,
            error: self.error.as_deref().cloned(),
            ..OpenClawFacts::default()
        };
        if let Some(connect) = &self.connect {
            facts.client.clone_from(&connect.client);
            facts.device = connect.device.clone();
            facts.role.clone_from(&connect.role);
            facts.scopes_asked.clone_from(&connect.scopes);
            facts.protocol.min = connect.protocol.min;
            facts.protocol.max = connect.protocol.max;
        }
        if let Some(hello) = &self.hello {
            facts.protocol.agreed = hello.agreed;
            facts.conn_id.clone_from(&hello.conn_id);
            facts.server.clone_from(&hello.server);
            facts.scopes_granted = match &hello.granted {
                Granted::AsAsked => facts.scopes_asked.clone(),
                Granted::These(granted) => granted.clone(),
            };
            facts.issued_token.clone_from(&hello.issued_token);
            facts.max_payload = hello.max_payload;
            facts.max_buffered = hello.max_buffered;
            facts.tick_interval_ms = hello.tick_interval_ms;
        }
        facts.shutdown = self.shutdown.as_deref().map(|said| ShutdownFacts {
            reason: said.reason.clone(),
            restart_expected_ms: said.expected,
            at: anchor.at(said.at),
        });
        let accepted = self.result == ConnectResult::Accepted;
        facts.rpc = accepted.then(|| self.rpc.facts(ending));
        (facts.into(), self.credentials.clone())
    }
}

#[cfg(test)]
mod tests;
