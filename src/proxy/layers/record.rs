//! Opens a session's record with the request's head and notes what answered it.
//!
//! The record ends when its last handle is dropped: that of the answer's body, of the tunnel, or
//! of the request's future when hyper drops it because the client is gone.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::admission::credentials;
use crate::dialect::Choice;
use crate::proxy::body::Body;
use crate::proxy::connection::Connection;
use crate::proxy::headers::{self, Asks};
use crate::proxy::session::Shared;
use crate::proxy::{Tap, facts, forwarded};
use crate::session::party::Phase;
use crate::session::record::{AnswerBy, AnswerFacts, Kind};
use crate::transport::clock;

layer! {
    /// Opens and closes records.
}

impl<S> tower::Service<Request<Incoming>> for Service<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let Some(connection) = request.extensions().get::<Arc<Connection>>().cloned() else {
            // Cannot happen: the acceptor puts it there. The client gets an answer all the same.
            return Box::pin(async { Ok(internal_error()) });
        };
        let session = open(&self.tap, &connection, &request);
        forwarded::note_client(&self.tap, &connection, &session, request.headers());
        request.extensions_mut().insert(session.clone());
        let inner = self.inner.call(request);
        Box::pin(async move {
            let response = inner.await?;
            note_answer(&session, &response);
            Ok(response)
        })
    }
}

fn open(tap: &Tap, connection: &Arc<Connection>, request: &Request<Incoming>) -> Shared {
    let first = connection.request_begins();
    let anchor = if first {
        connection.accepted
    } else {
        clock::anchor()
    };
    let session = tap.open_record(connection, anchor);
    let asks = headers::asks(request.headers());
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str)
        .to_owned();
    let lines = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let about = credentials::Request {
        target: &target,
        websocket: asks != Asks::Nothing,
        openclaw: tap.dialect() == Choice::OpenClaw,
    };
    let found = credentials::scan(lines, about, &tap.fingerprinter);
    // One head, borrowed in parts: `Parts` cannot be had from a borrowed request.
    let head = head_of(request);
    session.with(|rec| {
        rec.reach(Phase::Request);
        let record = &mut rec.facts;
        record.kind = if asks == Asks::Nothing {
            Kind::Http
        } else {
            Kind::Websocket
        };
        record.request = Some(facts::request(&head, asks));
        record.auth = found.credentials;
        record.auth_dropped = found.dropped as u64;
    });
    session
}

fn head_of(request: &Request<Incoming>) -> http::request::Parts {
    let mut head = Request::new(()).into_parts().0;
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.version = request.version();
    head.headers = request.headers().clone();
    head
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
