//! The gateway was not reached: one rule a cause.

use crate::session::party::{Leg, Party, Phase};
use crate::session::record::GatewayErrorKind as Kind;
use crate::session::record::Kind as RecordKind;
use crate::session::record::gateway::{DialAttempt, Resolver, Tries};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, TlsWords};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, human_ms, limit};
use crate::verdict::words::error_words;

/// From this wait on, our slow dial explains why the client left. One lost packet
/// takes a second, a second one two more (RFC 6298 section 5).
const DIAL_MS: f64 = 3000.0;

pub(super) const fn cause(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule::of(id, Class::GatewayUnreachable, Party::Gateway, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway's socket is full",
        explanation: "The accept queue of the gateway's unix socket is full (EAGAIN): a process \
                      still has the socket open, but accepts no connections (it may be stuck or \
                      stopped), or accepts them far too slowly.",
        evidence: "EAGAIN of the unix socket",
        versions: Versions::Any,
        action: "look into the gateway's log and at its load: it does not accept connections",
        ..cause("gateway.unreachable.backlog", ActOn::Gateway, backlog)
    },
    Rule {
        title: "The gateway could not be connected",
        explanation: "The system refused the connection to the gateway for a reason other than the \
                      usual ones; the evidence has its words.",
        evidence: "an error of the system while connecting that no other rule knows",
        versions: Versions::Any,
        action: "check gateway.url and the network of the tap's host",
        ..cause("gateway.unreachable.connect", ActOn::Operator, connect)
    },
    Rule {
        title: "The gateway's name does not resolve",
        explanation: "The name in gateway.url has no address where the tap runs. In Compose only \
                      services on the same network resolve each other's names, and only while the \
                      other container runs: a gateway that ended, or that ends again at each \
                      start, no longer has a name. The record has the resolver that was asked \
                      (gateway.dns.resolver).",
        evidence: "no address for the name in gateway.url",
        versions: Versions::Any,
        action: "check the name in gateway.url, or its container is not running: `docker compose ps -a` shows one that \
                 ended or restarts again and again; it must run and share a network with wstap",
        ..cause("gateway.unreachable.dns", ActOn::Operator, dns)
    },
    Rule {
        title: "The tap's host forbids the connection",
        explanation: "The tap's own host refused to send to the gateway's address (EACCES, EPERM): \
                      a packet filter on it (nftables, iptables, a network policy), a `prohibit` \
                      route, or a security module. No packet left, so nothing is known about the \
                      gateway.",
        evidence: "EACCES or EPERM of the TCP connection",
        versions: Versions::Any,
        action: "allow the tap's host to connect to the gateway: look at `nft list ruleset`, `ip route get` \
                 and the container's network policy there",
        ..cause("gateway.unreachable.forbidden", ActOn::Operator, forbidden)
    },
    Rule {
        title: "127.0.0.1 is the container itself",
        explanation: "The connection to a loopback address was refused, and the tap's host name \
                      looks like a container's. Inside a container 127.0.0.1 is the container \
                      itself, not the host and not the gateway's container. Only where both share \
                      one network namespace (network_mode: service:…, a pod) it is the gateway's \
                      as well, and then the gateway is not up.",
        evidence: "ECONNREFUSED of a loopback address, and a host name as containers have them",
        versions: Versions::Any,
        action: "put the gateway's service name into gateway.url, for example http://openclaw-gateway:18789; \
                 or start the gateway, if it shares this container's network (network_mode in Compose)",
        ..cause(
            "gateway.unreachable.loopback_in_container",
            ActOn::Operator,
            loopback_in_container,
        )
    },
    Rule {
        title: "The tap's host has no address of the gateway's family",
        explanation: "The gateway's address is of a family that the tap's host has no address of: \
                      mostly IPv6 in a container without IPv6, where even ::1 is missing and \
                      `localhost` may still name it. Nothing was sent.",
        evidence: "EADDRNOTAVAIL or EAFNOSUPPORT of the connection, and no source address for that family on this host",
        versions: Versions::Any,
        action: "write an address of the other family into gateway.url (127.0.0.1 instead of ::1), or enable \
                 this family on the tap's host",
        ..cause(
            "gateway.unreachable.no_address",
            ActOn::Operator,
            no_address,
        )
    },
    Rule {
        title: "The client gave up before the gateway was reached",
        explanation: "The client waited for 3 s or more while the tap looked up the gateway's name, \
                      connected or did TLS, and left before timeouts.connect ran out. A healthy gateway \
                      needs milliseconds for that. A client that leaves sooner is \
                      client.left.dial.",
        evidence: "the client left 3 s or more after the tap began to connect, and before the gateway's connection was ready",
        versions: Versions::Any,
        action: "run `curl -v` with gateway.url on the tap's host: its last line shows whether the name, the connection or TLS hangs",
        party: Party::Client,
        ..cause("gateway.unreachable.no_answer", ActOn::Operator, no_answer)
    },
    Rule {
        title: "The gateway does not speak TLS",
        explanation: "gateway.url says https or wss, and what listens there does not answer TLS \
                      with TLS.",
        evidence: "an answer to our TLS hello that is not TLS",
        versions: Versions::Any,
        action: "use http:// (or ws://) in gateway.url, or enable gateway.tls at the gateway",
        ..cause("gateway.unreachable.not_tls", ActOn::Operator, not_tls)
    },
    Rule {
        title: "The gateway could not be used",
        explanation: "Reaching the gateway failed in a way that has no rule of its own; the \
                      evidence has the details.",
        evidence: "an error before the request was sent that no other rule knows",
        versions: Versions::Any,
        action: "check gateway.url and what listens there",
        ..cause("gateway.unreachable.other", ActOn::Operator, other)
    },
    Rule {
        title: "Some connections to the gateway fail",
        explanation: "`wstap probe` makes up to 100 connections to each address of the gateway's name, and to \
                      one address more than 3 % failed: it is dead, packets to it are lost, or something on the way limits \
                      the new connections of one client, which so many connections exceed. Clients that try \
                      the addresses in turn connect late; those that try only one fail now and then.",
        evidence: "a probe in which more than 3 % of the connections to one address failed, while others worked",
        versions: Versions::Any,
        action: "fix the route to the failing address; if it is dead, remove it from the name (DNS, hosts file); a firewall's limit on new connections per client explains it too, and needs no change",
        party: Party::Network,
        ..cause("gateway.unreachable.partly", ActOn::Network, partly)
    },
    Rule {
        title: "The gateway refused the connection",
        explanation: "Nothing listens at the gateway's address and port (ECONNREFUSED). A gateway \
                      that restarts does so for about five seconds. A gateway that binds to \
                      loopback refuses connections from other hosts and containers.",
        evidence: "ECONNREFUSED",
        versions: Versions::Any,
        action: "start the gateway, or correct the address and port in gateway.url",
        ..cause("gateway.unreachable.refused", ActOn::Gateway, refused)
    },
    Rule {
        title: "The gateway's socket may not be opened",
        explanation: "The unix socket of the gateway exists, and the user that the tap runs as may \
                      not open it or pass through its folder.",
        evidence: "EACCES or EPERM on the unix socket",
        versions: Versions::Any,
        action: "give the tap's user read and write permission on the socket (a common group does)",
        ..cause(
            "gateway.unreachable.socket_denied",
            ActOn::Operator,
            socket_denied,
        )
    },
    Rule {
        title: "The gateway's socket is missing",
        explanation: "There is no socket file at the path in gateway.url: the gateway does not run, \
                      or the folder is not mounted into the tap's container.",
        evidence: "ENOENT on the unix socket",
        versions: Versions::Any,
        action: "start the gateway, or mount the socket's folder into the tap's container",
        ..cause(
            "gateway.unreachable.socket_missing",
            ActOn::Operator,
            socket_missing,
        )
    },
    Rule {
        title: "Connecting to the gateway took too long",
        explanation: "No answer to our connection within timeouts.connect: packets are dropped by a \
                      firewall, the address is wrong, or the host is down. A refused connection \
                      would have failed at once.",
        evidence: "no answer to the connection within timeouts.connect",
        versions: Versions::Any,
        action: "check address, firewall and routes between tap and gateway",
        ..cause("gateway.unreachable.timeout", ActOn::Network, timeout)
    },
    Rule {
        title: "TLS with the gateway failed",
        explanation: "The TLS handshake with the gateway failed, but not because of its \
                      certificate; the evidence has the TLS library's words.",
        evidence: "a TLS handshake with the gateway that failed for another reason than its certificate",
        versions: Versions::Any,
        action: "check the gateway's TLS settings: we speak TLS 1.2 and 1.3",
        ..cause("gateway.unreachable.tls", ActOn::Gateway, tls)
    },
    Rule {
        title: "The gateway ended the TLS handshake",
        explanation: "gateway.url says https or wss, and what listens there ended or reset the \
                      connection inside the TLS handshake, without an alert: it does not speak TLS, \
                      it is going down, or a port forwarder in front of it has no target.",
        evidence: "FIN or RST of the gateway inside the TLS handshake",
        versions: Versions::Any,
        action: "check that the gateway runs; if it does, use http:// (or ws://) in gateway.url, or enable gateway.tls at the gateway",
        ..cause("gateway.unreachable.tls_cut", ActOn::Operator, tls_cut)
    },
    Rule {
        title: "There is no route to the gateway",
        explanation: "The system knows no way to the gateway's address: wrong network, VPN down, \
                      container networks that are not joined.",
        evidence: "EHOSTUNREACH or ENETUNREACH",
        versions: Versions::Any,
        action: "check routes and VPN of the tap's host, or join tap and gateway in one container network",
        ..cause(
            "gateway.unreachable.unreachable",
            ActOn::Network,
            unreachable,
        )
    },
    Rule {
        title: "The gateway wants TLS",
        explanation: "gateway.url says http or ws, and what listens there answers with TLS.",
        evidence: "TLS in answer to plain HTTP, or a 400 with known words of a TLS port (\"plain HTTP request was sent to HTTPS port\" and the like)",
        versions: Versions::Any,
        action: "use https:// (or wss://) in gateway.url",
        ..cause("gateway.unreachable.wants_tls", ActOn::Operator, wants_tls)
    },
];

