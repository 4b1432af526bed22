//! Every byte of a session is changed once on its way to the tap, over TLS and plain, and bytes are
//! lost, doubled, added and cut off.
//!
//! Properties of each session, whatever was done to it:
//! * it has at least one record, and none of them is `unknown` or the fault of the tap;
//! * over TLS nobody but the client's side is blamed: the changed bytes never reach the gateway;
//! * on a plain connection the gateway, or a hop, is blamed only where the gateway did receive other
//!   bytes than those of an unharmed session;
//! * a session that came through unharmed has the verdict of one to which nothing was done.

mod gateway;
mod gateway_leg;
mod session;
mod tamper;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wstap::session::SessionRecord;
use wstap::session::record::{Class, Confidence, Kind};

use self::gateway::Gateway;
use self::session::{Face, Outcome, Plan, Script, Ways};
use self::tamper::Change;
use crate::support::dice::Dice;
use crate::support::records::{class, rule};
use crate::support::tap::{self, Setup, Tap};

/// Sessions of the run.
const SESSIONS: usize = 5000;

/// Sessions at the same time.
const TOGETHER: usize = 48;

/// Roughly the number of bytes that an HTTP/2 client sends: its library keeps the connection.
const HTTP2_SENT: usize = 700;

/// Roughly the number of bytes that an unharmed session gets back.
const CAME: usize = 2500;

/// TLS records that no key protects, and bytes that are not TLS at all.
const STRANGERS: [&[u8]; 6] = [
    // The alerts handshake_failure (fatal) and close_notify (warning).
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x15\x03\x03\x00\x02\x01\x00",
    b"\x14\x03\x03\x00\x01\x01",
    b"\x17\x03\x03\x00\x20abcdefghijklmnopqrstuvwxyz012345",
    b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\0\0\0\0\0\0\0\0",
];

const SCRIPTS: [Script; 5] = [
    Script::WebSocket,
    Script::Early,
    Script::Kept,
    Script::Post,
    Script::Denied,
];

const FACES: [Face; 3] = [Face::Plain, Face::Tls12, Face::Tls13];

/// The rules by which a session's records were judged, in their order.
type Rules = Vec<String>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_changed_byte_makes_a_session_unknown_or_blames_another() {
    let mut dice = Dice::seeded("mutations");
    let gateway = Gateway::start(None, || Change::Nothing).await;
    let mut tap = start(&gateway.url).await;
    let ways = ways(&tap);
    let mut addresses = Addresses::default();

    // Sessions to which nothing is done: three of each kind.
    let mut plans: Vec<Plan> = Vec::new();
    for (face, script) in kinds() {
        for _ in 0..3 {
            plans.push(addresses.plan((face, script), Change::Nothing, Duration::from_secs(30)));
        }
    }
    let started = Instant::now();
    let mut outcomes = run(&plans, &ways).await;
    // As long as all of them took together: no client gives up because the machine is busy.
    let usual = started.elapsed();
    for (plan, outcome) in plans.iter().zip(&outcomes) {
        assert!(outcome.is_whole, "{plan:?}");
    }
    let known = gateway.received.all();
    let mut lengths = HashMap::new();
    for (plan, outcome) in plans.iter().zip(&outcomes) {
        lengths.insert((plan.face, plan.script), outcome.sent.max(1));
    }
    let controls = plans.len();
    changes(&lengths, usual, &mut plans, &mut dice, &mut addresses);
    outcomes.extend(run(&plans[controls..], &ways).await);

    assert_eq!(tap.terminate().await, Some(0));
    assert!(!tap.stderr().contains("panicked"), "{}", tap.stderr());
    let judged = Judged {
        records: by_client(tap.records()),
        gateway: &gateway,
        known,
    };
    let mut controlled: HashMap<(Face, Script), Rules> = HashMap::new();
    let (mut wrong, mut seen) = (Vec::new(), BTreeMap::<String, usize>::new());
    for (plan, outcome) in plans.iter().zip(&outcomes) {
        let kind = (plan.face, plan.script);
        let rules = judged.rules(plan);
        for rule in &rules {
            *seen.entry(rule.clone()).or_default() += 1;
        }
        wrong.extend(judged.objections(plan));
        let unharmed = outcome.is_whole && !judged.gateway_got_others(plan).contains(&true);
        let control = controlled
            .entry(kind)
            .or_insert_with(|| judged.of_requests(plan));
        if unharmed && *control != judged.of_requests(plan) {
            wrong.push(format!(
                "{plan:?} came through and is {rules:?}, not {control:?}"
            ));
        }
    }
    eprintln!("{} sessions: {seen:#?}", plans.len());
    let count = wrong.len();
    wrong.sort();
    wrong.truncate(60);
    assert!(
        wrong.is_empty(),
        "{count} sessions, among them:\n{}",
        wrong.join("\n")
    );
}

