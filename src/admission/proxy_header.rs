//! The header that a proxy sends in front of a connection to tell who the client is: the PROXY
//! protocol, version 1 (text) and 2 (binary).
//!
//! Only peers that are listed send one, and they must: it is never guessed. [`Reader`] is offered
//! what came and tells how much of that belongs to the header, so that the bytes behind it stay
//! where they are. Hostile input: it holds at most [`MAX_LENGTH`] bytes, and no more than came.
//!
//! The parser is `ppp`'s; what it lets pass is checked here: lengths, signs in ports, datagrams,
//! the TLVs as a whole and their CRC32C.

use std::net::SocketAddr;

use crc::{CRC_32_ISCSI, Crc};
use ppp::{v1, v2};

use crate::session::record::FirstBytes;
use crate::session::record::proxy_protocol::{
    ProxyCommand, ProxyFault, ProxyFaultKind, ProxyProtocolFacts, ProxyTls,
};
use crate::session::text::PeerText;

/// Longest header that is read. Version 1 has at most 107 bytes; version 2 could have 64 KiB, and
/// none that is in use comes near this.
pub(crate) const MAX_LENGTH: usize = 4096;

const V1_PREFIX: &[u8] = b"PROXY ";
const V1_LONGEST: usize = 107;
/// Signature, version and command, family, length.
const V2_FIXED: usize = 16;

/// CRC-32C (Castagnoli), RFC 4960 appendix B.
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What something is known by.
const FIRST: usize = 8;

/// Longest text of a TLV that a record keeps.
const TEXT_CAP: usize = 255;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client, where it names one.
    pub client: Option<SocketAddr>,
    /// For the record.
    pub facts: ProxyProtocolFacts,
}

/// Reads a header as it comes.
#[derive(Debug, Default)]
pub struct Reader {
    have: Vec<u8>,
    /// The front of what came in the place of a header, taken or not.
    instead: Vec<u8>,
}

/// What is still missing.
enum Step {
    /// At least so many bytes, all of which belong to the header.
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
    /// Looks at bytes that follow those it has taken. Tells how many of them it takes, and, once
    /// that can be said, what the header says or what is wrong with it.
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

    /// The connection ended: the fault, or nothing when not one byte had come.
    #[must_use]
    pub fn cut(&self) -> Option<ProxyFault> {
        let count = self.have.len();
        (count > 0).then(|| {
            let detail = format!("the connection ended after {count} bytes of it");
            fault(ProxyFaultKind::Cut, detail)
        })
    }

    /// The time is over.
    #[must_use]
    pub fn late(&self) -> ProxyFault {
        let detail = match self.have.len() {
            0 => "not one byte of it came in time".to_owned(),
            count => format!("only {count} bytes of it came in time"),
        };
        fault(ProxyFaultKind::Late, detail)
    }

    /// What came so far looks like.
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
            let detail = "what came is no PROXY header";
            return Step::over(Err(fault(ProxyFaultKind::Missing, detail)));
        }
        let Some(length) = declared(have) else {
            return Step::Bytes(V2_FIXED - have.len());
        };
        if V2_FIXED + length > MAX_LENGTH {
            let detail = format!("it says that it is {length} bytes long; {MAX_LENGTH} are read");
            return Step::over(Err(fault(ProxyFaultKind::TooLong, detail)));
        }
        match (V2_FIXED + length).checked_sub(have.len()) {
            Some(0) | None => Step::over(binary(have)),
            Some(missing) => Step::Bytes(missing),
        }
    }
}

/// The length that a version 2 header declares of what follows its fixed part.
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
    // The parser takes a blank in the place of the CR.
    let Some(words) = line.strip_suffix(b"\r\n") else {
        return Err(malformed("version 1: the line does not end with CR LF"));
    };
    // Whatever stands behind this word is to be ignored (section 2.1).
    let unknown = words.strip_prefix(b"PROXY UNKNOWN");
    if unknown.is_some_and(|rest| rest.is_empty() || rest.starts_with(b" ")) {
        return Ok(told(1, None, None));
    }
    let header =
        v1::Header::try_from(line).map_err(|error| malformed(format!("version 1: {error}")))?;
    let (source, destination) = match header.addresses {
        v1::Addresses::Unknown => return Ok(told(1, None, None)),
        v1::Addresses::Tcp4(pair) => (
            SocketAddr::from((pair.source_address, pair.source_port)),
            SocketAddr::from((pair.destination_address, pair.destination_port)),
        ),
        v1::Addresses::Tcp6(pair) => (
            SocketAddr::from((pair.source_address, pair.source_port)),
            SocketAddr::from((pair.destination_address, pair.destination_port)),
        ),
    };
    // Rust's numbers may have a sign, those of the protocol not.
    if line.contains(&b'+') {
        return Err(malformed("version 1: a port with a sign"));
    }
    Ok(told(1, Some(source), Some(destination)))
}

/// A whole header of version 2.
fn binary(bytes: &[u8]) -> Result<Header, ProxyFault> {
    let words = |error: v2::ParseError| malformed(format!("version 2: {error}"));
    let header = v2::Header::try_from(bytes).map_err(words)?;
    let (source, destination) = match header.addresses {
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
    let mut told = match header.command {
        // What stands there is no client's (section 2.2).
        v2::Command::Local => told(2, None, None),
        v2::Command::Proxy => told(2, source, destination),
    };
    if header.command == v2::Command::Local {
        told.facts.command = Some(ProxyCommand::Local);
    } else if header.protocol == v2::Protocol::Datagram {
        return Err(malformed("version 2: it speaks of datagrams"));
    }
    // Without a family it cannot be known where TLVs would begin.
    if header.address_family() != v2::AddressFamily::Unspecified {
        tlvs(&header, &mut told.facts)?;
    }
    Ok(told)
}

fn told(version: u8, source: Option<SocketAddr>, destination: Option<SocketAddr>) -> Header {
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

/// Reads the TLVs that mean something here (section 2.2.1 and following) and checks the checksum.
fn tlvs(header: &v2::Header<'_>, facts: &mut ProxyProtocolFacts) -> Result<(), ProxyFault> {
    let text = |value: &[u8]| Some(PeerText::from_bytes(value, TEXT_CAP));
    let mut at = V2_FIXED + header.address_bytes().len();
    for tlv in header.tlvs() {
        let tlv = tlv.map_err(|error| malformed(format!("version 2: {error}")))?;
        let value = tlv.value.as_ref();
        // The kind and the length stand in front of it.
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

/// The checksum is that of the whole header with its own place full of zeros.
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
        let detail = format!("it carries the CRC32C {given:08x}, its bytes make {found:08x}");
        Err(fault(ProxyFaultKind::Checksum, detail))
    }
}

/// `PP2_TYPE_SSL`: flags of the client, whether its certificate was found good, and TLVs again.
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
