//! Marks of another server in an answer, which show that the gateway did not make it.

use super::view::{View, fact, short};
use crate::session::record::{AnswerBy, BodyKind, Evidence, PageBy};
use crate::session::text::PeerText;

/// Beginnings of `Server` values (lower case) and the names that people know.
const SERVERS: [(&str, &str); 34] = [
    ("nginx", "nginx"),
    ("openresty", "OpenResty"),
    ("tengine", "Tengine"),
    ("caddy", "Caddy"),
    ("cloudflare", "Cloudflare"),
    ("cloudfront", "CloudFront"),
    ("haproxy", "HAProxy"),
    ("envoy", "Envoy"),
    ("istio-envoy", "Envoy (Istio)"),
    ("traefik", "Traefik"),
    ("apache", "Apache"),
    ("awselb", "AWS load balancer"),
    ("akamai", "Akamai"),
    ("google frontend", "Google Frontend"),
    ("gws", "Google"),
    ("varnish", "Varnish"),
    ("squid", "Squid"),
    ("litespeed", "LiteSpeed"),
    ("lighttpd", "lighttpd"),
    ("microsoft-iis", "IIS"),
    ("microsoft-azure", "Azure gateway"),
    ("kestrel", "Kestrel"),
    ("pingora", "Pingora"),
    ("yarp", "YARP"),
    ("kong", "Kong"),
    ("fly/", "Fly.io"),
    ("railway", "Railway"),
    ("vercel", "Vercel"),
    ("netlify", "Netlify"),
    ("ngrok", "ngrok"),
    ("sozu", "Sozu"),
    ("zscaler", "Zscaler"),
    ("bigip", "F5 BIG-IP"),
    ("mitmproxy", "mitmproxy"),
];

/// Header names (lower case) that only one kind of hop adds.
const HEADERS: [(&str, &str); 16] = [
    ("cf-ray", "Cloudflare"),
    ("cf-mitigated", "Cloudflare"),
    ("x-amz-cf-id", "CloudFront"),
    ("x-amzn-trace-id", "AWS load balancer"),
    ("x-envoy-upstream-service-time", "Envoy"),
    ("x-azure-ref", "Azure Front Door"),
    ("x-vercel-id", "Vercel"),
    ("x-railway-request-id", "Railway"),
    ("x-railway-edge", "Railway"),
    ("fly-request-id", "Fly.io"),
    ("ngrok-error-code", "ngrok"),
    ("x-kong-response-latency", "Kong"),
    ("x-squid-error", "Squid"),
    ("x-varnish", "Varnish"),
    ("x-served-by", "a cache"),
    ("x-cache", "a cache"),
];

