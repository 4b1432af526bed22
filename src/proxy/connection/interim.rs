//! Interim answers (RFC 9110 section 15.2) on their way from the gateway to the client: 102, 103
//! and whatever else is no 100 and no 101.
//!
//! hyper's server cannot send them. The gate writes them, and only when hyper flushes: then its own
//! buffer is empty, so that they are written whole between two of its messages. With HTTP/2 the
//! stream sends them. The final answer waits for that.

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use http::{HeaderMap, Request, Response, StatusCode, Version};

/// Bytes of interim heads that may wait; more are dropped.
const MAX_WAITING: usize = 64 * 1024;

/// What is counted for a status line and the empty line.
const STATUS_LINE: usize = 64;

/// Interim heads that wait for the gate.
#[derive(Debug, Default)]
pub(crate) struct Interim(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    heads: Vec<Response<()>>,
    /// About so many bytes.
    size: usize,
    /// The gate has taken some and has not written all of them.
    writing: bool,
    /// The connection's task, by way of the request that is under way.
    task: Option<Waker>,
}

impl Interim {
    /// Has the interim answers to `request` brought here, unless the client knows none (RFC 9110
    /// section 15.2).
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
        // A 100 is answered by whoever reads the client's body; 101 is no interim answer here.
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

    /// The client waits to be told to send its body, and somebody is there to read it.
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

    /// The answer that `sending` yields, once all interim ones are written.
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

    /// What is to be written now; [`Interim::written`] says when it is.
    pub(crate) fn take(&self) -> Vec<Response<()>> {
        let mut inner = self.inner();
        inner.writing = !inner.heads.is_empty();
        inner.size = 0;
        std::mem::take(&mut inner.heads)
    }

    /// The same as bytes of HTTP/1.
    pub(crate) fn take_text(&self) -> Vec<u8> {
        self.take().iter().flat_map(as_text).collect()
    }

    /// What was taken is written.
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

/// A head as it goes out. What hyper has read holds no line break in a value.
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
        // Half of them are in the socket of a client that does not read.
        assert!(answer.as_mut().poll(&mut cx).is_pending());
        interim.written();
        assert_eq!(answer.as_mut().poll(&mut cx), Poll::Ready(1));
    }
}
