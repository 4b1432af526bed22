//! Checks of lengths on the path of relayed bytes.
//!
//! The length of a slice comes from another part of the program: a socket, the TLS code, hyper. A length that does not
//! fit its buffer is a bug. Taking an empty slice instead would lose bytes without a trace, and an empty buffer to read
//! into looks like a FIN. So such a length is an error, which ends the tunnel and makes its verdict `tap.fault.bug`.

use std::io;
use std::ops::RangeBounds;
use std::slice::SliceIndex;
use std::sync::Arc;

use crate::session::end_cause::EndCause;

/// A state that only a bug can produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// A buffer is shorter than what has to be read into it.
    #[error("a buffer is too small to read into")]
    Buffer,
    /// A read reported more bytes than its buffer holds.
    #[error("a read reported more bytes than its buffer holds")]
    Read,
    /// A write reported more bytes than were passed to it.
    #[error("a write reported more bytes than it was given")]
    Written,
    /// More bytes were written from the spill than it holds.
    #[error("more unwritten bytes were counted as written than there are")]
    Spill,
    /// The kept beginning of a TLS record does not fit in front of the bytes that are read after
    /// it.
    #[error("the kept front of a TLS record is too long")]
    KeptRecord,
    /// TLS returned more plaintext than there is room for.
    #[error("TLS returned more plaintext than there is room for")]
    Plaintext,
    /// TLS consumed more bytes than it was given.
    #[error("TLS consumed more bytes than it was given")]
    Consumed,
    /// TLS wrote more bytes of records than there is room for.
    #[error("TLS wrote longer records than there is room for")]
    Records,
    /// The TLS library is in a state that its contract rules out.
    #[error("unexpected state of the TLS connection")]
    TlsState,
    /// A cap lets more bytes pass than were read.
    #[error("a cap lets more bytes pass than were read")]
    Passes,
    /// A leg is read by a task other than the one that its waker wakes; the reading task would
    /// sleep for ever.
    #[error("a task reads a leg that wakes another task")]
    OtherTask,
    /// hyper returned an upgraded connection of a type that we did not pass to it.
    #[error("unexpected type of an upgraded connection")]
    Upgraded,
    /// hyper holds bytes of a client, although the gate gives it nothing after the head of an
    /// upgrade.
    #[error("hyper holds bytes behind the head of an upgrade")]
    ReadAhead,
}

impl Impossible {
    /// The bug that `error` reports, if it reports one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        if let Some(rustls::Error::Other(rustls::OtherError(inner))) = inner.downcast_ref() {
            return inner.downcast_ref().copied();
        }
        inner.downcast_ref().copied()
    }
}

impl From<Impossible> for io::Error {
    fn from(impossible: Impossible) -> Self {
        Self::other(impossible)
    }
}

impl From<Impossible> for rustls::Error {
    fn from(impossible: Impossible) -> Self {
        Self::Other(rustls::OtherError(Arc::new(impossible)))
    }
}

impl From<Impossible> for EndCause {
    fn from(impossible: Impossible) -> Self {
        Self::bug(impossible.to_string())
    }
}

/// The part of `bytes` in `range`; `wrong` if `bytes` is too short.
pub(crate) fn slice<R>(bytes: &[u8], range: R, wrong: Impossible) -> Result<&[u8], Impossible>
where
    R: SliceIndex<[u8], Output = [u8]> + RangeBounds<usize>,
{
    #[cfg(test)]
    if test_only::take_wrong(wrong) {
        return bytes.get(bytes.len() + 1..).ok_or(wrong);
    }
    bytes.get(range).ok_or(wrong)
}

/// Like [`slice()`], but mutable.
pub(crate) fn slice_mut<R>(
    bytes: &mut [u8],
    range: R,
    wrong: Impossible,
) -> Result<&mut [u8], Impossible>
where
    R: SliceIndex<[u8], Output = [u8]> + RangeBounds<usize>,
{
    #[cfg(test)]
    if test_only::take_wrong(wrong) {
        let beyond = bytes.len() + 1;
        return bytes.get_mut(beyond..).ok_or(wrong);
    }
    bytes.get_mut(range).ok_or(wrong)
}

/// Checks a byte `count` from another part of the program, which must be at most `most`.
pub(crate) fn at_most(count: usize, most: usize, wrong: Impossible) -> Result<usize, Impossible> {
    #[cfg(test)]
    let count = if test_only::take_wrong(wrong) {
        most + 1
    } else {
        count
    };
    if count <= most { Ok(count) } else { Err(wrong) }
}

/// Makes lengths wrong, on one thread.
#[cfg(test)]
pub(crate) mod test_only {
    use std::cell::Cell;

    use super::Impossible;

    thread_local! {
        static WRONG: Cell<Option<(Impossible, usize)>> = const { Cell::new(None) };
    }

    /// Makes one of the lengths checked for `wrong` too long from now on: the one after the first `right`.
    pub(crate) fn make_wrong(wrong: Impossible, right: usize) {
        WRONG.set(Some((wrong, right)));
    }

    /// Undoes [`make_wrong`]; returns whether its length was never checked.
    pub(crate) fn take_left() -> bool {
        WRONG.take().is_some()
    }

    pub(super) fn take_wrong(checked: Impossible) -> bool {
        match WRONG.get() {
            Some((wrong, 0)) if wrong == checked => WRONG.set(None),
            Some((wrong, right)) if wrong == checked => {
                WRONG.set(Some((wrong, right - 1)));
                return false;
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_the_buffer_is_an_error() {
        let mut bytes = [1, 2, 3];
        let wrong = Impossible::Read;
        assert_eq!(slice(&bytes, ..3, wrong), Ok(&[1, 2, 3][..]));
        assert_eq!(slice(&bytes, 3.., wrong), Ok(&[][..]));
        assert_eq!(slice(&bytes, ..4, wrong), Err(wrong));
        assert_eq!(slice(&bytes, 4.., wrong), Err(wrong));
        assert_eq!(slice_mut(&mut bytes, 2..4, wrong), Err(wrong));
        assert_eq!(at_most(3, 3, wrong), Ok(3));
        assert_eq!(at_most(4, 3, wrong), Err(wrong));
    }

    #[test]
    fn a_bug_is_known_also_as_an_error_of_tls() {
        let bug = Impossible::Consumed;
        assert_eq!(Impossible::of(&bug.into()), Some(bug));
        let tls = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::from(bug));
        assert_eq!(Impossible::of(&tls), Some(bug));
        let peer = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert_eq!(Impossible::of(&peer), None);
        assert_eq!(Impossible::of(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