pub(super) fn error(view: &View<'_>, kind: Kind, summary: impl Into<String>) -> Option<Finding> {
    if view.gateway_error() != Some(kind) {
        return None;
    }
    Some(with_detail(
        view,
        Finding::new(Confidence::Certain, summary),
    ))
}

fn with_detail(view: &View<'_>, finding: Finding) -> Finding {
    let target = fact(format!("the gateway is {}", view.gateway_name()));
    finding
        .because(view.gateway_error_evidence())
        .because([target])
        .because(view.timer_evidence())
        .because(view.retry_evidence())
}

/// The address that was tried, or the configured one.
fn target(view: &View<'_>) -> String {
    let Some(gateway) = &view.gateway else {
        return "the gateway".to_owned();
    };
    gateway.addr.clone().unwrap_or_else(|| gateway.url.clone())
}

/// The name that was looked up.
fn name(view: &View<'_>) -> String {
    view.gateway
        .as_ref()
        .and_then(|gateway| gateway.dns.as_ref())
        .map_or_else(|| target(view), |dns| dns.name.clone())
}

fn backlog(view: &View<'_>) -> Option<Finding> {
    let summary = format!(
        "the gateway's socket {} is full: connections to it wait to be accepted",
        target(view)
    );
    error(view, Kind::Backlog, summary)
}

