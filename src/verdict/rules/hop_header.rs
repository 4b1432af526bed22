//! PROXY protocol headers that are missing, broken, or come from somebody who is not listed.

use super::hop::hop;
use crate::session::party::Leg;
use crate::session::record::proxy_protocol::{ProxyFault, ProxyFaultKind};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Confidence, FirstBytes, Kind};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::trust;
use crate::verdict::view::{View, fact};

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "A broken PROXY header",
        explanation: "A proxy that is listed in proxy_protocol.from began a PROXY protocol header \
                      that does not follow the protocol: a malformed line, a wrong length or \
                      checksum, more than the tap reads (version 1: 107 bytes, version 2: 4 KiB), \
                      or it ended in the middle. Nobody can tell who the client is, so the \
                      connection was closed and nothing of it was passed on.",
        evidence: "a peer in proxy_protocol.from, and a PROXY header that is malformed, too long, cut off or fails its CRC32C",
        versions: Versions::Any,
        action: "look at what that proxy sends: HAProxy `send-proxy-v2`, nginx `proxy_protocol on`",
        ..hop("hop.fault.proxy_header", broken)
    },
    Rule {
        title: "A proxy sent no PROXY header",
        explanation: "A peer that is listed in proxy_protocol.from must put a PROXY protocol header \
                      in front of every connection, and this one began with something else. The \
                      tap never guesses: without the header the proxy's own address would be taken \
                      for the client's. The connection was closed.",
        evidence: "a peer in proxy_protocol.from whose first bytes are no PROXY header",
        versions: Versions::Any,
        action: "let that proxy send the header (HAProxy: `send-proxy-v2` on the server line; nginx: `proxy_protocol on`), or take it out of proxy_protocol.from",
        ..hop("hop.fault.proxy_header_missing", missing)
    },
    Rule {
        act_on: ActOn::Operator,
        title: "A PROXY header from an unlisted peer",
        explanation: "The connection began with a PROXY protocol header, and its sender is not \
                      listed in proxy_protocol.from of this listener: it was read as TLS or HTTP, \
                      as usual, and refused. Either a load balancer of yours is missing from the \
                      list, or a stranger is trying to impersonate another client.",
        evidence: "first bytes that are a PROXY header where none is read",
        versions: Versions::Any,
        action: "if that proxy is yours, list it in proxy_protocol.from of this listener; else nothing to do",
        ..hop("hop.fault.proxy_header_unexpected", unexpected)
    },
];

fn fault<'a>(view: &View<'a>, kinds: &[ProxyFaultKind]) -> Option<&'a ProxyFault> {
    let fault = view
        .record()
        .client
        .proxy_protocol
        .as_ref()?
        .fault
        .as_ref()?;
    let ours = view.close.timer.is_none() && kinds.contains(&fault.kind);
    ours.then_some(fault)
}

/// `listeners[0].proxy_protocol.from`
pub(super) fn key(view: &View<'_>) -> String {
    format!("{}.proxy_protocol.from", listener(view))
}

/// The listener's key. A record from elsewhere may say anything.
fn listener(view: &View<'_>) -> String {
    let key = view.tap.listener_key.as_str();
    let index = key
        .strip_prefix("listeners[")
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|index| index.parse::<u16>().ok());
    index.map_or_else(
        || "listeners[]".to_owned(),
        |index| format!("listeners[{index}]"),
    )
}

/// The sender in the form of a list entry: an address, or `unix`.
pub(super) fn sender(addr: &str) -> String {
    match (trust::address(addr), addr) {
        (Some(ip), _) => ip.to_string(),
        (None, "unix") => addr.to_owned(),
        // A record from elsewhere may say anything.
        (None, _) => "its address".to_owned(),
    }
}

fn broken(view: &View<'_>) -> Option<Finding> {
    use ProxyFaultKind::{Checksum, Cut, Malformed, TooLong};
    let fault = fault(view, &[Malformed, TooLong, Checksum, Cut])?;
    let who = sender(&view.client.addr);
    let what = match fault.kind {
        Cut => "ended in the middle of its PROXY header",
        Checksum => "sent a PROXY header whose checksum is wrong",
        TooLong => "sent a PROXY header that is too long",
        _ => "sent a PROXY header that is malformed",
    };
    let listed = fact(format!("{who} is in {}", key(view)));
    Some(
        Finding::new(Confidence::Certain, format!("the proxy at {who} {what}"))
            .because([fact(fault.detail.clone()), listed])
            .because(view.end_evidence(Leg::Client)),
    )
}

fn missing(view: &View<'_>) -> Option<Finding> {
    let fault = fault(view, &[ProxyFaultKind::Missing])?;
    let (who, key) = (sender(&view.client.addr), key(view));
    let summary = format!("{who} is in {key} and sent no PROXY header");
    let next = format!(
        "let the proxy at {who} send it (HAProxy: `send-proxy-v2` on the server line; nginx: \
         `proxy_protocol on;`), or take {who} out of {key}"
    );
    let instead = match view.client.first_bytes {
        Some(FirstBytes::Tls) => "a TLS handshake came instead".to_owned(),
        Some(FirstBytes::Http) => "an HTTP request came instead".to_owned(),
        _ => fault.detail.clone(),
    };
    Some(
        Finding::new(Confidence::Certain, summary)
            .because([fact(instead)])
            .next(next),
    )
}

fn unexpected(view: &View<'_>) -> Option<Finding> {
    let came = view.client.first_bytes == Some(FirstBytes::Proxy);
    if view.kind != Kind::Connection || !came || view.close.timer.is_some() {
        return None;
    }
    let key = key(view);
    let header = view.client.proxy_protocol.as_ref();
    if header.is_some_and(|header| header.fault.is_some()) {
        return None;
    }
    if header.is_some() {
        let proxy = view.client.via.as_ref().map_or("", |via| via.peer.as_str());
        let proxy = sender(proxy);
        let summary = format!("two PROXY headers came one after the other from {proxy}");
        let next = format!(
            "let the proxy in front of {proxy} send none, or let {proxy} read its header instead of \
             passing it on (HAProxy: `accept-proxy`; nginx: `listen … proxy_protocol`)"
        );
        return Some(
            Finding::new(Confidence::Certain, summary)
                .because([fact("a PROXY header came after the one that was read")])
                .next(next),
        );
    }
    let who = sender(&view.client.addr);
    let summary = format!("PROXY header from {who} that is not in {key}");
    let listener = listener(view);
    let next = format!(
        "if the proxy at {who} is yours, put `proxy_protocol: {{ from: [\"{who}\"] }}` under \
         {listener} (or add it to the list that is there); else nothing to do: nothing was passed on"
    );
    let began = fact(format!(
        "the connection to {} began with a PROXY header",
        view.tap.listener
    ));
    Some(
        Finding::new(Confidence::Certain, summary)
            .because([began])
            .because(view.end_evidence(Leg::Client))
            .next(next),
    )
}
