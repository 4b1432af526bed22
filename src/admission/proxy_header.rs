//! The header that a proxy sends at the start of a connection to name the client: the PROXY
//! protocol, version 1 (text) and 2 (binary).
//!
//! Only listed peers may send one, and they must: it is never guessed. [`Reader`] is offered the
//! bytes received so far and returns how many of them belong to the header, so that the bytes after
//! it stay in place. The input is hostile: the reader holds at most [`MAX_LENGTH`] bytes, and no
//! more than were received.
//!
//! The parser is the `ppp` crate; this module checks what that crate lets pass: lengths, signs in
//! ports, datagrams, the TLVs as a whole and their CRC32C.

use std::net::SocketAddr;

use crc::{CRC_32_ISCSI, Crc};
use ppp::{v1, v2};

use crate::session::record::FirstBytes;
use crate::session::record::proxy_protocol::{
    ProxyCommand, ProxyFault, ProxyFaultKind, ProxyProtocolFacts, ProxyTls,
};
use crate::session::text::PeerText;

/// Maximum length of a header. Version 1 has at most 107 bytes; version 2 could have 64 KiB, but no
/// header in practice comes near this limit.
pub(crate) const MAX_LENGTH: usize = 4096;

const V1_PREFIX: &[u8] = b"PROXY ";
const V1_LONGEST: usize = 107;
/// Signature, version and command, family, length.
const V2_FIXED: usize = 16;

/// CRC-32C (Castagnoli), RFC 4960 appendix B.
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Number of leading bytes that identify the input.
const FIRST: usize = 8;

/// Maximum length of a TLV's text that a record keeps.
const TEXT_CAP: usize = 255;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client, where it names one.
    pub client: Option<SocketAddr>,
    /// Facts for the record.
    pub facts: ProxyProtocolFacts,
}

/// Reads a header as it comes.
#[derive(Debug, Default)]
pub struct Reader {
    have: Vec<u8>,
    /// The first bytes received where a header should be, taken or not.
    instead: Vec<u8>,
}

/// What is still missing.
enum Step {
    /// At least this many bytes, all of which belong to the header.
    Bytes(usize),
    /// Everything up to the next line feed.
    Line,
    Over(Box<Result<Header, ProxyFault>>),
}

impl Step {
    fn over(result: Result<Header, ProxyFault>) -> Self {
        Self::Over(Box::new(result))
    }
}

impl Reader {
    /// Reads bytes that follow those it has taken. Returns how many of them it takes, and, once
    /// known, the header or what is wrong with it.
    pub fn offer(&mut self, seen: &[u8]) -> (usize, Option<Result<Header, ProxyFault>>) {
        let mut left = seen;
        loop {
            let count = match self.step() {
                Step::Over(result) => {
                    let front = self.have.iter().chain(left).take(FIRST);
                    self.instead = front.copied().collect();
                    return (seen.len() - left.len(), Some(*result));
                }
                Step::Bytes(count) => count,
                Step::Line => {
                    let room = V1_LONGEST - self.have.len();
                    let line = left.iter().position(|byte| *byte == b'\n');
                    line.map_or(room, |end| room.min(end + 1))
                }
            };
            let (taken, rest) = left.split_at(count.min(left.len()));
            if taken.is_empty() {
                return (seen.len() - left.len(), None);
            }
            self.have.extend_from_slice(taken);
            left = rest;
        }
    }

    /// The connection ended: returns the fault, or `None` if no byte was received.
    #[must_use]
    pub fn cut(&self) -> Option<ProxyFault> {
        let count = self.have.len();
        (count > 0).then(|| {
            let detail = format!("the connection ended after {count} bytes of it");
            fault(ProxyFaultKind::Cut, detail)
        })
    }

    /// The header did not come in time.
    #[must_use]
    pub fn late(&self) -> ProxyFault {
        let detail = match self.have.len() {
            0 => "not one byte of it came in time".to_owned(),
            count => format!("only {count} bytes of it came in time"),
        };
        fault(ProxyFaultKind::Late, detail)
    }

    /// What the bytes received so far look like.
    #[must_use]
    pub fn first_bytes(&self) -> FirstBytes {
        let front = if self.instead.is_empty() {
            &self.have
        } else {
            &self.instead
        };
        FirstBytes::of(front.get(..FIRST).unwrap_or(front))
    }

