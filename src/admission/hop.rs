//! Names of headers that concern one connection only, or that identify a client.

use crate::dialect;

/// The names that `Connection` lines nominate, without empty elements (RFC 9110 sections 5.6.1
/// and 7.6.1).
pub(crate) fn nominated<'a>(
    connection: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    connection
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
}

/// Headers in which proxies name the client, by their lower-case name. The gateway (2026.9.6) reads
/// all of these.
#[must_use]
pub(crate) fn is_attribution(name: &str) -> bool {
    name == "forwarded"
        || name == "x-real-ip"
        || name.starts_with("x-forwarded-")
        || name.starts_with("tailscale-")
}

/// Headers in which identity-aware proxies say who the user is. A gateway in auth mode
/// `trusted-proxy` believes the one that it is configured for from every peer that it trusts. Once
/// it trusts us, a stranger must not bring one.
#[must_use]
pub(crate) fn names_user(name: &str) -> bool {
    matches!(
        name,
        "remote-user"
            | "x-remote-user"
            | "x-remote-email"
            | "x-user"
            | "x-user-email"
            | "x-email"
            | "x-auth-user"
            | "x-authenticated-user"
            | "x-webauth-user"
            | "x-pomerium-claim-email"
            | "x-pomerium-claim-user"
            | "remote-email"
            | "remote-groups"
            | "remote-name"
            | "cf-access-authenticated-user-email"
    ) || name.starts_with("x-auth-request-")
        || name.starts_with("x-authentik-")
        || name.starts_with("x-goog-authenticated-user-")
        || name.starts_with("x-ms-client-principal")
}

/// Names that a client may neither have removed by nominating them nor send as trailers: they say
/// where a request goes, who sends it, what it may do and where it ends.
#[must_use]
pub(crate) fn is_protected(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    is_attribution(&name)
        || name.starts_with("sec-websocket-")
        || dialect::profiles().any(|dialect| dialect.protected_headers.contains(&name.as_str()))
        || matches!(
            name.as_str(),
            "host" | "origin" | "authorization" | "cookie" | "content-length" | "transfer-encoding"
        )
}

/// A name that a program behind us may confuse with a protected one, because CGI and its successors
/// do not distinguish `-` and `_`.
#[must_use]
pub(crate) fn is_underscore_twin(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let twin = name.to_ascii_lowercase().replace('_', "-");
    is_protected(twin.as_bytes()) || matches!(twin.as_str(), "connection" | "upgrade")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_are_known_by_their_underscore() {
        for twin in [
            "X_Forwarded_User",
            "x-forwarded_for",
            "X_Real_IP",
            "content_length",
            "Transfer_Encoding",
            "sec_websocket_key",
            "x_openclaw_scopes",
            "tailscale_user_login",
        ] {
            assert!(is_underscore_twin(twin), "{twin}");
        }
        for other in ["x-forwarded-user", "x_custom", "my_header", "origin"] {
            assert!(!is_underscore_twin(other), "{other}");
        }
    }

    #[test]
    fn rfc_9110_5_6_1_empty_elements_count_for_nothing() {
        let lines: [&[u8]; 2] = [b", keep-alive ,,", b"Upgrade"];
        let names: Vec<_> = nominated(lines.into_iter()).collect();
        assert_eq!(names, [b"keep-alive".as_slice(), b"Upgrade"]);
    }
}
