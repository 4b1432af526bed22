//! The body of a client's request, over HTTP/1 or HTTP/2.

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

/// The body of a client's request, by protocol.
#[derive(Debug)]
pub(crate) enum FromClient {
    /// No body, and none can follow: the stream becomes a tunnel.
    None,
    /// The body after an HTTP/1 head.
    Http1(Incoming),
    /// The body in a stream of an HTTP/2 connection.
    Http2(Upload),
}

/// A body that could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// Failed over HTTP/1: a client's or a gateway's body.
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    /// Failed over HTTP/2.
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// Nothing moved for too long.
    #[error("nothing moved for timeouts.idle")]
    Idle,
    /// The client took too long to send a request's body.
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

/// Reads the body of a request that comes in a stream of HTTP/2. The window grows only by the bytes
/// that are handed on: a slow gateway slows the client down, on this stream alone.
#[derive(Debug)]
pub(crate) struct Upload {
    recv: RecvStream,
    connection: Arc<ConnectionState>,
    /// The client waits for a 100 (Continue).
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

    /// Trailers are not passed on (RFC 9110 section 6.5.1 allows it): a program behind us could not
    /// tell them apart from what the tap itself sends.
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
                // Fails only if there is no flow left to control.
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
