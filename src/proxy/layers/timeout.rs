//! Bounds the wait for the gateway's answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response};
use tokio::time::timeout;

use crate::admission::head::Asks;
use crate::proxy::body::{Body, FromClient};
use crate::proxy::error::Failure;
use crate::session::record::{GatewayError, GatewayErrorKind, TimerKey};

layer! {
    /// `timeouts.upgrade` for an upgrade; a plain request may take as long as an idle tunnel.
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

    fn call(&mut self, request: Request<FromClient>) -> Self::Future {
        let timeouts = self.tap.config.timeouts();
        let websocket = super::asks(&request) != Asks::Nothing;
        let (key, limit) = if websocket {
            (TimerKey::Upgrade, timeouts.upgrade)
        } else {
            (TimerKey::Idle, timeouts.idle)
        };
        let session = super::session(&request);
        let started = Instant::now();
        let inner = self.inner.call(request);
        Box::pin(async move {
            if let Ok(result) = timeout(limit, inner).await {
                return result;
            }
            session?.with(|rec| {
                let now = Instant::now();
                rec.ending
                    .timer_fired(key, limit, now.saturating_duration_since(started), now);
                let kind = GatewayErrorKind::UpgradeTimeout;
                let detail = format!("no answer to the request within {limit:?}");
                let gateway = rec.facts.gateway.get_or_insert_default();
                gateway.error.get_or_insert(GatewayError { kind, detail });
            });
            Err(Failure::GatewayTimeout)
        })
    }
}
