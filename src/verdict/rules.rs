//! The rules, one file per family; rules that only one dialect has are in that dialect's folder.
//!
//! A file has a `RULES` list: the description of each rule, and the function that looks for it. The
//! order in which rules are tried is not decided here but in [`precedence`](super::precedence).

mod client_again;
mod client_certificate;
mod client_closed;
mod client_fault;
mod client_http2;
mod client_left;
mod client_request;
mod closed;
mod fine;
mod forward_proxy;
mod gateway_fault;
mod hop;
mod hop_access;
mod hop_handshake;
mod hop_header;
mod http;
mod kept;
mod left;
mod lifecycle;
mod limit;
mod loops;
mod network;
mod network_large;
mod openclaw;
mod passthrough;
mod pings;
mod probe;
mod refused;
mod restarting;
mod silent;
mod silent_requests;
mod subprotocol;
mod tap;
mod tap_cap;
mod tap_certificate;
mod tap_limits;
mod tap_origin;
mod tap_timeout;
mod tls_broken;
mod together;
mod unreachable;
mod unreachable_certificate;

use super::rule::Rule;

/// The rules of one file.
type File = &'static [Rule];

/// The rules of every file.
pub(super) fn files() -> impl Iterator<Item = File> {
    [GENERAL, openclaw::FILES].into_iter().flatten().copied()
}

/// The files with the rules that do not depend on a dialect.
const GENERAL: &[File] = &[
    client_again::RULES,
    client_certificate::RULES,
    client_closed::RULES,
    client_fault::RULES,
    client_http2::RULES,
    client_left::RULES,
    client_request::RULES,
    closed::RULES,
    fine::RULES,
    forward_proxy::RULES,
    gateway_fault::RULES,
    hop::RULES,
    hop_access::RULES,
    hop_handshake::RULES,
    hop_header::RULES,
    http::RULES,
    kept::RULES,
    left::RULES,
    lifecycle::RULES,
    limit::RULES,
    loops::RULES,
    network::RULES,
    network_large::RULES,
    passthrough::RULES,
    pings::RULES,
    probe::RULES,
    refused::RULES,
    restarting::RULES,
    silent::RULES,
    silent_requests::RULES,
    subprotocol::RULES,
    tap::RULES,
    tap_cap::RULES,
    tap_certificate::RULES,
    tap_limits::RULES,
    tap_origin::RULES,
    tap_timeout::RULES,
    tls_broken::RULES,
    together::RULES,
    unreachable::RULES,
    unreachable_certificate::RULES,
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// A file that is not declared is not compiled: its rules would not exist, and nothing would
    /// report it. (A file that is declared but missing in its list is dead code for the compiler.)
    #[test]
    fn every_file_in_the_folders_is_declared() {
        let general = ("rules", include_str!("rules.rs"), 1 + super::GENERAL.len());
        let openclaw = super::openclaw::FILES.len();
        let openclaw = (
            "rules/openclaw",
            include_str!("rules/openclaw.rs"),
            openclaw,
        );
        for (folder, declared, expected) in [general, openclaw] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/verdict");
            let mut count = 0;
            for entry in std::fs::read_dir(path.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_none() {
                    continue;
                }
                let name = path.file_stem().unwrap().to_str().unwrap();
                assert!(
                    declared.contains(&format!("\nmod {name};\n")),
                    "src/verdict/{folder}.rs does not declare {name}"
                );
                count += 1;
            }
            assert_eq!(count, expected, "{folder}");
        }
    }
}
