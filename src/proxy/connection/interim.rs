//! Interim answers (RFC 9110 section 15.2) on their way from the gateway to the client: 102, 103
//! and every other 1xx except 100 and 101.
//!
//! hyper's server cannot send them. The gate writes them, and only when hyper flushes: hyper's own
//! buffer is then empty, so that an interim answer goes out whole between two of its messages. With
//! HTTP/2 the stream sends them. The final answer waits until they are sent.

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use http::{HeaderMap, Request, Response, StatusCode, Version};

/// Maximum number of bytes of interim heads that wait; heads beyond it are dropped.
const MAX_WAITING: usize = 64 * 1024;

/// Number of bytes counted for a status line and the empty line.
const STATUS_LINE: usize = 64;

/// Interim heads that wait for the gate.
#[derive(Debug, Default)]
pub(crate) struct Interim(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    heads: Vec<Response<()>>,
    /// Approximate size of the waiting heads in bytes.
    size: usize,
    /// The gate has taken heads and has not written all of them.
    writing: bool,
    /// Wakes the connection's task; set by the request that is under way.
    task: Option<Waker>,
}

impl Interim {
    /// Collects the interim answers to `request` here, unless the client speaks HTTP/1.0, which has
    /// none (RFC 9110 section 15.2).
    pub(crate) fn listen<B>(self: &Arc<Self>, request: &mut Request<B>, client: Version) {
        if client < Version::HTTP_11 {
            return;
        }
        let interim = Arc::clone(self);
        hyper::ext::on_informational(request, move |head| {
            interim.came(head.status(), head.headers());
        });
    }

    fn came(&self, status: StatusCode, headers: &HeaderMap) {
        // A 100 is sent by the code that reads the client's body; a 101 is not an interim answer
        // here.
        if matches!(
            status,
            StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS
        ) {
            return;
        }
        let mut head = Response::new(());
        *head.status_mut() = status;
        for (name, value) in headers {
            if !crate::proxy::request::headers::is_hop_by_hop(name) {
                head.headers_mut().append(name.clone(), value.clone());
            }
        }
        self.push(head);
    }

    /// Queues a 100 for a client that waits for it before it sends its body; call when the body is
    /// about to be read.
    pub(crate) fn go_on(&self) {
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::CONTINUE;
        self.push(head);
    }

    fn push(&self, head: Response<()>) {
        let lines = head.headers().iter();
        let size: usize = lines
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        let mut inner = self.inner();
        if inner.size + size + STATUS_LINE <= MAX_WAITING {
            inner.size += size + STATUS_LINE;
            inner.heads.push(head);
        }
        if let Some(task) = inner.task.take() {
            task.wake();
        }
    }

    /// Returns the answer that `sending` yields, once all interim answers are written.
    pub(crate) async fn before<T>(&self, sending: impl Future<Output = T>) -> T {
        let mut sending = pin!(sending);
        let mut answer = None;
        std::future::poll_fn(|cx| {
            if answer.is_none()
                && let Poll::Ready(ready) = sending.as_mut().poll(cx)
            {
                answer = Some(ready);
            }
            let mut inner = self.inner();
            if inner.heads.is_empty()
                && !inner.writing
                && let Some(answer) = answer.take()
            {
                return Poll::Ready(answer);
            }
            inner.task = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Takes the heads to write now; call [`Interim::written`] after writing them.
    pub(crate) fn take(&self) -> Vec<Response<()>> {
        let mut inner = self.inner();
        inner.writing = !inner.heads.is_empty();
        inner.size = 0;
        std::mem::take(&mut inner.heads)
    }

    /// Like [`Interim::take`], as HTTP/1 bytes.
    pub(crate) fn take_text(&self) -> Vec<u8> {
        self.take().iter().flat_map(as_text).collect()
    }

    /// Records that the taken heads are written.
    pub(crate) fn written(&self) {
        let mut inner = self.inner();
        inner.writing = false;
        if let Some(task) = inner.task.take() {
            task.wake();
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A head as it goes out. hyper's parser guarantees that no value contains a line break.
fn as_text(head: &Response<()>) -> Vec<u8> {
    let status = head.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = String::new();
    let _ = write!(text, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
    let mut bytes = text.into_bytes();
    for (name, value) in head.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use super::*;

    #[test]
    fn a_final_answer_waits_until_what_was_taken_is_written() {
        let interim = Interim::default();
        interim.came(StatusCode::EARLY_HINTS, &HeaderMap::new());
        let mut answer = pin!(interim.before(std::future::ready(1)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(answer.as_mut().poll(&mut cx).is_pending());
        assert_eq!(interim.take_text(), b"HTTP/1.1 103 Early Hints\r\n\r\n");
        // Half of the bytes are in the socket of a client that does not read.
        assert!(answer.as_mut().poll(&mut cx).is_pending());
        interim.written();
        assert_eq!(answer.as_mut().poll(&mut cx), Poll::Ready(1));
    }
}
