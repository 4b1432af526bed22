//! Bodies on their way through: their bytes are counted, and the beginning of a refusal's body is
//! inspected.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep_until};

use crate::dialect;
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::request::from_client::{BodyError, FromClient};
use crate::proxy::request::pace::{Pace, TooSlow};
use crate::proxy::request::page;
use crate::proxy::request::progress::Progress;
use crate::session::record::{BodyKind, GatewayError, GatewayErrorKind, TimerKey};
use crate::session::recorder::gateway::BodyLook;

/// Maximum number of bytes of a refusal's body that are inspected.
const LOOK: usize = 1024;

/// A body of either direction.
#[derive(Debug, Default)]
pub(crate) enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Text of our own.
    Text(Option<Bytes>),
    /// From the client to the gateway.
    Request(Box<Counted>),
    /// From the gateway to the client.
    Response(Box<Answered>),
}

/// A request body that is counted.
#[derive(Debug)]
pub(crate) struct Counted {
    inner: FromClient,
    progress: Arc<Progress>,
    pace: Pace,
}

/// A response body that belongs to a record: when it ends, the session does.
#[derive(Debug)]
pub(crate) struct Answered {
    inner: Incoming,
    session: SessionHandle,
    progress: Arc<Progress>,
    /// `timeouts.idle`, while we wait for the gateway.
    idle: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    bytes: u64,
    declared: Option<u64>,
    complete: bool,
    /// This is a refusal whose body ends with the connection, so how the connection ends says
    /// nothing about whether the body is complete.
    ends_anyhow: bool,
    look: Option<(Vec<u8>, HeaderMap)>,
}

impl Body {
    /// A request's body, whose progress is recorded; `limit` is `timeouts.request_body`.
    #[must_use]
    pub(crate) fn request(inner: FromClient, progress: Arc<Progress>, limit: Duration) -> Self {
        if inner.is_end_stream() {
            return Self::Empty;
        }
        Self::Request(Box::new(Counted {
            inner,
            progress,
            pace: Pace::new(limit),
        }))
    }

    /// A response's body, which ends when neither body has moved for `idle`. With `look` (the
    /// answer's headers), the beginning of the body is inspected to find who made it; such a body
    /// may be `unframed`, that is, ended only by the end of the connection (RFC 9112 section 6.3).
    #[must_use]
    pub(crate) fn response(
        inner: Incoming,
        session: SessionHandle,
        (progress, idle): (Arc<Progress>, Duration),
        look: Option<HeaderMap>,
        unframed: bool,
    ) -> Self {
        let declared = inner.size_hint().exact();
        let complete = inner.is_end_stream();
        let ends_anyhow = unframed && look.is_some();
        let look = look.map(|headers| (Vec::new(), headers));
        progress.moved();
        let answered = Answered {
            inner,
            session,
            progress,
            idle,
            sleep: None,
            bytes: 0,
            declared,
            complete,
            ends_anyhow,
            look,
        };
        Self::Response(Box::new(answered))
    }

    /// Records that a part of the body went on to the client.
    pub(crate) fn went_on(&self) {
        if let Self::Response(answered) = self {
            answered.progress.moved();
        }
    }

    /// Ready, with the timeout recorded, when an answer is waiting and the client has taken none of
    /// it for `timeouts.idle`.
    pub(crate) fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self::Response(answered) = self else {
            return Poll::Pending;
        };
        ready!(answered.poll_idle(cx));
        answered.session.record().stream_unread();
        answered.session.settle();
        Poll::Ready(())
    }

    /// Text of our own.
    #[must_use]
    pub(crate) fn text(text: String) -> Self {
        Self::Text(Some(Bytes::from(text)))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Request(counted) => counted.poll_frame(cx),
            Self::Response(answered) => answered.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(text) => text.is_none(),
            Self::Request(counted) => counted.inner.is_end_stream(),
            Self::Response(answered) => answered.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Text(None) => SizeHint::with_exact(0),
            Self::Text(Some(text)) => SizeHint::with_exact(text.len() as u64),
            Self::Request(counted) => counted.inner.size_hint(),
            Self::Response(answered) => answered.inner.size_hint(),
        }
    }
}

