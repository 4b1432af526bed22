//! `trusted_proxies`: the proxies that are believed about their clients.

use std::net::IpAddr;

use ipnet::IpNet;

/// Proxies that are believed: networks, and anyone who connects by a unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    networks: Vec<IpNet>,
    unix: bool,
}

impl Trusted {
    /// Trusts these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self {
            networks,
            unix: false,
        }
    }

    /// Also trusts anyone who connects by a unix socket.
    #[must_use]
    pub fn with_unix(mut self) -> Self {
        self.unix = true;
        self
    }

    /// Whether peers that connect by a unix socket are believed.
    #[must_use]
    pub fn has_unix(&self) -> bool {
        self.unix
    }

    /// Every entry as written in a configuration file; `unix` comes last.
    #[must_use]
    pub fn entries(&self) -> Vec<String> {
        let networks = self.networks.iter().map(ToString::to_string);
        networks
            .chain(self.unix.then(|| "unix".to_owned()))
            .collect()
    }

    /// The networks, in the order of the file.
    #[must_use]
    pub fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// Whether nobody is believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether this address is in the list; an IPv4 address also when it is written as IPv6
    /// (`::ffff:10.0.0.5`).
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }
}

impl FromIterator<IpNet> for Trusted {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self::new(networks.into_iter().collect())
    }
}
