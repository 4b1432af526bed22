//! Who may pass. In this version the Origin is recorded and judged by the list, and nobody is
//! refused for it; what cannot be passed on as what it is gets a 400.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request, Response, Version};
use hyper::body::Incoming;

use crate::proxy::body::Body;
use crate::proxy::error::Failure;
use crate::proxy::facts;
use crate::proxy::headers::{Asks, asks};
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
        if let Some(what) = not_passable(&request) {
            return Box::pin(std::future::ready(noted.and(Err(Failure::Malformed(what)))));
        }
        let inner = self.inner.call(request);
        Box::pin(async move {
            noted?;
            inner.await
        })
    }
}

/// Requests that would reach the gateway as something else, or open a tunnel that cannot be.
fn not_passable(request: &Request<Incoming>) -> Option<&'static str> {
    let upgrade = asks(request.headers()) == Asks::WebSocket;
    if request.method() == Method::CONNECT {
        Some("CONNECT is not for this proxy")
    } else if upgrade && request.method() != Method::GET {
        Some("a WebSocket is asked for with GET (RFC 6455 section 4.1)")
    } else if upgrade && request.version() < Version::HTTP_11 {
        Some("a WebSocket is asked for with HTTP/1.1 (RFC 6455 section 4.1)")
    } else {
        None
    }
}
