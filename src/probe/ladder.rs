//! The ladder: each rung stands on the one before it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::certificate::Shown;
use super::channels;
use super::health::Health;
use super::report::{Report, Rung, Status, Versions};
use super::session::{Answered, DIAL, Heard, OwnTap, ProbeError, REQUEST};
use super::target::{Address, Target};
use super::tcp::{self, SocketFile, Tried};
use super::whereabouts::Whereabouts;
use crate::session::SessionRecord;
use crate::session::moment::millis;
use crate::session::party::Phase;
use crate::session::record::gateway::TlsWords;
use crate::session::record::{GatewayError, GatewayErrorKind as Kind};
use crate::session::text::PeerText;
use crate::verdict;
use crate::verdict::words::human_ms;

/// The rungs, from the ground up.
const RUNGS: [&str; 10] = [
    "where",
    "L1.name",
    "L1.tcp",
    "L1.tls",
    "L1.health",
    "L1.upgrade",
    "L1.challenge",
    "L2.auth",
    "L2.scopes",
    "L3.channels",
];

/// Gateways refuse device signatures whose time is off by more than this, in milliseconds (2026.9.6).
const SKEW: f64 = 120_000.0;

/// Climbs until something breaks or the deadline comes; `show` gets each rung when it is done.
pub(super) async fn climb(
    target: &Target,
    whereabouts: Whereabouts,
    deadline: Instant,
    show: &mut dyn FnMut(&Rung),
) -> Result<Report, ProbeError> {
    let mut climber = Climber {
        target,
        whereabouts,
        deadline,
        started: Instant::now(),
        rungs: Vec::new(),
        show,
        skew_ms: None,
        versions: Versions::default(),
    };
    let container = climber.whereabouts.container.as_ref();
    let container = container.and_then(|container| container.name().map(str::to_owned));
    let mut tap = OwnTap::start(target, container, deadline)?;
    climber.climb(&mut tap).await;
    tap.stop().await;
    climber.skip_the_rest();
    let Climber {
        whereabouts,
        started,
        rungs,
        skew_ms,
        versions,
        ..
    } = climber;
    Ok(Report::new(
        target,
        whereabouts,
        rungs,
        (skew_ms, versions),
        started.elapsed(),
    ))
}

struct Climber<'a> {
    target: &'a Target,
    whereabouts: Whereabouts,
    deadline: Instant,
    started: Instant,
    rungs: Vec<Rung>,
    show: &'a mut dyn FnMut(&Rung),
    skew_ms: Option<f64>,
    versions: Versions,
}

