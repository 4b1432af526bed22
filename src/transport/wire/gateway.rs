//! TLS with the gateway. The library is fed slices of our buffer: by itself it would read only 4
//! KiB at a time from a socket.

use std::io::{self, Read as _};
use std::task::{Context, Poll};

use rustls::ClientConnection;

use super::end::{Ended, of_error};
use super::socket::Socket;
use crate::session::record::TransportEnd;
use crate::transport::impossible::{Impossible, slice_mut};

/// The state of its TLS.
#[derive(Debug)]
pub(super) struct Gateway {
    tls: ClientConnection,
    /// Whether the library was fed since its buffer was last shrunk.
    fed: bool,
}

impl Gateway {
    pub(super) fn new(mut tls: ClientConnection) -> Self {
        // Bounded by us: nothing is written while anything waits.
        tls.set_buffer_limit(None);
        Self { tls, fed: false }
    }

    pub(super) fn is_flushed(&self) -> bool {
        !self.tls.wants_write()
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.tls.writer(), bytes)
    }

    pub(super) fn close(&mut self) {
        self.tls.send_close_notify();
    }

    /// Makes the TLS state free the memory that a long record took. It would do so by itself, but
    /// only when it is fed again, and an idle session would hold up to twice the length of a
    /// record.
    pub(super) fn shrink(&mut self) {
        struct NotNow;
        impl io::Read for NotNow {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
        if std::mem::take(&mut self.fed) {
            // The library shrinks its buffer before it reads.
            let _ = self.tls.read_tls(&mut NotNow);
        }
    }

    /// Decrypts what was read into `plain` and returns the number of plaintext bytes. An end of the
    /// stream is stored in `end`; bytes after it are ignored (RFC 8446 section 6.1).
    pub(super) fn decrypt(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        mut fed: &[u8],
        plain: &mut [u8],
        end: &mut Option<Ended>,
    ) -> usize {
        // Small pieces grow its buffer as well: it holds a record until the record is complete.
        self.fed = true;
        let mut filled = 0;
        let mut failed = |error: &io::Error| {
            end.get_or_insert(of_error(error));
        };
        while !fed.is_empty() {
            match self.tls.read_tls(&mut fed) {
                // After close_notify the library takes no more bytes.
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    failed(&error);
                    break;
                }
            }
            let processed = self.tls.process_new_packets();
            let mut closed = None;
            filled = match self.take_plaintext(plain, filled, &mut closed) {
                Ok(filled) => filled,
                Err(bug) => {
                    failed(&bug.into());
                    break;
                }
            };
            // An alert, or the answer to a key update, may have to go out without any data.
            let flushed = self.flush(socket, cx);
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

    /// Appends decrypted bytes after the first `filled` of `plain` and returns the new fill. Stores
    /// a `close_notify` once all bytes before it are moved.
    pub(super) fn take_plaintext(
        &mut self,
        plain: &mut [u8],
        filled: usize,
        end: &mut Option<Ended>,
    ) -> Result<usize, Impossible> {
        let mut at = filled;
        loop {
            let room = slice_mut(plain, at.., Impossible::Plaintext)?;
            if room.is_empty() {
                break;
            }
            match self.tls.reader().read(room) {
                Ok(0) => {
                    end.get_or_insert((TransportEnd::TlsClose, None));
                    break;
                }
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    end.get_or_insert(of_error(&error));
                    break;
                }
            }
        }
        Ok(at)
    }

    pub(super) fn flush(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> io::Result<Poll<()>> {
        struct Adapter<'a, 'b> {
            socket: &'a mut Socket,
            cx: &'a mut Context<'b>,
        }
        fn now<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
            match poll {
                Poll::Ready(result) => result,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            }
        }
        impl io::Write for Adapter<'_, '_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                now(self.socket.poll_write(self.cx, bytes))
            }
            fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
                now(self.socket.poll_write_vectored(self.cx, bufs))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Adapter { socket, cx }) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Poll::Pending);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Poll::Ready(()))
    }
}
