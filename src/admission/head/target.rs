//! The request target (RFC 9112 section 3.2).

use http::Uri;
use http::uri::PathAndQuery;

use super::refusal::Refusal;
use crate::session::record::HeadFault;

/// hyper accepts no longer target.
const MAX_TARGET: usize = u16::MAX as usize - 1;

/// Only origin-form, and `*` with OPTIONS, are valid for a gateway behind us.
pub(super) fn check(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    let refuse = |fault, detail: &str| Err(Refusal::new(fault, detail));
    if method == b"CONNECT" {
        return refuse(HeadFault::ConnectMethod, "CONNECT is not for this proxy");
    }
    if target == b"*" {
        return if method == b"OPTIONS" {
            Ok(())
        } else {
            refuse(HeadFault::Target, "the target * is only for OPTIONS")
        };
    }
    if !target.starts_with(b"/") {
        let absolute = memchr::memmem::find(target, b"://").is_some();
        return if absolute {
            let detail = "the target is a whole URL (absolute-form), expected a path";
            refuse(HeadFault::AbsoluteForm, detail)
        } else {
            refuse(HeadFault::Target, "the target does not begin with a slash")
        };
    }
    if target.len() > MAX_TARGET {
        return refuse(HeadFault::Target, "the target is longer than 65534 bytes");
    }
    // A parser would treat everything after `#` as a fragment and cut it off: the gateway would see
    // another target.
    let foreign = |byte: &u8| *byte == b'#' || !byte.is_ascii_graphic();
    let place = target.iter().position(foreign);
    // The HTTP library must be able to forward every byte of the target.
    match place.or_else(|| unreadable(target)) {
        None => Ok(()),
        Some(place) => refuse(HeadFault::Target, &must_be_encoded(target, place)),
    }
}

/// Index of the first byte that the HTTP library cannot forward. It parses from left to right, so
/// every target with the same prefix fails at the same byte.
fn unreadable(target: &[u8]) -> Option<usize> {
    let is_carried = |front: &[u8]| {
        let read = Uri::try_from(front).ok();
        let read = read.and_then(|uri| uri.into_parts().path_and_query);
        read.is_some_and(|read: PathAndQuery| read.as_str().as_bytes() == front)
    };
    if is_carried(target) {
        return None;
    }
    let (mut carried, mut refused) = (0, target.len());
    while refused - carried > 1 {
        let middle = carried.midpoint(refused);
        if target.get(..middle).is_some_and(is_carried) {
            carried = middle;
        } else {
            refused = middle;
        }
    }
    Some(carried)
}

/// Names the byte and its position, and what the client must send instead.
fn must_be_encoded(target: &[u8], place: usize) -> String {
    let byte = target.get(place).copied().unwrap_or_default();
    let part = match target.iter().position(|byte| *byte == b'?') {
        Some(query) if query < place => "query",
        _ => "path",
    };
    let shown = if byte.is_ascii_graphic() {
        format!("a raw '{}'", char::from(byte))
    } else {
        format!("the raw byte 0x{byte:02X}")
    };
    format!(
        "the target's {part} holds {shown} (byte {} of the target), which must be sent as %{byte:02X}",
        place + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(target: &[u8]) -> Option<String> {
        check(b"GET", target).err().map(|refusal| refusal.detail)
    }

    #[test]
    fn what_must_be_encoded_is_named_with_its_place() {
        let wanted =
            "the target's query holds a raw '\"' (byte 5 of the target), which must be sent as %22";
        assert_eq!(detail(b"/?a=\"b\"").unwrap(), wanted);
        let wanted =
            "the target's path holds a raw '<' (byte 2 of the target), which must be sent as %3C";
        assert_eq!(detail(b"/<a>?b").unwrap(), wanted);
        let wanted = "the target's path holds the raw byte 0xC3 (byte 3 of the target), which must be sent as %C3";
        assert_eq!(detail("/a\u{e9}".as_bytes()).unwrap(), wanted);
        let wanted =
            "the target's query holds a raw '#' (byte 4 of the target), which must be sent as %23";
        assert_eq!(detail(b"/?a#b").unwrap(), wanted);
        let long = format!("/{}<b", "a".repeat(60_000));
        assert!(
            detail(long.as_bytes())
                .unwrap()
                .contains("(byte 60002 of the target)")
        );
    }

    /// Each visible character is either forwarded or named in the error: alone, among others, in
    /// the path and in the query.
    #[test]
    fn every_character_passes_or_is_named_where_it_is() {
        for byte in b'!'..=b'~' {
            for front in ["/", "/a/", "/?", "/a?b=", "/a?b=c&"] {
                let target = [front.as_bytes(), &[byte], b"z"].concat();
                let Some(detail) = detail(&target) else {
                    continue;
                };
                let named = format!("a raw '{}' (byte {} of", char::from(byte), front.len() + 1);
                assert!(detail.contains(&named), "{detail}");
                assert!(!byte.is_ascii_alphanumeric() && !b"-._~!$&'()*+,;=:@%/?".contains(&byte));
            }
        }
    }
}
