//! Bounds the wait for the gateway's answer.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response};
use tokio::time::timeout_at;

use crate::admission::head::Asks;
use crate::proxy::request::body::Body;
use crate::proxy::request::error::Failure;
use crate::proxy::request::from_client::FromClient;
use crate::proxy::request::progress::Progress;
use crate::session::record::{GatewayError, GatewayErrorKind, TimerKey};

layer! {
    /// Applies `timeouts.upgrade` to an upgrade; a plain request may be idle for as long as a
    /// tunnel.
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
        let timeouts = self.tap.config.timeouts();
        let websocket = crate::proxy::request::layers::asks(&request) != Asks::Nothing;
        let (key, limit) = if websocket {
            (TimerKey::Upgrade, timeouts.upgrade)
        } else {
            (TimerKey::Idle, timeouts.idle)
        };
        let session = crate::proxy::request::layers::session(&request);
        let progress = Arc::<Progress>::default();
        request.extensions_mut().insert(Arc::clone(&progress));
        let inner = self.inner.call(request);
        Box::pin(async move {
            let mut inner = pin!(inner);
            let mut since = progress.last();
            loop {
                let deadline = since + limit;
                if let Ok(result) = timeout_at(deadline.into(), &mut inner).await {
                    return result;
                }
                // A request whose body is moving is not idle; an upgrade has no body.
                let last = progress.last();
                if websocket || last == since {
                    break;
                }
                since = last;
            }
            let slow_body = !websocket && progress.awaits_client();
            let now = Instant::now();
            let session = session?;
            let mut record = session.record();
            record.timer_fired(key, limit, now.saturating_duration_since(since), now);
            if !slow_body {
                let kind = GatewayErrorKind::UpgradeTimeout;
                let detail = format!("no answer to the request within {limit:?}");
                record.gateway_failed(GatewayError { kind, detail });
            }
            drop(record);
            Err(if slow_body {
                Failure::SlowBody
            } else {
                Failure::GatewayTimeout
            })
        })
    }
}
