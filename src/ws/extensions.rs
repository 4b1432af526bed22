//! The extensions agreed in `Sec-WebSocket-Extensions` (RFC 6455 section 9, RFC 7692).

use super::opcode::Opcode;

/// The agreed extensions, as far as they change which frames are legal and how they are read.
///
/// Window sizes are not kept: an inflater with the largest window can read every smaller one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// permessage-deflate: RSV1 is legal on the first frame of a data message (RFC 7692 section 6).
    pub permessage_deflate: bool,
    /// The client begins every message with an empty window (RFC 7692 section 7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The gateway begins every message with an empty window (RFC 7692 section 7.1.1.1).
    pub server_no_context_takeover: bool,
    /// `x-webkit-deflate-frame` or `deflate-frame`, the per-frame compression that older Safari and its
    /// servers negotiate (draft-tyoshino-hybi-websocket-perframe-deflate section 3): RSV1 is legal on
    /// every data frame.
    pub deflate_frame: bool,
    /// An extension that the tap does not know. It may define any reserved bit, opcode or payload
    /// (RFC 6455 sections 5.2 and 5.8), so none of them is a breach.
    pub unknown: bool,
}

impl Extensions {
    /// Reads the header values of the 101; names are compared without regard to case.
    #[must_use]
    pub fn from_response<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut agreed = Self::default();
        for item in values
            .into_iter()
            .flat_map(|value| value.split(|byte| *byte == b','))
        {
            let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let is = |name: &[u8], wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
            match parts.next().unwrap_or_default() {
                name if is(name, "permessage-deflate") => agreed.permessage_deflate = true,
                name if is(name, "x-webkit-deflate-frame") || is(name, "deflate-frame") => {
                    agreed.deflate_frame = true;
                    continue;
                }
                name => {
                    agreed.unknown |= !name.is_empty();
                    continue;
                }
            }
            for parameter in parts {
                agreed.client_no_context_takeover |= is(parameter, "client_no_context_takeover");
                agreed.server_no_context_takeover |= is(parameter, "server_no_context_takeover");
            }
        }
        agreed
    }

    /// The reserved bits that these extensions may set on a frame (RFC 6455 section 5.2).
    pub(super) fn reserved_bits(self, opcode: Opcode) -> u8 {
        let rsv1 = match opcode {
            Opcode::Text | Opcode::Binary => self.permessage_deflate || self.deflate_frame,
            Opcode::Continuation => self.deflate_frame,
            _ => false,
        };
        if self.unknown {
            0x7
        } else if rsv1 {
            0x4
        } else {
            0
        }
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

    #[test]
    fn extensions_that_are_not_known_are_noticed() {
        let read = |value: &'static str| Extensions::from_response([value.as_bytes()]);
        for known in ["", " , ", "permessage-deflate", "X-Webkit-Deflate-Frame"] {
            assert!(!read(known).unknown, "{known:?}");
        }
        assert!(read("x-foo").unknown);
        assert!(read("permessage-deflate, x-foo; a=b").unknown);
    }

    #[test]
    fn each_extension_sets_the_bits_that_it_defines() {
        let bits = |value: &'static str, opcode| {
            Extensions::from_response([value.as_bytes()]).reserved_bits(opcode)
        };
        for (value, text, continuation, ping) in [
            ("", 0, 0, 0),
            ("permessage-deflate", 4, 0, 0),
            ("x-webkit-deflate-frame; no_context_takeover", 4, 4, 0),
            ("deflate-frame", 4, 4, 0),
            ("permessage-bzip2", 7, 7, 7),
        ] {
            assert_eq!(bits(value, Opcode::Text), text, "{value:?}");
            assert_eq!(bits(value, Opcode::Binary), text, "{value:?}");
            assert_eq!(bits(value, Opcode::Continuation), continuation, "{value:?}");
            assert_eq!(bits(value, Opcode::Ping), ping, "{value:?}");
        }
    }

    #[test]
    fn finds_who_keeps_no_context() {
        let read = |value: &'static str| {
            let agreed = Extensions::from_response([value.as_bytes()]);
            (
                agreed.client_no_context_takeover,
                agreed.server_no_context_takeover,
            )
        };
        assert_eq!(read("permessage-deflate"), (false, false));
        assert_eq!(
            read("permessage-deflate; Server_No_Context_Takeover ;client_max_window_bits=9"),
            (false, true)
        );
        assert_eq!(
            read("permessage-deflate;client_no_context_takeover; server_no_context_takeover"),
            (true, true)
        );
        // Parameters of another extension do not count.
        assert_eq!(
            read("permessage-deflate, x; client_no_context_takeover"),
            (false, false)
        );
    }
}
