//! One leg of a tunnel, taken back out of hyper: the socket, its TLS state, and what could not
//! be written yet.
//!
//! Reads are up to 64 KiB from the socket into a buffer that all sessions of a thread share; TLS
//! is fed from it in slices, because the TLS library would take only 4 KiB from a socket at a
//! time. A leg holds bytes of its own only while its peer is slow to read.

use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use rustls::Connection;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::cause;
use super::http2_stream::Http2Stream;
use super::socket::ClientSocket;
use super::stream::Stream;
use super::tcp_info;
use crate::session::record::TransportEnd;
use crate::session::record::frames::TcpFacts;

/// Most bytes taken from a socket at once.
pub const READ_SIZE: usize = 64 * 1024;

/// Most plaintext that one read can yield: what was read, and one TLS record (16 KiB) whose front
/// had come before.
const PLAIN_SIZE: usize = READ_SIZE + 17 * 1024;

/// What the TLS library has room for at least, and takes at once.
const TLS_READ_SIZE: usize = 4096;

/// Buffers that one thread lends to the session it is serving.
#[derive(Debug)]
pub struct Scratch {
    cipher: Box<[u8]>,
    plain: Box<[u8]>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            cipher: vec![0; READ_SIZE].into_boxed_slice(),
            plain: vec![0; PLAIN_SIZE].into_boxed_slice(),
        }
    }
}

impl Scratch {
    /// The bytes of the last [`Wire::poll_read`].
    #[must_use]
    pub fn plain(&self, count: usize) -> &[u8] {
        self.plain.get(..count).unwrap_or_default()
    }
}

/// What a read brought.
#[derive(Debug)]
pub enum Readout {
    /// So many bytes of plaintext, in [`Scratch::plain`].
    Bytes(usize),
    /// The far end ended its side of the stream.
    End(TransportEnd, Option<String>),
}

/// The far end cannot be written to any more.
#[derive(Debug)]
pub struct WriteEnd(pub TransportEnd, pub String);

impl From<io::Error> for WriteEnd {
    fn from(error: io::Error) -> Self {
        let (end, words) = cause::of_error(&error);
        Self(end, words)
    }
}

/// One leg of a tunnel.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    tls: Option<Box<Connection>>,
    /// The TLS state has taken more than it reads at least, and has kept the room for that.
    tls_grown: bool,
    /// Plaintext that hyper had read past the head.
    ahead: Bytes,
    /// What could not be written (plain legs; TLS legs keep theirs in the TLS state).
    spill: Vec<u8>,
    spilled: usize,
    /// Plaintext that waits to be written, for the record.
    waiting: usize,
    /// An end that was learned while bytes that came before it were still to be handed out.
    end: Option<(TransportEnd, Option<String>)>,
    /// How the leg broke, as a write was told. The kernel tells it once: reading then finds
    /// nothing but what looks like a FIN.
    broken: Option<(TransportEnd, String)>,
}

#[derive(Debug)]
struct Socket {
    stream: Raw,
    /// Bytes that the kernel has taken.
    written: u64,
    /// The kernel is asked even if the reactor knows of nothing to read.
    at_once: bool,
}

#[derive(Debug)]
enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
    Http2(Box<Http2Stream>),
}

impl Wire {
    /// From the stream that hyper gave back, and the bytes it had read already.
    #[must_use]
    pub fn new(stream: Stream, ahead: Bytes) -> Self {
        let (stream, tls) = match stream {
            Stream::Tcp(tcp) => (Raw::Tcp(tcp), None),
            Stream::Unix(unix) => (Raw::Unix(unix), None),
            Stream::Http2(stream) => (Raw::Http2(stream), None),
            Stream::TlsServer(tls) => {
                let (socket, state) = tls.into_inner();
                let raw = match socket {
                    ClientSocket::Tcp(tcp) => Raw::Tcp(tcp),
                    ClientSocket::Unix(unix) => Raw::Unix(unix),
                };
                (raw, Some(Box::new(Connection::from(state))))
            }
            Stream::TlsClient(tls) => {
                let (tcp, state) = tls.into_inner();
                (Raw::Tcp(tcp), Some(Box::new(Connection::from(state))))
            }
        };
        let mut wire = Self {
            socket: Socket {
                stream,
                written: 0,
                at_once: false,
            },
            tls,
            tls_grown: false,
            ahead: if ahead.is_empty() {
                Bytes::new()
            } else {
                ahead
            },
            spill: Vec::new(),
            spilled: 0,
            waiting: 0,
            end: None,
            broken: None,
        };
        if let Some(tls) = &mut wire.tls {
            // Bounded by us: nothing is written while anything waits.
            tls.set_buffer_limit(None);
        }
        wire
    }

