//! The body of a request that comes in a stream of HTTP/2.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use super::body::BodyError;
use super::connection::Connection;
use crate::admission::head::Refusal;
use crate::session::record::HeadFault;

/// Reads a stream. What is handed on is asked for again: a gateway that is slow slows the client
/// down, on this stream alone.
#[derive(Debug)]
pub struct Upload {
    recv: RecvStream,
    connection: Arc<Connection>,
    /// The client waits for a 100.
    waits: bool,
}

impl Upload {
    pub(super) fn new(recv: RecvStream, connection: Arc<Connection>, waits: bool) -> Self {
        Self {
            recv,
            connection,
            waits,
        }
    }

    /// Trailers are not passed on (RFC 9110 section 6.5.1 allows it): nobody behind us could tell
    /// them from what the tap itself says.
    pub(super) fn poll_frame(
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
                    self.connection.heads.body_is_broken(Refusal {
                        fault: HeadFault::Http2Stream,
                        detail: detail.to_owned(),
                        limit: None,
                    });
                }
                Some(Err(error.into()))
            }
        })
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.recv.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            SizeHint::with_exact(0)
        } else {
            SizeHint::default()
        }
    }
}
