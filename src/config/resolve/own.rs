//! Rejects a `gateway.url` that leads to this tap itself, as far as the configuration alone shows.
//! Interface addresses and name resolution are checked when the tap starts.

use std::net::IpAddr;

use crate::config::address::{Host, ListenAddr};
use crate::config::admin::Admin;
use crate::config::error::ConfigError;
use crate::config::gateway::{Gateway, Target};
use crate::config::listen::Listen;
use crate::config::listener::Listener;

/// Requirements for `gateway.url` beyond syntax.
pub(super) const EXPECTED: &str = "the gateway's own address, not one of this tap's";

/// The error for a URL that leads to a listener, or to the admin listener.
pub(super) fn guard(
    gateway: &Gateway,
    listeners: &[Listener],
    admin: Option<&Admin>,
) -> Option<ConfigError> {
    let leads_to = |listener: &&Listener| match (&listener.listen, gateway.target()) {
        (Listen::Unix(own), Target::Unix(path)) => own == path,
        (Listen::Tcp(own), Target::Tcp { host, port }) => is_reached_at(own, host, *port),
        _ => false,
    };
    if let Some(index) = listeners.iter().position(|it| leads_to(&it)) {
        return Some(gateway.leads_to(&format!("listeners[{index}]")));
    }
    let Target::Tcp { host, port } = gateway.target() else {
        return None;
    };
    let admin = admin.filter(|admin| is_reached_at(&admin.listen, host, *port));
    admin.map(|_| gateway.leads_to("admin.listen"))
}

fn is_reached_at(own: &ListenAddr, host: &Host, port: u16) -> bool {
    if own.port != port || port == 0 {
        return false;
    }
    match (own.host.ip(), host.ip()) {
        (Some(own), Some(wanted)) => reaches(own.to_canonical(), wanted.to_canonical()),
        // `localhost` reaches every loopback address.
        (Some(own), None) => host.is_loopback() && (own.is_loopback() || own.is_unspecified()),
        (None, Some(wanted)) => {
            own.host.is_loopback() && (wanted.is_loopback() || wanted.is_unspecified())
        }
        (None, None) => own.host == *host,
    }
}

fn reaches(own: IpAddr, wanted: IpAddr) -> bool {
    let here = wanted.is_loopback() || wanted.is_unspecified();
    // `[::]` accepts IPv4 clients too.
    let family = own.is_ipv4() == wanted.is_ipv4() || (own.is_ipv6() && own.is_unspecified());
    own == wanted
        || (family
            && here
            && (own.is_unspecified() || wanted.is_unspecified() && own.is_loopback()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Overrides, parse};

    fn check(listen: &str, gateway: &str) -> Result<(), String> {
        let text = format!(
            "listeners: [{{ listen: '127.0.0.1:1' }}, {{ listen: '{listen}' }}]\n\
             gateway:\n  url: {gateway}\n"
        );
        let parsed = parse(&text, Path::new("f.yaml"), &Overrides::default());
        parsed.map(drop).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_gateway_that_is_a_listener_of_ours_is_an_error_with_its_line() {
        let wanted = "f.yaml:3:8: gateway.url: expected the gateway's own address, not one of this \
                      tap's, found `http://localhost:8443`, where listeners[1] listens";
        assert_eq!(
            check("[::]:8443", "http://localhost:8443").unwrap_err(),
            wanted
        );
        for (listen, gateway) in [
            ("127.0.0.1:80", "ws://127.0.0.1"),
            ("0.0.0.0:443", "https://127.0.0.9"),
            ("[::]:8443", "http://127.0.0.1:8443"),
            ("[::]:8443", "http://[::1]:8443"),
            ("0.0.0.0:8443", "http://0.0.0.0:8443"),
            ("192.0.2.1:8443", "http://192.0.2.1:8443"),
            ("localhost:8443", "http://127.0.0.1:8443"),
            ("gw.example:8443", "http://GW.example:8443"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert!(check(listen, gateway).is_err(), "{listen} {gateway}");
        }
    }

    #[test]
    fn another_port_family_or_host_is_none() {
        for (listen, gateway) in [
            ("127.0.0.1:8443", "http://127.0.0.1:18789"),
            ("127.0.0.1:8443", "http://127.0.0.2:8443"),
            ("0.0.0.0:8443", "http://[::1]:8443"),
            ("0.0.0.0:8443", "http://192.0.2.1:8443"),
            ("[::1]:8443", "http://127.0.0.1:8443"),
            ("127.0.0.1:0", "http://127.0.0.1:18789"),
            ("0.0.0.0:8443", "http://openclaw-gateway:8443"),
            ("unix:/run/a.sock", "unix:/run/b.sock"),
        ] {
            assert_eq!(check(listen, gateway), Ok(()), "{listen} {gateway}");
        }
    }
}
