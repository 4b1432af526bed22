//! Drives a session through its phases: accept, TLS, request, admission, dial, upgrade, tunnel.
//!
//! Requests go through a stack of `tower` layers, each with one job, in the order that `stack`
//! shows. Everything below reports facts to the session's record; nothing here judges.

pub mod accept;
mod attribution;
pub mod body;
mod client_leg;
mod clients;
pub mod connection;
mod current;
mod denial;
pub mod drain;
mod error;
mod facts;
mod forward;
mod forwarded;
mod gate;
mod headers;
mod heads;
mod http1;
mod http2;
mod interim;
mod last_look;
mod layers;
mod loops;
mod misdirected;
mod origins;
mod pace;
mod page;
mod passthrough;
mod progress;
mod relay;
mod relayed;
pub mod session;
pub mod tap;
mod told;
mod upgrade;
mod upload;

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use tower::{Service, ServiceBuilder};

pub use body::{Body, FromClient};
pub use current::Current;
pub use tap::Tap;

/// The service that answers the requests of one connection. From the outside in: the record is
/// opened, and closed with the answer's last byte; failures become answers; limits, timers and
/// admission each may refuse; the innermost part proxies.
fn stack(
    tap: &Arc<Tap>,
) -> impl Service<Request<FromClient>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ use<> {
    ServiceBuilder::new()
        .layer(layers::record::Layer::new(tap))
        .layer(layers::respond::Layer::new(tap))
        .layer(layers::limit::Layer::new(tap))
        .layer(layers::timeout::Layer::new(tap))
        .layer(layers::admission::Layer::new(tap))
        .service(forward::Forward::new(tap))
}
