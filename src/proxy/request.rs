//! A request: the stack of `tower` layers that it passes through, each with one job, and its path
//! to the gateway and back.

pub(crate) mod body;
pub(crate) mod denial;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod facts;
pub(crate) mod forward;
pub(crate) mod forwarded;
pub(crate) mod from_client;
pub(crate) mod headers;
pub(crate) mod layers;
mod misdirected;
mod pace;
mod page;
pub(crate) mod progress;

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use tower::{Service, ServiceBuilder};

use self::body::Body;
use self::from_client::FromClient;
use crate::proxy::connection::Connection;
use crate::proxy::tap::Tap;

/// The service that answers one request of a connection. From the outside in: the record is
/// opened, and closed with the answer's last byte; failures become answers; limits, timers and
/// admission each may refuse; the innermost part proxies.
pub(crate) fn stack(
    tap: &Arc<Tap>,
    connection: &Arc<Connection>,
) -> impl Service<Request<FromClient>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ use<> {
    ServiceBuilder::new()
        .layer(layers::record::Layer::new(tap, connection))
        .layer(layers::respond::Layer::new(tap))
        .layer(layers::limit::Layer::new(tap))
        .layer(layers::timeout::Layer::new(tap))
        .layer(layers::admission::Layer::new(tap))
        .service(forward::Forward::new(tap))
}
