//! A request head as received.

use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

/// A head with its order, spelling and duplicates. It may hold secrets: it cannot be printed, and
/// is wiped when it is dropped.
#[derive(Default)]
pub struct RawHead {
    bytes: Zeroizing<Vec<u8>>,
    line: Option<RequestLine>,
    fields: Vec<Field>,
}

/// Positions of the parts of a request line.
#[derive(Clone, Debug)]
pub(super) struct RequestLine {
    pub(super) method: Range<usize>,
    pub(super) target: Range<usize>,
    pub(super) version: Version,
}

/// The HTTP version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
    /// HTTP/2, written out as lines.
    Http2,
}

/// Positions of the parts of a header line.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: Range<usize>,
    /// Without the blanks around it.
    pub(super) value: Range<usize>,
}

impl RawHead {
    pub(super) fn new(bytes: &[u8], line: Option<RequestLine>, fields: Vec<Field>) -> Self {
        Self {
            bytes: Zeroizing::new(bytes.to_vec()),
            line,
            fields,
        }
    }

    /// There was a request line.
    #[must_use]
    pub fn has_request_line(&self) -> bool {
        self.line.is_some()
    }

    /// The method; empty without a request line.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.line
            .as_ref()
            .map_or(b"", |line| self.slice(&line.method))
    }

    /// The request target as sent; empty without a request line.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.line
            .as_ref()
            .map_or(b"", |line| self.slice(&line.target))
    }

    /// `HTTP/1.1` for example; empty without a request line.
    #[must_use]
    pub fn http_version(&self) -> &'static str {
        match self.version() {
            Some(Version::Http10) => "HTTP/1.0",
            Some(Version::Http11) => "HTTP/1.1",
            Some(Version::Http2) => "HTTP/2.0",
            None => "",
        }
    }

    /// The digit after `HTTP/1.`
    #[must_use]
    pub fn minor_version(&self) -> Option<u8> {
        match self.version()? {
            Version::Http10 => Some(0),
            Version::Http11 => Some(1),
            Version::Http2 => None,
        }
    }

    pub(super) fn version(&self) -> Option<Version> {
        self.line.as_ref().map(|line| line.version)
    }

    /// Names as spelled and values without the blanks around them, line by line.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields
            .iter()
            .map(|field| (self.slice(&field.name), self.slice(&field.value)))
    }

    /// The values of the lines of this name, in any case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Number of bytes of the head.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for RawHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawHead")
            .field("bytes", &self.bytes.len())
            .field("fields", &self.fields.len())
            .finish_non_exhaustive()
    }
}
