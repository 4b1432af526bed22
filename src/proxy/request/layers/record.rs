//! Opens a session's record with the request's head and notes what answered it.
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

use crate::admission::credentials;
use crate::admission::forwarded::client_of;
use crate::admission::head::{Asks, Checked};
use crate::dialect::Choice;
use crate::dialect::openclaw::endpoint;
use crate::proxy::connection::Connection;
use crate::proxy::connection::heads::Seen;
use crate::proxy::connection::session::Shared;
use crate::proxy::request::body::Body;
use crate::proxy::request::from_client::FromClient;
use crate::proxy::request::layers::respond;
use crate::proxy::request::{facts, forwarded, headers};
use crate::proxy::tap::Tap;
use crate::session::credential::Credential;
use crate::session::party::Phase;
use crate::session::record::dialect::Endpoint;
use crate::session::record::{AnswerBy, AnswerFacts, HeadFault, Kind, TimerKey};
use crate::session::text::PeerText;
use crate::transport::clock;
use crate::ws::handshake::list_has_token;

layer! {
    /// Opens and closes records.
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
        let Some(connection) = request.extensions().get::<Arc<Connection>>().cloned() else {
            // Cannot happen: the acceptor puts it there. The client gets an answer all the same.
            return Box::pin(async { Ok(internal_error()) });
        };
        let Some(seen) = connection.state.heads.take() else {
            // Cannot happen: hyper has no head but those that the gate gave it.
            return Box::pin(async { Ok(internal_error()) });
        };
        let session = open(&self.tap, &connection, &seen);
        let dropped = headers::drop_underscore_twins(request.headers_mut());
        session.with(|rec| {
            if let Some(facts) = &mut rec.facts.request {
                facts.dropped = dropped
                    .iter()
                    .map(|name| PeerText::new(name.as_str(), 64))
                    .collect();
            }
        });
        let Seen { checked, .. } = seen;
        let denied = if checked.refusal.is_none() {
            forwarded::note_client(&self.tap, &connection, &session, request.headers()).err()
        } else {
            None
        };
        warn_of_url_tokens(&self.tap, &connection, &session, request.headers());
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
        Box::pin(async move {
            let response = inner.await?;
            connection.state.establish();
            connection.state.heads.answer_began();
            note_answer(&session, &response);
            let refused = response.status() != StatusCode::SWITCHING_PROTOCOLS
                && session.with(|rec| rec.is_websocket()) == Some(true);
            // A kept connection serves other requests: how it ends does not belong to this one.
            let closes = list_has_token(headers::values(response.headers(), &CONNECTION), "close");
            if refused && closes {
                session.part_with(&connection.state);
            }
            Ok(response)
        })
    }
}

/// Writes the record of a request whose client was gone before it was served: hyper drops such a
/// request unseen when it finds the end of the connection right behind its head.
pub(crate) fn never_served(tap: &Tap, connection: &Arc<Connection>, seen: &Seen) {
    let session = open(tap, connection, seen);
    if let Some(refusal) = &seen.checked.refusal {
        session.with(|rec| respond::refused_head(&mut rec.ending, refusal, Instant::now()));
    }
}

fn open(tap: &Tap, connection: &Arc<Connection>, seen: &Seen) -> Shared {
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
    // Other services of the gateway do look at the request's headers.
    let challenges =
        endpoint::of(&target) == Endpoint::Gateway && !endpoint::may_be_canvas(&target);
    let about = credentials::Request {
        target: &target,
        websocket: *asks != Asks::Nothing,
        openclaw: tap.dialect() == Choice::OpenClaw && challenges,
    };
    let found = credentials::scan(head.fields(), about, &tap.fingerprinter);
    let too_slow = refusal
        .as_ref()
        .is_some_and(|refusal| refusal.fault == HeadFault::TooSlow);
    session.with(|rec| {
        rec.reach(Phase::Request);
        rec.seen = found.seen;
        if too_slow {
            let limit = tap.config.timeouts().request_head;
            rec.ending
                .timer_fired(TimerKey::RequestHead, limit, seen.waited, Instant::now());
            rec.facts.client.bytes_read = Some(connection.state.sensed.bytes_read());
        }
        let record = &mut rec.facts;
        if !head.has_request_line() {
            // What came is no request: a scanner, another protocol, half a line.
            record.kind = Kind::Connection;
            record.client.first_bytes = Some(connection.state.sensed.first_bytes());
            record.client.bytes_read = Some(connection.state.sensed.bytes_read());
            return;
        }
        record.kind = match asks {
            Asks::Nothing => Kind::Http,
            Asks::WebSocket | Asks::StrippedWebSocket => Kind::Websocket,
        };
        record.request = Some(facts::request(head, *asks));
        if connection.state.heads.is_on_first() && refusal.is_none() {
            tap.outlet()
                .asked(&record.client, anchor.at(anchor.opened()));
        }
        record.auth = found.credentials;
        record.auth_dropped = found.dropped as u64;
        rec.mask_request();
    });
    session
}

/// A secret in a URL ends up in histories and in the logs of every hop. Told once per client.
fn warn_of_url_tokens(tap: &Tap, connection: &Connection, session: &Shared, headers: &HeaderMap) {
    let in_url = |one: &&Credential| one.place.starts_with("query:");
    let found = session.with(|rec| rec.facts.auth.iter().find(in_url).cloned());
    let Some(credential) = found.flatten() else {
        return;
    };
    // Behind a trusted proxy many clients come from one address.
    let client = client_of(connection.peer(), headers, tap.config.trusted_proxies()).ip;
    if tap.url_tokens.is_news(client) {
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
             let the client send it inside the WebSocket or in a header, and replace it"
        );
    }
}

fn note_answer(session: &Shared, response: &Response<Body>) {
    let status = response.status();
    session.with(|rec| {
        let upgraded = status == StatusCode::SWITCHING_PROTOCOLS;
        rec.facts.answer.get_or_insert(AnswerFacts {
            by: AnswerBy::Gateway,
            status: status.as_u16(),
            error: None,
            body_bytes: (!upgraded).then_some(0),
            request_body_bytes: (!upgraded).then_some(0),
            complete: upgraded,
        });
    });
}

fn internal_error() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
