//! The request target (RFC 9112 section 3.2).

use http::Uri;
use http::uri::PathAndQuery;

use super::Refusal;
use crate::session::record::HeadFault;

/// hyper takes no longer one.
const MAX_TARGET: usize = u16::MAX as usize - 1;

/// Only origin-form, and `*` with OPTIONS, are for a gateway behind us.
pub(super) fn check(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    let refuse = |fault, detail: &str| Err(Refusal::new(fault, detail));
    if method == b"CONNECT" {
        return refuse(HeadFault::ConnectMethod, "CONNECT is not for this proxy");
    }
    if target == b"*" {
        return if method == b"OPTIONS" {
            Ok(())
        } else {
            refuse(HeadFault::Target, "the target * is for OPTIONS alone")
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
    if target.contains(&b'#') {
        // Read as a fragment it would be cut off, and the gateway would see another target.
        return refuse(HeadFault::Target, "the target holds a #");
    }
    if !target.iter().all(u8::is_ascii_graphic) {
        let detail = "the target holds a byte that is not a visible ASCII character";
        return refuse(HeadFault::Target, detail);
    }
    // The library that carries it on must carry all of it.
    let same = |read: &PathAndQuery| read.as_str().as_bytes() == target;
    match Uri::try_from(target)
        .ok()
        .and_then(|uri| uri.into_parts().path_and_query)
    {
        Some(read) if same(&read) => Ok(()),
        _ => refuse(
            HeadFault::Target,
            "the target holds a character that must be encoded",
        ),
    }
}
