//! One leg of a tunnel, taken back out of hyper: the socket, its TLS state, and what could not
//! be written yet.
//!
//! Reads are up to 128 KiB from the socket into a buffer that all sessions of a thread share; a
//! client's records are decrypted in it. A leg holds bytes of its own only while its peer is slow to
//! read, or has sent only the front of a record.

pub(crate) mod end;
mod gateway;
mod socket;
mod waking;

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes};

use self::end::{Ended, WriteEnd, of_error};
use self::gateway::Gateway;
use self::socket::{Raw, Socket};
use super::cause;
use super::impossible::{Impossible, at_most, slice, slice_mut};
use super::stream::Stream;
use super::tls::engine::{End, KEPT, Out, TlsEngine};
use super::tls::stream::Parts;
use crate::session::end_cause::EndCause;
use crate::session::record::TransportEnd;
use crate::session::record::frames::TcpFacts;

/// Maximum number of bytes read from a socket at once. Messages of 64 KiB are common, and their
/// header and TLS make them a little longer: a read of 64 KiB would leave a few bytes for another
/// read.
pub(crate) const READ_SIZE: usize = 128 * 1024;

/// Size of the ciphertext buffer: the bytes kept from before, followed by what was read.
const CIPHER_SIZE: usize = KEPT + READ_SIZE;

/// Plaintext is never longer than its records.
const PLAIN_SIZE: usize = CIPHER_SIZE;

/// Buffers that one thread lends to the session it is serving.
#[derive(Debug)]
pub(crate) struct Scratch {
    cipher: Box<[u8]>,
    plain: Box<[u8]>,
    /// Offset in `cipher` of the plaintext of the last read, if it was decrypted in place.
    opened: Option<usize>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            cipher: vec![0; CIPHER_SIZE].into_boxed_slice(),
            plain: vec![0; PLAIN_SIZE].into_boxed_slice(),
            opened: None,
        }
    }
}

impl Scratch {
    /// The bytes of the last [`Wire::poll_read`].
    pub(crate) fn plain(&self, count: usize) -> Result<&[u8], Impossible> {
        match self.opened {
            Some(at) => slice(&self.cipher, at..at + count, Impossible::Read),
            None => slice(&self.plain, ..count, Impossible::Read),
        }
    }
}

/// Result of a read.
#[derive(Debug)]
pub(crate) enum Readout {
    /// Number of bytes, which are in [`Scratch::plain`].
    Bytes(usize),
    /// The far end ended its side of the stream.
    End(TransportEnd, Option<EndCause>),
}

/// One leg of a tunnel.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    tls: Tls,
    /// Plaintext that hyper had read past the head.
    ahead: Bytes,
    /// Bytes that could not be written yet, in the form in which the socket gets them. (The
    /// gateway's TLS records are kept by the library.)
    spill: Vec<u8>,
    spilled: usize,
    /// Number of plaintext bytes that wait to be written, for the record.
    waiting: usize,
    /// An end that was learned while bytes that came before it were still to be handed out.
    end: Option<Ended>,
    /// How the leg broke, according to a failed write. The kernel reports this only once; a later
    /// read finds what looks like a FIN.
    broken: Option<(TransportEnd, EndCause)>,
}

#[derive(Debug)]
enum Tls {
    None,
    Client(Box<TlsEngine>),
    Gateway(Box<Gateway>),
}

impl Wire {
    /// Takes over the stream that hyper gave back, and the bytes that hyper had read already.
    #[must_use]
    pub(crate) fn new(stream: Stream, mut ahead: Bytes) -> Self {
        let mut spill = Vec::new();
        let (stream, tls) = match stream {
            Stream::Tcp(tcp) => (Raw::Tcp(tcp), Tls::None),
            Stream::Unix(unix) => (Raw::Unix(unix), Tls::None),
            Stream::Http2(stream) => (Raw::Http2(stream), Tls::None),
            Stream::TlsServer(tls) => {
                let parts: Parts = tls.into_parts();
                if !parts.ahead.is_empty() {
                    ahead = [ahead, parts.ahead].concat().into();
                }
                spill = parts.spill.into();
                (Raw::from(parts.socket), Tls::Client(parts.engine))
            }
            Stream::TlsClient(tls) => {
                let (tcp, state) = tls.into_inner();
                (Raw::Tcp(tcp), Tls::Gateway(Box::new(Gateway::new(state))))
            }
        };
        Self {
            socket: Socket::new(stream),
            tls,
            ahead: if ahead.is_empty() {
                Bytes::new()
            } else {
                ahead
            },
            spill,
            spilled: 0,
            waiting: 0,
            end: None,
            broken: None,
        }
    }

