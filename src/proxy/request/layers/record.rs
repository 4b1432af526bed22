//! Opens a session's record with the request's head and records the answer.
//!
//! The record ends when its last handle is dropped: that of the answer's body, of the tunnel, or
//! of the request's future when hyper drops it because the client is gone.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::header::CONNECTION;
use http::{HeaderMap, Request, Response, StatusCode};
use tracing::Instrument as _;

use crate::admission::credentials;
use crate::admission::forwarded::client_of;
use crate::admission::head::{Asks, Checked};
use crate::proxy::connection::Connection;
use crate::proxy::connection::heads::CheckedHead;
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::request::body::Body;
use crate::proxy::request::from_client::FromClient;
use crate::proxy::request::layers::respond;
use crate::proxy::request::{facts, forwarded, headers};
use crate::proxy::tap::Tap;
use crate::session::credential::Credential;
use crate::session::record::{HeadFault, Kind, TimerKey};
use crate::session::text::PeerText;
use crate::transport::clock;
use crate::ws::handshake::list_has_token;

/// Makes the service of this layer, for one connection.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    tap: Arc<Tap>,
    connection: Arc<Connection>,
}

impl Layer {
    pub(crate) fn new(tap: &Arc<Tap>, connection: &Arc<Connection>) -> Self {
        Self {
            tap: Arc::clone(tap),
            connection: Arc::clone(connection),
        }
    }
}

impl<S> tower::Layer<S> for Layer {
    type Service = Service<S>;

    fn layer(&self, inner: S) -> Service<S> {
        Service {
            inner,
            around: self.clone(),
        }
    }
}

/// Opens and closes records.
#[derive(Clone, Debug)]
pub(crate) struct Service<S> {
    inner: S,
    around: Layer,
}

impl<S> tower::Service<Request<FromClient>> for Service<S>
where
    S: tower::Service<Request<FromClient>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<FromClient>) -> Self::Future {
        let Layer { tap, connection } = self.around.clone();
        request.extensions_mut().insert(Arc::clone(&connection));
        let Some(seen) = connection.state.heads.take() else {
            let answer = unchecked(&tap, &connection);
            return Box::pin(async { Ok(answer) });
        };
        let session = open(&tap, &connection, &seen);
        let span = session.span();
        let entered = span.clone().entered();
        let refusal = seen.checked.refusal.as_ref().map(|refusal| refusal.fault);
        tracing::debug!(asks = ?seen.checked.asks, refusal = refusal.map(tracing::field::debug), "request head checked");
        let dropped = headers::drop_underscore_twins(request.headers_mut());
        let dropped = dropped.iter();
        let dropped = dropped.map(|name| PeerText::new(name.as_str(), 64));
        session.record().dropped_headers(dropped.collect());
        let CheckedHead { checked, .. } = seen;
        let denied = if checked.refusal.is_none() {
            forwarded::note_client(&tap, &connection, &session, request.headers()).err()
        } else {
            None
        };
        warn_of_url_tokens(&tap, &connection, &session, request.headers());
        let extensions = request.extensions_mut();
        extensions.insert(session.clone());
        extensions.insert(checked.asks);
        if let Some(refusal) = checked.refusal {
            extensions.insert(refusal);
        }
        if let Some(denied) = denied {
            extensions.insert(denied);
        }
        if checked.asks != Asks::WebSocket {
            connection.state.establish();
        }
        let inner = self.inner.call(request);
        drop(entered);
        let answering = async move {
            let response = inner.await?;
            tracing::debug!(status = response.status().as_u16(), "answering");
            connection.state.establish();
            connection.state.heads.answer_began();
            note_answer(&session, &response);
            let refused = response.status() != StatusCode::SWITCHING_PROTOCOLS
                && session.record().is_websocket();
            // A connection that is kept serves other requests: its end is not part of this session.
            let closes = list_has_token(headers::values(response.headers(), &CONNECTION), "close");
            if refused && closes {
                session.part_with(&connection.state);
            }
            Ok(response)
        };
        Box::pin(answering.instrument(span))
    }
}

