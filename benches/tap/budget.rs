//! Upper limits on the cost of the tap, as ratios within one run.

use std::fmt::Write;

use crate::report::{DIRECT, Report, TAP, figure};
use crate::{buffering, cost, handshakes, idle, latency};

/// The reference that a figure of the tap is compared with.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// This share of the best peer's.
    BestPeer(f64),
    /// At most this much more than the direct figure.
    Direct(f64),
    /// A fixed number.
    Fixed(f64),
}

/// A budget and the measured figure.
#[derive(Clone, Debug)]
pub struct Checked {
    what: String,
    /// The tap's figure and its limit; without both the budget is not met.
    tap: Option<f64>,
    limit: Option<f64>,
    rule: String,
}

impl Checked {
    pub fn is_met(&self) -> bool {
        let both = self.tap.zip(self.limit);
        both.is_some_and(|(tap, limit)| tap <= limit)
    }
}

/// Compares all budgets with the figures of a run.
pub fn check(report: &Report) -> Vec<Checked> {
    let added = |size| latency::label(size, "added p50");
    [
        (latency::GROUP, added(32), Against::BestPeer(0.95)),
        (latency::GROUP, added(16 << 10), Against::BestPeer(0.8)),
        (latency::GROUP, added(1 << 20), Against::BestPeer(0.9)),
        (
            cost::GROUP,
            cost::FULL_SPEED.to_owned(),
            Against::BestPeer(0.95),
        ),
        (cost::GROUP, cost::BULK.to_owned(), Against::BestPeer(0.85)),
        (idle::GROUP, idle::fresh(2_000), Against::Fixed(14.0)),
        (
            buffering::GROUP,
            buffering::TO_GATEWAY.to_owned(),
            Against::Direct(1000.0),
        ),
        (
            buffering::GROUP,
            buffering::TO_CLIENT.to_owned(),
            Against::Direct(1000.0),
        ),
        (
            handshakes::GROUP,
            handshakes::FULL.to_owned(),
            Against::BestPeer(1.0),
        ),
        (
            handshakes::GROUP,
            handshakes::RESUMED.to_owned(),
            Against::BestPeer(1.0),
        ),
    ]
    .into_iter()
    .map(|(group, label, against)| one(report, group, &label, against))
    .collect()
}

fn one(report: &Report, group: &str, label: &str, against: Against) -> Checked {
    let row = report.row(group, label);
    let tap = row.and_then(|row| row.value(TAP));
    let (limit, rule) = match against {
        Against::BestPeer(share) => {
            let missing = row.map(|row| report.missing(row).collect::<Vec<_>>());
            let missing = missing.unwrap_or_default();
            let best = row.and_then(|row| row.best_peer());
            match best.filter(|_| missing.is_empty()) {
                Some((name, value)) => {
                    (Some(value * share), format!("{share} × best peer ({name})"))
                }
                None if missing.is_empty() => (None, format!("{share} × best peer (no peer)")),
                None => {
                    let names = missing.join(", ");
                    (None, format!("{share} × best peer (no figure of {names})"))
                }
            }
        }
        Against::Direct(more) => {
            let direct = row.and_then(|row| row.value(DIRECT));
            (direct.map(|value| value + more), format!("direct + {more}"))
        }
        Against::Fixed(limit) => (Some(limit), "fixed".to_owned()),
    };
    Checked {
        what: format!("{group}: {label}"),
        tap,
        limit,
        rule,
    }
}

/// A table with one line per budget.
pub fn table(checked: &[Checked]) -> String {
    let mut text = "\n| budget | wstap | limit | | |\n|---|--:|--:|---|---|\n".to_owned();
    for one in checked {
        let [tap, limit] = [one.tap, one.limit]
            .map(|value| value.map_or_else(|| "not measured".to_owned(), figure));
        let word = if one.is_met() { "met" } else { "**missed**" };
        let Checked { what, rule, .. } = one;
        _ = writeln!(text, "| {what} | {tap} | {limit} | {rule} | {word} |");
    }
    text
}
