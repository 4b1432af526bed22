//! What was agreed in `Sec-WebSocket-Extensions` (RFC 6455 section 9, RFC 7692).

/// The agreed extensions, as far as they change which frames are legal and how they are read.
///
/// Window sizes are not kept: who inflates with the largest window can read every smaller one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// permessage-deflate: RSV1 is legal on the first frame of a data message (RFC 7692 section 6).
    pub permessage_deflate: bool,
    /// The client begins every message with an empty window (RFC 7692 section 7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The gateway does (RFC 7692 section 7.1.1.1).
    pub server_no_context_takeover: bool,
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
            if !is(parts.next().unwrap_or_default(), "permessage-deflate") {
                continue;
            }
            agreed.permessage_deflate = true;
            for parameter in parts {
                agreed.client_no_context_takeover |= is(parameter, "client_no_context_takeover");
                agreed.server_no_context_takeover |= is(parameter, "server_no_context_takeover");
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
        // Parameters of another extension are not ours.
        assert_eq!(
            read("permessage-deflate, x; client_no_context_takeover"),
            (false, false)
        );
    }
}
