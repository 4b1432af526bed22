//! The SNI and ALPN offers of client and server, and the limits on how much of them is kept.

/// Maximum length of a server name that is kept; DNS allows 253.
pub(super) const SNI_CAP: usize = 255;

/// HTTP/2 in ALPN (RFC 9113 section 3.2).
pub(super) const H2: &[u8] = b"h2";

/// Maximum number of offered application protocols that are kept, and the length of each: ALPN
/// allows 255 bytes.
pub(super) const ALPN_CAP: usize = 8;

/// The protocols that we offer by ALPN, best first.
pub(super) fn alpn_protocols(http2: bool) -> Vec<Vec<u8>> {
    let all = [H2, b"http/1.1"];
    let some = all.into_iter().filter(|name| http2 || *name != H2);
    some.map(<[u8]>::to_vec).collect()
}
