//! Limits on what a request may be, and whether we still take requests.

use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;

use crate::config::Limits;
use crate::proxy::body::Body;
use crate::proxy::error::Failure;

layer! {
    /// Refuses what is too large, and everything while the tap shuts down.
}

impl<S> tower::Service<Request<Incoming>> for Service<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Failure>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if self.tap.drain.has_begun() {
            return Box::pin(ready(Err(Failure::Draining)));
        }
        if let Some((key, detail)) = too_large(&request, self.tap.config.limits()) {
            let noted = super::session(&request).map(|session| {
                session.with(|rec| rec.ending.denied(key, detail, Instant::now()));
            });
            return Box::pin(ready(noted.and(Err(Failure::HeadTooLarge { key }))));
        }
        Box::pin(self.inner.call(request))
    }
}

/// The limit that a head breaks. hyper itself stops reading a little above `limits.head_bytes`.
fn too_large(request: &Request<Incoming>, limits: Limits) -> Option<(&'static str, String)> {
    let count = request.headers().len();
    if count > limits.headers {
        let detail = format!("{count} headers came, {} are allowed", limits.headers);
        return Some(("limits.headers", detail));
    }
    let target = request
        .uri()
        .path_and_query()
        .map_or(1, |target| target.as_str().len());
    let bytes = target + head_bytes(request.headers());
    if bytes > limits.head_bytes {
        let detail = format!(
            "a head of {bytes} bytes came, {} are allowed",
            limits.head_bytes
        );
        return Some(("limits.head_bytes", detail));
    }
    None
}

fn head_bytes(headers: &HeaderMap) -> usize {
    // ": " and CR LF with each line.
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}
