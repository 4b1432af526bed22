//! What was agreed in `Sec-WebSocket-Extensions` (RFC 6455 section 9, RFC 7692).

/// The agreed extensions, as far as they change which frames are legal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// permessage-deflate: RSV1 is legal on the first frame of a data message (RFC 7692 section 6).
    pub permessage_deflate: bool,
}

impl Extensions {
    /// Reads the header values of the 101; names are compared without regard to case.
    #[must_use]
    pub fn from_response<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut agreed = Self::default();
        for value in values {
            for item in value.split(|byte| *byte == b',') {
                let name = item
                    .split(|byte| *byte == b';')
                    .next()
                    .unwrap_or_default()
                    .trim_ascii();
                if name.eq_ignore_ascii_case(b"permessage-deflate") {
                    agreed.permessage_deflate = true;
                }
            }
        }
        agreed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_permessage_deflate_among_others() {
        let read = |value: &'static str| Extensions::from_response([value.as_bytes()]);
        assert!(read("permessage-deflate; client_max_window_bits=15").permessage_deflate);
        assert!(read("x-foo, Permessage-Deflate").permessage_deflate);
        assert!(!read("x-permessage-deflate").permessage_deflate);
        assert!(!read("").permessage_deflate);
    }
}