/// The records of the run, and what the gateway got.
struct Judged<'a> {
    records: HashMap<String, Vec<SessionRecord>>,
    gateway: &'a Gateway,
    /// The bytes that it gets from sessions to which nothing was done.
    known: HashSet<Vec<u8>>,
}

impl Judged<'_> {
    fn of(&self, plan: &Plan) -> &[SessionRecord] {
        let found = self.records.get(&plan.ip.to_string());
        found.map(Vec::as_slice).unwrap_or_default()
    }

    fn rules(&self, plan: &Plan) -> Rules {
        self.of(plan)
            .iter()
            .map(|record| rule(record).to_owned())
            .collect()
    }

    /// The same without what happened outside of requests: the end of a connection that had served
    /// its client. A request that is sent twice makes a record more; the client leaves when it has the
    /// answers that it waits for, which may be before that one is answered.
    fn of_requests(&self, plan: &Plan) -> Rules {
        let records = self.of(plan).iter();
        let is_surplus = |record: &SessionRecord| {
            matches!(plan.change, Change::Twice { .. }) && class(record) == Class::ClientLeft
        };
        let requests =
            records.filter(|record| record.kind != Kind::Connection && !is_surplus(record));
        requests.map(|record| rule(record).to_owned()).collect()
    }

    /// Whether the gateway got other bytes than those of an unharmed session on the connections that
    /// may be this one's. Plain requests share connections with those of others, and a port can be
    /// used again.
    fn gateway_got_others(&self, plan: &Plan) -> Vec<bool> {
        let addresses = self.of(plan).iter().filter_map(|record| {
            let gateway = record.gateway.as_ref();
            gateway.and_then(|gateway| gateway.local_addr.as_deref())
        });
        let received = &self.gateway.received;
        addresses
            .flat_map(|ours| received.strange(ours, &self.known))
            .collect()
    }

    /// Changes that turn this client into another kind of client, which looks just like a real one.
    fn is_as_it_looks(plan: &Plan, record: &SessionRecord) -> bool {
        match rule(record) {
            // The key of a WebSocket's request, and no Upgrade.
            "hop.fault.upgrade_stripped" => plan.face == Face::Plain,
            // A hello that offers no signatures but those of RSA.
            "tap.fault.certificate" => plan.face != Face::Plain,
            // A client that is gone before it asks for anything may not trust the development CA.
            "tap.certificate.untrusted" => {
                let verdict = record.verdict.as_ref().expect("a verdict");
                record.kind == Kind::Connection && verdict.confidence != Confidence::Certain
            }
            // Both legs were found ended in one poll, so the order is not known.
            "gateway.left.open" => {
                let ends = &record.close.transport;
                ends.client_at.is_some() && ends.client_at == ends.gateway_at
            }
            _ => false,
        }
    }

    /// See the head of this file.
    fn objections(&self, plan: &Plan) -> Vec<String> {
        let records = self.of(plan);
        if records.is_empty() {
            return vec![format!("{plan:?} has no record")];
        }
        let others = self.gateway_got_others(plan);
        let surely = !others.is_empty() && !others.contains(&false);
        let mut wrong = Vec::new();
        let alone = records.iter().all(|record| record.kind == Kind::Websocket);
        if plan.face != Face::Plain && alone && surely {
            wrong.push(format!(
                "{plan:?}: the gateway got bytes that were changed inside TLS"
            ));
        }
        for record in records {
            if Self::is_as_it_looks(plan, record) {
                continue;
            }
            let fits = match class(record) {
                Class::Unknown | Class::TapFault | Class::NetworkCut | Class::TapTimeout => false,
                Class::Ok | Class::Probe | Class::ClientFault | Class::ClientLeft => true,
                Class::TapDenied => plan.script == Script::Denied || plan.face == Face::Plain,
                // The client got another certificate than ours, and said so.
                Class::TapCertificate => matches!(plan.change, Change::FlipBack { .. }),
                _ => plan.face == Face::Plain && others.contains(&true),
            };
            if !fits {
                let verdict = record.verdict.as_ref().expect("a verdict");
                let facts = serde_json::to_string(&(&record.phase, &record.close, &record.answer));
                wrong.push(format!(
                    "{plan:?} is {}: {}\n    {}",
                    verdict.rule,
                    verdict.summary,
                    facts.expect("JSON"),
                ));
            }
        }
        wrong
    }
}

async fn start(gateway: &str) -> Tap {
    Setup::before_url(gateway)
        .set(
            "origins.allowed",
            serde_json::json!(["https://friend.example"]),
        )
        .start()
        .await
}

fn kinds() -> impl Iterator<Item = (Face, Script)> {
    let all = FACES
        .into_iter()
        .flat_map(|face| SCRIPTS.map(|script| (face, script)));
    all.chain([(Face::Tls13, Script::Http2)])
}

