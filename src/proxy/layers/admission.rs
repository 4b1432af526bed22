//! Who may pass. In this version the Origin is recorded and judged by the list, and nobody is
//! refused for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;

use crate::proxy::body::Body;
use crate::proxy::error::Failure;
use crate::proxy::facts;
use crate::session::party::Phase;

layer! {
    /// Notes the Origin and what the list says of it.
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
        let origin = facts::origin_facts(request.headers(), self.tap.origins());
        let noted = super::session(&request).map(|session| {
            session.with(|rec| {
                rec.reach(Phase::Admission);
                rec.facts.origin = Some(origin);
            });
        });
        let inner = self.inner.call(request);
        Box::pin(async move {
            noted?;
            inner.await
        })
    }
}
