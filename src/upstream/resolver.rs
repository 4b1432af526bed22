//! Whose resolver was asked for a name: the system's configuration, read when a name has no address.
//!
//! Container engines have resolvers of their own, which know a service's name only while its
//! container runs. Which one it is decides what there is to do.

use crate::session::record::gateway::Resolver;

/// Where the system's resolver is configured (resolv.conf(5)).
const FILE: &str = "/etc/resolv.conf";
/// It is a few lines; more are not looked at.
const MOST: usize = 16 * 1024;

/// What the file says; `None` where there is none that can be read.
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
