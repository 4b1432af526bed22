//! Proxies in front of us and behind us: the signs of them, and the configuration lines that fix
//! those that we recognise.

use super::view::{View, fact, short};
use crate::session::party::Leg;
use crate::session::record::{Class, Evidence};

/// The change that a proxy's configuration needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To pass upgrades.
    Upgrade,
    /// To leave silent sessions alone.
    Idle,
    /// To reach what is behind it.
    Reach,
    /// To take larger heads and bodies.
    Size,
    /// To leave the handshake's headers alone.
    Handshake,
}

/// Header names (lower case) of requests that only one kind of hop adds.
const REQUEST_HEADERS: [(&str, &str); 8] = [
    ("cf-ray", "Cloudflare"),
    ("cf-connecting-ip", "Cloudflare"),
    ("x-amz-cf-id", "CloudFront"),
    ("x-amzn-trace-id", "AWS load balancer"),
    ("x-azure-ref", "Azure Front Door"),
    ("x-envoy-external-address", "Envoy"),
    ("x-envoy-expected-rq-timeout-ms", "Envoy"),
    ("fly-request-id", "Fly.io"),
];

/// Proxies whose configuration is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Software {
    Nginx,
    Haproxy,
}

/// Recognises the software by its name in `foreign`.
fn software(server: Option<&str>) -> Option<Software> {
    match server? {
        "nginx" | "OpenResty" | "Tengine" => Some(Software::Nginx),
        "HAProxy" => Some(Software::Haproxy),
        _ => None,
    }
}

/// The change for the proxy of this name, exact enough to paste; for an unknown one, the settings
/// of nginx and HAProxy, which are the most common.
#[must_use]
pub(crate) fn mend(server: Option<&str>, need: Need) -> &'static str {
    match (need, software(server)) {
        (Need::Upgrade, Some(Software::Haproxy)) => {
            "HAProxy passes upgrades by itself: take `http-request del-header` rules for Upgrade \
             and Connection out of its configuration"
        }
        (Need::Upgrade, Some(Software::Nginx)) => {
            "in nginx's location for this path set proxy_http_version 1.1; proxy_set_header \
             Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";"
        }
        (Need::Upgrade, None) => {
            "let that proxy pass Upgrade and Connection (nginx: proxy_http_version 1.1; \
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; \
             HAProxy: no `http-request del-header` for them)"
        }
        (Need::Idle, Some(Software::Nginx)) => {
            "in nginx's location for this path set proxy_read_timeout 1h; proxy_send_timeout 1h; \
             (their default is 60s)"
        }
        (Need::Idle, Some(Software::Haproxy)) => {
            "in HAProxy set `timeout tunnel 1h` (without it `timeout client` and `timeout server` \
             count)"
        }
        (Need::Idle, None) => "nginx: proxy_read_timeout 1h; HAProxy: timeout tunnel 1h",
        (Need::Reach, Some(Software::Nginx)) => {
            "look into nginx's error log at this time; check its proxy_pass and that the gateway \
             runs (504: it did not answer within proxy_read_timeout)"
        }
        (Need::Reach, Some(Software::Haproxy)) => {
            "look into HAProxy's log at this time; check the `server` line of its backend, the \
             health check there, and that the gateway runs (504: it did not answer within \
             `timeout server`)"
        }
        (Need::Reach, None) => {
            "look into that proxy's log for its upstream error; check its upstream address and \
             that the gateway runs"
        }
        (Need::Size, Some(Software::Nginx)) => {
            "clear the cookies of this host or let the client send less, or raise \
             large_client_header_buffers in nginx (client_max_body_size for a 413)"
        }
        (Need::Size, Some(Software::Haproxy)) => {
            "clear the cookies of this host or let the client send less, or raise tune.bufsize in \
             the global section of HAProxy"
        }
        (Need::Size, None) => {
            "clear the cookies of this host or let the client send less, or raise the limit of that \
             proxy for heads (nginx: large_client_header_buffers; HAProxy: tune.bufsize; Node: \
             --max-http-header-size) or bodies"
        }
        (Need::Handshake, Some(Software::Nginx)) => {
            "take proxy_set_header and proxy_hide_header lines for Sec-WebSocket-* out of nginx's \
             configuration; for Connection it needs proxy_set_header Connection \"upgrade\";"
        }
        (Need::Handshake, Some(Software::Haproxy)) => {
            "take `set-header` and `del-header` rules for Connection and Sec-WebSocket-* out of \
             HAProxy's configuration"
        }
        (Need::Handshake, None) => {
            "let the proxy between tap and gateway pass Connection and Sec-WebSocket-* unchanged \
             (nginx: proxy_set_header Connection \"upgrade\"; and no line for Sec-WebSocket-*; \
             HAProxy: no `set-header` or `del-header` for them), or point gateway.url at the \
             gateway itself"
        }
    }
}

