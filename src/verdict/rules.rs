//! The rules, one file for each family.
//!
//! A file has a `RULES` list: what each rule says of itself, and the function that finds it. Which
//! rule is asked first is not decided here but in [`precedence`](super::precedence).

mod attribution;
mod auth_device;
mod auth_identity;
mod auth_secret;
mod channel;
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
mod lifecycle_session;
mod limit;
mod loops;
mod network;
mod network_large;
mod origin;
mod pairing;
mod passthrough;
mod pings;
mod probe;
mod protocol;
mod refused;
mod restarting;
mod services;
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
mod together_auth;
mod unreachable;
mod unreachable_certificate;

use super::rule::Rule;

/// The rules of every file.
pub(super) const FILES: &[&[Rule]] = &[
    attribution::RULES,
    auth_device::RULES,
    auth_identity::RULES,
    auth_secret::RULES,
    channel::RULES,
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
    lifecycle_session::RULES,
    limit::RULES,
    loops::RULES,
    network::RULES,
    network_large::RULES,
    origin::RULES,
    pairing::RULES,
    passthrough::RULES,
    pings::RULES,
    probe::RULES,
    protocol::RULES,
    refused::RULES,
    restarting::RULES,
    services::RULES,
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
    together_auth::RULES,
    unreachable::RULES,
    unreachable_certificate::RULES,
];

#[cfg(test)]
mod tests {
    /// A file that is not declared is not compiled: its rules would not exist, and nothing would say
    /// so. (A file that is declared and missing in `FILES` is dead code for the compiler.)
    #[test]
    fn every_file_in_the_folder_is_declared() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/verdict/rules");
        let declared = include_str!("rules.rs");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(
                declared.contains(&format!("\nmod {name};\n")),
                "src/verdict/rules.rs does not declare {name}"
            );
            count += 1;
        }
        assert_eq!(count, super::FILES.len());
    }
}
