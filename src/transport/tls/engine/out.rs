//! Records to send, and how a TLS connection ended.

use std::cell::Cell;
use std::io;

use rustls::Error;

use crate::transport::impossible::{Impossible, at_most, slice, slice_mut};

thread_local! {
    static OUT: Cell<Option<Box<Out>>> = const { Cell::new(None) };
}

/// Records to send. The buffer grows as needed and is kept; each thread has one.
#[derive(Debug, Default)]
pub struct Out {
    bytes: Vec<u8>,
    filled: usize,
    /// Scratch buffer in which pieces of one record are joined.
    pub(super) gathered: Vec<u8>,
}

impl Out {
    /// Lends the thread's buffer, emptied.
    pub fn lent<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        let mut out = OUT.take().unwrap_or_default();
        out.clear();
        let result = work(&mut out);
        OUT.set(Some(out));
        result
    }

    /// Drops the records, and keeps the allocation.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// The records.
    pub fn bytes(&self) -> Result<&[u8], Impossible> {
        slice(&self.bytes, ..self.filled, Impossible::Records)
    }

    /// Appends `count` bytes that `write` fills in, or nothing if it fails.
    pub(super) fn append(
        &mut self,
        count: usize,
        write: impl FnOnce(&mut [u8]) -> Option<()>,
    ) -> Result<(), Error> {
        let end = self.filled + count;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let room = slice_mut(&mut self.bytes, self.filled..end, Impossible::Records)?;
        write(room).ok_or(Error::EncryptError)?;
        self.filled = end;
        Ok(())
    }

    /// The free room after the records.
    pub(super) fn room(&mut self) -> Result<&mut [u8], Impossible> {
        slice_mut(&mut self.bytes, self.filled.., Impossible::Records)
    }

    /// Sets the length of [`Out::room`].
    pub(super) fn make_room(&mut self, count: usize) {
        self.bytes.resize(self.filled + count, 0);
    }

    /// Marks the first `count` bytes of [`Out::room`] as records.
    pub(super) fn fill(&mut self, count: usize) -> Result<(), Impossible> {
        let most = self.bytes.len().saturating_sub(self.filled);
        self.filled += at_most(count, most, Impossible::Records)?;
        Ok(())
    }
}

/// How a connection ended. Input after the end is ignored.
#[derive(Debug)]
pub enum End {
    /// By `close_notify`.
    Closed,
    /// By a fault of either side.
    Failed(Error),
}

impl End {
    /// The failure as an I/O error; `None` after `close_notify`.
    #[must_use]
    pub fn failure(&self) -> Option<io::Error> {
        match self {
            Self::Closed => None,
            Self::Failed(error) => Some(of_tls(error.clone())),
        }
    }
}

pub(super) fn of_tls(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