impl Climber<'_> {
    /// Returns at the first rung that nothing can stand on.
    async fn climb(&mut self, tap: &mut OwnTap) {
        self.stand();
        let Some(tried) = self.reach(tap).await else {
            return;
        };
        let began = Instant::now();
        let shown = if self.target.is_tls() {
            Shown::by(self.target, self.deadline).await
        } else {
            None
        };
        let may_hang = self.target.is_tls() && shown.is_none();
        let limit = if may_hang { DIAL } else { REQUEST };
        let Some(healthz) = tap.get(self.target, "/healthz", limit).await else {
            self.add(tcp::rung(&tried, Status::Pass));
            self.late("L1.tls");
            return;
        };
        self.connections(&tried, &healthz.record);
        if !self.tls(shown, &healthz.record, began).await {
            return;
        }
        self.health(tap, healthz).await;
        let (record, heard) = tap.talk(self.target).await;
        match record {
            Some(record) => self.session(&record, &heard),
            None => self.late("L1.upgrade"),
        }
    }

    fn add(&mut self, rung: Rung) {
        (self.show)(&rung);
        self.rungs.push(rung);
    }

    /// The budget is spent: this rung is the one that was not reached.
    fn late(&mut self, id: &'static str) {
        let because = "it was not done within the budget (--budget)";
        self.add(Rung::new(id, Status::Fail, because));
    }

    fn skip_the_rest(&mut self) {
        let broken = self.rungs.iter().rfind(|rung| rung.status == Status::Fail);
        let Some(broken) = broken.map(|rung| rung.id) else {
            return;
        };
        for id in RUNGS.iter().skip(self.rungs.len()) {
            self.add(Rung::new(id, Status::Skip, format!("{broken} failed")));
        }
    }

    fn stand(&mut self) {
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
            [] => "no address but loopback".to_owned(),
            all => all.join(" "),
        });
        words.push(match place.resolver.as_slice() {
            [] => "no resolver".to_owned(),
            all => format!("resolver {}", all.join(" ")),
        });
        if is_loopback && place.container.is_some() {
            words.push("the target is this container itself".to_owned());
        }
        let rung = Rung::new("where", Status::Pass, words.join(", "));
        self.add(rung);
    }

    /// The name and the connections. `None`: nothing can be connected.
    async fn reach(&mut self, tap: &mut OwnTap) -> Option<Vec<Tried>> {
        let Address::Tcp { host, port, .. } = &self.target.address else {
            return self.socket(tap).await;
        };
        let found = tcp::look_up(host, *port, self.deadline).await;
        let is_literal = host.parse::<IpAddr>().is_ok();
        let source = if is_literal {
            "literal"
        } else if self.whereabouts.names_in_hosts(host) {
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
        if let Some(error) = &found.error {
            let record = tap
                .get(self.target, "/healthz", DIAL)
                .await
                .map(|it| it.record);
            let because = format!("{host} does not resolve here: {error}");
            self.add(
                Rung::new("L1.name", Status::Fail, because)
                    .took(ms)
                    .facts(facts)
                    .judged(record.as_ref()),
            );
            return None;
        }
        let because = match source {
            "literal" => "an address: no name to look up".to_owned(),
            "hosts" => format!("{host} is {} (hosts file)", ips.join(", ")),
            _ => format!("{host} is {}", ips.join(", ")),
        };
        self.add(
            Rung::new("L1.name", Status::Pass, because)
                .took(ms)
                .facts(facts),
        );
        let tried = tcp::connect(&found.addresses, self.deadline).await;
        if tried.iter().any(|tried| tried.connected() > 0) {
            return Some(tried);
        }
        let record = tap
            .get(self.target, "/healthz", DIAL)
            .await
            .map(|it| it.record);
        self.add(tcp::rung(&tried, Status::Fail).judged(record.as_ref()));
        None
    }

    /// A unix socket in the place of name and connections.
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
        let because = file.words.join("; ");
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

    /// Some connections were made; whether all were is told with the first request's record.
    fn connections(&mut self, tried: &[Tried], record: &SessionRecord) {
        if tried.is_empty() {
            return;
        }
        if tried.iter().all(|tried| tried.tries().is_fine()) {
            self.add(tcp::rung(tried, Status::Pass));
            return;
        }
        let mut record = record.clone();
        if let Some(gateway) = &mut record.gateway {
            gateway.attempts = tried.iter().map(Tried::attempt).collect();
        }
        record.verdict = Some(verdict::decide(&record));
        self.add(tcp::rung(tried, Status::Fail).judged(&record));
    }

    /// Whether requests can be sent.
    async fn tls(&mut self, shown: Option<Shown>, record: &SessionRecord, began: Instant) -> bool {
        let ms = millis(began.elapsed());
        let mut facts = Map::new();
        if let Some(shown) = &shown {
            facts.insert("shown".to_owned(), json!(shown));
        }
        let error = record
            .gateway
            .as_ref()
            .and_then(|gateway| gateway.error.as_ref());
        let kind = error.map(|error| error.kind);
        if self.target.is_tls() {
            if record.phase > Phase::Dial {
                let because = shown.as_ref().map_or_else(String::new, certificate_words);
                self.add(
                    Rung::new("L1.tls", Status::Pass, because)
                        .took(ms)
                        .facts(facts),
                );
                return true;
            }
            let mut because = error.map_or_else(String::new, |error| error.detail.clone());
            let lacks = shown.as_ref().and_then(Shown::lacks_issuer);
            if let Some(last) = lacks.filter(|_| kind == Some(Kind::CertificateUntrusted)) {
                let _ = write!(
                    because,
                    "; the chain that is sent ends with a certificate of \"{}\", whose own certificate is not sent: \
                     if it is an intermediate one, curl, Node and wstap refuse the chain, and browsers may know it \
                     from elsewhere",
                    last.issuer
                );
            }
            self.add(
                Rung::new("L1.tls", Status::Fail, because)
                    .took(ms)
                    .facts(facts)
                    .judged(record),
            );
            return false;
        }
        let mut record = record.clone();
        let words = record
            .gateway
            .as_ref()
            .and_then(|gateway| gateway.tls_words);
        let gateway = record.gateway.as_ref();
        let may_be_tls = matches!(
            kind,
            Some(Kind::ClosedBeforeStatus | Kind::ResetBeforeStatus)
        ) || gateway.is_some_and(|gateway| gateway.status == Some(400));
        if may_be_tls
            && Shown::by(self.target, self.deadline).await.is_some()
            && let Some(gateway) = &mut record.gateway
        {
            gateway.error = Some(Box::new(GatewayError {
                kind: Kind::WantsTls,
                detail: "it refused a plain request, and it completes a TLS handshake".to_owned(),
            }));
            record.verdict = Some(verdict::decide(&record));
        }
        let error = record
            .gateway
            .as_ref()
            .and_then(|gateway| gateway.error.as_ref());
        let wants_tls = error.is_some_and(|error| error.kind == Kind::WantsTls);
        if wants_tls || words == Some(TlsWords::PlainToTls) {
            let because = "the URL says ws, and what listens there speaks TLS";
            self.add(
                Rung::new("L1.tls", Status::Fail, because)
                    .took(ms)
                    .judged(&record),
            );
            return false;
        }
        self.add(Rung::new("L1.tls", Status::Skip, "the URL says ws: no TLS"));
        true
    }

    /// What the health checks say. It decides nothing: the upgrade's own answer says more.
    async fn health(&mut self, tap: &mut OwnTap, healthz: Answered) {
        let began = Instant::now();
        let mut facts = Map::new();
        let first = Health::of(&healthz);
        let is_live = first.live;
        let ms = healthz.record.duration_ms;
        facts.insert("/healthz".to_owned(), json!(first));
        let mut ready = None;
        let mut failing = Vec::new();
        // What answers nothing is not asked again.
        if healthz
            .record
            .answer
            .as_ref()
            .is_some_and(|answer| answer.status != 504)
        {
            for path in ["/readyz", "/health"] {
                let Some(answered) = tap.get(self.target, path, REQUEST).await else {
                    break;
                };
                let health = Health::of(&answered);
                facts.insert(path.to_owned(), json!(health));
                if path == "/readyz" {
                    (ready, failing) = (health.ready, health.failing);
                }
            }
        }
        let (status, because) = match (is_live, ready) {
            (true, Some(true)) => (Status::Pass, "live and ready".to_owned()),
            (true, Some(false)) => (
                Status::Warn,
                format!("live and not ready: {}", failing.join(", ")),
            ),
            (true, None) => (Status::Pass, "live".to_owned()),
            (false, _) if healthz.status == 0 => {
                (Status::Warn, "/healthz has no answer".to_owned())
            }
            (false, _) => (
                Status::Warn,
                format!(
                    "/healthz answers {}, and not that an OpenClaw gateway is live",
                    healthz.status
                ),
            ),
        };
        let rung = Rung::new("L1.health", status, because).took(ms + millis(began.elapsed()));
        self.add(rung.facts(facts));
    }

    fn session(&mut self, record: &SessionRecord, heard: &Heard) {
        if !self.upgrade(record) {
            return;
        }
        let Some(ms) = heard.challenge_ms else {
            let because = "the WebSocket is open, and no challenge of an OpenClaw gateway came";
            self.add(Rung::new("L1.challenge", Status::Fail, because).judged(record));
            return;
        };
        self.skew_ms = heard.skew_ms;
        let skew = heard.skew_ms.unwrap_or_default();
        let clock = match skew {
            skew if skew.abs() < 1000.0 => "clocks agree within a second".to_owned(),
            skew if skew > 0.0 => format!("its clock is {} ahead of this one", human_ms(skew)),
            skew => format!("its clock is {} behind this one", human_ms(-skew)),
        };
        let is_off = skew.abs() > SKEW;
        let status = if is_off { Status::Warn } else { Status::Pass };
        let advice = if is_off {
            ": it refuses device signatures that are more than 2 min off"
        } else {
            ""
        };
        let because = format!("after {}; {clock}{advice}", human_ms(ms));
        self.add(Rung::new("L1.challenge", status, because).took(ms));
        self.versions(record);
        let secret = self.target.secret.as_ref();
        let Some(ms) = heard.hello_ms else {
            let with = match secret {
                Some(secret) => format!("refused, with the secret of {}", secret.from()),
                None => "refused, without a secret (--token-env, --token-file)".to_owned(),
            };
            self.add(Rung::new("L2.auth", Status::Fail, with).judged(record));
            return;
        };
        let with = match secret {
            Some(secret) => format!("the secret of {} is accepted", secret.from()),
            None => "accepted without a secret".to_owned(),
        };
        self.add(Rung::new("L2.auth", Status::Pass, with).took(ms));
        self.scopes(record, heard);
    }

    /// Whether the gateway, and nobody in its place, agreed to a WebSocket.
    fn upgrade(&mut self, record: &SessionRecord) -> bool {
        let gateway = record.gateway.as_ref();
        let status = gateway.and_then(|gateway| gateway.status);
        let headers = gateway.map(|gateway| {
            let lines = gateway.response_headers.iter();
            lines
                .map(|line| json!({ "name": line.name, "value": line.value }))
                .collect::<Vec<_>>()
        });
        let mut facts = Map::new();
        facts.insert("status".to_owned(), json!(status));
        facts.insert("headers".to_owned(), json!(headers));
        facts.insert(
            "server".to_owned(),
            json!(gateway.and_then(|gateway| gateway.server.clone())),
        );
        let ms = gateway.and_then(|gateway| gateway.upgrade_ms);
        let rung = |status, because: String| {
            let rung = Rung::new("L1.upgrade", status, because).facts(facts);
            ms.into_iter().fold(rung, Rung::took)
        };
        if record.had_tunnel() {
            self.add(rung(Status::Pass, "101 Switching Protocols".to_owned()));
            return true;
        }
        let because = match status {
            Some(status) => format!("answered with {status}, not 101"),
            None => "no answer to the upgrade request".to_owned(),
        };
        self.add(rung(Status::Fail, because).judged(record));
        false
    }

    fn versions(&mut self, record: &SessionRecord) {
        let Some(dialect) = &record.dialect else {
            return;
        };
        let server = dialect.server.as_ref();
        let version = server.and_then(|server| server.version.clone());
        self.versions.gateway = version.map(Into::into);
        self.versions.protocol = dialect.protocol.agreed;
    }

    fn scopes(&mut self, record: &SessionRecord, heard: &Heard) {
        let scopes = heard.scopes.as_deref().unwrap_or_default();
        let mut facts = Map::new();
        facts.insert("granted".to_owned(), json!(scopes));
        let Some((answer, ms)) = &heard.channels else {
            let because = match scopes {
                [] => "no device; the secret is accepted (a healthy gateway gives no scopes to a probe without a \
                       device)"
                    .to_owned(),
                scopes => format!("{} and not operator.read", scopes.join(", ")),
            };
            self.add(Rung::new("L2.scopes", Status::Skip, because).facts(facts));
            let because = "it takes the scope operator.read";
            self.add(Rung::new("L3.channels", Status::Skip, because));
            return;
        };
        self.add(Rung::new("L2.scopes", Status::Pass, scopes.join(", ")).facts(facts));
        if answer.ok != Some(true) {
            let message = answer.error.get("message").and_then(Value::as_str);
            let because = PeerText::new(message.unwrap_or("no reason"), 200);
            let because = format!("channels.status failed: {}", because.as_str());
            self.add(
                Rung::new("L3.channels", Status::Fail, because)
                    .took(*ms)
                    .judged(record),
            );
            return;
        }
        let (status, because, facts) = channels::told(&answer.payload);
        self.add(
            Rung::new("L3.channels", status, because)
                .took(*ms)
                .facts(facts),
        );
    }
}

fn certificate_words(shown: &Shown) -> String {
    let version = shown.version.as_deref().unwrap_or("TLS");
    match shown.chain.first() {
        Some(leaf) => format!(
            "{version}, certificate for {} until {}",
            leaf.names.first().unwrap_or(&leaf.subject),
            leaf.not_after.strftime("%Y-%m-%d")
        ),
        None => version.to_owned(),
    }
}
