//! A proxy for outgoing connections that the environment names: whether it connects to the gateway.
//!
//! Its refusals look like the gateway's to many programs: a 407 of its own is taken for a wrong token.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SERVER,
};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::target::{Address, Target};
use super::whereabouts::Environment;
use crate::session::SessionRecord;
use crate::session::moment::millis;
use crate::session::party::Phase;
use crate::session::record::gateway::GatewayFacts;
use crate::session::record::{
    GatewayError, GatewayErrorKind, HeaderFact, Kind, RequestFacts, TapMode,
};
use crate::session::text::PeerText;
use crate::upstream::errno;
use crate::verdict;

/// For connection and answer: the proxy connects to the gateway in it.
const LIMIT: Duration = Duration::from_secs(4);

/// `OpenClaw` sends everything through this one, except to loopback (2026.9.6, `proxy-lifecycle.ts`).
const OF_OPENCLAW: &str = "OPENCLAW_PROXY_URL";

/// A variable that names a proxy for the target.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Its name.
    pub(super) variable: &'static str,
    /// The proxy, without user and password.
    uri: Uri,
    authorization: Option<HeaderValue>,
}

/// Whether a proxy is in the way.
#[derive(Debug)]
pub(super) enum Choice {
    /// None, and why.
    Direct(String),
    Through(Proxy),
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) ms: f64,
    /// The status of its answer.
    pub(super) status: Option<u16>,
    /// Why there is no answer.
    error: Option<GatewayError>,
    headers: Vec<HeaderFact>,
}

impl Default for Choice {
    fn default() -> Self {
        Self::Direct("the environment names no proxy".to_owned())
    }
}

impl Choice {
    /// By the variables that curl and most programs read, and `OpenClaw`'s own.
    pub(super) fn of(target: &Target, environment: &Environment) -> Self {
        let Address::Tcp { host, tls, .. } = &target.address else {
            return Self::Direct("a unix socket needs no proxy".to_owned());
        };
        let first = |names: &[&'static str]| {
            let found = |name: &&'static str| Some((*name, environment.get(name)?));
            names.iter().find_map(found)
        };
        let is_loopback = host == "localhost"
            || host
                .parse()
                .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let openclaws = first(&[OF_OPENCLAW]).filter(|_| !is_loopback);
        let others: &[&str] = if *tls {
            &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        } else {
            &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        };
        let Some((variable, value)) = openclaws.or_else(|| first(others)) else {
            return Self::default();
        };
        let except = first(&["NO_PROXY", "no_proxy"]).filter(|_| openclaws.is_none());
        let (except_name, except) = except.unwrap_or_default();
        let proxies = Matcher::builder().all(value).build();
        let Ok(uri) = format!("http://{}/", target.authority()).parse() else {
            return Self::Direct("the host is none for a proxy".to_owned());
        };
        let Some(proxy) = proxies.intercept(&uri) else {
            return Self::Direct(format!("{variable} is not the URL of a proxy"));
        };
        let remaining = Matcher::builder().all(value).no(except).build();
        // The library's asterisk stands for names alone.
        if except.trim() == "*" || remaining.intercept(&uri).is_none() {
            return Self::Direct(format!(
                "{variable} is set, and {except_name} excepts {host}"
            ));
        }
        if proxy.uri().scheme_str() != Some("http") {
            let scheme = proxy.uri().scheme_str().unwrap_or_default();
            let scheme = PeerText::new(scheme, 20);
            return Self::Direct(format!(
                "{variable} names a proxy of the kind {}, which is not tested",
                scheme.as_str()
            ));
        }
        Self::Through(Proxy {
            variable,
            uri: proxy.uri().clone(),
            authorization: proxy.basic_auth().cloned(),
        })
    }
}

impl Proxy {
    /// `http://proxy:3128`.
    pub(super) fn shown(&self) -> String {
        let port = self.uri.port_u16().unwrap_or(80);
        format!("http://{}:{port}", self.uri.host().unwrap_or_default())
    }

    /// `OpenClaw`'s own clients use it; otherwise they connect directly.
    pub(super) fn is_openclaws(&self) -> bool {
        self.variable == OF_OPENCLAW
    }

    /// Asks it once for a connection to the target, which is closed unused.
    pub(super) async fn connect(&self, target: &Target, deadline: Instant) -> Tried {
        let started = Instant::now();
        let limit = deadline.min(started + LIMIT);
        let answered = timeout_at(limit.into(), self.ask(&target.authority())).await;
        let answered = answered.unwrap_or_else(|_| {
            let detail = format!("no answer within {} s", LIMIT.as_secs());
            Err(GatewayError {
                kind: GatewayErrorKind::UpgradeTimeout,
                detail,
            })
        });
        let mut tried = Tried {
            ms: millis(started.elapsed()),
            status: None,
            error: None,
            headers: Vec::new(),
        };
        match answered {
            Ok((status, headers)) => (tried.status, tried.headers) = (Some(status), headers),
            Err(error) => tried.error = Some(error),
        }
        tried
    }

