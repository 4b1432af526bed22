//! The probe's requests and its one session, through its own tap.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use uuid::Uuid;

use super::target::Target;
use crate::app::{Bound, StartError};
use crate::config::{self, ConfigErrors, Overrides};
use crate::session::SessionRecord;
use crate::session::moment::millis;
use crate::session::record::{Kind, TapMode};
use crate::session::text::PeerText;
use crate::sink::{Consumer, Queue};
use crate::transport::listening::Listening;
use crate::verdict;

/// A healthy gateway sends its challenge at once.
const CHALLENGE: Duration = Duration::from_secs(3);

/// A gateway delays its answer to wrong tokens of local clients, by up to 5 s.
const ANSWER: Duration = Duration::from_secs(6);

/// Time limit for one plain request on a connection that can be made.
pub(super) const REQUEST: Duration = Duration::from_secs(2);

/// Time limit for a request whose connection may hang: longer than the tap's own limit.
pub(super) const DIAL: Duration = Duration::from_secs(4);

/// Time limit for an answer to the large upgrade: a packet that is lost on a short path has been
/// retransmitted four times by then (RFC 6298).
const PADDED: Duration = Duration::from_millis(3500);

/// Maximum number of headers that are read from an answer: as many as the tap passes on.
const HEADERS: usize = 1024;

/// Lines of padding, and bytes of each. Node takes heads of 16 KiB, HAProxy of 15, nginx lines of 8.
const PADDING: usize = 8;
const LINE: usize = 1000;

/// Time limit for the record of a session that its client has ended: its other end may take a
/// while.
const RECORD: Duration = Duration::from_secs(3);

/// Extra time to finish after the budget.
const END: Duration = Duration::from_millis(900);

/// Maximum number of bytes that are read from an answer's body.
const BODY: usize = 64 * 1024;

/// A century in milliseconds.
const CENTURY: f64 = 3.2e12;

/// Maximum number of scopes that are kept.
const SCOPES: usize = 20;

/// `platform` and `deviceFamily` of the CLI: a device that was paired with others has to be approved again.
const PLATFORM: (&str, &str) = if cfg!(target_os = "macos") {
    ("macos", "Mac")
} else {
    ("linux", "Linux")
};

/// Maximum size of a message. `hello-ok` has 20 KB.
const MESSAGE: usize = 4 << 20;

/// The probe could not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A tap whose only client is this process.
pub(super) struct OwnTap {
    address: SocketAddr,
    records: UnboundedReceiver<SessionRecord>,
    running: JoinHandle<()>,
    deadline: Instant,
    /// The host name of the container that this place belongs to, as engines set it.
    container: Option<String>,
}

/// Hands records to the probe.
struct ToProbe(UnboundedSender<SessionRecord>);

impl Consumer for ToProbe {
    fn consume(&mut self, record: &SessionRecord) -> io::Result<()> {
        // Other processes of this network namespace can connect to the socket, too. Their sessions
        // say nothing about ours.
        let pid = record.client.process.and_then(|process| process.pid);
        if pid.and_then(|pid| u32::try_from(pid).ok()) != Some(std::process::id()) {
            return Ok(());
        }
        let sent = self.0.send(record.clone());
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Result of a plain request.
pub(super) struct Answered {
    /// The gateway's status; 0 if the gateway itself did not answer.
    pub(super) status: u16,
    pub(super) body: Bytes,
    pub(super) record: SessionRecord,
}

/// The gateway's messages in the session. The record has the rest.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// It was the second session: the connection of the first was refused or cut before an answer.
    pub(super) again: bool,
    /// From the upgrade's answer to the challenge, in milliseconds.
    pub(super) challenge_ms: Option<f64>,
    /// How far the gateway's clock is ahead of ours, in milliseconds.
    pub(super) skew_ms: Option<f64>,
    /// From `connect` to its answer, in milliseconds.
    pub(super) hello_ms: Option<f64>,
    /// The gateway refused.
    pub(super) refused: bool,
    /// It accepted with something other than `hello-ok`.
    pub(super) strange: bool,
    /// How the gateway says that it authenticated us (`auth.method` of `hello-ok`).
    pub(super) method: Option<String>,
    /// The scopes of `hello-ok`.
    pub(super) scopes: Option<Vec<String>>,
    /// `channels.status` was requested.
    pub(super) asked: bool,
    /// The answer to it, and how long it took in milliseconds.
    pub(super) channels: Option<(GatewayMessage, f64)>,
}

/// A message of the gateway's.
#[derive(Debug, Deserialize)]
pub(super) struct GatewayMessage {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    event: Option<String>,
    /// Of an answer.
    #[serde(default)]
    pub(super) ok: Option<bool>,
    #[serde(default)]
    pub(super) payload: Value,
    #[serde(default)]
    pub(super) error: Value,
}

impl OwnTap {
    pub(super) fn start(
        target: &Target,
        container: Option<String>,
        deadline: Instant,
    ) -> Result<Self, ProbeError> {
        let name = format!("wstap-probe-{}", Uuid::new_v4());
        // An abstract socket has no file, and disappears with this process.
        let address = SocketAddr::from_abstract_name(&name)?;
        let listener = UnixListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        let listening = Listening::Unix {
            listener: tokio::net::UnixListener::from_std(listener)?,
            path: PathBuf::from("wstap probe"),
            file: None,
        };
        let (sender, records) = unbounded_channel();
        let queue = Queue::start("probe", 64, ToProbe(sender))?;
        let bound = Bound::bind_to(configuration(target)?, vec![queue], listening)?;
        let running = tokio::spawn(bound.run(std::future::pending()));
        Ok(Self {
            address,
            records,
            running,
            deadline,
            container,
        })
    }

