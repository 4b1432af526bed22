//! Names the resolver that was asked, according to the system's configuration, which is read only
//! when a name has no address.
//!
//! Container engines run their own resolvers, which know a service's name only while its container
//! runs. So the next action depends on the resolver.

use crate::session::record::gateway::Resolver;

/// Where the system's resolver is configured (resolv.conf(5)).
const FILE: &str = "/etc/resolv.conf";
/// The file has a few lines; more are not read.
const MOST: usize = 16 * 1024;

/// The resolver named in this file; `None` if the file cannot be read.
pub(super) async fn configured() -> Option<Resolver> {
    let reading = tokio::task::spawn_blocking(|| std::fs::read(FILE));
    let text = reading.await.ok()?.ok()?;
    let front = text.get(..MOST.min(text.len()))?;
    Some(whose(&String::from_utf8_lossy(front)))
}

fn whose(text: &str) -> Resolver {
    let mut found = Resolver::Other;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") if words.next() == Some("127.0.0.11") => return Resolver::Docker,
            Some("search" | "domain") => {
                for domain in words {
                    if domain == "dns.podman" {
                        found = Resolver::Podman;
                    } else if domain.ends_with("svc.cluster.local") {
                        found = Resolver::Kubernetes;
                    }
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_tells_whose_resolver_it_is() {
        for (text, expected) in [
            (
                "# Docker Engine\nnameserver 127.0.0.11\noptions ndots:0\n",
                Resolver::Docker,
            ),
            ("search lan\nnameserver\t127.0.0.11\n", Resolver::Docker),
            (
                "search dns.podman\nnameserver 10.89.0.1\n",
                Resolver::Podman,
            ),
            (
                "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\n",
                Resolver::Kubernetes,
            ),
            ("nameserver 127.0.0.53\nsearch lan\n", Resolver::Other),
            (
                "#nameserver 127.0.0.11\nnameserver 127.0.0.111\n",
                Resolver::Other,
            ),
            ("", Resolver::Other),
        ] {
            assert_eq!(whose(text), expected, "{text}");
        }
    }
}