fn ways(tap: &Tap) -> Ways {
    let trusted = tap.trust();
    let only = |version: &'static SupportedProtocolVersion, alpn: &[u8]| {
        let mut config = limited(&trusted, version, tap);
        config.alpn_protocols = vec![alpn.to_vec()];
        Arc::new(config)
    };
    Ways {
        plain: tap.addr(tap::Face::Plain),
        tls: tap.addr(tap::Face::Tls),
        tls12: only(&TLS12, b"http/1.1"),
        tls13: only(&TLS13, b"http/1.1"),
        http2: only(&TLS13, b"h2"),
    }
}

/// A client of one version, which resumes nothing: each session is the first.
fn limited(
    trusted: &ClientConfig,
    version: &'static SupportedProtocolVersion,
    tap: &Tap,
) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(trusted.crypto_provider()))
        .with_protocol_versions(&[version])
        .expect("a version of TLS")
        .with_root_certificates(crate::support::certs::roots_of(&tap.dev_ca()))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config
}

/// A client address for each session.
#[derive(Default)]
struct Addresses(u32);

impl Addresses {
    fn plan(&mut self, kind: (Face, Script), change: Change, patience: Duration) -> Plan {
        self.0 += 1;
        let [_, high, middle, low] = self.0.to_be_bytes();
        let (face, script) = kind;
        Plan {
            face,
            script,
            change,
            // From 127.1.0.1 on: all of 127/8 is this host's loopback.
            ip: Ipv4Addr::new(127, high + 1, middle, low),
            patience,
        }
    }
}

/// Every byte of the first script once on each face, then chance, up to the number of sessions.
fn changes(
    lengths: &HashMap<(Face, Script), usize>,
    usual: Duration,
    plans: &mut Vec<Plan>,
    dice: &mut Dice,
    addresses: &mut Addresses,
) {
    for face in FACES {
        let kind = (face, Script::WebSocket);
        for at in 0..lengths[&kind] {
            let mask = 1 << dice.below(8);
            let patience = usual + patience(dice);
            plans.push(addresses.plan(kind, Change::Flip { at, mask }, patience));
        }
    }
    let kinds: Vec<_> = kinds().collect();
    while plans.len() < SESSIONS {
        let kind = kinds[dice.below(kinds.len())];
        let length = match kind.1 {
            Script::Http2 => HTTP2_SENT,
            _ => lengths[&kind],
        };
        // Mostly after the handshake, which every script has.
        let at = if dice.one_in(4) {
            dice.below(length)
        } else {
            length / 2 + dice.below(length - length / 2)
        };
        let len = 1 + dice.below(60);
        let mask = u8::try_from(1 + dice.below(255)).expect("a byte");
        let change = match dice.below(12) {
            0..=3 => Change::Flip { at, mask },
            4 | 5 => Change::FlipBack {
                at: dice.below(CAME),
                mask,
            },
            6 => Change::Fin { at },
            7 => Change::Rst { at },
            8 => Change::Twice { at, len },
            9 => Change::Lost { at, len },
            _ => Change::Before {
                at,
                bytes: STRANGERS[dice.below(STRANGERS.len())],
            },
        };
        let patience = usual + patience(dice);
        plans.push(addresses.plan(kind, change, patience));
    }
}

/// From 100 to 1600 ms, spread evenly on a logarithmic scale: clients that all give up after the
/// same time would be a cadence.
fn patience(dice: &mut Dice) -> Duration {
    let doublings = f64::from(u16::try_from(dice.below(4000)).expect("small")) / 1000.0;
    Duration::from_secs_f64(0.1 * doublings.exp2())
}

async fn run(plans: &[Plan], ways: &Ways) -> Vec<Outcome> {
    let room = Arc::new(Semaphore::new(TOGETHER));
    let mut running = JoinSet::new();
    for (index, plan) in plans.iter().cloned().enumerate() {
        let place = Arc::clone(&room)
            .acquire_owned()
            .await
            .expect("never closed");
        let ways = ways.clone();
        running.spawn(async move {
            let outcome = plan.run(&ways).await;
            drop(place);
            (index, outcome)
        });
    }
    let mut outcomes = vec![Outcome::default(); plans.len()];
    while let Some(done) = running.join_next().await {
        let (index, outcome) = done.expect("a session");
        outcomes[index] = outcome;
    }
    outcomes
}

/// By the client's address, in the order of the file.
fn by_client(records: Vec<SessionRecord>) -> HashMap<String, Vec<SessionRecord>> {
    let mut all: HashMap<String, Vec<SessionRecord>> = HashMap::new();
    for record in records {
        let addr = record.client.addr.split(':').next().unwrap_or_default();
        all.entry(addr.to_owned()).or_default().push(record);
    }
    all
}
