//! Why the transport of a leg ended: in words for people, and as a kind for rules.

use std::fmt;

use super::record::StreamReset;
use super::record::stream_fault::StreamFault;

/// Why a transport ended other than in order. One pointer: an open session has room for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndCause(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    words: String,
    fault: Option<StreamFault>,
    reset: Option<StreamReset>,
}

impl EndCause {
    /// The system's or TLS's own words. With `fault`, what the peer sent was the reason.
    #[must_use]
    pub fn new(words: String, fault: Option<StreamFault>) -> Self {
        Self(Box::new(Inner {
            words,
            fault,
            reset: None,
        }))
    }

    /// The peer reset its stream of HTTP/2, in words and as a kind.
    #[must_use]
    pub fn reset(words: String, reset: StreamReset) -> Self {
        Self(Box::new(Inner {
            words,
            fault: None,
            reset: Some(reset),
        }))
    }

    /// For people.
    #[must_use]
    pub fn words(&self) -> &str {
        &self.0.words
    }

    /// What of the stream was wrong.
    #[must_use]
    pub fn fault(&self) -> Option<&StreamFault> {
        self.0.fault.as_ref()
    }

    /// How the peer reset its stream, if that is what it did.
    #[must_use]
    pub fn stream_reset(&self) -> Option<StreamReset> {
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

/// An I/O error carries the cause of the connection below to a stream of it.
impl std::error::Error for EndCause {}
