//! Facts about the applications that speak a dialect, apart from the messages of one session.

use super::protocol::Dialect;
use crate::session::credential::Fingerprinter;
use crate::session::record::BodyKind;

/// One dialect.
#[derive(Debug)]
pub struct Profile {
    /// Its name in the configuration and in records.
    pub name: &'static str,
    /// Makes the reader for a session with this request target.
    pub reader: fn(&Fingerprinter, &str) -> Box<dyn Dialect>,
    /// Whether its gateway is known to ignore credentials in the head (a Bearer header, `?token=`) of an
    /// upgrade request with this target.
    pub ignores_head: fn(&str) -> bool,
    /// The kind of an answer, judged by the beginning of its body, if the gateway itself certainly
    /// made it. The second argument is its content type in lower case.
    pub body: fn(&[u8], &str) -> Option<BodyKind>,
    /// Reads the gateway's answer to the check of attribution headers; `None` if its gateways have
    /// no rules for such headers.
    pub attribution: Option<Attribution>,
    /// Header fields that carry a credential, in lower case.
    pub credential_headers: &'static [&'static str],
    /// Header fields that say what a request may do, in lower case: no hop may remove them.
    pub protected_headers: &'static [&'static str],
    /// The two path segments before a credential in the path, in lower case.
    pub capability_path: Option<[&'static str; 2]>,
    /// Whether every answer of its gateways to an upgrade is known, so that any other answer comes
    /// from another server.
    pub answers_are_known: bool,
    /// Whether its gateways listen on their own loopback address by default.
    pub listens_on_loopback: bool,
    /// Its gateways ping, and end a session whose client has not answered for this long.
    pub ping_limit_ms: Option<f64>,
    /// Whether its gateways never end a session because of its age or silence.
    pub has_no_time_limit: bool,
}

/// How to interpret a gateway's answer to the check of attribution headers.
#[derive(Clone, Copy, Debug)]
pub struct Attribution {
    /// Path of the check: attribution must matter there, and it must not need a credential.
    pub path: &'static str,
    /// Whether the gateway accepted the request, judged by status and the beginning of the body;
    /// `None` if the answer may not be the gateway's own.
    pub takes: fn(u16, &[u8]) -> Option<bool>,
    /// Whether its answer to a request without such headers shows that it takes us for its own host.
    pub takes_us_for_local: fn(u16, &[u8]) -> bool,
}

/// A profile without facts: only the reader is known.
pub(crate) const fn profile(
    name: &'static str,
    reader: fn(&Fingerprinter, &str) -> Box<dyn Dialect>,
) -> Profile {
    Profile {
        name,
        reader,
        ignores_head: |_| false,
        body: |_, _| None,
        attribution: None,
        credential_headers: &[],
        protected_headers: &[],
        capability_path: None,
        answers_are_known: false,
        listens_on_loopback: false,
        ping_limit_ms: None,
        has_no_time_limit: false,
    }
}
