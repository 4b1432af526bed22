//! How the far end of a leg ended.

use std::io;

use crate::session::end_cause::EndCause;
use crate::session::record::TransportEnd;
use crate::transport::cause;

/// A failed write: the far end cannot be written to any more.
#[derive(Debug)]
pub(crate) struct WriteEnd(pub TransportEnd, pub EndCause);

impl From<io::Error> for WriteEnd {
    fn from(error: io::Error) -> Self {
        let (end, cause) = cause::of_error(&error);
        Self(end, cause)
    }
}

/// How a far end ended, and its cause.
pub(super) type Ended = (TransportEnd, Option<EndCause>);

/// The end that an error of the socket or of the TLS library means.
pub(super) fn of_error(error: &io::Error) -> Ended {
    let (end, cause) = cause::of_error(error);
    (end, Some(cause))
}