fn connect(view: &View<'_>) -> Option<Finding> {
    let summary = format!("we could not connect to {}", target(view));
    error(view, Kind::Connect, summary)
}

fn dns(view: &View<'_>) -> Option<Finding> {
    let summary = format!("the gateway's name {} does not resolve here", name(view));
    let found = error(view, Kind::Dns, summary)?;
    let asked = view
        .gateway
        .as_ref()
        .and_then(|gateway| gateway.dns.as_ref());
    // The name has addresses, even if it leads to the wrong host.
    let Some(asked) = asked.filter(|asked| asked.addresses == 0) else {
        return Some(found);
    };
    // In a container engine's resolver, a short name is a container or a service.
    let name = &asked.name;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let Some(resolver) = asked.resolver.filter(|_| name.bytes().all(plain)) else {
        return Some(found);
    };
    let (whose, next) = match resolver {
        Resolver::Docker => (
            "Docker's (127.0.0.11)",
            format!(
                "check the name in gateway.url, or its container is not running: `docker compose ps -a \
                 {name}` (Docker resolves a name only while the container runs). If it ended or restarts \
                 again and again, read `docker compose logs {name}` and start it (`docker compose up -d \
                 {name}`); if it runs, put it and wstap on one network (`networks:` of both services)"
            ),
        ),
        Resolver::Podman => (
            "Podman's",
            format!(
                "run `podman ps -a --filter name={name}`: Podman resolves a container's name only while \
                 it runs, so start it and read its log if it ended; if it runs, put it and wstap on one \
                 network"
            ),
        ),
        Resolver::Kubernetes => (
            "a Kubernetes cluster's",
            format!(
                "run `kubectl get service {name}` in wstap's namespace: a short name is a Service of \
                 the same namespace; one of another is SERVICE.NAMESPACE"
            ),
        ),
        Resolver::Other => return Some(found),
    };
    let asked = fact(format!("the resolver that was asked is {whose}"));
    Some(found.because([asked]).next(next))
}