    /// Ends the tap, and with its runtime all its connections. Its records have been received.
    pub(super) fn stop(self) {
        self.running.abort();
    }

    fn connect(&self) -> io::Result<tokio::net::UnixStream> {
        let stream = UnixStream::connect_addr(&self.address)?;
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream)
    }

    /// The deadline of a step: `limit` from now, within the budget.
    fn until(&self, limit: Duration) -> tokio::time::Instant {
        (Instant::now() + limit).min(self.deadline).into()
    }

    /// The record of a session that has ended, judged as the probe's own; `None` if there is none in time.
    async fn record(&mut self, is_it: impl Fn(&SessionRecord) -> bool) -> Option<SessionRecord> {
        let limit = (Instant::now() + RECORD).min(self.deadline + END);
        loop {
            let next = timeout_at(limit.into(), self.records.recv()).await;
            let mut record = next.ok().flatten()?;
            if is_it(&record) {
                record.tap.mode = TapMode::Probe;
                if let Some(name) = &self.container {
                    record.tap.name.clone_from(name);
                }
                record.verdict = Some(verdict::decide(&record));
                return Some(record);
            }
        }
    }

    /// Asks for a path within this time; any answer will do.
    pub(super) async fn get(
        &mut self,
        target: &Target,
        path: &str,
        limit: Duration,
    ) -> Option<Answered> {
        let asked = timeout_at(self.until(limit), self.ask(target, path)).await;
        let record = self.record(|record| {
            let request = record.request.as_ref();
            record.kind == Kind::Http && request.is_some_and(|it| it.path.as_str() == path)
        });
        let record = record.await?;
        let body = asked.ok().and_then(Result::ok).unwrap_or_default();
        let status = record.gateway.as_ref().and_then(|gateway| gateway.status);
        let status = status.unwrap_or_default();
        Some(Answered {
            status,
            body,
            record,
        })
    }

    async fn ask(&self, target: &Target, path: &str) -> io::Result<Bytes> {
        let (mut sender, driver) = http1::Builder::new()
            .max_headers(HEADERS)
            .handshake(TokioIo::new(self.connect()?))
            .await
            .map_err(io::Error::other)?;
        let driver = tokio::spawn(driver);
        let request = Request::get(path)
            .header(HOST, target.host())
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let body = Limited::new(answer.into_body(), BODY).collect().await;
        driver.abort();
        Ok(body
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default())
    }

    /// The one session: upgrade and challenge, then, if `connects`, the connect request, and with
    /// scopes one call that reads.
    pub(super) async fn talk(
        &mut self,
        target: &Target,
        connects: bool,
    ) -> (Option<SessionRecord>, Heard) {
        let mut heard = Heard::default();
        if let Err(error) = self.converse(target, connects, &mut heard).await {
            tracing::debug!(%error, "the probe's session ended");
        }
        let record = self.record(|record| record.kind == Kind::Websocket).await;
        (record, heard)
    }

