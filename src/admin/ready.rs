//! Whether the tap can do its job now: each thing that it needs, and why a check fails.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::transport::listening::ListenAddr;
use crate::transport::tls::leaves::Leaves;
use crate::upstream::{Dialler, Reached};

/// If a connection to the gateway succeeded within this time, the gateway counts as reachable.
const RECENT: Duration = Duration::from_mins(1);

/// Minimum interval between dials that the check itself makes.
const DIAL_EVERY: Duration = Duration::from_secs(5);

/// Time limit for such a dial; the request waits for it.
const DIAL_LIMIT: Duration = Duration::from_secs(3);

/// A listener of the tap.
#[derive(Clone, Debug)]
pub(crate) struct ListenerFacts {
    /// The address of the listener.
    pub place: ListenAddr,
    /// The certificates that it shows now; `None` for plain HTTP.
    pub certificates: Option<Leaves>,
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Readiness {
    /// Whether every check passed.
    pub ready: bool,
    /// The individual checks.
    pub checks: Vec<Check>,
}

/// One thing that the tap needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    /// `running`, `listeners`, `certificates`, `gateway`, or `tls_keylog` if there is one.
    pub name: String,
    /// Whether the check passed.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

impl Check {
    fn new(name: &str, ok: bool, detail: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            ok,
            detail: detail.into(),
        }
    }
}

/// The expiry of a certificate, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    /// The address that shows it.
    pub(super) listener: String,
    /// Which of the listener's certificates, counted from 0 as in the configuration.
    pub(super) position: usize,
    /// Seconds since 1970.
    pub(super) at: i64,
}

/// The inputs of the readiness check.
#[derive(Debug)]
pub(super) struct Ready {
    listeners: Vec<ListenerFacts>,
    /// Where TLS secrets are written. It makes no check fail, but the operator must not forget it.
    tls_keylog: Option<PathBuf>,
    /// When the check itself dialled last; held while it does.
    last_try: Mutex<Option<Instant>>,
}

impl Ready {
    pub(super) fn new(listeners: Vec<ListenerFacts>, tls_keylog: Option<PathBuf>) -> Self {
        Self {
            listeners,
            tls_keylog,
            last_try: Mutex::default(),
        }
    }

    /// When each certificate expires.
    pub(super) fn expiries(&self) -> Vec<Expiry> {
        let mut all = Vec::new();
        for listener in &self.listeners {
            let leaves = listener.certificates.as_ref().map(Leaves::now);
            for (position, leaf) in leaves.iter().flat_map(|leaves| leaves.iter()).enumerate() {
                all.push(Expiry {
                    listener: listener.place.to_string(),
                    position,
                    at: leaf.not_after.as_second(),
                });
            }
        }
        all
    }

    pub(super) async fn ask(&self, dialler: &Dialler, draining: bool) -> Readiness {
        let running = if draining {
            Check::new("running", false, "shutting down")
        } else {
            Check::new("running", true, "serving")
        };
        let mut checks = vec![
            running,
            self.bound(),
            certificates(&self.listeners, Timestamp::now()),
            self.gateway(dialler).await,
        ];
        if let Some(path) = &self.tls_keylog {
            let detail = format!("TLS secrets are written to {}", path.display());
            checks.push(Check::new("tls_keylog", true, detail));
        }
        Readiness {
            ready: checks.iter().all(|check| check.ok),
            checks,
        }
    }

    /// Sockets are bound before anything is served, so this check only lists them.
    fn bound(&self) -> Check {
        let all: Vec<String> = self
            .listeners
            .iter()
            .map(|listener| listener.place.to_string())
            .collect();
        Check::new("listeners", !all.is_empty(), all.join(", "))
    }

    /// The dials of sessions show whether the gateway can be reached; without recent ones the check
    /// dials.
    async fn gateway(&self, dialler: &Dialler) -> Check {
        if let Reached::Answered(_) = reached(dialler) {
            return dial_check(dialler);
        }
        let mut last_try = self.last_try.lock().await;
        // If nothing is known, the recent try was for another gateway, before a reload.
        let unknown = reached(dialler) == Reached::Unknown;
        let may = unknown || last_try.is_none_or(|at| at.elapsed() >= DIAL_EVERY);
        if may && !matches!(reached(dialler), Reached::Answered(_)) {
            if timeout(DIAL_LIMIT, dialler.dial()).await.is_err() {
                let why = format!("no answer within {}", seconds(DIAL_LIMIT));
                dialler.dial_health().failed(&why, Instant::now());
            }
            *last_try = Some(Instant::now());
        }
        drop(last_try);
        dial_check(dialler)
    }
}