fn forbidden(view: &View<'_>) -> Option<Finding> {
    let summary = format!("this host does not let us connect to {}", target(view));
    error(view, Kind::Forbidden, summary)
}

fn is_ipv6(view: &View<'_>) -> bool {
    crate::verdict::trust::address(&target(view)).is_some_and(|ip| ip.is_ipv6())
}

fn no_address(view: &View<'_>) -> Option<Finding> {
    let family = if is_ipv6(view) { "IPv6" } else { "IPv4" };
    let summary = format!(
        "there is no {family} on the tap's host, and the gateway's address is {}",
        target(view)
    );
    error(view, Kind::NoAddress, summary)
}

fn no_answer(view: &View<'_>) -> Option<Finding> {
    let waited = view.ms_since(Phase::Dial)?;
    let left = view.phase == Phase::Dial && view.end_of(Leg::Client).is_by_peer();
    let no_error_recorded = view.answer.is_none() && view.gateway_error().is_none();
    if !left || !no_error_recorded || view.kind == RecordKind::Connection || waited < DIAL_MS {
        return None;
    }
    let summary = format!(
        "the client gave up after {}: we had not reached the gateway yet",
        human_ms(waited)
    );
    let target = fact(format!("the gateway is {}", view.gateway_name()));
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.end_evidence(Leg::Client))
            .because([target])
            .ended_by(Party::Client),
    )
}

fn is_loopback(view: &View<'_>) -> bool {
    crate::verdict::trust::address(&target(view)).is_some_and(|ip| ip.is_loopback())
}

fn loopback_in_container(view: &View<'_>) -> Option<Finding> {
    let name = &view.tap.name;
    // Docker names a container's host by the first twelve digits of its id.
    let container = name.len() == 12
        && name
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f'));
    if view.gateway_error() != Some(Kind::Refused) || !is_loopback(view) || !container {
        return None;
    }
    let summary = format!(
        "nothing listens on {}, which may be this container itself",
        target(view)
    );
    let host = fact(format!(
        "this tap's host is named {name}, as Docker names containers"
    ));
    let finding = Finding::new(Confidence::Possible, summary).because([host]);
    Some(with_detail(view, finding))
}

/// It spoke TLS on the kept connection of the first try.
fn has_spoken_tls(view: &View<'_>) -> bool {
    let gateway = view.gateway.as_ref();
    gateway.is_some_and(|gateway| gateway.retried.is_some())
}

fn not_tls(view: &View<'_>) -> Option<Finding> {
    if has_spoken_tls(view) {
        return None;
    }
    let summary = format!("what listens on {} does not speak TLS", target(view));
    error(view, Kind::NotTls, summary)
}

fn other(view: &View<'_>) -> Option<Finding> {
    if let Some(found) = error(view, Kind::Other, "the gateway could not be used") {
        return Some(found);
    }
    // The connect timer without an error beside it.
    let timer = view.close.timer?;
    if view.had_tunnel() || view.phase != Phase::Dial || view.gateway_error().is_some() {
        return None;
    }
    let key = timer.key.as_str();
    let summary = format!("we did not reach the gateway within timeouts.{key}");
    Some(with_detail(
        view,
        Finding::new(Confidence::Certain, summary),
    ))
}

