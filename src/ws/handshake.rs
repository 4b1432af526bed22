//! The computations and head checks of the opening handshake (RFC 6455 section 4).

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The `Sec-WebSocket-Accept` value that answers `key` (RFC 6455 section 4.2.2, item 5.4).
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    derive_accept_key(key)
}

/// Whether a comma-separated list of tokens (`Connection`, `Upgrade`) names `token`, in any case
/// (RFC 9110 section 5.6.1). Several header lines are one list.
#[must_use]
pub fn list_has_token<'a>(values: impl IntoIterator<Item = &'a [u8]>, token: &str) -> bool {
    values.into_iter().any(|value| {
        value
            .split(|byte| *byte == b',')
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// Whether a `Sec-WebSocket-Key` is the base64 form of 16 bytes (RFC 6455 section 4.2.1, item 5).
#[must_use]
pub fn is_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    match key {
        // 22 characters hold 132 bits, so the last four are unused.
        [front @ .., b'=', b'='] => front.len() == 22 && front.iter().all(is_base64),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_1_3_example_key() {
        assert_eq!(
            accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn section_4_2_1_connection_is_a_token_list() {
        assert!(list_has_token(
            [b"keep-alive, Upgrade".as_slice()],
            "upgrade"
        ));
        assert!(list_has_token(
            [b"keep-alive".as_slice(), b"UPGRADE"],
            "upgrade"
        ));
        assert!(!list_has_token([b"upgraded".as_slice()], "upgrade"));
        assert!(!list_has_token([b"up grade".as_slice()], "upgrade"));
    }

    #[test]
    fn section_4_2_1_a_key_has_16_bytes() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for bad in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZTE=",
            "c2hvcnQ=",
            "dGhlIHNhbXBsZSBub25jZ==",
            "dGhlIHNhbXBsZSBub25j Q==",
        ] {
            assert!(!is_key(bad.as_bytes()), "{bad}");
        }
    }
}