    /// Upgrades with hyper, which skips interim answers (1xx). The rules decide whether the
    /// gateway's handshake was valid.
    async fn upgrade(&self, target: &Target) -> io::Result<Socket> {
        let answer = self.ask_to_upgrade(target, 0).await?;
        Self::open(answer).await
    }

    async fn open(answer: Response<Incoming>) -> io::Result<Socket> {
        let upgraded = hyper::upgrade::on(answer).await.map_err(io::Error::other)?;
        let limits = WebSocketConfig::default().max_message_size(Some(MESSAGE));
        let stream = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(limits)).await;
        Ok(Socket(socket))
    }

    /// An upgrade with a large or a small head, closed when it is answered.
    pub(super) async fn pad(&mut self, target: &Target, is_large: bool) -> Option<SessionRecord> {
        let lines = if is_large { PADDING } else { 0 };
        let opened = async {
            let answer = self.ask_to_upgrade(target, lines).await?;
            let mut socket = Self::open(answer).await?;
            socket.close().await?;
            socket.end().await
        };
        let _ = timeout_at(self.until(PADDED), opened).await;
        self.record(|record| record.kind == Kind::Websocket).await
    }

    /// `lines` is the number of padding headers, each of [`LINE`] bytes.
    async fn ask_to_upgrade(
        &self,
        target: &Target,
        lines: usize,
    ) -> io::Result<Response<Incoming>> {
        let (mut sender, driver) = http1::Builder::new()
            .max_headers(HEADERS)
            .handshake(TokioIo::new(self.connect()?))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(driver.with_upgrades());
        let mut request = Request::get(&target.path)
            .header(HOST, target.host())
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, generate_key());
        for _ in 0..lines {
            request = request.header("x-wstap-padding", "0".repeat(LINE));
        }
        let request = request.body(Empty::<Bytes>::new());
        let request = request.map_err(io::Error::other)?;
        sender.send_request(request).await.map_err(io::Error::other)
    }

    async fn converse(&self, target: &Target, connects: bool, heard: &mut Heard) -> io::Result<()> {
        let mut socket = timeout_at(self.deadline.into(), self.upgrade(target)).await??;
        let opened = Instant::now();
        let challenge = timeout_at(self.until(CHALLENGE), socket.challenge()).await??;
        heard.challenge_ms = Some(millis(opened.elapsed()));
        heard.skew_ms = challenge
            .payload
            .pointer("/ts")
            .and_then(Value::as_f64)
            .map(|theirs| {
                let ours = jiff::Timestamp::now().as_microsecond();
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "2^53 microseconds are 285 years"
                )]
                let ours = ours as f64 / 1000.0;
                theirs - ours
            })
            // A difference of more than a century is not a clock error.
            .filter(|skew| skew.abs() < CENTURY);
        if !connects {
            return socket.close().await;
        }
        let asked = Instant::now();
        let request = connect_request(target, &challenge.payload);
        socket.send(&request).await?;
        let answer = timeout_at(self.until(ANSWER), socket.answer("probe-connect")).await??;
        if answer.ok != Some(true) {
            heard.refused = true;
            // Its Close follows.
            let _ = timeout_at(self.until(Duration::from_secs(1)), socket.end()).await;
            return Ok(());
        }
        if answer.payload.get("type").and_then(Value::as_str) != Some("hello-ok") {
            heard.strange = true;
            return socket.close().await;
        }
        heard.hello_ms = Some(millis(asked.elapsed()));
        let scopes = answer
            .payload
            .pointer("/auth/scopes")
            .and_then(Value::as_array);
        let scopes: Vec<String> = scopes.map_or_else(Vec::new, |scopes| {
            let words = scopes.iter().filter_map(Value::as_str);
            // Far more than exist.
            let words = words.take(SCOPES);
            words.map(|word| PeerText::new(word, 60).into()).collect()
        });
        let may_read = scopes
            .iter()
            .any(|scope| scope == "operator.read" || scope == "operator.admin");
        heard.scopes = Some(scopes);
        let method = answer.payload.pointer("/auth/method");
        heard.method = (method.and_then(Value::as_str)).map(|word| PeerText::new(word, 60).into());
        if may_read {
            heard.asked = true;
            let asked = Instant::now();
            socket
                .send(&json!({
                    "type": "req", "id": "probe-channels", "method": "channels.status",
                    "params": { "probe": false },
                }))
                .await?;
            let answer = timeout_at(self.until(ANSWER), socket.answer("probe-channels")).await??;
            heard.channels = Some((answer, millis(asked.elapsed())));
        }
        let closing = async {
            socket.close().await?;
            socket.end().await
        };
        let _ = timeout_at(self.until(Duration::from_secs(1)), closing).await;
        Ok(())
    }
}

