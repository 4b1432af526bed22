//! One exchange with the gateway: what plain requests and upgrades have in common.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, HOST, LOCATION, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response, Version};
use hyper::body::Incoming;

use super::body::Body;
use super::error::Failure;
use super::facts;
use super::headers::strip_hop_by_hop;
use super::progress::Progress;
use crate::admission::credentials;
use crate::proxy::connection::Connection;
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::tap::Tap;
use crate::proxy::tap::loops::Turn;
use crate::session::dial::DialFacts;
use crate::session::party::Leg;
use crate::session::record::frames::TcpFacts;
use crate::session::record::{
    FirstBytes, GatewayError, GatewayErrorKind as Kind, TimerKey, TransportEnd,
};
use crate::session::recorder::gateway::AnswerHead;
use crate::session::secrets::SeenSecrets;
use crate::session::text::PeerText;
use crate::transport::sensed::Sensed;
use crate::transport::stream::Stream;
use crate::upstream::DialFailed;

/// Prepares a head for the gateway: removes hop-by-hop headers. Attribution headers are added
/// later, when the request's path to the gateway is known.
pub(crate) fn prepare(
    tap: &Tap,
    session: &SessionHandle,
    headers: &mut HeaderMap,
    keep_upgrade: bool,
) {
    strip_hop_by_hop(headers, keep_upgrade);
    if !headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(&tap.config.gateway().authority())
    {
        // An HTTP/1.0 request may lack a Host header; it goes on as HTTP/1.1, which needs one.
        headers.insert(HOST, host);
    }
    let gateway = tap.config.gateway();
    session
        .record()
        .dialling(gateway.url().to_owned(), gateway.dialect().to_string());
}

/// Dials the gateway for this session alone.
pub(crate) async fn dial(
    tap: &Tap,
    connection: &Connection,
    session: &SessionHandle,
) -> Result<(Stream, DialFacts), Failure> {
    let dialled = tap.dialler_for(connection).dial().await;
    let (stream, facts) = dialled.map_err(|failed| {
        tap.attribution.lost();
        dial_failed(session, &failed, tap.config.timeouts().connect);
        Failure::Gateway(failed.error)
    })?;
    tap.attribution.reached(&facts);
    tracing::debug!(
        addr = facts.addr.as_deref(),
        connect_ms = facts.connect_ms,
        "gateway dialled"
    );
    Ok((stream, facts))
}

/// Records how the gateway was reached, and that the request is on its way.
pub(crate) fn note_dial(session: &SessionHandle, dial: &DialFacts) {
    let mut record = session.record();
    record.dialled(dial);
    record.request_sent();
}

/// Records the head of the gateway's answer to a request that went out at `sent`.
pub(crate) fn note_head(session: &SessionHandle, response: &Response<Incoming>, sent: Instant) {
    let headers = response.headers();
    let server = headers.get(http::header::SERVER);
    let head = AnswerHead {
        status: response.status().as_u16(),
        headers: facts::header_lines(facts::lines_of(headers)),
        waited: sent.elapsed(),
        server: server.map(|value| PeerText::from_bytes(value.as_bytes(), 128)),
    };
    let mut secrets = SeenSecrets::default();
    for value in headers.get_all(SET_COOKIE) {
        let value = String::from_utf8_lossy(value.as_bytes());
        credentials::remember_set_cookie(&value, &mut secrets);
    }
    if let Some(value) = headers.get(LOCATION) {
        let value = String::from_utf8_lossy(value.as_bytes());
        credentials::remember_url(&value, &mut secrets);
    }
    tracing::debug!(status = head.status, waited = ?head.waited, "gateway answered");
    let mut record = session.record();
    record.answered(head);
    record.secrets_seen(&secrets);
    drop(record);
    session.answered();
}

/// Records a dial that failed.
pub(crate) fn dial_failed(session: &SessionHandle, failed: &DialFailed, limit: Duration) {
    tracing::debug!(kind = ?failed.error.kind, error = %failed.error.detail, "dialling the gateway failed");
    let mut record = session.record();
    record.dial_failed(&failed.facts, failed.error.clone());
    if let Some(observed) = failed.timed_out {
        record.timer_fired(TimerKey::Connect, limit, observed, Instant::now());
    }
}

