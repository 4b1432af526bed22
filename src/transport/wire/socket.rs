//! A leg's socket, whatever carries it.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::session::end_cause::EndCause;
use crate::session::record::TransportEnd;
use crate::session::record::frames::TcpFacts;
use crate::transport::http2_stream::Http2Stream;
use crate::transport::socket::ClientSocket;
use crate::transport::{cause, tcp_info};

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: Raw,
    /// Bytes that the kernel has taken.
    pub(super) written: u64,
    /// The kernel is asked even if the reactor knows of nothing to read.
    pub(super) at_once: bool,
    /// Made when it is first waited for; a stream of HTTP/2 has none.
    waiting: Option<Waiting>,
}

/// How the reactor wakes the task because of this socket and no other: a task that has two of them
/// then need not ask the one that nothing has happened to.
#[derive(Debug)]
struct Waiting {
    reader: Arc<Reader>,
    waker: Waker,
    /// There was nothing to read, and `waker` is with the reactor.
    promised: bool,
}

#[derive(Debug)]
struct Reader {
    woken: AtomicBool,
    task: Waker,
}

impl Wake for Reader {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Waiting {
    fn new(task: &Waker) -> Self {
        let reader = Arc::new(Reader {
            woken: AtomicBool::new(false),
            task: task.clone(),
        });
        Self {
            waker: Arc::clone(&reader).into(),
            reader,
            promised: false,
        }
    }

    /// Whether the promise stands. What the reactor knows of the socket would not tell: it notes that
    /// first and takes the waker afterwards, which may be another one by then.
    fn goes_on(&self) -> bool {
        self.promised && !self.reader.woken.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
pub(super) enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
    Http2(Box<Http2Stream>),
}

impl From<ClientSocket> for Raw {
    fn from(socket: ClientSocket) -> Self {
        match socket {
            ClientSocket::Tcp(tcp) => Self::Tcp(tcp),
            ClientSocket::Unix(unix) => Self::Unix(unix),
        }
    }
}

impl Socket {
    pub(super) fn new(stream: Raw) -> Self {
        Self {
            stream,
            written: 0,
            at_once: false,
            waiting: None,
        }
    }

    /// Always by the same task, and outside of the runtime's budget for a task: by that `Pending` would
    /// not mean that the reactor knows of us.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(room);
        if let Raw::Http2(stream) = &mut self.stream {
            let poll = Pin::new(stream).poll_read(cx, &mut buf);
            return poll.map_ok(|()| buf.filled().len());
        }
        let waiting = self.waiting.get_or_insert_with(|| Waiting::new(cx.waker()));
        debug_assert!(self.at_once || waiting.reader.task.will_wake(cx.waker()));
        if !self.at_once && waiting.goes_on() {
            return Poll::Pending;
        }
        waiting.reader.woken.store(false, Ordering::Relaxed);
        let mut own = Context::from_waker(&waiting.waker);
        let poll = match &mut self.stream {
            Raw::Tcp(tcp) => Pin::new(tcp).poll_read(&mut own, &mut buf),
            Raw::Unix(unix) => Pin::new(unix).poll_read(&mut own, &mut buf),
            Raw::Http2(_) => Poll::Pending,
        };
        let poll = poll.map_ok(|()| buf.filled().len());
        waiting.promised = poll.is_pending();
        if poll.is_ready() || !self.at_once {
            return poll;
        }
        let socket = match &self.stream {
            Raw::Tcp(tcp) => SockRef::from(tcp),
            Raw::Unix(unix) => SockRef::from(unix),
            Raw::Http2(_) => return poll,
        };
        match (&*socket).read(room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = match &mut self.stream {
            Raw::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Raw::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            Raw::Http2(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.count(poll)
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = match &mut self.stream {
            Raw::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Raw::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, bufs),
            Raw::Http2(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.count(poll)
    }

    fn count(&mut self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &poll {
            self.written += *count as u64;
        }
        poll
    }

    /// Writes as much as is taken at once and returns how much that was.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => left = left.get(count..).unwrap_or_default(),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(bytes.len() - left.len())
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Raw::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Raw::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Raw::Http2(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    pub(super) fn reset(self) {
        match self.stream {
            Raw::Tcp(tcp) => {
                if let Err(error) = tcp.set_zero_linger() {
                    tracing::debug!(%error, "failed to set SO_LINGER; the leg ends with FIN");
                }
            }
            Raw::Unix(_) => {}
            Raw::Http2(stream) => stream.reset(),
        }
    }

    pub(super) fn broke(&mut self) -> Option<(TransportEnd, EndCause)> {
        let error = match &mut self.stream {
            Raw::Http2(stream) => return stream.broke(),
            Raw::Tcp(tcp) => tcp.take_error(),
            Raw::Unix(unix) => unix.take_error(),
        };
        error.ok().flatten().map(|error| cause::of_error(&error))
    }

    pub(super) fn tcp_facts(&self) -> Option<TcpFacts> {
        match &self.stream {
            Raw::Tcp(tcp) => tcp_info::read(tcp),
            Raw::Unix(_) | Raw::Http2(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// The reactor notes that there is something to read and takes the waker afterwards. Who has read
    /// in between and waits again must not believe that nothing has happened.
    #[tokio::test]
    async fn a_promise_ends_with_the_waking_whatever_there_is_to_read() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut socket = Socket::new(Raw::Unix(near));
        let mut room = [0; 8];
        let promised = |socket: &Socket| socket.waiting.as_ref().is_some_and(Waiting::goes_on);
        poll_fn(|cx| {
            assert!(socket.poll_read(cx, &mut room).is_pending());
            assert!(promised(&socket));
            assert!(socket.poll_read(cx, &mut room).is_pending());
            socket.waiting.as_ref().unwrap().waker.wake_by_ref();
            assert!(!promised(&socket));
            assert!(socket.poll_read(cx, &mut room).is_pending());
            assert!(promised(&socket), "made anew");
            Poll::Ready(())
        })
        .await;
        far.write_all(b"late").await.unwrap();
        let read = poll_fn(|cx| socket.poll_read(cx, &mut room)).await.unwrap();
        assert_eq!(&room[..read], b"late");
        assert!(!promised(&socket));
    }
}
