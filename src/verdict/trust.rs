//! Words about who the gateway takes the client for: attribution headers and trusted proxies.

use std::net::IpAddr;

use super::view::{View, fact};
use crate::session::record::Evidence;
use crate::session::record::gateway::ForwardedMode;
use crate::session::text::PeerText;

impl View<'_> {
    /// The address that the gateway sees us under.
    #[must_use]
    pub fn our_address(&self) -> Option<IpAddr> {
        let local = self.gateway.as_ref()?.local_addr.as_deref()?;
        address(local)
    }

    /// Which attribution headers there were, as evidence.
    #[must_use]
    pub fn attribution_evidence(&self) -> Vec<Evidence> {
        let mut all = Vec::new();
        let forwarded = self
            .gateway
            .as_ref()
            .and_then(|gateway| gateway.forwarded.as_ref());
        if let Some(forwarded) = forwarded {
            if !forwarded.brought.is_empty() {
                let names: Vec<&str> = forwarded.brought.iter().map(PeerText::as_str).collect();
                all.push(fact(format!("the client brought {}", names.join(", "))));
            }
            all.push(fact(match forwarded.mode {
                ForwardedMode::Pass => "we passed attribution headers as they came",
                ForwardedMode::Overwrite => "we wrote X-Forwarded-For with the client's address",
                ForwardedMode::None => "no attribution headers went out",
            }));
        }
        if let Some(ip) = self.our_address() {
            all.push(fact(format!("the gateway sees us as {ip}")));
        }
        all
    }

    /// The line that makes the gateway trust what we say of clients.
    #[must_use]
    pub fn trust_us(&self) -> String {
        trust_line(self.our_address())
    }
}

/// The line for the gateway's configuration that makes it believe what comes from this address.
#[must_use]
pub fn trust_line(ip: Option<IpAddr>) -> String {
    match ip {
        Some(ip) => format!(
            "in openclaw.json set \"gateway\": {{ \"trustedProxies\": [\"{}\"] }}, adding to \
                 the list if there is one",
            narrow(ip)
        ),
        None => "add the address that the gateway sees us under to gateway.trustedProxies in \
                     openclaw.json"
            .to_owned(),
    }
}

/// One address as a network.
fn narrow(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{ip}/32"),
        IpAddr::V6(ip) => format!("{ip}/128"),
    }
}

/// The address of `address:port`.
#[must_use]
pub fn address(text: &str) -> Option<IpAddr> {
    let socket: std::net::SocketAddr = text.parse().ok()?;
    Some(socket.ip().to_canonical())
}