impl Counted {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let poll = Pin::new(&mut self.inner).poll_frame(cx);
        self.progress.await_client(poll.is_pending());
        match &poll {
            Poll::Ready(Some(Ok(frame))) => {
                self.pace.came();
                let data = frame.data_ref();
                self.progress.sent_on(data.map_or(0, Bytes::len));
            }
            Poll::Ready(Some(Err(_))) => self.progress.client_failed(),
            Poll::Ready(None) => {}
            Poll::Pending => {
                let slow = ready!(self.pace.poll_wait(self.progress.request_bytes(), cx));
                self.progress.too_slow(slow);
                return Poll::Ready(Some(Err(BodyError::Slow)));
            }
        }
        poll
    }
}

/// Records that a request ended because its body came too slowly.
pub(crate) fn note_slow(session: &SessionHandle, slow: TooSlow) {
    let (key, now) = (TimerKey::RequestBody, Instant::now());
    session
        .record()
        .timer_fired(key, slow.limit, slow.waited, now);
}

impl Answered {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let poll = Pin::new(&mut self.inner).poll_frame(cx);
        match &poll {
            Poll::Ready(Some(Ok(frame))) => {
                self.progress.moved();
                if let Some(data) = frame.data_ref() {
                    self.bytes += data.len() as u64;
                    if let Some((front, _)) = &mut self.look {
                        let room = LOOK.saturating_sub(front.len());
                        front.extend_from_slice(data.get(..room.min(data.len())).unwrap_or(data));
                    }
                }
                self.complete |= self.inner.is_end_stream()
                    || self.declared.is_some_and(|declared| self.bytes >= declared);
            }
            Poll::Ready(None) => self.complete = true,
            Poll::Ready(Some(Err(_))) if self.ends_anyhow && !self.progress.has_client_failed() => {
                // A server that refuses a request before it has read all of it closes with a reset.
                self.complete = true;
                return Poll::Ready(None);
            }
            // The request's body failed and the exchange ended with it: the client is the cause.
            Poll::Ready(Some(Err(_))) if self.progress.has_client_failed() => {
                if let Some(slow) = self.progress.was_too_slow() {
                    note_slow(&self.session, slow);
                    self.session.settle();
                }
            }
            Poll::Ready(Some(Err(error))) => {
                let detail = format!("the gateway's answer broke off: {error}");
                let kind = GatewayErrorKind::BodyIncomplete;
                self.session
                    .record()
                    .body_failed(GatewayError { kind, detail });
                self.session.settle();
            }
            Poll::Pending => {
                ready!(self.poll_idle(cx));
                self.session.settle();
                return Poll::Ready(Some(Err(BodyError::Idle)));
            }
        }
        poll.map_err(BodyError::from)
    }

    /// Ready, with the timeout recorded, when nothing has moved for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let since = self.progress.last();
            let deadline = tokio::time::Instant::from_std(since + self.idle);
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if sleep.deadline() != deadline && sleep.is_elapsed() {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() < deadline {
                continue;
            }
            let (limit, now) = (self.idle, Instant::now());
            let observed = now.saturating_duration_since(since);
            self.session
                .record()
                .timer_fired(TimerKey::Idle, limit, observed, now);
            return Poll::Ready(());
        }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        let complete = self.complete;
        let front = self.look.as_ref().map(|(front, _)| front.as_slice());
        let look = BodyLook {
            kind: (self.look.as_ref()).map(|(front, headers)| kind_of(front, headers)),
            page_by: front.and_then(page::made_by),
            tls_words: front.and_then(page::tls_words),
        };
        let mut record = self.session.record();
        record.answer_ended(self.bytes, self.progress.request_bytes(), complete);
        record.body_looked_at(look);
        drop(record);
        if complete {
            self.session.settle();
        }
    }
}

