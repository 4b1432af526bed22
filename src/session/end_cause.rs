//! Why the transport of a leg ended: as text for people and as a kind for rules.

use std::fmt;

use super::record::Http2Error;
use super::record::stream_fault::StreamFault;

/// Why a transport ended abnormally. Boxed into one pointer: an open session holds several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndCause(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    words: String,
    fault: Option<StreamFault>,
    reset: Option<Http2Error>,
    bug: bool,
}

impl EndCause {
    /// The error text of the system or of TLS. With `fault`, the peer sent something that caused
    /// the error.
    #[must_use]
    pub fn new(words: String, fault: Option<StreamFault>) -> Self {
        Self(Box::new(Inner {
            words,
            fault,
            reset: None,
            bug: false,
        }))
    }

    /// For an assumption of ours that did not hold.
    #[must_use]
    pub fn bug(words: String) -> Self {
        Self(Box::new(Inner {
            words,
            fault: None,
            reset: None,
            bug: true,
        }))
    }

    /// For a peer that reset its HTTP/2 stream, as text and as a kind.
    #[must_use]
    pub fn reset(words: String, reset: Http2Error) -> Self {
        Self(Box::new(Inner {
            words,
            fault: None,
            reset: Some(reset),
            bug: false,
        }))
    }

    /// The text for people.
    #[must_use]
    pub fn words(&self) -> &str {
        &self.0.words
    }

    /// Whether a bug of ours ended the transport.
    #[must_use]
    pub fn is_bug(&self) -> bool {
        self.0.bug
    }

    /// The error in the stream.
    #[must_use]
    pub fn fault(&self) -> Option<&StreamFault> {
        self.0.fault.as_ref()
    }

    /// The error code, if the peer reset its stream.
    #[must_use]
    pub fn stream_reset(&self) -> Option<Http2Error> {
        self.0.reset
    }
}

impl From<String> for EndCause {
    fn from(words: String) -> Self {
        Self::new(words, None)
    }
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// An I/O error carries the cause from the underlying connection up to a stream on it.
impl std::error::Error for EndCause {}
