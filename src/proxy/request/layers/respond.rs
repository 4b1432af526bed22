//! Turns failures into answers of our own, marked as such (RFC 9209).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{
    CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_VERSION, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};

use crate::admission::head::Refusal;
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::request::body::Body;
use crate::proxy::request::error::Failure;
use crate::proxy::request::from_client::FromClient;
use crate::proxy::tap::Tap;
use crate::session::Recorder;
use crate::session::party::Leg;
use crate::session::record::gateway::ForwardedWhy;
use crate::session::record::{DeniedFact, DeniedKey, HeadFault};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Carries the session's id in answers of our own and in the 101.
pub(crate) const SESSION_HEADER: HeaderName = HeaderName::from_static("x-wstap-session");

layer! {
    /// Answers a request for which the inner service failed.
}

impl<S> tower::Service<Request<FromClient>> for Service<S>
where
    S: tower::Service<Request<FromClient>, Response = Response<Body>, Error = Failure>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<FromClient>) -> Self::Future {
        let session = crate::proxy::request::layers::session(&request).ok();
        let inner = self.inner.call(request);
        let tap = Arc::clone(&self.tap);
        Box::pin(async move {
            Ok(match inner.await {
                Ok(response) => response,
                Err(failure) => respond(&tap, session.as_ref(), &failure),
            })
        })
    }
}

fn respond(tap: &Tap, session: Option<&SessionHandle>, failure: &Failure) -> Response<Body> {
    let answer = failure.answer();
    if let Failure::Internal(what) = failure {
        tracing::error!(%what, "a request failed inside wstap");
    }
    let id = session.map(SessionHandle::id).unwrap_or_default();
    let mut text = answer.text.as_ref().to_owned();
    if let Some(session) = session {
        text = session.masked(text);
    }
    let body = format!("wstap: {text}\nsession: {id}\n");
    if let Some(session) = session {
        note(tap, session, failure, &answer);
    }
    let mut response = Response::new(Body::text(body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    // The text can quote what a client sent; no browser may treat it as anything but text.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // After a failure, later bytes on this connection cannot be trusted.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    proxy_status(headers, answer.proxy_error);
    if answer.status == StatusCode::UPGRADE_REQUIRED {
        // RFC 9110 section 15.5.22 and RFC 6455 section 4.2.2: the protocol or version to use
        // instead.
        headers.insert(CONNECTION, HeaderValue::from_static("close, Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    if tap.config.session_header()
        && let Ok(value) = HeaderValue::from_str(&id)
    {
        headers.insert(SESSION_HEADER, value);
    }
    response
}

/// Marks an answer as our own.
pub(crate) fn proxy_status(headers: &mut HeaderMap, error: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("wstap; error={error}")) {
        headers.insert(PROXY_STATUS, value);
    }
}

/// Records what is wrong with a head.
pub(crate) fn refused_head(record: &mut Recorder, refusal: &Refusal, now: std::time::Instant) {
    let detail = refusal.detail.clone();
    let key = match refusal.fault {
        HeadFault::HeadBytes => DeniedKey::HeadBytes,
        HeadFault::Headers => DeniedKey::Headers,
        fault => return record.head_refused(fault, refusal.http2_error, detail, now),
    };
    let limit = refusal.limit;
    record.denied(DeniedFact { key, detail, limit }, now);
}

fn note(
    tap: &Tap,
    session: &SessionHandle,
    failure: &Failure,
    answer: &crate::proxy::request::error::Answer,
) {
    let now = std::time::Instant::now();
    let mut record = session.record();
    match failure {
        Failure::Gateway(error) => {
            record.gateway_failed(error.clone());
            if error.kind.is_own_limit() {
                record.acted(now);
            } else {
                record.leg_refused(Leg::Gateway, now);
            }
        }
        Failure::RemoteAsLocal { addr } => {
            let gateway = record.facts().gateway.as_ref();
            let why = gateway.and_then(|gateway| gateway.forwarded.as_ref()?.why);
            let seen = if why == Some(ForwardedWhy::LocalPage) {
                "would believe that the page is one of localhost"
            } else {
                "sees us as its own host"
            };
            let detail =
                format!("the gateway at {addr} {seen} and would take this client for local");
            let (key, limit) = (DeniedKey::RemoteAsLocal, None);
            record.denied(DeniedFact { key, detail, limit }, now);
        }
        Failure::Loop => {
            let url = tap.config.gateway().url();
            let detail = format!("a request that was sent to {url} came back to this tap");
            let (key, limit) = (DeniedKey::GatewayUrl, None);
            record.denied(DeniedFact { key, detail, limit }, now);
        }
        Failure::Draining => record.drained(now),
        Failure::Head(refusal) => refused_head(&mut record, refusal, now),
        Failure::Internal(what) => record.faulted(what.clone(), now),
        // Already recorded where the failure was found.
        Failure::GatewayTimeout
        | Failure::CutBody
        | Failure::SlowBody
        | Failure::Denied { .. }
        | Failure::Misdirected(_)
        | Failure::TooMany
        | Failure::Full(_) => {}
    }
    record.answered_by_tap(answer.status.as_u16(), Some(answer.proxy_error));
    drop(record);
    session.settle();
}