    /// Reads the available bytes into `scratch`. The caller must have used the bytes of the last
    /// read.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Readout> {
        scratch.opened = None;
        if !self.ahead.is_empty() {
            let mut room = &mut *scratch.plain;
            let count = self.ahead.len().min(room.len());
            room.put(self.ahead.split_to(count));
            if self.ahead.is_empty() {
                // Even an empty `Bytes` keeps the whole buffer alive that hyper had read into.
                self.ahead = Bytes::new();
            }
            return Poll::Ready(Readout::Bytes(count));
        }
        match &mut self.tls {
            Tls::None => {
                let room = slice_mut(&mut scratch.plain, ..READ_SIZE, Impossible::Buffer);
                let room = match room {
                    Ok(room) => room,
                    Err(bug) => return Poll::Ready(end_of(&bug.into())),
                };
                match self.socket.poll_read(cx, room) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(0)) => Poll::Ready(self.ended(TransportEnd::Fin, None)),
                    Poll::Ready(Ok(count)) => Poll::Ready(Readout::Bytes(count)),
                    Poll::Ready(Err(error)) => Poll::Ready(end_of(&error)),
                }
            }
            Tls::Client(_) => self.poll_read_client(cx, scratch),
            Tls::Gateway(_) => self.poll_read_gateway(cx, scratch),
        }
    }

    /// From now on every read asks the kernel: when the tunnel ends at once, there is no time to
    /// wait until the reactor reports the last bytes.
    pub(crate) fn read_at_once(&mut self) {
        self.socket.read_at_once();
    }

    /// How the leg ended, after reading found `end`: an earlier failed write takes precedence.
    fn ended(&mut self, end: TransportEnd, cause: Option<EndCause>) -> Readout {
        match self.broken.take() {
            Some((end, cause)) => Readout::End(end, Some(cause)),
            None => Readout::End(end, cause),
        }
    }

    fn write_failed(&mut self, error: io::Error) -> WriteEnd {
        // EPIPE: the far end had ended its side before; reading shows how.
        let is_cause = error.kind() != io::ErrorKind::BrokenPipe;
        let failed = WriteEnd::from(error);
        if is_cause {
            let WriteEnd(end, cause) = &failed;
            self.broken.get_or_insert_with(|| (*end, cause.clone()));
        }
        failed
    }

    /// Writes as much as the socket takes at once and keeps the rest. The caller must not write
    /// more before [`Wire::poll_flush`] is ready: that is the backpressure.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), WriteEnd> {
        self.try_write(cx, bytes)
            .map_err(|error| self.write_failed(error))
    }

    fn try_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Tls::None => {
                let count = self.socket.write(cx, bytes)?;
                let left = slice(bytes, count.., Impossible::Written)?;
                self.spill.extend_from_slice(left);
                self.waiting += left.len();
            }
            Tls::Client(engine) => {
                let (socket, spill) = (&mut self.socket, &mut self.spill);
                let left = Out::lent(|out| {
                    engine.seal(bytes, out)?;
                    send(socket, spill, cx, out.bytes()?)
                })?;
                if left {
                    self.waiting += bytes.len();
                }
            }
            Tls::Gateway(tls) => {
                tls.write(bytes)?;
                if tls.flush(&mut self.socket, cx)?.is_pending() {
                    self.waiting += bytes.len();
                }
            }
        }
        Ok(())
    }

    /// Writes what was kept; ready when nothing is left.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteEnd>> {
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

    /// Whether nothing waits to be written.
    #[must_use]
    pub(crate) fn is_flushed(&self) -> bool {
        self.waiting == 0
            && self.spilled == self.spill.len()
            && match &self.tls {
                Tls::None | Tls::Client(_) => true,
                Tls::Gateway(tls) => tls.is_flushed(),
            }
    }

    /// Bytes that the kernel has taken so far, TLS included: whether a slow peer still reads.
    #[must_use]
    pub(crate) fn written(&self) -> u64 {
        self.socket.written
    }

    /// Plaintext bytes that wait to be written.
    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Ends our side in order: `close_notify` on TLS, then FIN.
    pub(crate) fn poll_shutdown(
        &mut self,
        cx: &mut Context<'_>,
        notified: &mut bool,
    ) -> Poll<Result<(), WriteEnd>> {
        if !std::mem::replace(notified, true)
            && let Err(error) = self.notify(cx)
        {
            return Poll::Ready(Err(self.write_failed(error)));
        }
        match self.poll_flush(cx) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        self.socket.poll_shutdown(cx).map_err(WriteEnd::from)
    }

    fn notify(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match &mut self.tls {
            Tls::None => {}
            Tls::Gateway(tls) => tls.close(),
            Tls::Client(engine) => {
                let (socket, spill) = (&mut self.socket, &mut self.spill);
                Out::lent(|out| {
                    engine.close(out);
                    send(socket, spill, cx, out.bytes()?)
                })?;
            }
        }
        Ok(())
    }

    /// Ends the leg at once with a reset, which is how the far end must see a reset of the other
    /// leg. On a unix socket there is no reset; it is closed.
    pub(crate) fn reset(self) {
        self.socket.reset();
    }

    /// Whether the kernel has learned that the far end broke, without reading: while the other
    /// leg is blocked this leg is not read, and a reset would go unnoticed.
    #[must_use]
    pub(crate) fn broke(&mut self) -> Option<(TransportEnd, EndCause)> {
        self.socket.broke()
    }

    /// The kernel's facts about this leg.
    #[must_use]
    pub(crate) fn tcp_facts(&self) -> Option<TcpFacts> {
        self.socket.tcp_facts()
    }

    fn try_flush(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        if let Tls::Gateway(tls) = &mut self.tls {
            return tls.flush(&mut self.socket, cx);
        }
        let left = slice(&self.spill, self.spilled.., Impossible::Spill)?;
        let (count, all) = (self.socket.write(cx, left)?, left.len());
        self.spilled += count;
        if matches!(self.tls, Tls::None) {
            let left = self.waiting.checked_sub(count);
            self.waiting = left.ok_or(Impossible::Spill)?;
        }
        Ok(if count == all {
            Poll::Ready(())
        } else {
            Poll::Pending
        })
    }

    /// Reads from the socket and decrypts until there is plaintext or nothing more to read. What
    /// came before an end, or before a record that cannot be decrypted, is handed out first.
    fn poll_read_client(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Readout> {
        let Self {
            socket,
            tls: Tls::Client(engine),
            spill,
            end,
            broken,
            ..
        } = self
        else {
            return Poll::Pending;
        };
        loop {
            let ended = engine.end().map(end_of_engine);
            if let Some((end, cause)) = ended.or_else(|| end.clone()) {
                return Poll::Ready(Readout::End(end, cause));
            }
            let count = match ready!(poll_records(socket, cx, &mut scratch.cipher, KEPT, broken)) {
                Ok(count) => count,
                Err(end) => return Poll::Ready(end),
            };
            let (start, input) = match prepend_kept(engine.kept(), &mut scratch.cipher, count) {
                Ok(joined) => joined,
                Err(bug) => return Poll::Ready(end_of(&bug.into())),
            };
            let (mut filled, mut opened) = (0, 0);
            let mut copied = Ok(());
            let sent = Out::lent(|out| {
                let plain = |bytes: &[u8]| {
                    let next = filled + bytes.len();
                    match slice_mut(&mut scratch.plain, filled..next, Impossible::Plaintext) {
                        Ok(room) if copied.is_ok() => {
                            room.copy_from_slice(bytes);
                            filled = next;
                        }
                        Ok(_) => {}
                        Err(bug) => copied = Err(bug),
                    }
                };
                opened = engine.receive_in_place(input, plain, out);
                // An alert, or the answer to a key update, may have to go out without any data.
                send(socket, spill, cx, out.bytes()?)
            });
            if let Err(error) = copied.map_err(io::Error::from).and(sent) {
                if Impossible::of(&error).is_some() {
                    return Poll::Ready(end_of(&error));
                }
                end.get_or_insert(of_error(&error));
            }
            if opened > 0 {
                scratch.opened = Some(start);
                return Poll::Ready(Readout::Bytes(opened));
            }
            if filled > 0 {
                return Poll::Ready(Readout::Bytes(filled));
            }
        }
    }

    fn poll_read_gateway(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Readout> {
        let Self {
            socket,
            tls: Tls::Gateway(tls),
            end,
            broken,
            ..
        } = self
        else {
            return Poll::Pending;
        };
        loop {
            match tls.take_plaintext(&mut scratch.plain, 0, end) {
                Ok(0) => {}
                Ok(filled) => return Poll::Ready(Readout::Bytes(filled)),
                Err(bug) => return Poll::Ready(end_of(&bug.into())),
            }
            if let Some((end, cause)) = end.clone() {
                return Poll::Ready(Readout::End(end, cause));
            }
            let count = match poll_records(socket, cx, &mut scratch.cipher, 0, broken) {
                Poll::Pending => {
                    tls.shrink();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(end)) => return Poll::Ready(end),
            };
            let fed = match slice(&scratch.cipher, ..count, Impossible::Read) {
                Ok(fed) => fed,
                Err(bug) => return Poll::Ready(end_of(&bug.into())),
            };
            let filled = tls.decrypt(socket, cx, fed, &mut scratch.plain, end);
            if filled > 0 {
                return Poll::Ready(Readout::Bytes(filled));
            }
        }
    }
}

/// Writes records after those that already wait. Returns whether anything waits then.
fn send(
    socket: &mut Socket,
    spill: &mut Vec<u8>,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> io::Result<bool> {
    let count = if spill.is_empty() {
        socket.write(cx, bytes)?
    } else {
        0
    };
    spill.extend_from_slice(slice(bytes, count.., Impossible::Written)?);
    Ok(!spill.is_empty())
}

fn end_of(error: &io::Error) -> Readout {
    let (end, cause) = of_error(error);
    Readout::End(end, cause)
}

fn end_of_engine(end: &End) -> Ended {
    match end.failure() {
        Some(error) => of_error(&error),
        None => (TransportEnd::TlsClose, None),
    }
}

/// Copies the `kept` bytes right before the `count` bytes that were read to offset [`KEPT`]. Returns the offset of the
/// first byte, and the whole slice.
fn prepend_kept<'a>(
    kept: &[u8],
    cipher: &'a mut [u8],
    count: usize,
) -> Result<(usize, &'a mut [u8]), Impossible> {
    let start = KEPT - at_most(kept.len(), KEPT, Impossible::KeptRecord)?;
    let input = slice_mut(cipher, start..KEPT + count, Impossible::Read)?;
    slice_mut(input, ..kept.len(), Impossible::KeptRecord)?.copy_from_slice(kept);
    Ok((start, input))
}

/// Reads records from the socket of a TLS leg into `cipher` at `from`. The error is how the leg ended: as an earlier
/// write failed, or else without `close_notify`, which the engine would have reported.
fn poll_records(
    socket: &mut Socket,
    cx: &mut Context<'_>,
    cipher: &mut [u8],
    from: usize,
    broken: &mut Option<(TransportEnd, EndCause)>,
) -> Poll<Result<usize, Readout>> {
    let room = match slice_mut(cipher, from..from + READ_SIZE, Impossible::Buffer) {
        Ok(room) => room,
        Err(bug) => return Poll::Ready(Err(end_of(&bug.into()))),
    };
    Poll::Ready(match ready!(socket.poll_read(cx, room)) {
        Err(error) => Err(end_of(&error)),
        Ok(0) => {
            let (end, cause) = broken
                .take()
                .unwrap_or_else(|| cause::of_error(&io::ErrorKind::UnexpectedEof.into()));
            Err(Readout::End(end, Some(cause)))
        }
        Ok(count) => Ok(count),
    })
}

#[cfg(test)]
mod tests;