    async fn ask(&self, authority: &str) -> Result<(u16, Vec<HeaderFact>), GatewayError> {
        let other = |error: &dyn std::fmt::Display| GatewayError {
            kind: GatewayErrorKind::NotHttp,
            detail: error.to_string(),
        };
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.uri.port_u16().unwrap_or(80))).await;
        let stream = stream.map_err(|error| unreached(host, &error))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, driver) = handshake.map_err(|error| other(&error))?;
        let driver = tokio::spawn(driver.with_upgrades());
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(authority)
            .header(HOST, authority)
            .body(Empty::<Bytes>::new())
            .map_err(|error| other(&error))?;
        if let Some(value) = &self.authorization {
            request
                .headers_mut()
                .insert(PROXY_AUTHORIZATION, value.clone());
        }
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| other(&error));
        driver.abort();
        let answer = answer?;
        Ok((answer.status().as_u16(), kept(answer.headers())))
    }

    /// As a record, for the rules.
    pub(super) fn record(&self, target: &Target, tried: &Tried) -> SessionRecord {
        let sent = self.authorization.as_ref().map(|value| HeaderFact {
            name: PeerText::new(PROXY_AUTHORIZATION.as_str(), 40),
            value: None,
            length: value.len(),
        });
        let mut record = SessionRecord {
            kind: Kind::Http,
            phase: Phase::Dial,
            request: Some(RequestFacts {
                method: Method::CONNECT.to_string(),
                http_version: "HTTP/1.1".to_owned(),
                path: PeerText::new(&target.authority(), 300),
                headers: sent.into_iter().collect(),
                ..RequestFacts::default()
            }),
            gateway: Some(GatewayFacts {
                url: self.shown(),
                status: tried.status,
                response_headers: tried.headers.clone(),
                error: tried.error.clone().map(Box::new),
                ..GatewayFacts::default()
            }),
            ..SessionRecord::default()
        };
        record.tap.mode = TapMode::Probe;
        record.verdict = Some(verdict::decide(&record));
        record
    }
}

impl Tried {
    pub(super) fn is_connected(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }

    /// The answer in words, without the proxy's name.
    pub(super) fn words(&self) -> String {
        match (self.status, &self.error) {
            (Some(407), _) => "wants credentials of its own (407)".to_owned(),
            (Some(status), _) => format!("refuses to connect to the gateway ({status})"),
            (None, Some(error)) => format!("does not answer: {}", error.detail),
            (None, None) => "does not answer".to_owned(),
        }
    }
}

fn unreached(host: &str, error: &io::Error) -> GatewayError {
    let ip = host
        .parse()
        .unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
    GatewayError {
        kind: errno::of_tcp(ip, error),
        detail: error.to_string(),
    }
}

/// The headers that tell who answered and what it wants.
fn kept(headers: &HeaderMap) -> Vec<HeaderFact> {
    let kept = |name: HeaderName| {
        let value = headers.get(&name)?;
        Some(HeaderFact {
            name: PeerText::new(name.as_str(), 40),
            value: Some(PeerText::from_bytes(value.as_bytes(), 120)),
            length: value.len(),
        })
    };
    [SERVER, PROXY_AUTHENTICATE]
        .into_iter()
        .filter_map(kept)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(url: &str, environment: &[u8]) -> Result<String, String> {
        let environment = Environment::parse(environment);
        let target = Target::find(Some(url), None, &environment, false).unwrap();
        match Choice::of(&target, &environment) {
            Choice::Direct(why) => Err(why),
            Choice::Through(proxy) => Ok(format!("{} {}", proxy.variable, proxy.shown())),
        }
    }

    #[test]
    fn the_variable_of_the_scheme_and_its_exceptions() {
        let both =
            b"HTTP_PROXY=http://u:canary@plain:1\0https_proxy=secure:2\0NO_PROXY=.lan,10.0.0.0/8\0";
        assert_eq!(
            chosen("ws://gw:18789", both),
            Ok("HTTP_PROXY http://plain:1".to_owned())
        );
        assert_eq!(
            chosen("wss://gw", both),
            Ok("https_proxy http://secure:2".to_owned())
        );
        for url in ["wss://gw.lan", "ws://10.1.2.3:18789"] {
            let why = chosen(url, both).unwrap_err();
            assert!(why.contains("NO_PROXY excepts"), "{why}");
        }
        let own = b"OPENCLAW_PROXY_URL=http://own:3\0HTTP_PROXY=http://plain:1\0NO_PROXY=*\0";
        assert_eq!(
            chosen("ws://gw:18789", own),
            Ok("OPENCLAW_PROXY_URL http://own:3".to_owned())
        );
        // OpenClaw does not use its proxy for loopback.
        assert!(
            chosen("ws://127.0.0.1:18789", own)
                .unwrap_err()
                .contains("NO_PROXY excepts")
        );
        assert!(chosen("ws://gw", b"HTTPS_PROXY=http://secure:2\0").is_err());
        let socks = chosen("ws://gw", b"ALL_PROXY=socks5://u:canary@gw:1\0").unwrap_err();
        assert!(
            socks.contains("socks5") && !socks.contains("canary"),
            "{socks}"
        );
        let wrong = chosen("ws://gw", b"ALL_PROXY=::canary::\0").unwrap_err();
        assert!(!wrong.contains("canary"), "{wrong}");
    }
}
