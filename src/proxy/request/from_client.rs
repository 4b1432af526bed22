//! The body of a client's request, whichever way it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::admission::head::Refusal;
use crate::proxy::connection::state::ConnectionState;
use crate::session::record::HeadFault;

/// The body of a client's request, by what it comes.
#[derive(Debug)]
pub(crate) enum FromClient {
    /// There is none, and none can come: the stream becomes a tunnel.
    None,
    /// Behind a head of HTTP/1.
    Http1(Incoming),
    /// In the stream of an HTTP/2 connection.
    Http2(Upload),
}

/// A body that could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// Of HTTP/1: from the client or from the gateway.
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    /// Of HTTP/2.
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// Nothing moved for too long.
    #[error("nothing moved for timeouts.idle")]
    Idle,
    /// Of a request: the client took too long over it.
    #[error("it came too slowly for timeouts.request_body")]
    Slow,
}

impl HttpBody for FromClient {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::None => Poll::Ready(None),
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// Reads the body of a request that comes in a stream of HTTP/2. What is handed on is asked for again: a gateway that is slow slows the client
/// down, on this stream alone.
#[derive(Debug)]
pub(crate) struct Upload {
    recv: RecvStream,
    connection: Arc<ConnectionState>,
    /// The client waits for a 100.
    waits: bool,
}

impl Upload {
    pub(crate) fn new(recv: RecvStream, connection: Arc<ConnectionState>, waits: bool) -> Self {
        Self {
            recv,
            connection,
            waits,
        }
    }

    /// Trailers are not passed on (RFC 9110 section 6.5.1 allows it): nobody behind us could tell
    /// them from what the tap itself says.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if std::mem::take(&mut self.waits) && !self.is_end_stream() {
            self.connection.interim.go_on();
        }
        Poll::Ready(match std::task::ready!(self.recv.poll_data(cx)) {
            None => None,
            Some(Ok(bytes)) => {
                self.connection.sensed.came(bytes.len());
                // Fails only where there is nothing left to control.
                let _ = self.recv.flow_control().release_capacity(bytes.len());
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(error)) => {
                if error.is_reset() && error.is_library() {
                    let detail = "the body is not as long as its Content-Length says, or its frames \
                                  are malformed";
                    self.connection.heads.break_body(Refusal {
                        fault: HeadFault::Http2Stream,
                        detail: detail.to_owned(),
                        limit: None,
                        http2_error: error.reason().map(|reason| u32::from(reason).into()),
                    });
                }
                Some(Err(error.into()))
            }
        })
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.recv.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            SizeHint::with_exact(0)
        } else {
            SizeHint::default()
        }
    }
}
