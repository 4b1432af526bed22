//! From bytes to lines, and from lines to a request line and header fields (RFC 9112 sections 2
//! to 5), strictly: CR LF ends a line, nothing else does, and no line continues another.

use std::ops::Range;

use super::limits::Limits;
use super::octets::{is_token, is_token_byte, is_value_byte, trim};
use super::raw::{Field, RawHead, RequestLine, Version};
use super::refusal::Refusal;
use super::target;
use crate::session::record::HeadFault;

/// Maximum length of a method; the registered ones have up to 17 characters.
pub(super) const MAX_METHOD: usize = 32;

/// Maximum length of a header name.
pub(super) const MAX_NAME: usize = 256;

/// A head that is being read. Offsets count from the head's first byte.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Number of bytes already searched for the end of a line.
    searched: usize,
    /// Where the current line begins.
    begin: usize,
    line: Option<RequestLine>,
    fields: Vec<Field>,
}

impl Lines {
    /// Continues reading. Returns `Some` with the head's length once the empty line has come.
    pub(super) fn read(&mut self, bytes: &[u8], limits: Limits) -> Result<Option<usize>, Refusal> {
        loop {
            let unseen = bytes.get(self.searched..).unwrap_or_default();
            let Some(found) = memchr::memchr(b'\n', unseen) else {
                self.searched = bytes.len();
                self.look_at_part(bytes.get(self.begin..).unwrap_or_default())?;
                return too_long(bytes.len(), limits).map(|()| None);
            };
            let end = self.searched + found;
            let (begin, next) = (self.begin, end + 1);
            self.searched = next;
            self.begin = next;
            too_long(next, limits)?;
            let line = bytes.get(begin..end).unwrap_or_default();
            self.look_at_part(line)?;
            let line = without_cr(line)?;
            if self.line.is_none() {
                self.line = Some(request_line(line, begin)?);
            } else if line.is_empty() {
                return Ok(Some(next));
            } else {
                self.fields.push(field(line, begin)?);
                if self.fields.len() > limits.fields {
                    return Err(too_many(limits));
                }
            }
        }
    }

    pub(super) fn into_head(self, bytes: &[u8]) -> RawHead {
        RawHead::new(bytes, self.line, self.fields)
    }

    /// Refuses input that is not HTTP at once, without waiting for the end of a line that may never
    /// come.
    fn look_at_part(&self, part: &[u8]) -> Result<(), Refusal> {
        if self.line.is_some() {
            return Ok(());
        }
        let method = part.split(|byte| *byte == b' ').next().unwrap_or_default();
        // A CR may be the first half of a line end.
        let method = method.strip_suffix(b"\r").unwrap_or(method);
        if method.len() > MAX_METHOD || !method.iter().copied().all(is_token_byte) {
            return Err(no_http());
        }
        Ok(())
    }
}

pub(super) fn too_long(length: usize, limits: Limits) -> Result<(), Refusal> {
    if length <= limits.bytes {
        return Ok(());
    }
    let detail = format!(
        "the head has more than {} bytes, the limit set by limits.head_bytes",
        limits.bytes
    );
    Err(Refusal::over(HeadFault::HeadBytes, limits.bytes, detail))
}

pub(super) fn too_many(limits: Limits) -> Refusal {
    let detail = format!(
        "the head has more than {} header lines, the limit set by limits.headers",
        limits.fields
    );
    Refusal::over(HeadFault::Headers, limits.fields, detail)
}

fn no_http() -> Refusal {
    let detail = "the input does not begin with a method and a blank";
    Refusal::new(HeadFault::NotHttp, detail)
}

/// The line before its LF, without the CR that must precede it.
fn without_cr(line: &[u8]) -> Result<&[u8], Refusal> {
    let Some(line) = line.strip_suffix(b"\r") else {
        let detail = "a line ends with LF alone";
        return Err(Refusal::new(HeadFault::BareLf, detail));
    };
    if memchr::memchr(b'\r', line).is_some() {
        let detail = "there is a CR in the middle of a line";
        return Err(Refusal::new(HeadFault::BareCr, detail));
    }
    Ok(line)
}

/// `method SP request-target SP HTTP-version` (RFC 9112 section 3).
fn request_line(line: &[u8], begin: usize) -> Result<RequestLine, Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let method = parts.next().unwrap_or_default();
    if !is_token(method) || method.len() > MAX_METHOD {
        return Err(no_http());
    }
    let (Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next()) else {
        let detail = "the request line has not exactly three parts with one blank between them";
        return Err(Refusal::new(HeadFault::RequestLine, detail));
    };
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        b"HTTP/2.0" if method == b"PRI" && target == b"*" => {
            let detail = "the HTTP/2 preface came on a connection that speaks HTTP/1.1; HTTP/2 is \
                          spoken over TLS only, where ALPN agrees on h2";
            return Err(Refusal::new(HeadFault::Http2Preface, detail));
        }
        _ => {
            let detail = "the version is neither HTTP/1.1 nor HTTP/1.0";
            return Err(Refusal::new(HeadFault::Version, detail));
        }
    };
    target::check(method, target)?;
    let target_at = begin + method.len() + 1;
    Ok(RequestLine {
        method: range(begin, method.len()),
        target: range(target_at, target.len()),
        version,
    })
}

/// `field-name ":" OWS field-value OWS` (RFC 9112 section 5).
fn field(line: &[u8], begin: usize) -> Result<Field, Refusal> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        let detail = "a header line continues the one before it (obs-fold)";
        return Err(Refusal::new(HeadFault::ObsFold, detail));
    }
    let (name, value) = split_field(line)?;
    let value_at = begin + (line.len() - value.len());
    let trimmed = trim(value);
    // `trim` cuts both ends: the value begins after the leading blanks.
    let blanks = value
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count()
        .min(value.len() - trimmed.len());
    Ok(Field {
        name: range(begin, name.len()),
        value: range(value_at + blanks, trimmed.len()),
    })
}

/// Name and value of a line, both well-formed. Also used for trailers.
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let fault = |fault, detail: &str| Err(Refusal::new(fault, detail));
    let Some(colon) = memchr::memchr(b':', line) else {
        return fault(HeadFault::FieldName, "a header line has no colon");
    };
    let (name, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default();
    if name.ends_with(b" ") || name.ends_with(b"\t") {
        let detail = "there is a blank between a header's name and its colon";
        return fault(HeadFault::SpaceBeforeColon, detail);
    }
    if !is_token(name) || name.len() > MAX_NAME {
        return fault(HeadFault::FieldName, "a header's name is no token");
    }
    if !value.iter().copied().all(is_value_byte) {
        let detail = format!(
            "the value of {} holds a control character",
            String::from_utf8_lossy(name)
        );
        return Err(Refusal::new(HeadFault::ControlByte, detail));
    }
    Ok((name, value))
}

fn range(at: usize, length: usize) -> Range<usize> {
    at..at + length
}