/// How to raise the idle limit of the proxy with this name, between tap and gateway.
#[must_use]
pub(crate) fn raise_idle_limit(server: &str) -> String {
    match software(Some(server)) {
        Some(_) => mend(Some(server), Need::Idle).to_owned(),
        None => format!("raise the idle timeout of {server} {}", side(Leg::Gateway)),
    }
}

/// The position of a proxy on this leg, in words.
#[must_use]
pub(crate) fn side(leg: Leg) -> &'static str {
    match leg {
        Leg::Client => "between client and tap",
        Leg::Gateway => "between tap and gateway",
    }
}

impl View<'_> {
    /// ` (Cloudflare is in the path)`, if the request shows it. It may not be the proxy next to us,
    /// and a client can write such headers itself.
    #[must_use]
    pub fn path_hint(&self) -> String {
        let Some(request) = &self.record().request else {
            return String::new();
        };
        let has = |wanted: &str| {
            let mut names = request.headers.iter().map(|header| header.name.as_str());
            names.any(|name| name.eq_ignore_ascii_case(wanted))
        };
        let mut known = REQUEST_HEADERS.iter();
        let named = known.find(|(name, _)| has(name));
        named.map_or_else(String::new, |(_, who)| format!(" ({who} is in the path)"))
    }

    /// The request came in HTTP/1.0, which no WebSocket client speaks, but which nginx uses by
    /// default towards its upstream.
    #[must_use]
    pub fn http_10_in_front(&self) -> bool {
        let request = self.record().request.as_ref();
        request
            .is_some_and(|request| request.has_websocket_key && request.http_version == "HTTP/1.0")
    }

    /// Evidence that the request came through a proxy.
    #[must_use]
    pub fn front_evidence(&self) -> Vec<Evidence> {
        const MOST: usize = 8;
        let Some(request) = &self.record().request else {
            return Vec::new();
        };
        let marks = request.headers.iter().filter(|header| {
            let name = header.name.as_str().to_ascii_lowercase();
            matches!(name.as_str(), "via" | "forwarded" | "x-real-ip")
                || name.starts_with("x-forwarded")
                || REQUEST_HEADERS.iter().any(|(mark, _)| *mark == name)
        });
        let mut all: Vec<Evidence> = marks
            .take(MOST)
            .map(|header| {
                // A Via names its proxy; the other headers would show somebody's address.
                let via = header.name.as_str().eq_ignore_ascii_case("via");
                let value = header.value.as_ref().filter(|_| via);
                let value = value.map_or_else(String::new, |value| format!(": {}", short(value)));
                fact(format!("it came with the header {}{value}", header.name))
            })
            .collect();
        if self.http_10_in_front() {
            let what = "it came in HTTP/1.0, which no WebSocket client speaks; nginx does to what \
                        is behind it, unless proxy_http_version 1.1 is set";
            all.push(fact(what));
        }
        all
    }

    /// Evidence of proxies in the path, for verdicts that a proxy could have caused.
    pub(super) fn hop_evidence(&self, class: Class) -> Vec<Evidence> {
        let of_gateway = matches!(
            class,
            Class::GatewayClosed
                | Class::GatewayLeft
                | Class::GatewayLifecycle
                | Class::GatewayOrigin
                | Class::GatewaySilent
                | Class::HopFault
                | Class::NetworkCut
        );
        let of_client = matches!(class, Class::ClientLeft | Class::ClientFault);
        let behind = self
            .foreign_name()
            .filter(|_| of_gateway && self.had_tunnel());
        let behind = behind.map(|name| {
            fact(format!(
                "{name} stands between us and the gateway: the 101 bears its marks"
            ))
        });
        let front = of_client.then(|| self.front_evidence());
        behind
            .into_iter()
            .chain(front.into_iter().flatten())
            .collect()
    }
}
