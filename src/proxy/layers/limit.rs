//! What the check of the head has refused, and whether we still take requests.

use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;

use crate::admission::head::Refusal;
use crate::proxy::body::Body;
use crate::proxy::error::Failure;

layer! {
    /// Refuses heads that may not pass, and everything while the tap shuts down.
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
        if let Some(refusal) = request.extensions().get::<Refusal>() {
            return Box::pin(ready(Err(Failure::Head(refusal.clone()))));
        }
        Box::pin(self.inner.call(request))
    }
}
