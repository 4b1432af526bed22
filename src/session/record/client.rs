//! The downstream leg of a record.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod tls;

use super::frames::TcpFacts;
use super::proxy_protocol::ProxyProtocolFacts;
use crate::session::text::PeerText;
pub use tls::{
    ClientCert, ClientTls, SelfMade, SelfMadeKind, SniMatch, TlsFailure, TlsFailureKind,
};

/// Who the client is and which protocols it spoke.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClientFacts {
    /// `address:port` of the peer; if the peer is a trusted proxy, the client that it names, often
    /// without a port; `unix` for a process that connected to a unix socket.
    pub addr: String,
    /// How `addr` was learned, if it is not the TCP peer's address.
    pub via: Option<Via>,
    /// The PROXY protocol header at the start of the connection; `null` if none was expected.
    pub proxy_protocol: Option<Box<ProxyProtocolFacts>>,
    /// The process at the other end of a unix socket.
    pub process: Option<Process>,
    /// TLS with the client; `null` on a plain listener.
    pub tls: Option<ClientTls>,
    /// What the first bytes looked like; `null` once a request was read.
    pub first_bytes: Option<FirstBytes>,
    /// Bytes read from this leg after TLS, on this connection so far; for `connection` records.
    pub bytes_read: Option<u64>,
    /// Counters from the kernel, read at the end.
    pub tcp: Option<TcpFacts>,
    /// The place of the request in an HTTP/2 connection; `null` with HTTP/1.
    pub http2: Option<Http2Facts>,
}

/// A place in an HTTP/2 connection, and the connection's counters at that time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Http2Facts {
    /// The request's stream; `null` in a record of the connection itself.
    pub stream: Option<u32>,
    /// Requests that came.
    pub requests: u64,
    /// Requests that the client reset before they were answered.
    pub cancelled: u64,
    /// Requests that were so malformed or so large that they were refused before they were read.
    pub refused: u64,
    /// The answer was ready, and the client took none of it for `timeouts.idle`.
    pub unread: bool,
}

/// How a client's address was learned from another party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Via {
    /// The mechanism.
    pub kind: ViaKind,
    /// `address:port` of the peer, which is in `trusted_proxies` or `proxy_protocol.from`; `unix`
    /// if it connected to a unix socket.
    pub peer: String,
    /// The header that was read; `null` with the PROXY protocol.
    pub header: Option<ChainHeader>,
    /// Its last entries, at most 8, in their order.
    pub chain: Vec<PeerText>,
    /// Whether the chain could be read down to the client. Otherwise the address is that of the
    /// nearest known hop.
    pub resolved: bool,
}

/// See [`Via::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ViaKind {
    /// Attribution headers of a peer in `trusted_proxies`.
    ForwardedChain,
    /// The PROXY protocol header of a peer in `proxy_protocol.from`.
    ProxyProtocol,
}

/// A process that connected to a unix socket, as reported by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Its id at that time; `null` if it is in another PID namespace.
    pub pid: Option<i32>,
    /// The user id it ran as.
    pub uid: u32,
}

/// See [`Via::header`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChainHeader {
    /// `X-Forwarded-For`; all its lines form one list.
    #[serde(rename = "x-forwarded-for")]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    #[serde(rename = "forwarded")]
    Forwarded,
    /// `X-Real-IP`, a single address.
    #[serde(rename = "x-real-ip")]
    XRealIp,
}

/// What a peer's first bytes looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FirstBytes {
    /// No byte came.
    None,
    /// A TLS record.
    Tls,
    /// An HTTP/1 request line.
    Http,
    /// A PROXY protocol header.
    Proxy,
    /// None of these.
    Other,
}

impl FirstBytes {
    /// Judges by the first eight bytes at most.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::None,
            // A handshake record of any TLS version (RFC 8446 section 5.1).
            [0x16] | [0x16, 0x03, ..] => Self::Tls,
            // The two versions of the PROXY protocol, by the bytes that distinguish them from
            // anything else.
            [b'P', b'R', b'O', b'X', b'Y', b' ', b'T' | b'U', ..]
            | [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, ..] => Self::Proxy,
            [first, ..] if first.is_ascii_uppercase() => {
                let word = bytes
                    .iter()
                    .take_while(|byte| byte.is_ascii_uppercase())
                    .count();
                let ends_well = bytes.get(word).is_none_or(|next| *next == b' ');
                if ends_well { Self::Http } else { Self::Other }
            }
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_are_told_apart() {
        assert_eq!(FirstBytes::of(b""), FirstBytes::None);
        assert_eq!(FirstBytes::of(b"\x16\x03\x01\x02\x00"), FirstBytes::Tls);
        assert_eq!(FirstBytes::of(b"GET / HT"), FirstBytes::Http);
        assert_eq!(FirstBytes::of(b"PROXY TC"), FirstBytes::Proxy);
        assert_eq!(FirstBytes::of(b"PROXY UN"), FirstBytes::Proxy);
        assert_eq!(FirstBytes::of(b"PROXY / "), FirstBytes::Http);
        assert_eq!(FirstBytes::of(b"\r\n\r\n\0\r\nQ"), FirstBytes::Proxy);
        assert_eq!(FirstBytes::of(b"\r\n\r\nGET "), FirstBytes::Other);
        assert_eq!(FirstBytes::of(b"GE"), FirstBytes::Http);
        assert_eq!(FirstBytes::of(b"PROPFIND"), FirstBytes::Http);
        assert_eq!(FirstBytes::of(b"SSH-2.0-"), FirstBytes::Other);
        assert_eq!(FirstBytes::of(b"\x00\x01"), FirstBytes::Other);
    }
}
