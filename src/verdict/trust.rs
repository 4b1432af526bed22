//! Texts about the client's identity as the gateway sees it: attribution headers and trusted
//! proxies.

use std::net::IpAddr;

use super::view::{View, fact};
use crate::session::record::Evidence;
use crate::session::record::client::ViaKind;
use crate::session::record::gateway::{Acceptance, ForwardedFacts, ForwardedMode, ForwardedWhy};
use crate::session::text::PeerText;

/// Why the gateway answered 403 `proxy_attribution_required`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disbelief {
    /// Our address is not in its `gateway.trustedProxies`.
    Us,
    /// A proxy between us and the gateway adds such headers, or is the peer that the gateway sees
    /// in our place.
    Behind,
    /// A proxy on our host, which is not in `trusted_proxies`, brought headers that we passed.
    Proxy,
    /// It believes us, but not that this can be a client: missing, loopback, or itself a proxy.
    Client,
    /// Such a proxy names no client that the gateway would accept, whether it trusts us or not.
    Nobody,
}

/// See [`View::passed_on`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassedOn {
    /// An address that is not loopback, or a header that only wstap reads.
    Client,
    /// Loopback and nothing else.
    Loopback,
    /// No address at all.
    Nothing,
}

impl View<'_> {
    /// The address that the gateway sees us under.
    #[must_use]
    pub fn our_address(&self) -> Option<IpAddr> {
        let local = self.gateway.as_ref()?.local_addr.as_deref()?;
        address(local)
    }

    /// How attribution headers were handled.
    #[must_use]
    pub fn forwarded(&self) -> Option<&ForwardedFacts> {
        self.record().gateway.as_ref()?.forwarded.as_ref()
    }

    /// The attribution headers, as evidence.
    #[must_use]
    pub fn attribution_evidence(&self) -> Vec<Evidence> {
        let mut all = Vec::new();
        if let Some(forwarded) = self.forwarded() {
            if !forwarded.brought.is_empty() {
                let names: Vec<&str> = forwarded.brought.iter().map(PeerText::as_str).collect();
                all.push(fact(format!("the client brought {}", names.join(", "))));
            }
            all.push(fact(match (forwarded.mode, self.named()) {
                (ForwardedMode::Pass, _) => "we passed attribution headers as they came".to_owned(),
                (ForwardedMode::Overwrite, Some(ip)) => {
                    format!("we wrote X-Forwarded-For: {ip}")
                }
                (ForwardedMode::Overwrite, None) => {
                    "we wrote X-Forwarded-For with the client's address".to_owned()
                }
                (ForwardedMode::None, _) => "no attribution headers went out".to_owned(),
            }));
            let written = forwarded.mode == ForwardedMode::Overwrite;
            if written && forwarded.acceptance == Acceptance::Unknown {
                all.push(fact("whether the gateway believes that is not known"));
            }
            if forwarded.why == Some(ForwardedWhy::GatewayRefusedOverwrite) {
                let what = "the gateway does not trust us to name clients: all share our address";
                all.push(fact(what));
            }
        }
        if let Some(via) = &self.record().client.via {
            let chain: Vec<&str> = via.chain.iter().map(PeerText::as_str).collect();
            all.push(fact(match via.kind {
                ViaKind::ForwardedChain => {
                    format!("the proxy at {} sent {}", via.peer, chain.join(", "))
                }
                ViaKind::ProxyProtocol if via.resolved => format!(
                    "the proxy at {} named {} by PROXY protocol",
                    via.peer,
                    self.record().client.addr
                ),
                ViaKind::ProxyProtocol => {
                    format!(
                        "the proxy at {} named no client by PROXY protocol",
                        via.peer
                    )
                }
            }));
        }
        if let Some(ip) = self.our_address() {
            all.push(fact(format!("the gateway sees us as {ip}")));
        }
        all
    }

    /// The party that the gateway does not believe.
    #[must_use]
    pub fn disbelief(&self) -> Disbelief {
        let Some(forwarded) = self.forwarded() else {
            return Disbelief::Us;
        };
        let loopback = self.named().is_some_and(|ip| ip.is_loopback());
        let believed = forwarded.acceptance == Acceptance::Accepted;
        // A server behind us added headers that we did not send. An answer that bears another
        // server's marks means that the gateway sees that server in our place.
        let bare = forwarded.sent.is_empty()
            && (forwarded.mode == ForwardedMode::None
                || forwarded.mode == ForwardedMode::Pass && forwarded.brought.is_empty());
        if bare || self.foreign_server().is_some() {
            return Disbelief::Behind;
        }
        match forwarded.mode {
            ForwardedMode::Pass if forwarded.why == Some(ForwardedWhy::LoopbackProxy) => {
                match self.passed_on() {
                    PassedOn::Client => Disbelief::Proxy,
                    PassedOn::Loopback | PassedOn::Nothing => Disbelief::Nobody,
                }
            }
            ForwardedMode::Overwrite if loopback || believed => Disbelief::Client,
            _ => Disbelief::Us,
        }
    }

    /// The line that makes the gateway trust our attribution headers.
    #[must_use]
    pub fn trust_us(&self) -> String {
        trust_line(self.our_address())
    }

    /// The one action against a 403 `proxy_attribution_required`.
    #[must_use]
    pub fn end_disbelief(&self) -> String {
        match self.disbelief() {
            Disbelief::Us => self.trust_us(),
            Disbelief::Behind => {
                let proxy = self.foreign_server().unwrap_or("the proxy");
                if self.forwarded().is_some_and(|it| !it.sent.is_empty()) {
                    format!(
                        "in openclaw.json add the address under which the gateway sees {proxy} to \
                         gateway.trustedProxies"
                    )
                } else {
                    format!(
                        "let {proxy} between tap and gateway add no X-Forwarded-* and no \
                         X-Real-IP, or point gateway.url at the gateway itself"
                    )
                }
            }
            Disbelief::Proxy => {
                let peer = address(&self.record().client.addr);
                let peer = match peer {
                    Some(ip) => ip.to_string(),
                    None if self.record().client.addr == "unix" => "unix".to_owned(),
                    None => "its address".to_owned(),
                };
                format!(
                    "if that proxy is yours, put {peer} into trusted_proxies of wstap; then {}",
                    self.trust_us()
                )
            }
            Disbelief::Client => self.name_a_client(),
            Disbelief::Nobody if self.passed_on() == PassedOn::Loopback => {
                "let this client connect to wstap without that proxy, or let the proxy add no \
                 X-Forwarded-For: behind one that does a local client can never be local"
                    .to_owned()
            }
            Disbelief::Nobody => "let that proxy write its client's address into X-Forwarded-For, \
                                  or let it add none of these headers"
                .to_owned(),
        }
    }

    /// The client that a proxy's own headers name, if they were passed on unchanged. Forwarded and
    /// X-Real-IP count: the gateway does not read them, but wstap can.
    #[must_use]
    pub fn passed_on(&self) -> PassedOn {
        let headers = self.request.iter().flat_map(|request| &request.headers);
        let named = |name: &'static str| {
            let same = move |found: &str| found.eq_ignore_ascii_case(name);
            headers
                .clone()
                .filter(move |header| same(header.name.as_str()))
        };
        let hops: Vec<&str> = named("x-forwarded-for")
            .filter_map(|header| header.value.as_ref())
            .flat_map(|value| value.as_str().split(','))
            .map(str::trim)
            .collect();
        let read = |hop: &&str| hop.parse().ok().or_else(|| address(hop));
        let mut known = hops.iter().filter_map(read).peekable();
        if known.peek().is_some() {
            return if known.any(|ip| !ip.is_loopback()) {
                PassedOn::Client
            } else {
                PassedOn::Loopback
            };
        }
        let brought = self.forwarded().map_or(&[][..], |it| &it.brought);
        let brought = |name: &str| brought.iter().any(|it| it.as_str() == name);
        // If the record lacks its value, it cannot be judged.
        let unread = brought("x-forwarded-for") && named("x-forwarded-for").next().is_none();
        let others = brought("forwarded") || brought("x-real-ip");
        if unread || hops.is_empty() && others {
            PassedOn::Client
        } else {
            PassedOn::Nothing
        }
    }

    fn name_a_client(&self) -> String {
        let loopback = self.named().is_some_and(|ip| ip.is_loopback());
        let why = self.forwarded().and_then(|forwarded| forwarded.why);
        let via = self.record().client.via.as_ref();
        let proxy = via.and_then(|via| address(&via.peer));
        let proxy = proxy.map_or_else(|| "the proxy".to_owned(), |ip| format!("the proxy at {ip}"));
        match (via, why) {
            (Some(via), _) if !via.resolved && via.kind == ViaKind::ProxyProtocol => {
                format!("make {proxy} name its client in the PROXY header")
            }
            (Some(via), _) if !via.resolved => {
                format!("make {proxy} write its client's address into X-Forwarded-For")
            }
            (Some(_), _) if loopback => format!(
                "let this client connect to wstap itself and not through {proxy}: behind a proxy \
                 it can never be local"
            ),
            (None, Some(ForwardedWhy::OwnHost)) => {
                "let clients on wstap's own host connect to the gateway itself: it takes this host \
                 for a proxy only"
                    .to_owned()
            }
            (None, _) if loopback => "set gateway.forwarded: auto in the configuration of wstap: \
                                      a client on the gateway's own host must not be written down"
                .to_owned(),
            _ => "make gateway.trustedProxies in openclaw.json narrower: it counts this client's \
                  address among its proxies"
                .to_owned(),
        }
    }

    /// The client that we named to the gateway.
    #[must_use]
    pub fn named(&self) -> Option<IpAddr> {
        let sent = self.forwarded()?.sent.iter();
        let mut named = sent.filter(|header| header.name == "x-forwarded-for");
        named.next()?.value.as_str().parse().ok()
    }
}

/// The line for the gateway's configuration that makes it trust this address.
#[must_use]
pub(crate) fn trust_line(ip: Option<IpAddr>) -> String {
    line(ip.map(narrow))
}

/// The same for a gateway of any version: those of 2026.1 compare addresses as text and do not
/// support networks.
#[must_use]
pub(crate) fn trust_line_of_any_version(ip: Option<IpAddr>) -> String {
    line(ip.map(|ip| ip.to_string()))
}

fn line(entry: Option<String>) -> String {
    match entry {
        Some(entry) => format!(
            "in openclaw.json set \"gateway\": {{ \"trustedProxies\": [\"{entry}\"] }}, adding to \
             the list if there is one",
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
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    let socket: std::net::SocketAddr = text.parse().ok()?;
    Some(socket.ip().to_canonical())
}
