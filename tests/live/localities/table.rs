//! The table of who was taken for what, with what the gateway's log says about each.

use std::fmt::Write as _;

use wstap::session::SessionRecord;

use super::clients::{Client, Locality, Meeting};
use super::evidence::Evidence;
use super::taps::Mode;

/// One client by one way.
pub struct Row {
    pub client: Client,
    /// Where it is bound, and whom it trusts.
    gateway: String,
    /// `no tap`, or how the tap is configured.
    pub tap: &'static str,
    meeting: Meeting,
    pub locality: Locality,
    /// How it came through the tap, and what the same client is without it.
    through: Option<(Mode, Locality)>,
    /// What the tap's record says: how it forwarded, and the rule of its verdict.
    record: String,
    /// What its verdict advises.
    next: String,
    /// What the gateway's log says.
    log: String,
}

impl Row {
    pub fn new(client: &Client, gateway: &str, tap: &'static str, meeting: Meeting) -> Self {
        Self {
            client: *client,
            gateway: gateway.to_owned(),
            tap,
            locality: meeting.locality(),
            meeting,
            through: None,
            record: String::new(),
            next: String::new(),
            log: String::new(),
        }
    }

    /// It came through a tap, which wrote these records.
    pub fn through(&mut self, mode: &Mode, baseline: Locality, records: &[SessionRecord]) {
        self.through = Some((*mode, baseline));
        self.record = records.last().map(told).unwrap_or_default();
        let verdict = records.last().and_then(|record| record.verdict.as_ref());
        self.next = verdict.map(|it| it.next.clone()).unwrap_or_default();
    }

    /// The `trustedProxies` that the verdict on a 403 says to set.
    pub fn advice(&self) -> Option<Vec<String>> {
        if self.locality != Locality::Refused(403) {
            return None;
        }
        let (_, list) = self.next.split_once("\"trustedProxies\": ")?;
        let (list, _) = list.split_once(']')?;
        serde_json::from_str(&format!("{list}]")).ok()
    }

    /// The tap made a remote client local.
    pub fn became_local(&self) -> bool {
        self.locality == Locality::Local
            && self
                .through
                .is_some_and(|(_, baseline)| baseline != Locality::Local)
    }

    /// What is wrong with it.
    pub fn complaint(&self) -> Option<String> {
        if self.log.is_empty() {
            let (cells, answers) = (self.cells().join(" / "), self.meeting.shown());
            return Some(format!(
                "the gateway's log says nothing of it: {cells}: {answers}"
            ));
        }
        let (mode, baseline) = self.through?;
        let same = self.locality == baseline;
        let problem = if self.became_local() && !mode.allowed {
            "became local by the tap"
        } else if mode.is_auto() && !same && !self.may_differ(baseline) {
            "is not what it is without the tap"
        } else if self
            .written_as()
            .is_some_and(|it| !self.client.may_be_written_as(it))
        {
            "is written down as somebody else"
        } else {
            return None;
        };
        Some(format!("{problem}: {}", self.cells().join(" / ")))
    }

    /// The address that the tap wrote, as the gateway's log has it.
    fn written_as(&self) -> Option<&str> {
        let (_, rest) = self.log.split_once(" fwd ")?;
        let (address, _) = rest.split_once(": ")?;
        self.record.starts_with("Overwrite").then_some(address)
    }

    fn explained(&self) -> bool {
        let rules = ["attribution", "remote_as_local", "client.fault.nominated"];
        rules.iter().any(|rule| self.record.contains(rule))
    }

    /// `auto` may refuse, when its record says why; and a client that the gateway refuses for a
    /// header of its own, or that cannot reach the gateway, may come in as the stranger that it is.
    fn may_differ(&self, baseline: Locality) -> bool {
        match self.locality {
            Locality::Refused(_) => self.explained(),
            Locality::Remote => {
                baseline != Locality::Local || self.client.local_by_container_rule()
            }
            Locality::Local | Locality::Unreachable => false,
        }
    }

    /// Fills in what the log says of the visit with a device. `false` when it says nothing yet.
    pub fn look_up(&mut self, evidence: &Evidence) -> bool {
        let found = evidence.about(self.meeting.with_device());
        let told = found.is_some();
        self.log = found.unwrap_or_default();
        told
    }

    fn cells(&self) -> [String; 7] {
        let locality = |locality: Locality| match locality {
            Locality::Local => "local".to_owned(),
            Locality::Remote => "remote".to_owned(),
            Locality::Refused(status) => format!("refused {status}"),
            Locality::Unreachable => "unreachable".to_owned(),
        };
        [
            self.gateway.clone(),
            self.tap.to_owned(),
            self.client.name.to_owned(),
            self.through
                .map_or_else(String::new, |(_, baseline)| locality(baseline)),
            locality(self.locality),
            self.record.clone(),
            self.log.clone(),
        ]
    }
}

/// How it was forwarded, and the verdict.
fn told(record: &SessionRecord) -> String {
    let gateway = record.gateway.as_ref();
    let forwarded = gateway.and_then(|gateway| gateway.forwarded.as_ref());
    let mode = forwarded.map_or_else(|| "-".to_owned(), |it| format!("{:?}", it.mode));
    let rule = record
        .verdict
        .as_ref()
        .map_or("-", |verdict| verdict.rule.as_str());
    format!("{mode}: {rule}")
}

/// The whole table as text.
pub fn render(rows: &[Row]) -> String {
    let titles = [
        "gateway",
        "tap",
        "client",
        "without",
        "is",
        "the tap's record",
        "the gateway's log",
    ];
    let mut lines = vec![titles.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let mut widths = [0; 7];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for line in lines {
        let padded = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let padded: Vec<String> = padded.collect();
        writeln!(out, "{}", padded.join("  ").trim_end()).expect("writing to a string");
    }
    out
}
