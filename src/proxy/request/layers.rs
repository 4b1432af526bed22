//! The layers around the proxying service; each has one job.

/// Declares the two types that every layer is made of: `Layer`, and the `Service` around an inner
/// service. What a layer does is in its own `impl tower::Service`.
macro_rules! layer {
    ($(#[$doc:meta])*) => {
        /// Makes the service of this layer.
        #[derive(Clone, Debug)]
        pub(crate) struct Layer(std::sync::Arc<crate::proxy::tap::Tap>);

        impl Layer {
            pub(crate) fn new(tap: &std::sync::Arc<crate::proxy::tap::Tap>) -> Self {
                Self(std::sync::Arc::clone(tap))
            }
        }

        impl<S> tower::Layer<S> for Layer {
            type Service = Service<S>;

            fn layer(&self, inner: S) -> Service<S> {
                Service { inner, tap: std::sync::Arc::clone(&self.0) }
            }
        }

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct Service<S> {
            inner: S,
            tap: std::sync::Arc<crate::proxy::tap::Tap>,
        }
    };
}

pub(crate) mod admission;
pub(crate) mod limit;
pub(crate) mod record;
pub(crate) mod respond;
pub(crate) mod timeout;

use http::Request;

use crate::admission::head::Asks;
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::request::error::Failure;
use crate::proxy::request::from_client::FromClient;

/// The kind of request, as the check of its head found it.
pub(crate) fn asks(request: &Request<FromClient>) -> Asks {
    let found = request.extensions().get::<Asks>();
    found.copied().unwrap_or(Asks::Nothing)
}

/// The session that the outermost layer opened for a request.
fn session(request: &Request<FromClient>) -> Result<SessionHandle, Failure> {
    request
        .extensions()
        .get::<SessionHandle>()
        .cloned()
        .ok_or_else(|| Failure::Internal("a request has no session".to_owned()))
}
