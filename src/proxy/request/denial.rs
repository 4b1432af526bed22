//! Refuses an upgrade inside a WebSocket: the tap answers 101, gives the reason in a Close, and
//! waits for the client's Close.
//!
//! A script in a browser sees only code 1006 for a 403, but it does see the reason of a Close. The
//! gateway never learns of such a session. No extension is agreed to. Of offered subprotocols the
//! first is echoed, as the gateway does: a browser that offered some and gets none fails the
//! connection without showing the Close (WHATWG `WebSockets`).

use std::sync::Arc;
use std::time::Instant;

use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{timeout, timeout_at};
use tracing::Instrument as _;

use crate::proxy::connection::session::SessionHandle;
use crate::proxy::request::body::Body;
use crate::proxy::request::error::DENIED;
use crate::proxy::request::from_client::FromClient;
use crate::proxy::request::layers::respond::{SESSION_HEADER, proxy_status};
use crate::proxy::tap::Tap;
use crate::proxy::tunnel::client_leg::ClientLeg;
use crate::session::party::Leg;
use crate::session::record::{TimerKey, TransportEnd};
use crate::transport::sensor::Sensor;
use crate::ws::extensions::Extensions;
use crate::ws::frame::encode_close;
use crate::ws::handshake::accept_key;
use crate::ws::scanner::{FrameSink, Scanner};
use crate::ws::{CloseCode, CloseFrame, Masking};

/// Time limit for writing the final `close_notify` and FIN.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);

/// The 101, after which a task of the tap closes the WebSocket with `reason`. `None` when the
/// request lacks what a 101 needs; the check of heads lets no such request pass.
pub(crate) fn by_close(
    tap: &Arc<Tap>,
    session: &SessionHandle,
    request: &mut Request<FromClient>,
    reason: String,
) -> Option<Response<Body>> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY)?;
    let accept = HeaderValue::from_str(&accept_key(key.as_bytes())).ok()?;
    let upgrade = ClientLeg::of(request);
    let refused = Refused {
        tap: Arc::clone(tap),
        session: session.clone(),
        reason,
    };
    tracing::debug!("refused by a Close after the 101");
    tap.tasks.spawn(refused.run(upgrade).in_current_span());

    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(first) = first_subprotocol(request.headers()) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, first);
    }
    proxy_status(headers, DENIED);
    let id = session.id();
    if tap.config.session_header()
        && let Ok(id) = HeaderValue::from_str(&id)
    {
        headers.insert(SESSION_HEADER, id);
    }
    let status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
    session.record().answered_by_tap(status, Some(DENIED));
    Some(response)
}

/// The first subprotocol that the client offers.
fn first_subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL)?.as_bytes();
    let first = offered.split(|byte| *byte == b',').next()?.trim_ascii();
    HeaderValue::from_bytes(first).ok()
}

struct Refused {
    tap: Arc<Tap>,
    session: SessionHandle,
    reason: String,
}

impl Refused {
    async fn run(self, upgrade: ClientLeg) {
        // If the client has already gone, dropping the session records that.
        let Some(upgraded) = upgrade.ready().await else {
            return;
        };
        self.session.settle();
        let (stream, ahead) = match upgraded.into_parts() {
            Ok(parts) => parts,
            Err(bug) => {
                tracing::error!(%bug, "a WebSocket could not be refused");
                let mut record = self.session.record();
                return record.faulted(bug.to_string(), Instant::now());
            }
        };
        let (mut stream, sensed) = Sensor::new(stream);
        self.close(&mut stream, &ahead).await;
        let now = Instant::now();
        let (end, cause, at) = match sensed.end() {
            Some(end) => (end.kind, end.cause, end.at),
            None => (TransportEnd::Local, None, now),
        };
        self.session.record().leg_ended(Leg::Client, end, cause, at);
        // close_notify, then FIN; a client that does not take them gets a reset.
        let _ = timeout(LAST_WORDS, stream.shutdown()).await;
    }

    /// Sends the Close and waits for the client's Close, the end of its connection,
    /// `timeouts.close`, or the end of the drain.
    async fn close(&self, stream: &mut Sensor, ahead: &[u8]) {
        let started = Instant::now();
        let limit = self.tap.config.timeouts().close;
        let code = CloseCode::POLICY_VIOLATION;
        let frame = CloseFrame {
            code: Some(code),
            reason: self.reason.clone().into_bytes(),
            ..CloseFrame::default()
        };
        self.session
            .record()
            .close_sent(Leg::Client, &frame, started);
        let bytes = encode_close(code, &self.reason, Masking::Unmasked);
        let talk = async {
            if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            self.session.record().written(Leg::Client, Instant::now());
            self.await_close(stream, ahead).await;
        };
        let drain = &self.tap.drain;
        tokio::select! {
            ended = timeout_at((started + limit).into(), talk) => if ended.is_err() {
                let now = Instant::now();
                let observed = now.saturating_duration_since(started);
                self.session.record().timer_fired(TimerKey::Close, limit, observed, now);
            },
            () = async {
                drain.token().cancelled().await;
                tokio::time::sleep_until(drain.plan().deadline.into()).await;
            } => {}
        }
    }

    /// Reads until the client's Close or the end of its stream. Everything else is discarded.
    async fn await_close(&self, stream: &mut Sensor, ahead: &[u8]) {
        let mut scanner = Scanner::new(Masking::Masked, Extensions::default());
        let mut answer = Answer(None);
        scanner.scan(ahead, &mut answer);
        let mut room = vec![0; 4096];
        while answer.0.is_none() && !scanner.lost_sync() {
            match stream.read(&mut room).await {
                Ok(0) | Err(_) => return,
                Ok(count) => scanner.scan(room.get(..count).unwrap_or_default(), &mut answer),
            }
        }
        if let Some(close) = answer.0 {
            let now = Instant::now();
            self.session
                .record()
                .close_received(Leg::Client, &close, now);
        }
    }
}

/// The first Close frame.
struct Answer(Option<CloseFrame>);

impl FrameSink for Answer {
    fn close(&mut self, close: CloseFrame) {
        self.0.get_or_insert(close);
    }
}
