//! The rungs before the first byte: the probe's own location, the name, and connections.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use serde_json::{Map, json};

use super::super::address::Address;
use super::super::proxy::{Choice, Tried as Proxied};
use super::super::report::{Rung, Status};
use super::super::session::{DIAL, OwnTap};
use super::super::tcp::{self, SocketFile, Tried};
use super::super::whereabouts::Whereabouts;
use super::climber::Climber;
use crate::admission::forwarded::page::is_private;
use crate::session::SessionRecord;
use crate::session::moment::millis;
use crate::session::party::Phase;
use crate::session::record::gateway::GatewayFacts;
use crate::session::record::{GatewayErrorKind as Kind, Kind as RecordKind};
use crate::verdict;

impl Climber<'_> {
    pub(super) fn stand(&mut self) {
        let place = &self.whereabouts;
        let is_loopback = match &self.target.address {
            Address::Tcp { host, .. } => {
                host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
            }
            Address::Unix(_) => false,
        };
        let mut words = vec![format!("host {}", place.host)];
        if let Some(container) = &place.container {
            let id = container
                .name()
                .map_or_else(String::new, |id| format!(" {id}"));
            let image = container
                .image
                .as_deref()
                .map_or_else(String::new, |image| format!(" ({image})"));
            words.push(format!("container{id}{image}"));
        }
        words.push(format!("namespace {}", place.netns));
        let linked = |addr: &&String| addr.starts_with("fe80:");
        let addresses: Vec<&str> = (place.addresses.iter().filter(|it| !linked(it)))
            .map(String::as_str)
            .collect();
        words.push(match addresses.as_slice() {
            [] => "no address except loopback".to_owned(),
            all => all.join(" "),
        });
        words.push(match place.resolver.as_slice() {
            [] => "no resolver".to_owned(),
            all => format!("resolver {}", all.join(" ")),
        });
        if is_loopback && place.container.is_some() {
            words
                .push("loopback here is this container, and any that share its network".to_owned());
        }
        let words = words.join(", ");
        let rung = match &place.stale {
            Some((why, next)) => {
                Rung::new("where", Status::Warn, format!("{words}; {why}; {next}"))
            }
            None => Rung::new("where", Status::Pass, words),
        };
        self.add(rung);
    }

    /// The rungs of the name and of the connections. `None`: no connection can be made.
    pub(super) async fn reach(&mut self, tap: &mut OwnTap) -> Option<Vec<Tried>> {
        let Address::Tcp { host, port, .. } = &self.target.address else {
            return self.socket(tap).await;
        };
        let found = tcp::look_up(host, *port, self.deadline).await;
        let is_literal = host.parse::<IpAddr>().is_ok();
        let source = if is_literal {
            "literal"
        } else if Whereabouts::names_in_hosts(host) {
            "hosts"
        } else {
            "resolver"
        };
        let ips: Vec<String> = found
            .addresses
            .iter()
            .map(|addr| addr.ip().to_string())
            .collect();
        let mut facts = Map::new();
        facts.insert("name".to_owned(), json!(host));
        facts.insert("source".to_owned(), json!(source));
        facts.insert("answers".to_owned(), json!(ips));
        let ms = millis(found.took);
        if found.error.is_some() && self.is_late() {
            self.late("L1.name");
            return None;
        }
        if let Some(error) = &found.error {
            let record = self.unreached(tap).await;
            let because = format!("{host} does not resolve here: {error}");
            let rung = Rung::new("L1.name", Status::Fail, because);
            let rung = rung.took(ms).facts(facts).judged(record.as_ref());
            self.add_unless_proxied(rung);
            return None;
        }
        let because = match source {
            "literal" => "an address: no name to look up".to_owned(),
            "hosts" => format!("{host} resolves to {} (hosts file)", ips.join(", ")),
            _ => format!("{host} resolves to {}", ips.join(", ")),
        };
        let because = match found.more {
            0 => because,
            more => format!("{because}; {more} more are not tried"),
        };
        self.add(
            Rung::new("L1.name", Status::Pass, because)
                .took(ms)
                .facts(facts),
        );
        let is_public = |addr: &SocketAddr| !is_private(addr.ip().to_canonical());
        let is_plain = !self.target.is_tls() && self.target.secret.is_some();
        if is_plain && found.addresses.iter().any(is_public) {
            let why = "the secret is not sent in clear text to a public address: use wss";
            self.withheld = Some(why);
        }
        let tried = tcp::connect(&found.addresses, self.deadline).await;
        if tried.iter().any(|tried| tried.of == 0) {
            self.late("L1.tcp");
            return None;
        }
        self.addresses = tried.iter().filter(|it| it.connected() > 0).count();
        if self.addresses > 0 {
            return Some(tried);
        }
        let record = self.unreached(tap).await;
        self.add_unless_proxied(tcp::rung(&tried, Status::Fail).judged(record.as_ref()));
        None
    }

    /// Adds a rung; a failed direct connection is no fault if clients would not try one.
    fn add_unless_proxied(&mut self, mut rung: Rung) {
        if self.is_proxied() {
            (rung.status, rung.verdict) = (Status::Warn, None);
            rung.because
                .push_str("; OpenClaw's clients do not need it: they use the proxy");
        }
        self.add(rung);
    }

    /// `OpenClaw`'s own clients reach the gateway through a proxy.
    fn is_proxied(&self) -> bool {
        let Choice::Through(proxy) = &self.target.proxy else {
            return false;
        };
        proxy.is_openclaws() && self.proxied.as_ref().is_some_and(Proxied::is_connected)
    }

    /// Asks the proxy before the rungs of the direct path, whose meaning depends on its answer.
    pub(super) async fn ask_proxy(&mut self) {
        if let Choice::Through(proxy) = &self.target.proxy {
            let tried = proxy.connect(&self.target.address, self.deadline).await;
            // A proxy whose answer was not awaited has not failed.
            self.proxied = Some(tried).filter(|tried| !self.is_late() && !tried.is_cut());
        }
    }

    /// The rung of the environment's proxy. `connects`: the direct path works.
    pub(super) fn proxy(&mut self, connects: bool) {
        let proxy = match &self.target.proxy {
            Choice::Direct(why) => {
                return self.add(Rung::new("L1.proxy", Status::Skip, why.as_str()));
            }
            Choice::Through(proxy) => proxy,
        };
        let Some(tried) = &self.proxied else {
            let because =
                "its share of the time ran out (--budget): this says nothing about the proxy";
            return self.add(Rung::new("L1.proxy", Status::Skip, because));
        };
        let (variable, shown) = (proxy.variable, proxy.shown());
        let facts = json!({
            "variable": variable, "proxy": shown, "status": tried.status,
            "used_by_openclaw": proxy.is_openclaws(),
        });
        let directly = if proxy.is_openclaws() {
            ""
        } else {
            "; OpenClaw's own clients connect directly, unless proxy.proxyUrl is configured"
        };
        let words = if tried.is_connected() {
            "connects to the gateway".to_owned()
        } else {
            tried.words()
        };
        let because = format!("{variable} names {shown}, which {words}{directly}");
        let status = match tried.is_connected() {
            true => Status::Pass,
            false if connects && !proxy.is_openclaws() => Status::Warn,
            false => Status::Fail,
        };
        let rung = Rung::new("L1.proxy", status, because).took(tried.ms);
        let rung = rung.facts(facts.as_object().cloned().unwrap_or_default());
        let record = (status == Status::Fail).then(|| proxy.record(&self.target.address, tried));
        self.add(rung.judged(record.as_ref()));
    }

    /// The record of a request that cannot be sent; `None` if it could after all.
    async fn unreached(&self, tap: &mut OwnTap) -> Option<SessionRecord> {
        let answered = tap.get(self.target, "/healthz", DIAL).await?;
        Some(answered.record).filter(|record| dial_error(record).is_some())
    }

    /// The rungs of a unix socket, in place of name and connections.
    async fn socket(&mut self, tap: &mut OwnTap) -> Option<Vec<Tried>> {
        self.add(Rung::new(
            "L1.name",
            Status::Skip,
            "a unix socket has no name to look up",
        ));
        let file = SocketFile::look(&self.target.address).unwrap_or_default();
        let mut facts = Map::new();
        facts.insert("path".to_owned(), json!(file.words));
        let began = Instant::now();
        let record = tap
            .get(self.target, "/healthz", DIAL)
            .await
            .map(|it| it.record);
        let uid = rustix::process::geteuid().as_raw();
        let because = format!("{}; tried as uid {uid}", file.words.join("; "));
        let ms = millis(began.elapsed());
        let failed = record
            .as_ref()
            .is_none_or(|record| record.phase <= Phase::Dial);
        let status = if failed { Status::Fail } else { Status::Pass };
        let rung = Rung::new("L1.tcp", status, because).took(ms).facts(facts);
        let record = record.as_ref().filter(|_| failed);
        self.add(rung.judged(record));
        (!failed).then(Vec::new)
    }

    /// After some connections were made: whether the first request got a connection as well.
    pub(super) fn connections(
        &mut self,
        tried: &[Tried],
        record: &SessionRecord,
        may_hang: bool,
    ) -> bool {
        if tried.is_empty() {
            return true;
        }
        if dial_error(record).is_some_and(|kind| !is_of_tls(kind, may_hang)) {
            self.add(tcp::rung(tried, Status::Fail).judged(record));
            return false;
        }
        let status = status_of(tried);
        let rung = tcp::rung(tried, status);
        if status != Status::Fail {
            self.add(rung);
            return true;
        }
        let counted = tried
            .iter()
            .filter(|tried| !tried.is_excused() || tried.tries().is_fine());
        let facts = GatewayFacts {
            attempts: counted.map(Tried::attempt).collect(),
            ..GatewayFacts::default()
        };
        // Other rungs say what happened to the request.
        let mut record = SessionRecord {
            kind: RecordKind::Http,
            phase: Phase::Dial,
            tap: record.tap.clone(),
            gateway: Some(facts),
            ..SessionRecord::default()
        };
        record.verdict = Some(verdict::decide(&record));
        self.add(rung.judged(&record));
        true
    }
}

/// Why the gateway was not reached for the request of this record.
fn dial_error(record: &SessionRecord) -> Option<Kind> {
    let error = record.gateway.as_ref()?.error.as_ref()?;
    (record.phase <= Phase::Dial).then_some(error.kind)
}

/// Whether this is a TLS error. A handshake that hangs ends like a connection that cannot be made.
fn is_of_tls(kind: Kind, may_hang: bool) -> bool {
    let is_certificate = matches!(
        kind,
        Kind::CertificateExpired
            | Kind::CertificateName
            | Kind::CertificatePin
            | Kind::CertificateUntrusted
    );
    let is_tls = matches!(
        kind,
        Kind::NotTls | Kind::Tls | Kind::TlsCut | Kind::WantsTls
    );
    is_certificate || is_tls || kind == Kind::ConnectTimeout && may_hang
}

/// The status of the connections to all addresses, if some were made.
pub(super) fn status_of(tried: &[Tried]) -> Status {
    if tried.iter().all(|tried| tried.tries().is_fine()) {
        Status::Pass
    } else if tried.iter().all(Tried::is_excused) {
        Status::Warn
    } else {
        Status::Fail
    }
}