struct Socket(WebSocketStream<TokioIo<Upgraded>>);

impl Socket {
    /// The next message that is JSON.
    async fn next(&mut self) -> io::Result<GatewayMessage> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).map_err(io::Error::other);
                }
                Some(Ok(Message::Close(_))) | None => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
    }

    /// The challenge; messages before it are skipped.
    async fn challenge(&mut self) -> io::Result<GatewayMessage> {
        loop {
            let message = self.next().await?;
            if message.event.as_deref() == Some("connect.challenge") {
                return Ok(message);
            }
        }
    }

    /// The answer to the request with this id; events before it are skipped.
    async fn answer(&mut self, id: &str) -> io::Result<GatewayMessage> {
        loop {
            let message = self.next().await?;
            if message.kind == "res" && message.id.as_deref() == Some(id) {
                return Ok(message);
            }
        }
    }

    async fn send(&mut self, message: &Value) -> io::Result<()> {
        let text = Message::text(message.to_string());
        self.0.send(text).await.map_err(io::Error::other)
    }

    /// Closes as the CLI does: with an empty Close.
    async fn close(&mut self) -> io::Result<()> {
        self.0.close(None).await.map_err(io::Error::other)
    }

    async fn end(&mut self) -> io::Result<()> {
        while let Some(Ok(_)) = self.0.next().await {}
        Ok(())
    }
}

/// The connect request as the CLI's own `gateway probe` sends it (2026.9.6): in this mode a gateway
/// keeps no pairing request.
fn connect_request(target: &Target, challenge: &Value) -> Value {
    // A gateway in password mode accepts the password in `token` as well.
    let auth = (target.secret.as_ref()).map(|secret| json!({ "token": secret.expose() }));
    let mut params = json!({
        "minProtocol": 3, "maxProtocol": 4,
        "client": {
            "id": "cli", "version": "dev", "platform": PLATFORM.0, "deviceFamily": PLATFORM.1, "mode": "probe",
            "instanceId": Uuid::new_v4(),
        },
        "caps": [], "role": "operator", "scopes": ["operator.read"],
    });
    if let Some(auth) = auth {
        insert(&mut params, "auth", auth);
    }
    if let Some(device) = &target.device {
        let signed = device.sign(&params, challenge);
        insert(&mut params, "device", signed);
    }
    json!({ "type": "req", "id": "probe-connect", "method": "connect", "params": params })
}

fn insert(params: &mut Value, name: &str, value: Value) {
    if let Some(params) = params.as_object_mut() {
        params.insert(name.to_owned(), value);
    }
}

/// Configuration of the probe's tap: it adds nothing, denies nothing, and has short timeouts.
fn configuration(target: &Target) -> Result<config::Config, ConfigErrors> {
    let url = Value::from(target.as_gateway_url());
    let pin = target.pin.as_ref().filter(|_| target.is_tls());
    let pin = pin.map_or_else(String::new, |pin| {
        format!(", tls: {{ fingerprint: '{pin}' }}")
    });
    let text = format!(
        "listeners: [{{ listen: 'unix:/wstap-probe' }}]\n\
         gateway: {{ url: {url}, forwarded: pass, allow_remote_as_local: true{pin} }}\n\
         origins: {{ mode: off }}\n\
         session_header: false\n\
         records: {{ http: all, connections: all, repeats: each }}\n\
         timeouts: {{ connect: 3s, upgrade: 5s, half_close: 500ms, close: 500ms, drain: 100ms }}\n"
    );
    config::parse(&text, Path::new("wstap probe"), &Overrides::default())
}

#[cfg(test)]
mod tests {
    use super::super::whereabouts::Environment;
    use super::*;

    #[test]
    fn its_tap_denies_nobody() {
        for url in ["ws://gw:1", "wss://[::1]:2/x", "unix:/run/c.sock"] {
            let target = Target::find(Some(url), None, &Environment::parse(b""), false).unwrap();
            let config = configuration(&target).unwrap();
            assert!(!config.session_header());
            assert!(config.origins().to_string().contains("off"));
        }
    }
}