/// Writes the record of a request whose client left before it was served: hyper drops such a
/// request without dispatching it when the end of the connection comes right after its head.
pub(crate) fn never_served(tap: &Tap, connection: &Arc<Connection>, seen: &CheckedHead) {
    let session = open(tap, connection, seen);
    if let Some(refusal) = &seen.checked.refusal {
        respond::refused_head(&mut session.record(), refusal, Instant::now());
    }
}

fn open(tap: &Tap, connection: &Arc<Connection>, seen: &CheckedHead) -> SessionHandle {
    let anchor = if connection.state.heads.is_on_first() {
        connection.accepted
    } else {
        clock::anchor()
    };
    let session = tap.open_record(connection, anchor);
    session.serves();
    let Checked {
        head,
        asks,
        refusal,
    } = &seen.checked;
    let target = String::from_utf8_lossy(head.target());
    let about = credentials::Request {
        target: &target,
        websocket: *asks != Asks::Nothing,
        ignored: (tap.dialect().profile().ignores_head)(&target),
    };
    let found = credentials::scan(head.fields(), about, &tap.fingerprinter);
    let too_slow = refusal
        .as_ref()
        .is_some_and(|refusal| refusal.fault == HeadFault::TooSlow);
    let sensed = &connection.state.sensed;
    let mut record = session.record();
    record.request_began();
    record.head_showed_secrets(found.seen);
    if too_slow {
        let limit = tap.config.timeouts().request_head;
        record.timer_fired(TimerKey::RequestHead, limit, seen.waited, Instant::now());
        record.client_sent(sensed.bytes_read());
    }
    if head.has_request_line() {
        let kind = match asks {
            Asks::Nothing => Kind::Http,
            Asks::WebSocket | Asks::StrippedWebSocket => Kind::Websocket,
        };
        record.requested(kind, facts::request(head, *asks));
        if connection.state.heads.is_on_first() && refusal.is_none() {
            tap.pipeline()
                .asked(&record.facts().client, anchor.at(anchor.opened()));
        }
        record.brought_credentials(found.credentials, found.dropped as u64);
    } else {
        record.sent_no_request();
        record.client_began_with(sensed.first_bytes());
        record.client_sent(sensed.bytes_read());
    }
    drop(record);
    session
}

/// Warns of secrets in URLs, once per client: they end up in histories and in the logs of every
/// hop.
fn warn_of_url_tokens(
    tap: &Tap,
    connection: &Connection,
    session: &SessionHandle,
    headers: &HeaderMap,
) {
    let in_url = |one: &&Credential| one.place.starts_with("query:");
    let found = session.record().facts().auth.iter().find(in_url).cloned();
    let Some(credential) = found else {
        return;
    };
    // Behind a trusted proxy many clients come from one address.
    let client = client_of(connection.peer(), headers, tap.config.trusted_proxies()).ip;
    if tap.url_tokens.insert(client) {
        let place = credential.place.as_str();
        let ignored = credential.effective == Some(false);
        let ignored = if ignored {
            "; the gateway ignores it there"
        } else {
            ""
        };
        tracing::warn!(
            %client, place,
            "a credential came in a URL, where histories and logs of every hop keep it{ignored}; \
             have the client send it inside the WebSocket or in a header, and replace it"
        );
    }
}

fn note_answer(session: &SessionHandle, response: &Response<Body>) {
    let status = response.status();
    let upgraded = status == StatusCode::SWITCHING_PROTOCOLS;
    session.record().answer_began(status.as_u16(), upgraded);
}

/// Answers a request that hyper dispatched although the gate has not checked its head: a bug of
/// ours. No part of it may reach the gateway.
fn unchecked(tap: &Tap, connection: &Arc<Connection>) -> Response<Body> {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let session = tap.open_record(connection, clock::anchor());
    let what = "a request was served whose head was not checked".to_owned();
    tracing::error!(session = %session.id(), "{what}");
    let mut record = session.record();
    record.request_began();
    record.faulted(what, Instant::now());
    record.answered_by_tap(status.as_u16(), None);
    drop(record);
    session.settle();
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}
