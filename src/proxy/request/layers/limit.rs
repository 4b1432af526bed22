//! Refuses requests whose head failed the check, and all requests during the drain.

use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response};

use crate::admission::head::Refusal;
use crate::proxy::request::body::Body;
use crate::proxy::request::error::Failure;
use crate::proxy::request::from_client::FromClient;
use crate::session::record::{DeniedFact, DeniedKey};

layer! {
    /// Refuses heads that may not pass, and everything while the tap shuts down.
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
        if self.tap.drain.has_begun() {
            return Box::pin(ready(Err(Failure::Draining)));
        }
        if let Some(refusal) = request.extensions().get::<Refusal>() {
            return Box::pin(ready(Err(Failure::Head(refusal.clone()))));
        }
        if let Some(denial) = request.extensions().get::<DeniedFact>().cloned() {
            let failure = match &denial.key {
                DeniedKey::PerClient => Failure::TooMany,
                key => Failure::Full(key.clone()),
            };
            let noted = crate::proxy::request::layers::session(&request).map(|session| {
                session.record().denied(denial, Instant::now());
            });
            return Box::pin(ready(noted.and(Err(failure))));
        }
        Box::pin(self.inner.call(request))
    }
}