fn partly(view: &View<'_>) -> Option<Finding> {
    let attempts = &view.gateway.as_ref()?.attempts;
    let several = |attempt: &DialAttempt| attempt.tries.filter(|tries| tries.of > 0);
    let failing: Vec<String> = attempts
        .iter()
        .filter_map(|attempt| {
            let tries = several(attempt).filter(|tries| !tries.is_fine())?;
            let why = attempt.error.map_or("no answer", error_words);
            let lost = tries.of.saturating_sub(tries.connected);
            Some(format!(
                "{} ({lost} of {} failed: {why})",
                attempt.addr, tries.of
            ))
        })
        .collect();
    let any = attempts
        .iter()
        .filter_map(several)
        .any(|tries| tries.connected > 0);
    if !any || failing.is_empty() || view.gateway_error().is_some() {
        return None;
    }
    let summary = format!("some connections fail: {}", failing.join(", "));
    let fine = attempts.iter().filter_map(|attempt| {
        several(attempt).filter(Tries::is_fine)?;
        Some(fact(format!("connections to {} work", attempt.addr)))
    });
    Some(Finding::new(Confidence::Certain, summary).because(fine))
}

fn refused(view: &View<'_>) -> Option<Finding> {
    let summary = format!(
        "nothing listens on {}: the connection was refused",
        target(view)
    );
    let found = error(view, Kind::Refused, summary)?;
    if !is_loopback(view) {
        if !view.expected().listens_on_loopback {
            return Some(found);
        }
        // Its host is there. A gateway that runs on it and refuses listens on its loopback only.
        return Some(found.next(
            "start the gateway; if it runs, let it listen beyond its own loopback (`openclaw \
             gateway run --bind lan`, gateway.bind in openclaw.json), or correct gateway.url",
        ));
    }
    Some(found.next(
        "start the gateway (`openclaw gateway run`); in a container use its service name, as \
         127.0.0.1 is the container itself",
    ))
}

fn socket_denied(view: &View<'_>) -> Option<Finding> {
    let summary = format!("we may not open the gateway's socket {}", target(view));
    error(view, Kind::SocketDenied, summary)
}

fn socket_missing(view: &View<'_>) -> Option<Finding> {
    let summary = format!("the gateway's socket {} does not exist", target(view));
    error(view, Kind::SocketMissing, summary)
}

fn timeout(view: &View<'_>) -> Option<Finding> {
    let within = view.close.timer.map_or_else(String::new, |timer| {
        format!(" within {}", limit(timer.limit_ms))
    });
    let connected = (view.gateway.as_ref())
        .is_some_and(|gateway| gateway.connect_ms.is_some() && gateway.tls.is_some());
    if connected {
        let summary = format!("{} did not finish the TLS handshake{within}", target(view));
        return Some(error(view, Kind::ConnectTimeout, summary)?.next(
            "check that the gateway's process is not stuck, and that its port speaks TLS: the connection itself \
             was made",
        ));
    }
    let summary = format!("{} did not answer our connection{within}", target(view));
    error(view, Kind::ConnectTimeout, summary)
}

fn tls(view: &View<'_>) -> Option<Finding> {
    let kind = if has_spoken_tls(view) {
        view.gateway_error()
            .filter(|kind| matches!(kind, Kind::Tls | Kind::NotTls))?
    } else {
        Kind::Tls
    };
    error(view, kind, "TLS with the gateway failed")
}

fn tls_cut(view: &View<'_>) -> Option<Finding> {
    let summary = format!("{} ended the connection in the TLS handshake", target(view));
    error(view, Kind::TlsCut, summary)
}

fn unreachable(view: &View<'_>) -> Option<Finding> {
    let summary = format!("there is no route to {}", target(view));
    error(view, Kind::Unreachable, summary)
}

fn wants_tls(view: &View<'_>) -> Option<Finding> {
    let summary = format!(
        "what listens on {} wants TLS, and gateway.url says plain",
        target(view)
    );
    if !says_plain_to_tls(view) {
        return error(view, Kind::WantsTls, summary);
    }
    // A proxy on that port may forward the answer of the server behind it.
    Some(
        Finding::new(Confidence::Likely, summary)
            .because([fact(
                "its 400 says that plain HTTP came to a port that speaks TLS",
            )])
            .because(view.answer_evidence())
            .next(
                "use https:// (or wss://) in gateway.url; if it names a proxy, let that proxy use https \
                 for the gateway",
            ),
    )
}

/// A 400 to our plain request, with the words of a TLS port.
fn says_plain_to_tls(view: &View<'_>) -> bool {
    let gateway = view.record().gateway.as_ref();
    gateway.is_some_and(|gateway| {
        gateway.tls.is_none()
            && gateway.status == Some(400)
            && gateway.tls_words == Some(TlsWords::PlainToTls)
    })
}
