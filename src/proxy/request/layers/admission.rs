//! Records the Origin and applies the origin policy to it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response};

use crate::admission::forwarded::{Mode, brings_attribution};
use crate::admission::head::Asks;
use crate::admission::origin::policy::{Key, Ruling};
use crate::admission::origin::refusal;
use crate::config::DenyWith;
use crate::proxy::connection::Connection;
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::request::body::Body;
use crate::proxy::request::denial;
use crate::proxy::request::error::Failure;
use crate::proxy::request::from_client::FromClient;
use crate::proxy::request::{facts, misdirected};
use crate::proxy::tap::Tap;
use crate::session::record::{DeniedFact, OriginDecision};

layer! {
    /// Records the Origin and refuses requests that the policy denies.
}

impl<S> tower::Service<Request<FromClient>> for Service<S>
where
    S: tower::Service<Request<FromClient>, Response = Response<Body>, Error = Failure>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<FromClient>) -> Self::Future {
        let answer = |answer| Box::pin(std::future::ready(answer));
        let session = match crate::proxy::request::layers::session(&request) {
            Ok(session) => session,
            Err(failure) => return answer(Err(failure)),
        };
        session.record().admission_began();
        if let Err(failure) = misdirected::check(&request, &session) {
            return answer(Err(failure));
        }
        let ruling = rule(&self.tap, &request);
        let origin = facts::origin_facts(request.headers(), &ruling);
        let sent = origin.value.as_ref().map(ToString::to_string);
        tracing::debug!(decision = ?ruling.decision, policy = ruling.key.map(tracing::field::debug), "Origin checked");
        session.record().origin_ruled(origin);
        if ruling.decision == OriginDecision::Denied {
            return answer(deny(
                &self.tap,
                &session,
                &mut request,
                &ruling,
                sent.as_deref(),
            ));
        }
        Box::pin(self.inner.call(request))
    }
}

fn rule(tap: &Tap, request: &Request<FromClient>) -> Ruling {
    let headers = request.headers();
    // The gateway treats a request as local only if it arrives there as it came from this machine.
    let local_client = request
        .extensions()
        .get::<Arc<Connection>>()
        .is_some_and(|connection| connection.peer().is_on_this_host())
        && tap.config.gateway().is_local()
        && tap.config.gateway().forwarded() != Mode::Overwrite
        && !brings_attribution(headers);
    let upgrade = crate::proxy::request::layers::asks(request) == Asks::WebSocket;
    tap.origins.decide(headers, upgrade, local_client)
}

/// Refuses an upgrade in the configured way. `sent` is the Origin, masked for display.
fn deny(
    tap: &Arc<Tap>,
    session: &SessionHandle,
    request: &mut Request<FromClient>,
    ruling: &Ruling,
    sent: Option<&str>,
) -> Result<Response<Body>, Failure> {
    let denied = DeniedFact {
        key: ruling.key.unwrap_or(Key::Allowed).denied(),
        detail: refusal::detail(ruling),
        limit: None,
    };
    session.record().denied(denied, Instant::now());
    let reason = session.masked(refusal::reason(ruling));
    if tap.origins.deny_with() == DenyWith::Close
        && let Some(response) = denial::by_close(tap, session, request, reason)
    {
        return Ok(response);
    }
    let text = refusal::body(ruling, sent);
    Err(Failure::Denied { text })
}
