//! What a TLS session gives out: records to be written, and how it ended.

use std::cell::Cell;

use rustls::Error;
use rustls::unbuffered::{EncodeError, EncryptError, InsufficientSizeError};

thread_local! {
    static OUT: Cell<Option<Box<Out>>> = const { Cell::new(None) };
}

/// Records that are to be written. It grows to what is needed and stays so: one for each thread.
#[derive(Debug, Default)]
pub struct Out {
    bytes: Vec<u8>,
    filled: usize,
    /// Where pieces are put together that belong into one record.
    pub(super) gathered: Vec<u8>,
}

impl Out {
    /// Lends the thread's.
    pub fn lent<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        let mut out = OUT.take().unwrap_or_default();
        out.clear();
        let result = work(&mut out);
        OUT.set(Some(out));
        result
    }

    /// Forgets what there was to write, and keeps the room for it.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// What there is to write.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Has `write` fill so many bytes more, which it may also leave.
    pub(super) fn append(
        &mut self,
        count: usize,
        write: impl FnOnce(&mut [u8]) -> Option<()>,
    ) -> Option<()> {
        let end = self.filled + count;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        write(self.bytes.get_mut(self.filled..end)?)?;
        self.filled = end;
        Some(())
    }

    pub(super) fn put<E: Into<Refused>>(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), Error> {
        // The first one tells how much room it takes.
        for _ in 0..2 {
            let room = self.bytes.get_mut(self.filled..).unwrap_or_default();
            match write(room).map_err(Into::into) {
                Ok(count) => {
                    self.filled += count;
                    return Ok(());
                }
                Err(Refused::Room(needed)) => self.bytes.resize(self.filled + needed, 0),
                Err(Refused::Error(error)) => return Err(error),
            }
        }
        Err(unexpected())
    }
}

/// Why nothing was written into a buffer.
pub(super) enum Refused {
    /// So much room is needed.
    Room(usize),
    /// The library's error.
    Error(Error),
}

impl From<EncodeError> for Refused {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Room(required_size)
            }
            EncodeError::AlreadyEncoded => Self::Error(unexpected()),
        }
    }
}

impl From<EncryptError> for Refused {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Room(required_size)
            }
            EncryptError::EncryptExhausted => Self::Error(Error::EncryptError),
        }
    }
}

/// The library's contract rules it out.
pub(super) fn unexpected() -> Error {
    Error::General("unexpected state of the TLS connection".to_owned())
}

/// How a session came to its end; nothing that comes behind it is looked at.
#[derive(Debug)]
pub enum End {
    /// By `close_notify`.
    Closed,
    /// By a fault of either side's.
    Failed(Error),
}