    /// Reads what is there. The caller must have written the last bytes somewhere.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Readout> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(scratch.plain.len());
            if let Some(room) = scratch.plain.get_mut(..count) {
                self.ahead.copy_to_slice(room);
            }
            if self.ahead.is_empty() {
                // Even an empty one holds on to the whole buffer that hyper had read into.
                self.ahead = Bytes::new();
            }
            return Poll::Ready(Readout::Bytes(count));
        }
        match &mut self.tls {
            None => {
                let room = scratch.plain.get_mut(..READ_SIZE).unwrap_or_default();
                match poll_socket(&mut self.socket, cx, room) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(0)) => Poll::Ready(self.ended(TransportEnd::Fin, None)),
                    Poll::Ready(Ok(count)) => Poll::Ready(Readout::Bytes(count)),
                    Poll::Ready(Err(error)) => Poll::Ready(end_of(&error)),
                }
            }
            Some(_) => self.poll_read_tls(cx, scratch),
        }
    }

    /// From now on reading asks the kernel itself: when the tunnel ends at once there is no time to
    /// wait until the reactor has heard of what came last.
    pub fn read_at_once(&mut self) {
        self.socket.at_once = true;
    }

    /// How the leg ended whose reading found `end`.
    fn ended(&mut self, end: TransportEnd, cause: Option<String>) -> Readout {
        match self.broken.take() {
            Some((end, words)) => Readout::End(end, Some(words)),
            None => Readout::End(end, cause),
        }
    }

    fn write_failed(&mut self, error: io::Error) -> WriteEnd {
        // EPIPE: it had ended its side before, which reading tells.
        let told = error.kind() != io::ErrorKind::BrokenPipe;
        let failed = WriteEnd::from(error);
        if told {
            let WriteEnd(end, words) = &failed;
            self.broken.get_or_insert_with(|| (*end, words.clone()));
        }
        failed
    }

    /// Writes as much as the socket takes at once and keeps the rest. The caller must not write
    /// more before [`Wire::poll_flush`] is ready: that is the backpressure.
    pub fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), WriteEnd> {
        self.try_write(cx, bytes)
            .map_err(|error| self.write_failed(error))
    }

    fn try_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => {
                let mut left = bytes;
                while !left.is_empty() {
                    match poll_write_socket(&mut self.socket, cx, left) {
                        Poll::Ready(Ok(0)) => {
                            return Err(io::ErrorKind::WriteZero.into());
                        }
                        Poll::Ready(Ok(count)) => left = left.get(count..).unwrap_or_default(),
                        Poll::Ready(Err(error)) => return Err(error),
                        Poll::Pending => {
                            self.spill.extend_from_slice(left);
                            self.waiting += left.len();
                            break;
                        }
                    }
                }
                Ok(())
            }
            Some(tls) => {
                tls.writer().write_all(bytes)?;
                if flush_tls(tls, &mut self.socket, cx)?.is_pending() {
                    self.waiting += bytes.len();
                }
                Ok(())
            }
        }
    }

    /// Writes what was kept; ready when nothing is left.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteEnd>> {
        match self.try_flush(cx) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => {
                self.waiting = 0;
                // The next slow moment may be far away; idle sessions hold no buffer.
                self.spill = Vec::new();
                self.spilled = 0;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(self.write_failed(error))),
        }
    }

    /// Whether anything waits to be written.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.waiting == 0
            && self.spilled == self.spill.len()
            && self.tls.as_ref().is_none_or(|tls| !tls.wants_write())
    }

    /// Bytes that the kernel has taken so far, TLS included: whether a slow peer still reads.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.socket.written
    }

    /// Plaintext bytes that wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Ends our side in order: `close_notify` on TLS, then FIN.
    pub fn poll_shutdown(
        &mut self,
        cx: &mut Context<'_>,
        notified: &mut bool,
    ) -> Poll<Result<(), WriteEnd>> {
        if let Some(tls) = &mut self.tls
            && !std::mem::replace(notified, true)
        {
            tls.send_close_notify();
        }
        match self.poll_flush(cx) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        let poll = match &mut self.socket.stream {
            Raw::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Raw::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Raw::Http2(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        poll.map_err(WriteEnd::from)
    }

    /// Ends the leg at once with a reset, as a far end that was reset must see it. On a unix
    /// socket there is no reset; it is closed.
    pub fn reset(self) {
        match self.socket.stream {
            Raw::Tcp(tcp) => {
                if let Err(error) = tcp.set_zero_linger() {
                    tracing::debug!(%error, "failed to set SO_LINGER; the leg ends with FIN");
                }
            }
            Raw::Unix(_) => {}
            Raw::Http2(stream) => stream.reset(),
        }
    }

    /// Whether the kernel has learned that the far end broke, without reading: while the other
    /// leg is blocked this leg is not read, and a reset would go unnoticed.
    #[must_use]
    pub fn broke(&mut self) -> Option<(TransportEnd, String)> {
        let error = match &mut self.socket.stream {
            Raw::Http2(stream) => return stream.broke(),
            Raw::Tcp(tcp) => tcp.take_error(),
            Raw::Unix(unix) => unix.take_error(),
        };
        error.ok().flatten().map(|error| cause::of_error(&error))
    }

    /// What the kernel knows of this leg.
    #[must_use]
    pub fn tcp_facts(&self) -> Option<TcpFacts> {
        match &self.socket.stream {
            Raw::Tcp(tcp) => tcp_info::read(tcp),
            Raw::Unix(_) | Raw::Http2(_) => None,
        }
    }

    fn try_flush(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        if let Some(tls) = &mut self.tls {
            return flush_tls(tls, &mut self.socket, cx);
        }
        while let Some(left) = self
            .spill
            .get(self.spilled..)
            .filter(|left| !left.is_empty())
        {
            match poll_write_socket(&mut self.socket, cx, left) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(count) => {
                    let count = count?;
                    if count == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    self.spilled += count;
                    self.waiting = self.waiting.saturating_sub(count);
                }
            }
        }
        Ok(Poll::Ready(()))
    }
}