/// Fails if the request came back to us and we answered 508 there: this is then the answer to an
/// earlier pass of the loop.
pub(crate) fn is_no_turn_of_a_loop(
    response: &Response<Incoming>,
    turn: &Turn,
) -> Result<(), Failure> {
    if response.status() == http::StatusCode::LOOP_DETECTED && turn.has_looped() {
        return Err(Failure::Loop);
    }
    Ok(())
}

/// An answer on its way to the client. With `look`, its body is inspected to find who made it.
pub(crate) fn pass_on(
    session: SessionHandle,
    response: Response<Incoming>,
    progress: (Arc<Progress>, Duration),
    look: bool,
) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let unframed =
        !head.headers.contains_key(CONTENT_LENGTH) && !head.headers.contains_key(TRANSFER_ENCODING);
    strip_hop_by_hop(&mut head.headers, false);
    head.version = Version::HTTP_11;
    // The bodies of error answers to plain requests are inspected as well.
    let look = (look || head.status.is_client_error() || head.status.is_server_error())
        .then(|| head.headers.clone());
    Response::from_parts(
        head,
        Body::response(body, session, progress, look, unframed),
    )
}

/// Why the gateway sent no answer head, judged by how its connection ended and by the bytes that
/// came on it since `came_before`.
pub(crate) fn no_answer(
    session: &SessionHandle,
    sensed: Option<&Sensed>,
    came_before: u64,
    error: &str,
) -> Failure {
    let end = sensed.and_then(Sensed::end);
    let first = sensed.map_or(FirstBytes::None, Sensed::first_bytes);
    let came = sensed
        .map_or(0, Sensed::bytes_read)
        .saturating_sub(came_before);
    let is_answer = sensed.is_some_and(Sensed::began_with_http_answer);
    // The gateway already answered plain HTTP, so it does not require TLS.
    let first = Some(first).filter(|_| came_before == 0);
    let fault = end.as_ref().and_then(|end| end.cause.as_ref()?.fault());
    let tcp = end.as_ref().and_then(|end| end.tcp);
    let kind = match (came, end.as_ref().map(|end| end.kind), first) {
        _ if fault.is_some() => Kind::TlsBroken,
        (_, Some(TransportEnd::Timeout), _) if tcp.is_some_and(was_acknowledged) => Kind::Unread,
        (_, Some(TransportEnd::Timeout), _) => Kind::Unacknowledged,
        (_, _, Some(FirstBytes::Tls)) => Kind::WantsTls,
        (1.., _, Some(FirstBytes::Other)) if sensed.is_some_and(Sensed::began_with_tls_alert) => {
            Kind::WantsTls
        }
        (0, Some(TransportEnd::Rst), _) => Kind::ResetBeforeStatus,
        (0, _, _) => Kind::ClosedBeforeStatus,
        (_, Some(_), _) if is_answer => Kind::ClosedBeforeStatus,
        _ => Kind::NotHttp,
    };
    let detail = match kind {
        Kind::Unacknowledged | Kind::Unread => {
            let cause = end.as_ref().and_then(|end| end.cause.as_ref());
            let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            let what = if kind == Kind::Unread {
                "the gateway read no more of the request, and its host acknowledged what came"
            } else {
                "the gateway's host acknowledges nothing any more"
            };
            format!("{what}{cause}")
        }
        Kind::ResetBeforeStatus => "the gateway reset the connection before it answered".to_owned(),
        Kind::ClosedBeforeStatus if came == 0 => {
            "the gateway ended the connection before it answered".to_owned()
        }
        Kind::ClosedBeforeStatus => {
            format!("the gateway ended the connection in the middle of its answer ({came} bytes)")
        }
        Kind::WantsTls => "the gateway answers with TLS to plain HTTP".to_owned(),
        Kind::TlsBroken => "what came on the gateway's TLS connection could not be read".to_owned(),
        _ => format!("what came is no HTTP answer: {error}"),
    };
    if let Some(end) = end {
        tracing::debug!(end = ?end.kind, ?tcp, ?kind, "the gateway's connection gave no answer");
        let mut record = session.record();
        record.gateway_tcp(tcp);
        record.leg_ended(Leg::Gateway, end.kind, end.cause, end.at);
    }
    Failure::Gateway(GatewayError { kind, detail })
}

/// Whether the far end's host still answered when the kernel gave up the connection: nothing had to
/// be retransmitted, and no probe went unanswered. In that case the far end did not read, for which
/// Linux also gives up a connection.
fn was_acknowledged(tcp: TcpFacts) -> bool {
    tcp.retries == 0 && tcp.probes == 0
}