/// The apparent origin of an answer's body. The dialects recognise a gateway's own answers; the
/// rest is classified by content type.
pub(crate) fn kind_of(front: &[u8], headers: &HeaderMap) -> BodyKind {
    let content_type = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let html = content_type.starts_with("text/html")
        || front
            .trim_ascii_start()
            .get(..5)
            .is_some_and(|tag| tag.eq_ignore_ascii_case(b"<html"))
        || front
            .trim_ascii_start()
            .get(..9)
            .is_some_and(|tag| tag.eq_ignore_ascii_case(b"<!doctype"));
    if front.is_empty() {
        BodyKind::Empty
    } else if let Some(own) = dialect::body(front, &content_type) {
        own
    } else if html {
        BodyKind::Html
    } else if content_type.contains("json") {
        BodyKind::Json
    } else if content_type.starts_with("text/") {
        BodyKind::Text
    } else {
        BodyKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(body: &str, content_type: &str) -> BodyKind {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(http::header::CONTENT_TYPE, content_type.parse().unwrap());
        }
        kind_of(body.as_bytes(), &headers)
    }

    #[test]
    fn the_gateways_bodies_are_known() {
        let json = r#"{"error":{"message":"Proxy client…","type":"proxy_attribution_required"}}"#;
        assert_eq!(kind(json, "application/json"), BodyKind::Attribution);
        assert_eq!(
            kind("Gateway websocket admission closed", "text/plain"),
            BodyKind::AdmissionClosed
        );
        assert_eq!(
            kind("Too many unauthenticated sockets", ""),
            BodyKind::TooManySockets
        );
        let services = ["Worker websocket ingress", "node desktop attach"];
        for service in services.map(|service| format!("{service} unavailable")) {
            assert_eq!(kind(&service, "text/plain"), BodyKind::ServiceUnavailable);
        }
        let page = "<!doctype html>\n<html data-openclaw-control-ui-build=\"x\">";
        assert_eq!(kind(page, "text/html"), BodyKind::ControlUi);
        let old = "<!doctype html>\n<html lang=\"en\">\n<title>OpenClaw Control</title>";
        assert_eq!(kind(old, "text/html; charset=utf-8"), BodyKind::ControlUi);
        let key = "Missing or invalid Sec-WebSocket-Key header";
        assert_eq!(kind(key, "text/html"), BodyKind::Gateway);
        let closing = "Service Unavailable";
        assert_eq!(kind(closing, "text/html"), BodyKind::LibraryClosing);
    }

    #[test]
    fn what_only_sounds_like_the_closing_library_is_not_it() {
        for (body, content_type, other) in [
            (
                "Service Unavailable",
                "text/plain; charset=utf-8",
                BodyKind::Text,
            ),
            (
                "Service Unavailable",
                "text/html; charset=utf-8",
                BodyKind::Html,
            ),
            ("Service Unavailable\n", "text/html", BodyKind::Html),
            ("Service Unavailable", "", BodyKind::Other),
            (
                "<html><h1>503 Service Unavailable</h1>",
                "text/html",
                BodyKind::Html,
            ),
        ] {
            assert_eq!(kind(body, content_type), other, "{body}, {content_type}");
        }
    }

    #[test]
    fn others_are_told_by_their_type() {
        assert_eq!(kind("<html>502 Bad Gateway", ""), BodyKind::Html);
        assert_eq!(kind("no", "text/plain"), BodyKind::Text);
        assert_eq!(kind("{}", "application/json"), BodyKind::Json);
        assert_eq!(kind("", "text/html"), BodyKind::Empty);
        assert_eq!(kind("\u{1}", ""), BodyKind::Other);
    }
}