fn end_of(error: &io::Error) -> Readout {
    let (end, words) = cause::of_error(error);
    Readout::End(end, Some(words))
}

fn poll_socket(
    socket: &mut Socket,
    cx: &mut Context<'_>,
    room: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(room);
    let poll = match &mut socket.stream {
        Raw::Tcp(tcp) => Pin::new(tcp).poll_read(cx, &mut buf),
        Raw::Unix(unix) => Pin::new(unix).poll_read(cx, &mut buf),
        Raw::Http2(stream) => Pin::new(stream).poll_read(cx, &mut buf),
    };
    let poll = poll.map_ok(|()| buf.filled().len());
    if poll.is_ready() || !socket.at_once {
        return poll;
    }
    let socket = match &socket.stream {
        Raw::Tcp(tcp) => SockRef::from(tcp),
        Raw::Unix(unix) => SockRef::from(unix),
        // Nothing comes to a stream but by way of its connection.
        Raw::Http2(_) => return poll,
    };
    match (&*socket).read(room) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        read => Poll::Ready(read),
    }
}

fn poll_write_socket(
    socket: &mut Socket,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    let poll = match &mut socket.stream {
        Raw::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
        Raw::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
        Raw::Http2(stream) => Pin::new(stream).poll_write(cx, bytes),
    };
    count_written(&mut socket.written, &poll);
    poll
}

fn count_written(written: &mut u64, poll: &Poll<io::Result<usize>>) {
    if let Poll::Ready(Ok(count)) = poll {
        *written += *count as u64;
    }
}

