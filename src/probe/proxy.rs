//! Tests whether the environment's proxy for outgoing connections connects to the gateway.
//!
//! Many programs report its refusals as if they were the gateway's: its 407 is mistaken for a wrong token.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{
    HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SERVER,
};
use http::{HeaderMap, Method, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use url::Url;
use zeroize::Zeroizing;

use super::address::Address;
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
use crate::verdict::words::human_ms;

/// Time limit for a connection to the proxy.
const DIAL: Duration = Duration::from_secs(2);

/// Time limit for its answer, which includes its own connection to the gateway.
const LIMIT: Duration = Duration::from_secs(4);

/// `OpenClaw` sends everything through this one, except to loopback (2026.9.6, `proxy-lifecycle.ts`).
const OF_OPENCLAW: &str = "OPENCLAW_PROXY_URL";

/// A variable that names a proxy for the target.
pub(super) struct Proxy {
    /// Its name.
    pub(super) variable: &'static str,
    /// The proxy's host, with brackets around an IPv6 address.
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
    /// The decoded password.
    password: Option<Zeroizing<String>>,
}

/// Hides the password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.variable)
    }
}

/// Whether connections go through a proxy.
#[derive(Debug)]
pub(super) enum Choice {
    /// No proxy, and why.
    Direct(String),
    Through(Proxy),
}

/// The result of a try.
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
    /// Chooses by the variables that most programs read (curl reads `http_proxy` only in lower
    /// case), and by `OpenClaw`'s own.
    pub(super) fn of(gateway: &Address, environment: &Environment) -> Self {
        let Address::Tcp { host, port, tls } = gateway else {
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
        let Ok(uri) = format!("http://{}/", gateway.authority()).parse() else {
            return Self::Direct("a proxy cannot be used for this host".to_owned());
        };
        let excluded = exceptions(except, *port);
        let remaining = Matcher::builder()
            .all("http://proxy")
            .no(excluded.as_str())
            .build();
        // The library's asterisk covers names only.
        if excluded.split(',').any(|it| it == "*") || remaining.intercept(&uri).is_none() {
            return Self::Direct(format!(
                "{variable} is set, and {except_name} excludes {host}"
            ));
        }
        let url = if value.contains("://") {
            Url::parse(value)
        } else {
            Url::parse(&format!("http://{value}"))
        };
        let url = url.ok().filter(|url| {
            // The URL would end at such a character in a password, and the part before it would be
            // taken for a host.
            let is_bare =
                matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
            is_bare && url.has_host()
        });
        let Some(url) = url else {
            return Self::Direct(format!(
                "{variable} is not the URL of a proxy (`/`, `?`, `#` and `@` in a password are written as %2F, %3F, %23 and %40)"
            ));
        };
        if url.scheme() != "http" {
            let scheme = PeerText::new(url.scheme(), 20);
            return Self::Direct(format!(
                "{variable} names a proxy of the kind {}, which is not tested",
                scheme.as_str()
            ));
        }
        Self::Through(Proxy {
            variable,
            authorization: authorization(&url),
            password: url.password().map(password),
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
        })
    }
}

/// The entries of `NO_PROXY` that apply to this port, in the library's form: without ports and
/// brackets, separated by commas.
fn exceptions(list: &str, port: u16) -> String {
    let entries = list
        .split([',', ' ', '\t'])
        .filter(|entry| !entry.is_empty());
    let entries = entries.filter_map(|entry| {
        let bare = |entry: &str| {
            entry
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned()
        };
        let is_address = entry.parse::<std::net::IpAddr>().is_ok() || entry.contains('/');
        match entry.rsplit_once(':') {
            Some((host, digits)) if !is_address && !digits.ends_with(']') => {
                (digits.parse() == Ok(port)).then(|| bare(host))
            }
            _ => Some(bare(entry)),
        }
    });
    entries.collect::<Vec<_>>().join(",")
}

/// User and password of the URL, as Basic credentials (RFC 7617).
fn authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = decoded(url.username());
    pair.push(b':');
    pair.extend(decoded(url.password().unwrap_or_default()));
    let value = format!("Basic {}", BASE64.encode(&pair));
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn password(text: &str) -> Zeroizing<String> {
    Zeroizing::new(percent_decode_str(text).decode_utf8_lossy().into_owned())
}