    fn step(&self) -> Step {
        let have = self.have.as_slice();
        if have.starts_with(V1_PREFIX) {
            return if have.ends_with(b"\n") {
                Step::over(text(have))
            } else if have.len() >= V1_LONGEST {
                let detail = format!("no end of the line within {V1_LONGEST} bytes");
                Step::over(Err(fault(ProxyFaultKind::TooLong, detail)))
            } else {
                Step::Line
            };
        }
        if V1_PREFIX.starts_with(have) {
            return Step::Bytes(V1_PREFIX.len() - have.len());
        }
        let signature = v2::PROTOCOL_PREFIX;
        let front = have.get(..signature.len()).unwrap_or(have);
        if !signature.starts_with(front) {
            let detail = "the input is not a PROXY header";
            return Step::over(Err(fault(ProxyFaultKind::Missing, detail)));
        }
        let Some(length) = declared(have) else {
            return Step::Bytes(V2_FIXED - have.len());
        };
        if V2_FIXED + length > MAX_LENGTH {
            let detail = format!("it claims {length} bytes; at most {MAX_LENGTH} are read");
            return Step::over(Err(fault(ProxyFaultKind::TooLong, detail)));
        }
        match (V2_FIXED + length).checked_sub(have.len()) {
            Some(0) | None => Step::over(binary(have)),
            Some(missing) => Step::Bytes(missing),
        }
    }
}

/// The length that a version 2 header declares for the part after its fixed part.
fn declared(have: &[u8]) -> Option<usize> {
    let bytes = have.get(V2_FIXED - 2..V2_FIXED)?;
    Some(usize::from(u16::from_be_bytes(bytes.try_into().ok()?)))
}

fn fault(kind: ProxyFaultKind, detail: impl Into<String>) -> ProxyFault {
    let detail = detail.into();
    ProxyFault { kind, detail }
}

fn malformed(detail: impl Into<String>) -> ProxyFault {
    fault(ProxyFaultKind::Malformed, detail)
}

/// A whole line of version 1.
fn text(line: &[u8]) -> Result<Header, ProxyFault> {
    // The parser accepts a blank in place of the CR.
    let Some(words) = line.strip_suffix(b"\r\n") else {
        return Err(malformed("version 1: the line does not end with CR LF"));
    };
    // Anything after this word is to be ignored (section 2.1).
    let unknown = words.strip_prefix(b"PROXY UNKNOWN");
    if unknown.is_some_and(|rest| rest.is_empty() || rest.starts_with(b" ")) {
        return Ok(header_of(1, None, None));
    }
    let header =
        v1::Header::try_from(line).map_err(|error| malformed(format!("version 1: {error}")))?;
    let (source, destination) = match header.addresses {
        v1::Addresses::Unknown => return Ok(header_of(1, None, None)),
        v1::Addresses::Tcp4(pair) => (
            SocketAddr::from((pair.source_address, pair.source_port)),
            SocketAddr::from((pair.destination_address, pair.destination_port)),
        ),
        v1::Addresses::Tcp6(pair) => (
            SocketAddr::from((pair.source_address, pair.source_port)),
            SocketAddr::from((pair.destination_address, pair.destination_port)),
        ),
    };
    // Rust parses numbers with a sign; the protocol does not allow one.
    if line.contains(&b'+') {
        return Err(malformed("version 1: a port with a sign"));
    }
    Ok(header_of(1, Some(source), Some(destination)))
}

/// A whole header of version 2.
fn binary(bytes: &[u8]) -> Result<Header, ProxyFault> {
    let words = |error: v2::ParseError| malformed(format!("version 2: {error}"));
    let parsed = v2::Header::try_from(bytes).map_err(words)?;
    let (source, destination) = match parsed.addresses {
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => (None, None),
        v2::Addresses::IPv4(pair) => (
            Some(SocketAddr::from((pair.source_address, pair.source_port))),
            Some(SocketAddr::from((
                pair.destination_address,
                pair.destination_port,
            ))),
        ),
        v2::Addresses::IPv6(pair) => (
            Some(SocketAddr::from((pair.source_address, pair.source_port))),
            Some(SocketAddr::from((
                pair.destination_address,
                pair.destination_port,
            ))),
        ),
    };
    let mut header = match parsed.command {
        // The addresses of LOCAL are to be ignored (section 2.2).
        v2::Command::Local => header_of(2, None, None),
        v2::Command::Proxy => header_of(2, source, destination),
    };
    if parsed.command == v2::Command::Local {
        header.facts.command = Some(ProxyCommand::Local);
    } else if parsed.protocol == v2::Protocol::Datagram {
        return Err(malformed("version 2: the transport is datagrams"));
    }
    // Without a family it cannot be known where TLVs would begin.
    if parsed.address_family() != v2::AddressFamily::Unspecified {
        tlvs(&parsed, &mut header.facts)?;
    }
    Ok(header)
}

