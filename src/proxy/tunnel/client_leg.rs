//! A client's stream once it is a tunnel: taken back out of hyper and of the gate, or a stream of
//! its HTTP/2 connection.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Request;
use http::header::UPGRADE;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

use crate::proxy::connection::gate::Gate;
use crate::proxy::request::from_client::FromClient;
use crate::transport::http2_stream::Http2Stream;
use crate::transport::impossible::{Impossible, at_most};
use crate::transport::stream::Stream;

/// Extension of a request that may become a tunnel on HTTP/2.
#[derive(Clone, Debug)]
pub(crate) struct Promised(Arc<Mutex<Option<oneshot::Receiver<Http2Stream>>>>);

impl Promised {
    /// The promise, which is stored with the request, and the sender that fulfils it.
    pub(crate) fn new() -> (Self, oneshot::Sender<Http2Stream>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(receiver)))), sender)
    }
}

/// Stored in the extensions of an HTTP/1 request that asks for an upgrade.
///
/// hyper gives the connection away after such a request, whatever the answer was. Only code that
/// has seen a 101 takes the offer; without one we take the connection back and end it properly.
#[derive(Clone, Debug)]
pub(crate) struct Offered(Arc<Mutex<Option<OnUpgrade>>>);

impl Offered {
    /// The upgrade that hyper offers with this request; `None` where the request asks for none.
    pub(crate) fn of<B>(request: &mut Request<B>) -> Option<Self> {
        if !request.headers().contains_key(UPGRADE) {
            return None;
        }
        let upgrade = hyper::upgrade::on(request);
        Some(Self(Arc::new(Mutex::new(Some(upgrade)))))
    }

    /// The connection, once hyper has released it.
    async fn take(&self) -> Option<Upgraded> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken?.await.ok()
    }

    /// Closes a connection whose upgrade was refused: with `close_notify` and FIN, and late enough
    /// for its client to read the answer.
    pub(crate) async fn end(self) {
        let Some(upgraded) = self.take().await else {
            return;
        };
        if let Ok(parts) = upgraded.downcast::<TokioIo<Gate>>() {
            // A client that has already left needs no close.
            let _ = parts.io.into_inner().shutdown().await;
        }
    }
}

/// A tunnel's client before its side is ready.
#[derive(Debug)]
pub(crate) enum ClientLeg {
    Http1(Option<Offered>),
    Http2(Promised),
}

impl ClientLeg {
    /// The client's leg for this request.
    pub(crate) fn of(request: &mut Request<FromClient>) -> Self {
        let extensions = request.extensions_mut();
        match extensions.remove::<Promised>() {
            Some(promised) => Self::Http2(promised),
            None => Self::Http1(extensions.remove::<Offered>()),
        }
    }

    /// The client's side, once the answer that opens the tunnel is written. `None` if the client
    /// left before that.
    pub(crate) async fn ready(self) -> Option<Ready> {
        match self {
            Self::Http1(offered) => offered?.take().await.map(Ready::Http1),
            Self::Http2(Promised(receiver)) => {
                let receiver = receiver
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                let stream = receiver?.await.ok()?;
                Some(Ready::Http2(Box::new(stream)))
            }
        }
    }
}

/// A tunnel's client.
#[derive(Debug)]
pub(crate) enum Ready {
    Http1(Upgraded),
    Http2(Box<Http2Stream>),
}

impl Ready {
    /// Its stream, and the bytes after the upgrade, which the gate has kept.
    pub(crate) fn into_parts(self) -> Result<(Stream, Bytes), Impossible> {
        match self {
            Self::Http1(upgraded) => {
                let parts = upgraded.downcast::<TokioIo<Gate>>();
                let parts = parts.map_err(|_| Impossible::Upgraded)?;
                at_most(parts.read_buf.len(), 0, Impossible::ReadAhead)?;
                Ok(parts.io.into_inner().into_parts())
            }
            Self::Http2(stream) => Ok((Stream::Http2(stream), Bytes::new())),
        }
    }
}