impl View<'_> {
    /// The other server that an answer names: by its page, by its `Server` header, or by a header
    /// that only it adds. A page proves its maker; headers may also have been added to an answer of
    /// a server behind it.
    #[must_use]
    pub fn foreign_server(&self) -> Option<&'static str> {
        let gateway = self.gateway.as_ref()?;
        let page = gateway.page_by.map(maker);
        let named = gateway.server.as_ref().and_then(known_server);
        page.or(named).or_else(|| {
            HEADERS
                .iter()
                .find(|(name, _)| self.answers_with_header(name))
                .map(|(_, name)| *name)
        })
    }

    /// The same with its version, if the answer has it: `nginx/1.22.1`.
    #[must_use]
    pub fn foreign_name(&self) -> Option<&str> {
        const MOST: usize = 32;
        let name = self.foreign_server()?;
        let server = self.record().gateway.as_ref()?.server.as_ref();
        let own = server.filter(|server| known_server(server) == Some(name));
        let first = own.and_then(|server| server.as_str().split(' ').next());
        let full = first.filter(|first| first.contains('/') && first.len() <= MOST);
        Some(full.unwrap_or(name))
    }

    /// Another server made the page of the answer itself.
    #[must_use]
    pub fn foreign_page(&self) -> bool {
        self.gateway
            .as_ref()
            .is_some_and(|gateway| gateway.page_by.is_some())
    }

    /// Whether the answer carries a header of this (lower-case) name.
    #[must_use]
    pub fn answers_with_header(&self, name: &str) -> bool {
        self.gateway.as_ref().is_some_and(|gateway| {
            gateway
                .response_headers
                .iter()
                .any(|header| header.name.as_str().eq_ignore_ascii_case(name))
        })
    }

    /// The kind of the answer's body.
    #[must_use]
    pub fn body_kind(&self) -> Option<BodyKind> {
        self.gateway.as_ref()?.body_kind
    }

    /// The status of an answer other than a 101 that was passed on to an upgrade.
    #[must_use]
    pub fn refused_upgrade(&self) -> Option<u16> {
        let answer = self.answer.as_ref();
        let by_gateway = answer.is_none_or(|answer| answer.by == AnswerBy::Gateway);
        let fits = self.is_websocket() && !self.had_tunnel() && by_gateway;
        self.status().filter(|status| fits && *status != 101)
    }

    /// The upgrade was refused with a body of this kind.
    #[must_use]
    pub fn refused_with(&self, body: BodyKind) -> bool {
        self.refused_upgrade().is_some() && self.body_kind() == Some(body)
    }

    /// Status, server and body of the answer, as evidence.
    #[must_use]
    pub fn answer_evidence(&self) -> Vec<Evidence> {
        let Some(gateway) = &self.gateway else {
            return Vec::new();
        };
        let mut all = Vec::new();
        if let Some(status) = gateway.status {
            let server = gateway
                .server
                .as_ref()
                .map_or_else(String::new, |server| format!(", server {}", short(server)));
            let body = gateway
                .body_kind
                .map_or_else(String::new, |kind| format!(", body: {}", body_words(kind)));
            all.push(fact(format!("the answer was {status}{server}{body}")));
        }
        match (self.foreign_server(), self.foreign_page()) {
            (Some(name), true) => {
                all.push(fact(format!("the page is one that {name} makes itself")));
            }
            (Some(name), false) => {
                all.push(fact(format!("the answer bears the marks of {name}")));
            }
            (None, _) => {}
        }
        if let Some(addr) = &gateway.addr {
            all.push(fact(format!("what answered listens on {addr}")));
        }
        all
    }
}

/// The product name for a `Server` value like this.
fn known_server(server: &PeerText) -> Option<&'static str> {
    let server = server.as_str().to_ascii_lowercase();
    let mut known = SERVERS.iter();
    known
        .find(|(start, _)| server.starts_with(start))
        .map(|(_, name)| *name)
}

fn maker(page: PageBy) -> &'static str {
    match page {
        PageBy::Nginx => "nginx",
        PageBy::Haproxy => "HAProxy",
        PageBy::Openresty => "OpenResty",
        PageBy::Cloudflare => "Cloudflare",
        PageBy::Apache => "Apache",
        PageBy::Envoy => "Envoy",
    }
}

fn body_words(kind: BodyKind) -> &'static str {
    match kind {
        BodyKind::Attribution => "the gateway's proxy_attribution_required",
        BodyKind::AdmissionClosed => "the gateway's \"websocket admission closed\"",
        BodyKind::LibraryClosing => "\"Service Unavailable\"",
        BodyKind::TooManySockets => "the gateway's \"too many unauthenticated sockets\"",
        BodyKind::HandlersUnavailable => "the gateway's \"websocket handlers unavailable\"",
        BodyKind::ServiceUnavailable => "the gateway's \"… unavailable\" of another service",
        BodyKind::ControlUi => "the gateway's Control UI page",
        BodyKind::Gateway => "one of the gateway's own",
        BodyKind::Html => "an HTML page that is not the gateway's",
        BodyKind::Json => "JSON that is not the gateway's",
        BodyKind::Text => "text that is not known as the gateway's",
        BodyKind::Empty => "none",
        BodyKind::Other => "bytes of no known type",
    }
}
