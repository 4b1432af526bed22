//! Stream of a pooled connection: observed by a sensor, and with a short user timeout while a
//! request waits on a kept connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::options;
use crate::transport::sensed::Sensed;
use crate::transport::sensor::Sensor;
use crate::transport::stream::Stream;

/// Limits for how long a peer may leave data unacknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Limit while a request without a body on a kept connection has no byte of an answer.
    pub(super) kept: Duration,
    /// Limit at all other times.
    pub(super) usual: Duration,
}

/// Set when a kept connection is reused for a request without a body, until the request is written.
pub(super) type Again = Arc<AtomicBool>;

/// A connection of the pool.
///
/// A kept connection whose peer has vanished takes the next request and never answers. The kernel
/// detects that by missing acknowledgements; a peer that is only slow does acknowledge. So the user
/// timeout is short from the request to the first byte of its answer. With a body, the usual
/// timeout applies: Linux also counts the time during which a peer acknowledges but does not read,
/// and a gateway may pause an upload.
#[derive(Debug)]
pub(super) struct PooledStream {
    sensor: Sensor,
    patience: Patience,
    again: Again,
    is_impatient: bool,
}

impl PooledStream {
    pub(super) fn new(stream: Stream, patience: Patience) -> (Self, Arc<Sensed>, Again) {
        let (sensor, sensed) = Sensor::for_answers(stream);
        let again = Again::default();
        let stream = Self {
            sensor,
            patience,
            again: Arc::clone(&again),
            is_impatient: false,
        };
        (stream, sensed, again)
    }

    fn before_write(&mut self) {
        if self.again.load(Ordering::Relaxed) && self.again.swap(false, Ordering::Relaxed) {
            self.is_impatient = true;
            self.wait_at_most(self.patience.kept);
        }
    }

    fn after_read(&mut self, bytes: usize) {
        if self.is_impatient && bytes > 0 {
            self.is_impatient = false;
            self.wait_at_most(self.patience.usual);
        }
    }

    fn wait_at_most(&self, limit: Duration) {
        let tcp = match self.sensor.stream() {
            Stream::Tcp(tcp) => tcp,
            Stream::TlsClient(tls) => tls.get_ref().0,
            // A unix socket's peer cannot vanish without closing.
            _ => return,
        };
        options::set_user_timeout(tcp, limit);
    }
}

impl AsyncRead for PooledStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.sensor).poll_read(cx, buf);
        self.after_read(buf.filled().len().saturating_sub(before));
        poll
    }
}

impl AsyncWrite for PooledStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.before_write();
        Pin::new(&mut self.sensor).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.before_write();
        Pin::new(&mut self.sensor).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sensor).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sensor).poll_shutdown(cx)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use socket2::SockRef;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn the_wait_is_short_from_a_request_to_the_first_byte_of_its_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (mut far, _) = listener.accept().await.unwrap();
        let patience = Patience {
            kept: Duration::from_secs(5),
            usual: Duration::from_mins(2),
        };
        let (mut stream, _, again) = PooledStream::new(Stream::Tcp(tcp.unwrap()), patience);
        let limit = |stream: &PooledStream| {
            let Stream::Tcp(tcp) = stream.sensor.stream() else {
                panic!("TCP");
            };
            SockRef::from(tcp).tcp_user_timeout().unwrap()
        };
        let mut byte = [0];
        // The first request of a connection uses the normal timeout.
        stream.write_all(b"1").await.unwrap();
        assert_eq!(limit(&stream), None);
        for _ in 0..2 {
            again.store(true, Ordering::Relaxed);
            stream.write_all(b"2").await.unwrap();
            assert_eq!(limit(&stream), Some(patience.kept));
            far.write_all(b"!").await.unwrap();
            stream.read_exact(&mut byte).await.unwrap();
            assert_eq!(limit(&stream), Some(patience.usual));
        }
    }
}