impl Wire {
    /// Reads from the socket and decrypts until there is plaintext or nothing more to read. What
    /// came before an end, or before a record that cannot be decrypted, is handed out first.
    fn poll_read_tls(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Readout> {
        let Self {
            socket,
            tls: Some(tls),
            tls_grown,
            end,
            broken,
            ..
        } = self
        else {
            return Poll::Pending;
        };
        loop {
            let filled = take_plaintext(tls, &mut scratch.plain, 0, end);
            if filled > 0 {
                return Poll::Ready(Readout::Bytes(filled));
            }
            if let Some((end, cause)) = end.clone() {
                return Poll::Ready(Readout::End(end, cause));
            }
            let count = match poll_socket(socket, cx, &mut scratch.cipher) {
                Poll::Pending => {
                    if std::mem::take(tls_grown) {
                        shrink(tls);
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(end_of(&error)),
                Poll::Ready(Ok(0)) => {
                    let (end, words) = broken.take().unwrap_or_else(|| {
                        let words = "the connection ended without TLS close_notify";
                        (TransportEnd::TlsTruncated, words.to_owned())
                    });
                    return Poll::Ready(Readout::End(end, Some(words)));
                }
                Poll::Ready(Ok(count)) => count,
            };
            let fed = scratch.cipher.get(..count).unwrap_or_default();
            *tls_grown |= count > TLS_READ_SIZE;
            let filled = decrypt(tls, socket, cx, fed, &mut scratch.plain, end);
            if filled > 0 {
                return Poll::Ready(Readout::Bytes(filled));
            }
        }
    }
}

/// Has the TLS state give back the room that a long record took in it. It would do so by itself,
/// but only when it is fed again: an idle session would keep up to twice the length of a record.
fn shrink(tls: &mut Connection) {
    struct NotNow;
    impl io::Read for NotNow {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }
    // It makes its buffer fit before it reads.
    let _ = tls.read_tls(&mut NotNow);
}

/// Decrypts what was read into `plain` and returns how much that gave. An end that is learned on
/// the way is noted in `end`; bytes behind it are nobody's (RFC 8446 section 6.1).
fn decrypt(
    tls: &mut Connection,
    socket: &mut Socket,
    cx: &mut Context<'_>,
    mut fed: &[u8],
    plain: &mut [u8],
    end: &mut Option<(TransportEnd, Option<String>)>,
) -> usize {
    let mut filled = 0;
    let mut failed = |error: &io::Error| {
        let (how, words) = cause::of_error(error);
        end.get_or_insert((how, Some(words)));
    };
    while !fed.is_empty() {
        match tls.read_tls(&mut fed) {
            // After close_notify nothing is taken any more.
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                failed(&error);
                break;
            }
        }
        let processed = tls.process_new_packets();
        let mut closed = None;
        filled = take_plaintext(tls, plain, filled, &mut closed);
        // An alert, or the answer to a key update, may have to go out without any data.
        let flushed = flush_tls(tls, socket, cx);
        match (processed, flushed) {
            (Err(error), _) => failed(&io::Error::new(io::ErrorKind::InvalidData, error)),
            (Ok(_), Err(error)) => failed(&error),
            (Ok(state), Ok(_)) if state.peer_has_closed() => {}
            (Ok(_), Ok(_)) => continue,
        }
        break;
    }
    filled
}

/// Moves decrypted bytes behind the first `filled` of `plain` and returns the new fill; notes
/// `close_notify` once nothing stands before it.
fn take_plaintext(
    tls: &mut Connection,
    plain: &mut [u8],
    filled: usize,
    end: &mut Option<(TransportEnd, Option<String>)>,
) -> usize {
    let mut at = filled;
    while let Some(room) = plain.get_mut(at..).filter(|room| !room.is_empty()) {
        match tls.reader().read(room) {
            Ok(0) => {
                end.get_or_insert((TransportEnd::TlsClose, None));
                break;
            }
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => {
                let (how, words) = cause::of_error(&error);
                end.get_or_insert((how, Some(words)));
                break;
            }
        }
    }
    at
}

fn flush_tls(
    tls: &mut Connection,
    socket: &mut Socket,
    cx: &mut Context<'_>,
) -> io::Result<Poll<()>> {
    struct Adapter<'a, 'b> {
        socket: &'a mut Socket,
        cx: &'a mut Context<'b>,
    }
    impl io::Write for Adapter<'_, '_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match poll_write_socket(self.socket, self.cx, bytes) {
                Poll::Ready(result) => result,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            }
        }
        fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
            let poll = match &mut self.socket.stream {
                Raw::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(self.cx, bufs),
                Raw::Unix(unix) => Pin::new(unix).poll_write_vectored(self.cx, bufs),
                Raw::Http2(stream) => Pin::new(stream).poll_write_vectored(self.cx, bufs),
            };
            count_written(&mut self.socket.written, &poll);
            match poll {
                Poll::Ready(result) => result,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    while tls.wants_write() {
        match tls.write_tls(&mut Adapter { socket, cx }) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Poll::Pending),
            Err(error) => return Err(error),
        }
    }
    Ok(Poll::Ready(()))
}

#[cfg(test)]
mod tests;
