//! The ladder: each rung needs the one before it.

mod climber;
mod inside;
mod reach;

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Map, json};

use self::climber::Climber;
use super::address::Address;
use super::certificate::Shown;
use super::health::Health;
use super::report::{Report, Rung, Status, Versions};
use super::session::{Answered, DIAL, OwnTap, ProbeError, REQUEST};
use super::target::Target;
use super::tcp;
use super::whereabouts::Whereabouts;
use crate::session::SessionRecord;
use crate::session::moment::millis;
use crate::session::party::Phase;
use crate::session::record::gateway::TlsWords;
use crate::session::record::{GatewayError, GatewayErrorKind as Kind};
use crate::verdict;

/// Climbs until something breaks or the deadline comes; `show` gets each rung when it is done. `withheld`: why no
/// connect request may be sent, if none may.
pub(super) async fn climb(
    target: &Target,
    (whereabouts, versions): (Whereabouts, Versions),
    deadline: Instant,
    withheld: Option<&'static str>,
    show: &mut dyn FnMut(&Rung),
) -> Result<Report, ProbeError> {
    let mut climber = Climber {
        target,
        whereabouts,
        deadline,
        started: Instant::now(),
        rungs: Vec::new(),
        show,
        withheld,
        addresses: 0,
        proxied: None,
        skew_ms: None,
        versions,
    };
    let container = climber.whereabouts.container.as_ref();
    let container = container.and_then(|container| container.name().map(str::to_owned));
    let mut tap = OwnTap::start(target, container, deadline)?;
    Box::pin(climber.climb(&mut tap)).await;
    tap.stop();
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

impl Climber<'_> {
    /// Returns at the first failure that rules out the rungs above it.
    async fn climb(&mut self, tap: &mut OwnTap) {
        self.stand();
        self.ask_proxy().await;
        let Some(tried) = self.reach(tap).await else {
            if self.rungs.last().is_some_and(|rung| rung.id == "L1.name") {
                let because = "the name does not resolve here";
                self.add(Rung::new("L1.tcp", Status::Skip, because));
            }
            self.proxy(false);
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
        let mut healthz = tap.get(self.target, "/healthz", limit).await;
        let is_refused = healthz
            .as_ref()
            .is_some_and(|it| may_be_a_limit(&it.record));
        if is_refused && tried.iter().any(|it| it.connected() > 0) && !self.is_late() {
            // Something listens, and may be refusing so many connections in so short a time.
            self.pause().await;
            healthz = tap.get(self.target, "/healthz", limit).await;
        }
        let Some(healthz) = healthz else {
            self.add(tcp::rung(&tried, reach::status_of(&tried)));
            self.proxy(true);
            self.late("L1.tls");
            return;
        };
        let connects = self.connections(&tried, &healthz.record, may_hang);
        self.proxy(connects);
        if !connects {
            return;
        }
        if !self.tls(shown, &healthz.record, began).await {
            return;
        }
        self.health(tap, healthz).await;
        if self.is_late() {
            self.late("L1.upgrade");
            return;
        }
        let (mut record, mut heard) = tap.talk(self.target, self.withheld.is_none()).await;
        if record.as_ref().is_some_and(may_be_a_limit) && !self.is_late() {
            // The server may be refusing so many connections in so short a time. No secret has been
            // sent yet.
            self.pause().await;
            (record, heard) = tap.talk(self.target, self.withheld.is_none()).await;
            heard.again = true;
        }
        match record {
            Some(record) => self.session(tap, &record, &heard).await,
            None => self.late("L1.upgrade"),
        }
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
            let asked = shown.as_ref().is_some_and(|it| it.asks_for_certificate);
            // Many servers ask for a certificate without requiring it, so only a matching end
            // counts. With TLS 1.3 the server refuses after the handshake.
            let fits = matches!(
                kind,
                Some(
                    Kind::Tls
                        | Kind::TlsCut
                        | Kind::TlsBroken
                        | Kind::ClosedBeforeStatus
                        | Kind::ResetBeforeStatus
                )
            );
            if asked && fits {
                let because = "the server asked for a client certificate, got none, and ended the connection: it may \
                               require one";
                self.add(
                    Rung::new("L1.tls", Status::Fail, because)
                        .took(ms)
                        .facts(facts),
                );
                return false;
            }
            if record.phase > Phase::Dial {
                let because = shown.as_ref().map_or_else(String::new, certificate_words);
                self.add(
                    Rung::new("L1.tls", Status::Pass, because)
                        .took(ms)
                        .facts(facts),
                );
                return true;
            }
            let mut because = match error {
                Some(error) if kind == Some(Kind::ConnectTimeout) => format!(
                    "TCP connects, but the TLS handshake hangs: what listens there is stuck or does not speak TLS ({})",
                    error.detail
                ),
                Some(error) => error.detail.clone(),
                None => "the TLS handshake did not finish".to_owned(),
            };
            let lacks = shown.as_ref().and_then(Shown::lacks_issuer);
            if let Some(last) = lacks.filter(|_| kind == Some(Kind::CertificateUntrusted)) {
                let _ = write!(
                    because,
                    "; the chain ends with a certificate issued by \"{}\", which was not sent: if that is an \
                     intermediate CA, curl, Node and wstap refuse the chain, and browsers may accept it",
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
        self.plain(record, kind, ms).await
    }

    /// Whether the server takes plain requests, as the URL says.
    async fn plain(&mut self, record: &SessionRecord, kind: Option<Kind>, ms: f64) -> bool {
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
            let because = "the URL says ws, but what listens there speaks TLS";
            self.add(
                Rung::new("L1.tls", Status::Fail, because)
                    .took(ms)
                    .judged(&record),
            );
            return false;
        }
        let because = match self.target.address {
            Address::Unix(_) => "no TLS on a unix socket",
            Address::Tcp { .. } => "the URL says ws: no TLS",
        };
        self.add(Rung::new("L1.tls", Status::Skip, because));
        true
    }

    /// The health checks. They decide nothing: the answer to the upgrade says more.
    async fn health(&mut self, tap: &mut OwnTap, healthz: Answered) {
        let began = Instant::now();
        let mut facts = Map::new();
        let first = Health::of(&healthz);
        let is_live = first.live;
        let ms = healthz.record.duration_ms;
        facts.insert("/healthz".to_owned(), json!(first));
        let mut ready = None;
        let mut failing = Vec::new();
        // Do not ask again if there was no answer.
        if healthz.status != 0 {
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
            (true, Some(false)) => (Status::Warn, not_ready(&failing)),
            (true, None) => (Status::Pass, "live".to_owned()),
            (false, _) if healthz.status == 0 => {
                (Status::Warn, "no answer from /healthz".to_owned())
            }
            (false, _) => (
                Status::Warn,
                format!(
                    "/healthz answers {}, without OpenClaw's \"live\"",
                    healthz.status
                ),
            ),
        };
        let rung = Rung::new("L1.health", status, because).took(ms + millis(began.elapsed()));
        self.add(rung.facts(facts));
    }
}

fn not_ready(failing: &[String]) -> String {
    match failing {
        [] => "live but not ready".to_owned(),
        failing => format!("live but not ready: {}", failing.join(", ")),
    }
}

/// The upgrade's connection was refused or cut, as by a limit on new connections.
fn may_be_a_limit(record: &SessionRecord) -> bool {
    let error = record
        .gateway
        .as_ref()
        .and_then(|gateway| gateway.error.as_ref());
    let kind = error.map(|error| error.kind);
    matches!(
        kind,
        Some(Kind::Refused | Kind::ClosedBeforeStatus | Kind::ResetBeforeStatus)
    )
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
