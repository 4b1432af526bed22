//! TLS with one client, without I/O: records in and plaintext out, and the reverse. The rest of the
//! program uses only this interface, and does not depend on that of the TLS library.
//!
//! * `library.rs` drives the library's connection: the handshake, and all of TLS 1.2.
//! * `records.rs` opens and seals the records of TLS 1.3 after the handshake.
//! * `out.rs` has the records to send, and the end of a connection.
//!
//! Both work on the caller's buffers, so an idle connection holds none. Only the front of an unfinished
//! record is kept.

mod library;
mod out;
mod records;

use std::sync::Arc;
use std::{fmt, io};

use rustls::{CommonState, Error, InvalidMessage, ServerConfig};

use self::library::Library;
use self::out::of_tls;
pub(crate) use self::out::{End, Out};
use self::records::Records;
use crate::transport::impossible::{Impossible, slice};

/// Maximum number of bytes that are kept of an unfinished record or handshake message. A record has 18 KiB at most, and
/// no useful handshake message is longer than this.
pub(crate) const KEPT: usize = 64 * 1024;

/// TLS of one connection.
pub struct TlsEngine {
    layer: Layer,
    /// The front of a record, or of a handshake message.
    kept: Vec<u8>,
    end: Option<End>,
}

enum Layer {
    /// During the handshake, and for all of TLS 1.2.
    Library(Box<Library>),
    /// TLS 1.3 after the handshake.
    Records(Box<Records>),
}

impl fmt::Debug for TlsEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsEngine").finish_non_exhaustive()
    }
}

/// From the first byte to the end of the handshake.
impl TlsEngine {
    /// Sets the options of a configuration that an engine needs.
    pub(super) fn configure(config: &mut ServerConfig) {
        // `records.rs` gets the keys.
        config.enable_secret_extraction = true;
    }

    /// An engine for a connection of which `read` has already been read.
    /// [`TlsEngine::receive_kept`] processes it.
    pub(super) fn new(config: Arc<ServerConfig>, read: Vec<u8>) -> io::Result<Self> {
        let library = Library::new(config).map_err(of_tls)?;
        Ok(Self {
            layer: Layer::Library(Box::new(library)),
            kept: read,
            end: None,
        })
    }

    /// What the handshake has negotiated so far; `None` after [`TlsEngine::settle`].
    pub(super) fn facts(&self) -> Option<&CommonState> {
        match &self.layer {
            Layer::Library(library) => Some(library.facts()),
            Layer::Records(_) => None,
        }
    }

    /// Whether the handshake is incomplete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.facts().is_some_and(CommonState::is_handshaking)
    }

    /// Whether TLS 1.3 is agreed.
    pub(super) fn is_tls13(&self) -> bool {
        match &self.layer {
            Layer::Library(library) => library.is_tls13(),
            Layer::Records(_) => true,
        }
    }

    /// Frees what only the handshake needs, after it and once its records are taken. Bytes that followed
    /// the handshake may be kept; [`TlsEngine::receive_kept`] must be called next.
    pub(super) fn settle(self) -> io::Result<Self> {
        let layer = match self.layer {
            Layer::Library(library) if self.end.is_none() && library.is_tls13() => {
                let records = Records::new(library.into_connection()).map_err(of_tls)?;
                Layer::Records(Box::new(records))
            }
            other => other,
        };
        Ok(Self { layer, ..self })
    }
}

/// Records to plaintext.
impl TlsEngine {
    /// How the connection ended, once everything before the end has been handed out.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The kept bytes, which come before those that are read next.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Lets `read` append to the kept bytes, with room for `more`. [`TlsEngine::receive_kept`] processes them. If
    /// nothing is kept, the buffer is freed.
    pub(super) fn read_with<R>(&mut self, more: usize, read: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.kept.reserve(more);
        let result = read(&mut self.kept);
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
        result
    }

    /// Processes the kept bytes: `plain` gets the plaintext, `out` the records to answer with.
    pub(super) fn receive_kept(&mut self, plain: impl FnMut(&[u8]), out: &mut Out) {
        let mut input = std::mem::take(&mut self.kept);
        self.receive(&mut input, plain, out);
    }

    /// Takes `input`: the bytes that were kept, then those that were read.
    fn receive(&mut self, input: &mut [u8], mut plain: impl FnMut(&[u8]), out: &mut Out) {
        let count = self.receive_in_place(input, &mut plain, out);
        if count > 0 {
            match slice(input, ..count, Impossible::Plaintext) {
                Ok(bytes) => plain(bytes),
                Err(bug) => self.fail(bug.into(), out),
            }
        }
    }

    /// Takes `input`: the bytes that were kept, then those that were read. The plaintext is either given
    /// to `plain`, or it is at the front of `input`: then its length is returned.
    pub fn receive_in_place(
        &mut self,
        input: &mut [u8],
        plain: impl FnMut(&[u8]),
        out: &mut Out,
    ) -> usize {
        let (taken, count) = match &mut self.layer {
            Layer::Library(library) => (library.receive(input, plain, out, &mut self.end), 0),
            Layer::Records(records) => records.receive(input, out, &mut self.end),
        };
        let rest = match slice(input, taken.., Impossible::Consumed) {
            Ok(rest) => rest,
            Err(bug) => {
                self.fail(bug.into(), out);
                return 0;
            }
        };
        if self.end.is_some() || rest.is_empty() {
            self.kept = Vec::new();
        } else if rest.len() > KEPT {
            self.fail(InvalidMessage::HandshakePayloadTooLarge.into(), out);
        } else {
            self.kept.clear();
            self.kept.extend_from_slice(rest);
        }
        count
    }
}

impl TlsEngine {
    /// Ends the connection with `error`, and queues the alert for it.
    fn fail(&mut self, error: Error, out: &mut Out) {
        self.kept = Vec::new();
        self.end = Some(match &mut self.layer {
            Layer::Library(library) => library.fail(error, out),
            // This is not an input error: a whole record is always taken, and is never too long.
            Layer::Records(_) => End::Failed(error),
        });
    }
}

/// Plaintext to records.
impl TlsEngine {
    /// Seals `plain`, after the records that already wait to be sent.
    pub fn seal(&mut self, plain: &[u8], out: &mut Out) -> io::Result<()> {
        if let Some(End::Failed(error)) = &self.end {
            return Err(of_tls(error.clone()));
        }
        let sealed = match &mut self.layer {
            Layer::Records(records) => records.seal(plain, out),
            Layer::Library(library) => library.seal(&mut self.kept, plain, out, &mut self.end),
        };
        self.drop_kept_after_failure();
        sealed.map_err(of_tls)
    }

    /// Seals pieces as if they were one.
    pub(super) fn seal_all<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        out: &mut Out,
    ) -> io::Result<()> {
        let mut gathered = std::mem::take(&mut out.gathered);
        gathered.clear();
        for piece in pieces {
            gathered.extend_from_slice(piece);
        }
        let result = self.seal(&gathered, out);
        out.gathered = gathered;
        result
    }

    /// Sends `close_notify`, unless it or a fatal alert has been sent.
    pub fn close(&mut self, out: &mut Out) {
        if matches!(self.end, Some(End::Failed(_))) {
            return;
        }
        match &mut self.layer {
            Layer::Records(records) => records.close(out),
            Layer::Library(library) => library.close(&mut self.kept, out, &mut self.end),
        }
        self.drop_kept_after_failure();
    }

    fn drop_kept_after_failure(&mut self) {
        if matches!(self.end, Some(End::Failed(_))) {
            self.kept = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests;