/// Whether the last connection to the gateway succeeded. Does not dial.
pub(super) fn gateway_is_up(dialler: &Dialler) -> Option<bool> {
    match reached(dialler) {
        Reached::Unknown => None,
        Reached::Answered(_) => Some(true),
        Reached::Failed(..) => Some(false),
    }
}

fn reached(dialler: &Dialler) -> Reached {
    dialler.dial_health().reached(RECENT, Instant::now())
}

fn dial_check(dialler: &Dialler) -> Check {
    match reached(dialler) {
        Reached::Answered(age) => {
            let detail = format!("reached {} ago", seconds(age));
            Check::new("gateway", true, detail)
        }
        Reached::Failed(age, why) => {
            let detail = format!("could not be reached {} ago: {why}", seconds(age));
            Check::new("gateway", false, detail)
        }
        Reached::Unknown => Check::new("gateway", false, "not dialled yet"),
    }
}

fn certificates(listeners: &[ListenerFacts], now: Timestamp) -> Check {
    let mut bad = Vec::new();
    let mut ends: Option<Timestamp> = None;
    for ListenerFacts {
        place,
        certificates,
    } in listeners
    {
        let leaves = certificates.as_ref().map(Leaves::now);
        for (position, leaf) in leaves.iter().flat_map(|leaves| leaves.iter()).enumerate() {
            let (not_before, not_after) = (leaf.not_before, leaf.not_after);
            // A single certificate needs no number.
            let which = if leaves.as_ref().is_some_and(|leaves| leaves.len() > 1) {
                format!("{position} of {place}")
            } else {
                format!("of {place}")
            };
            if now < not_before {
                bad.push(format!("{which}: not valid before {not_before:.0}"));
            } else if now > not_after {
                bad.push(format!("{which}: expired at {not_after:.0}"));
            }
            ends = Some(ends.map_or(not_after, |end| end.min(not_after)));
        }
    }
    match (bad.is_empty(), ends) {
        (false, _) => Check::new("certificates", false, bad.join("; ")),
        (true, Some(end)) => Check::new("certificates", true, format!("valid until {end:.0}")),
        (true, None) => Check::new("certificates", true, "none: no listener speaks TLS"),
    }
}

/// `3 s`, for people.
fn seconds(age: Duration) -> String {
    format!("{} s", age.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::identity::KeyKind;
    use crate::transport::tls::leaves::Leaf;

    fn leaf(from: &str, to: &str) -> Leaf {
        Leaf {
            names: Vec::new(),
            sha256: String::new(),
            kind: KeyKind::Ecdsa,
            not_before: from.parse().unwrap(),
            not_after: to.parse().unwrap(),
        }
    }

    #[test]
    fn a_swapped_set_is_seen_and_each_of_it_counts() {
        let good = leaf("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
        let old = leaf("2025-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        let leaves = Leaves::new(vec![good.clone(), old.clone()]);
        let listeners = [ListenerFacts {
            place: ListenAddr::Tcp(([127, 0, 0, 1], 1).into()),
            certificates: Some(leaves.clone()),
        }];
        let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let check = certificates(&listeners, now);
        assert_eq!(
            (check.ok, check.detail.as_str()),
            (false, "1 of 127.0.0.1:1: expired at 2026-02-01T00:00:00Z")
        );
        leaves.swap(vec![good.clone(), good]);
        assert!(certificates(&listeners, now).ok);
    }

    #[test]
    fn every_certificate_has_to_be_valid_now() {
        let listener = |port: u16, from: &str, to: &str| ListenerFacts {
            place: ListenAddr::Tcp(([127, 0, 0, 1], port).into()),
            certificates: Some(Leaves::new(vec![leaf(from, to)])),
        };
        let good = listener(1, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
        let old = listener(2, "2025-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        let early = listener(3, "2026-12-01T00:00:00Z", "2027-02-01T00:00:00Z");
        let plain = ListenerFacts {
            place: ListenAddr::Tcp(([127, 0, 0, 1], 4).into()),
            certificates: None,
        };
        let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let check = |all: &[&ListenerFacts]| {
            let all: Vec<ListenerFacts> = all.iter().map(|one| (*one).clone()).collect();
            let check = certificates(&all, now);
            (check.ok, check.detail)
        };
        let fine = (true, "valid until 2027-01-01T00:00:00Z".to_owned());
        assert_eq!(check(&[&good, &plain]), fine);
        assert!(check(&[&plain]).0);
        let (ok, detail) = check(&[&good, &old, &early]);
        assert!(!ok);
        assert_eq!(
            detail,
            "of 127.0.0.1:2: expired at 2026-02-01T00:00:00Z; \
             of 127.0.0.1:3: not valid before 2026-12-01T00:00:00Z"
        );
    }
}