fn header_of(version: u8, source: Option<SocketAddr>, destination: Option<SocketAddr>) -> Header {
    let command = if source.is_some() {
        ProxyCommand::Proxy
    } else {
        ProxyCommand::Unknown
    };
    Header {
        client: source,
        facts: ProxyProtocolFacts {
            version: Some(version),
            command: Some(command),
            source: source.map(|addr| addr.to_string()),
            destination: destination.map(|addr| addr.to_string()),
            ..ProxyProtocolFacts::default()
        },
    }
}

/// Reads the TLVs that matter here (section 2.2.1 and following) and checks the checksum.
fn tlvs(header: &v2::Header<'_>, facts: &mut ProxyProtocolFacts) -> Result<(), ProxyFault> {
    let text = |value: &[u8]| Some(PeerText::from_bytes(value, TEXT_CAP));
    let mut at = V2_FIXED + header.address_bytes().len();
    for tlv in header.tlvs() {
        let tlv = tlv.map_err(|error| malformed(format!("version 2: {error}")))?;
        let value = tlv.value.as_ref();
        // The kind and the length come before it.
        at += 3;
        match tlv.kind {
            0x01 => facts.alpn = text(value),
            0x02 => facts.authority = text(value),
            // Each costs a walk over the whole header.
            0x03 if facts.checked => return Err(malformed("version 2: two checksums")),
            0x03 => {
                check(header.as_bytes(), at, value)?;
                facts.checked = true;
            }
            0x05 => facts.unique_id = text(value),
            0x20 => facts.tls = tls(value),
            _ => {}
        }
        at += value.len();
    }
    Ok(())
}

/// The checksum covers the whole header, with zeros in place of the checksum itself.
fn check(header: &[u8], at: usize, value: &[u8]) -> Result<(), ProxyFault> {
    let Ok(given) = <[u8; 4]>::try_from(value).map(u32::from_be_bytes) else {
        let detail = format!("version 2: a CRC32C of {} bytes", value.len());
        return Err(malformed(detail));
    };
    let mut digest = CRC32C.digest();
    digest.update(header.get(..at).unwrap_or_default());
    digest.update(&[0; 4]);
    digest.update(header.get(at + 4..).unwrap_or_default());
    let found = digest.finalize();
    if found == given {
        Ok(())
    } else {
        let detail = format!("it carries the CRC32C {given:08x}, but its bytes have {found:08x}");
        Err(fault(ProxyFaultKind::Checksum, detail))
    }
}

/// `PP2_TYPE_SSL`: flags of the client, whether its certificate was verified, and nested TLVs.
fn tls(value: &[u8]) -> Option<ProxyTls> {
    const SPOKE_TLS: u8 = 0x01;
    const CERTIFICATES: u8 = 0x02 | 0x04;
    let (flags, rest) = value.split_first()?;
    let (verify, inner) = rest.split_at_checked(4)?;
    if flags & SPOKE_TLS == 0 {
        return None;
    }
    let mut tls = ProxyTls {
        client_verified: flags & CERTIFICATES != 0 && verify == [0; 4],
        ..ProxyTls::default()
    };
    for tlv in v2::TypeLengthValues::from(inner).flatten().take(16) {
        let text = Some(PeerText::from_bytes(tlv.value.as_ref(), TEXT_CAP));
        match tlv.kind {
            0x21 => tls.version = text,
            0x22 => tls.client_cn = text,
            0x23 => tls.cipher = text,
            _ => {}
        }
    }
    Some(tls)
}

#[cfg(test)]
mod tests;