impl Proxy {
    /// `http://proxy:3128`.
    pub(super) fn shown(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// `OpenClaw`'s own clients use it; otherwise they connect directly.
    pub(super) fn is_openclaws(&self) -> bool {
        self.variable == OF_OPENCLAW
    }

    /// Asks it once for a connection to the target, which is closed unused.
    pub(super) async fn connect(&self, gateway: &Address, deadline: Instant) -> Tried {
        let started = Instant::now();
        // The direct path needs most of the budget.
        let share = deadline.saturating_duration_since(started) / 3;
        let answered = self.ask(&gateway.authority(), started + share).await;
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

    async fn ask(
        &self,
        authority: &str,
        deadline: Instant,
    ) -> Result<(u16, Vec<HeaderFact>), GatewayError> {
        let late = |kind, what: &str, limit: Duration| GatewayError {
            kind,
            detail: format!("{what} within {}", human_ms(millis(limit))),
        };
        let began = Instant::now();
        let until = |limit| deadline.min(Instant::now() + limit).into();
        let other = |error: &dyn fmt::Display| GatewayError {
            kind: GatewayErrorKind::NotHttp,
            detail: error.to_string(),
        };
        let host = self.host.trim_matches(['[', ']']);
        let connecting = TcpStream::connect((host, self.port));
        let stream = timeout_at(until(DIAL), connecting).await;
        let slow = |_| {
            late(
                GatewayErrorKind::ConnectTimeout,
                "no connection",
                began.elapsed(),
            )
        };
        let stream = stream.map_err(slow)?;
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
        let answer = timeout_at(until(LIMIT), sender.send_request(request)).await;
        driver.abort();
        let slow = |_| {
            late(
                GatewayErrorKind::UpgradeTimeout,
                "no answer",
                began.elapsed(),
            )
        };
        let answer = answer.map_err(slow)?.map_err(|error| other(&error))?;
        let sent = self.authorization.as_ref();
        let headers = kept(answer.headers(), sent, self.password.as_deref());
        Ok((answer.status().as_u16(), headers))
    }

    /// A record of the try, for the rules.
    pub(super) fn record(&self, gateway: &Address, tried: &Tried) -> SessionRecord {
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
                path: PeerText::new(&gateway.authority(), 300),
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
    /// The budget ended the wait too early to draw a conclusion about the proxy.
    pub(super) fn is_cut(&self) -> bool {
        let timed_out = self.error.as_ref().is_some_and(|error| {
            matches!(
                error.kind,
                GatewayErrorKind::ConnectTimeout | GatewayErrorKind::UpgradeTimeout
            )
        });
        timed_out && self.ms < millis(DIAL)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }

    /// The answer in words, without the proxy's name.
    pub(super) fn words(&self) -> String {
        match (self.status, &self.error) {
            (Some(407), _) => "wants credentials of its own (407)".to_owned(),
            (Some(status), _) => format!("refuses to connect to the gateway ({status})"),
            (None, Some(error)) if error.kind == GatewayErrorKind::UpgradeTimeout => {
                "took the request and has not answered: it may be waiting for the gateway"
                    .to_owned()
            }
            (None, Some(error)) if error.kind == GatewayErrorKind::NotHttp => {
                format!("answers with what is not valid HTTP: {}", error.detail)
            }
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

/// The headers that show who answered and what it requires, unless they repeat the credentials.
fn kept(
    headers: &HeaderMap,
    sent: Option<&HeaderValue>,
    password: Option<&String>,
) -> Vec<HeaderFact> {
    let sent = sent.and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let secrets = [sent, password.map(String::as_str)];
    let kept = |name: HeaderName| {
        let value = headers.get(&name)?;
        let text = String::from_utf8_lossy(value.as_bytes());
        let mut secrets = secrets.iter().flatten().filter(|it| !it.is_empty());
        let repeats = secrets.any(|secret| text.contains(secret));
        Some(HeaderFact {
            name: PeerText::new(name.as_str(), 40),
            value: (!repeats).then(|| PeerText::new(&text, 120)),
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
    use super::super::target::Target;
    use super::*;

    fn chosen(url: &str, environment: &[u8]) -> Result<String, String> {
        let environment = Environment::parse(environment);
        let target = Target::find(Some(url), None, &environment, false).unwrap();
        match Choice::of(&target.address, &environment) {
            Choice::Direct(why) => Err(why),
            Choice::Through(proxy) => Ok(format!("{} {}", proxy.variable, proxy.shown())),
        }
    }

    #[test]
    fn exceptions_in_every_form() {
        for (list, url, is_excluded) in [
            ("gw:18789", "ws://gw:18789", true),
            ("gw:18789", "ws://gw:1", false),
            ("[fd00::2]", "ws://[fd00::2]:1", true),
            ("fd00::2", "ws://[fd00::2]:1", true),
            ("[fd00::2]:1", "ws://[fd00::2]:1", true),
            ("[fd00::2]:2", "ws://[fd00::2]:1", false),
            ("a gw", "ws://gw:1", true),
            ("a, *", "ws://10.0.0.1:1", true),
            ("10.0.0.0/8", "ws://10.0.0.1:1", true),
            ("other", "ws://gw:1", false),
        ] {
            let environment = format!("ALL_PROXY=http://p:1\0NO_PROXY={list}\0");
            let found = chosen(url, environment.as_bytes());
            assert_eq!(found.is_err(), is_excluded, "{list} {url} {found:?}");
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
            assert!(why.contains("NO_PROXY excludes"), "{why}");
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
                .contains("NO_PROXY excludes")
        );
        assert!(chosen("ws://gw", b"HTTPS_PROXY=http://secure:2\0").is_err());
        let socks = chosen("ws://gw", b"ALL_PROXY=socks5://u:canary@gw:1\0").unwrap_err();
        assert!(
            socks.contains("socks5") && !socks.contains("canary"),
            "{socks}"
        );
        for wrong in [
            "::canary::",
            "http://u:1/canary@h:1",
            "http://u:1#canary@h:1",
            "http://u:1?canary@h",
            "http://u:x@h:99999",
        ] {
            let environment = format!("ALL_PROXY={wrong}\0");
            let error = chosen("ws://gw", environment.as_bytes()).unwrap_err();
            assert!(
                error.contains("not the URL") && !error.contains("canary"),
                "{error}"
            );
        }
        // The last @ separates.
        let at = chosen("ws://gw", b"ALL_PROXY=http://u:can@ary@h:1\0");
        assert_eq!(at, Ok("ALL_PROXY http://h:1".to_owned()));
    }
}
