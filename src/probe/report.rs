//! The report, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Color, Style};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::inert::inert;
use super::target::Target;
use super::whereabouts::Whereabouts;
use crate::exit;
use crate::session::SessionRecord;
use crate::session::record::{Class, Verdict};
use crate::terminal::Look;
use crate::terminal::text::{blanks, columns, pad, wrap};
use crate::verdict::words::human_ms;

/// The value of `schema`.
const SCHEMA: &str = "wstap.probe/1";

/// Width of the column before a rung's words.
const NAME: usize = 12;

/// Maximum number of pieces of evidence shown to people; programs get all.
const EVIDENCE: usize = 4;

/// Lines of `--short`.
const SHORT: usize = 6;

/// The whole probe: one JSON object.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Report {
    /// `wstap.probe/1`.
    pub schema: &'static str,
    /// When it ended.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The URL, without parts that may be secret.
    pub target: String,
    /// Where the URL came from.
    pub taken_from: String,
    /// Where the secret came from; `null` without one.
    pub secret_from: Option<String>,
    /// Where the probe ran.
    #[serde(rename = "where")]
    pub whereabouts: Whereabouts,
    /// The rungs, lowest first.
    pub rungs: Vec<Rung>,
    /// The lowest rung that failed.
    pub first_failing: Option<&'static str>,
    /// How far the gateway's clock is ahead of this one, in milliseconds.
    pub clock_skew_ms: Option<f64>,
    /// Versions.
    pub versions: Versions,
    /// How long it took.
    pub ms: f64,
}

/// Versions.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Versions {
    /// Version of this program.
    pub wstap: &'static str,
    /// Version of the gateway.
    pub gateway: Option<String>,
    /// Version of the `OpenClaw` command line tool on the place's `PATH`.
    pub client: Option<String>,
    /// The version of `OpenClaw`'s protocol that was agreed.
    pub protocol: Option<u64>,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            wstap: env!("CARGO_PKG_VERSION"),
            gateway: None,
            client: None,
            protocol: None,
        }
    }
}

/// Result of a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It works.
    Pass,
    /// It works, with a defect.
    Warn,
    /// It does not work.
    Fail,
    /// It was not tested; `because` says why.
    Skip,
}

impl Status {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Skip => "skip",
        }
    }

    fn style(self) -> Style {
        let colour = match self {
            Self::Pass => AnsiColor::Green,
            Self::Warn => AnsiColor::Yellow,
            Self::Fail => AnsiColor::Red,
            Self::Skip => return Style::new().dimmed(),
        };
        Style::new().fg_color(Some(Color::Ansi(colour)))
    }
}

/// One rung.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Rung {
    /// Its name, such as `L1.tcp`.
    pub id: &'static str,
    /// Its result.
    pub status: Status,
    /// The reason, in words.
    pub because: String,
    /// How long it took; `null` if it did not wait for anything.
    pub ms: Option<f64>,
    /// What was seen; see `docs/probe.md`.
    pub facts: Map<String, Value>,
    /// The verdict that explains a failed rung; `null` if none does.
    pub verdict: Option<Verdict>,
    #[serde(skip)]
    beyond: bool,
}

/// Replaces a secret.
const MASK: &str = "[masked]";

fn mask(value: &mut Value, secret: &str) {
    match value {
        Value::String(text) => *text = text.replace(secret, MASK),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, secret)),
        Value::Object(fields) => fields.values_mut().for_each(|field| mask(field, secret)),
        _ => {}
    }
}

impl Rung {
    pub(super) fn new(id: &'static str, status: Status, because: impl Into<String>) -> Self {
        Self {
            id,
            status,
            because: inert(&because.into()),
            ms: None,
            facts: Map::new(),
            verdict: None,
            beyond: false,
        }
    }

    /// A rung that was not tried, because the one named `broken` below it failed.
    pub(super) fn beyond(id: &'static str, broken: &str) -> Self {
        let because = format!("{broken} failed");
        Self {
            beyond: true,
            ..Self::new(id, Status::Skip, because)
        }
    }

    pub(super) fn took(self, ms: f64) -> Self {
        let ms = Some(ms);
        Self { ms, ..self }
    }

    pub(super) fn facts(self, facts: Map<String, Value>) -> Self {
        Self { facts, ..self }
    }

    /// Adds the verdict of the record that shows why, unless the rules found only that the probe
    /// left.
    pub(super) fn judged<'a>(self, record: impl Into<Option<&'a SessionRecord>>) -> Self {
        let verdict = record.into().and_then(|record| record.verdict.clone());
        let says_why = |verdict: &Verdict| {
            !matches!(
                verdict.class,
                Class::Ok | Class::Probe | Class::ClientLeft | Class::ClientClosed
            )
        };
        let verdict = verdict.filter(says_why);
        Self { verdict, ..self }
    }

    /// Hides a secret that the gateway may have repeated.
    pub(super) fn masked(mut self, secret: &str) -> Self {
        self.because = self.because.replace(secret, MASK);
        for fact in self.facts.values_mut() {
            mask(fact, secret);
        }
        self
    }

    fn layer(&self) -> u8 {
        match self.id {
            id if id.starts_with("L2") => 11,
            id if id.starts_with("L3") => 12,
            _ => 10,
        }
    }
}

impl Report {
    pub(super) fn new(
        target: &Target,
        whereabouts: Whereabouts,
        rungs: Vec<Rung>,
        (clock_skew_ms, versions): (Option<f64>, Versions),
        took: Duration,
    ) -> Self {
        let failed = rungs.iter().find(|rung| rung.status == Status::Fail);
        Self {
            schema: SCHEMA,
            at: Timestamp::now(),
            target: target.shown(),
            taken_from: inert(&target.taken_from),
            secret_from: (target.secret.as_ref()).map(|secret| inert(secret.from())),
            whereabouts,
            first_failing: failed.map(|rung| rung.id),
            rungs,
            clock_skew_ms,
            versions,
            ms: crate::session::moment::millis(took),
        }
    }

    fn failed(&self) -> Option<&Rung> {
        self.rungs.iter().find(|rung| rung.status == Status::Fail)
    }

    pub(super) fn exit_code(&self, by_layer: bool) -> u8 {
        match self.failed() {
            None => exit::OK,
            Some(rung) if by_layer => rung.layer(),
            Some(_) => exit::FAILED,
        }
    }
}

/// The line above the rungs.
pub(super) fn title(target: &Target, look: Look) -> String {
    let bold = Style::new().bold();
    let secret = target.secret.as_ref();
    let secret = secret.map_or_else(
        || "no secret".to_owned(),
        |secret| format!("secret of {}", inert(secret.from())),
    );
    let text = format!(
        "{} ({}; {secret})",
        target.shown(),
        inert(&target.taken_from)
    );
    let mut lines = String::new();
    for line in wrap(&text, look.page()) {
        let _ = writeln!(lines, "{bold}{line}{bold:#}");
    }
    lines
}

/// A rung, with its verdict below it; nothing for rungs above a failed one.
pub(super) fn lines(rung: &Rung, look: Look) -> String {
    if rung.beyond {
        return String::new();
    }
    let style = rung.status.style();
    let name = format!(
        "  {style}{}{style:#}  {}  ",
        rung.status.word(),
        pad(rung.id, NAME)
    );
    let margin = blanks(2 + 4 + 2 + NAME + 2);
    let room = look.page().saturating_sub(columns(&margin));
    let mut text = String::new();
    let mut before = name.as_str();
    for line in wrap(&rung.because, room) {
        let _ = writeln!(text, "{before}{line}");
        before = &margin;
    }
    let Some(verdict) = &rung.verdict else {
        return text;
    };
    let bold = Style::new().bold();
    for line in wrap(&format!("{}: {}", verdict.rule, verdict.summary), room) {
        let _ = writeln!(text, "{margin}{bold}{line}{bold:#}");
    }
    for evidence in verdict.evidence.iter().take(EVIDENCE) {
        let fact = wrap(&evidence.fact, room.saturating_sub(2));
        for (nth, line) in fact.iter().enumerate() {
            let mark = if nth == 0 { "· " } else { "  " };
            let _ = writeln!(text, "{margin}{mark}{line}");
        }
    }
    // With the whole width: commands should stay on one line.
    for line in wrap(
        &format!("next: {}", verdict.next),
        look.page().saturating_sub(2),
    ) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// The line below the rungs.
pub(super) fn last(report: &Report, look: Look) -> String {
    let took = human_ms(report.ms);
    let gateway = &report.versions.gateway;
    let version = gateway
        .as_ref()
        .map_or_else(String::new, |version| format!(", gateway {version}"));
    let text = match report.failed() {
        Some(rung) => format!("first failing rung: {}{version}, {took}", rung.id),
        None => format!("no rung failed{version}, {took}"),
    };
    let mut lines = String::new();
    let beyond: Vec<&str> = (report.rungs.iter().filter(|rung| rung.beyond))
        .map(|rung| rung.id)
        .collect();
    if let [first, .., last] = beyond.as_slice() {
        let style = Status::Skip.style();
        let _ = writeln!(lines, "  {style}skip{style:#}  {first} to {last}");
    } else if let [only] = beyond.as_slice() {
        let style = Status::Skip.style();
        let _ = writeln!(lines, "  {style}skip{style:#}  {only}");
    }
    for line in wrap(&text, look.page()) {
        let _ = writeln!(lines, "{line}");
    }
    lines
}

/// At most six lines.
pub(super) fn short(report: &Report, look: Look) -> String {
    let passed: Vec<&str> = ids(report, Status::Pass);
    let warned: Vec<&str> = ids(report, Status::Warn);
    let place = &report.whereabouts;
    let from = place
        .container
        .as_ref()
        .and_then(|container| container.id.as_deref());
    let from = from.map_or_else(String::new, |id| {
        format!(", container {}", id.get(..12).unwrap_or(id))
    });
    let mut all = vec![format!(
        "{} from {}{from} ({})",
        report.target, place.host, place.netns
    )];
    if let Some(rung) = report.failed() {
        let verdict = rung.verdict.as_ref();
        let why = verdict.map_or(rung.because.as_str(), |verdict| verdict.summary.as_str());
        let rule = verdict.map_or_else(String::new, |verdict| format!(" ({})", verdict.rule));
        all.push(format!("FAIL {}{rule}: {why}", rung.id));
        all.extend(verdict.map(|verdict| format!("next: {}", verdict.next)));
    } else {
        all.push(format!("no rung failed, {}", human_ms(report.ms)));
    }
    if !warned.is_empty() {
        all.push(format!("warn: {}", warned.join(" ")));
    }
    all.push(format!("pass: {}", passed.join(" ")));
    let mut lines = String::new();
    for line in all.iter().take(SHORT) {
        let _ = writeln!(lines, "{}", look.fit(line));
    }
    lines
}

fn ids(report: &Report, status: Status) -> Vec<&'static str> {
    let rungs = report.rungs.iter().filter(|rung| rung.status == status);
    rungs.map(|rung| rung.id).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::super::compare::Comparison;
    use super::*;

    fn docs(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs")
            .join(name)
    }

    #[test]
    fn docs_probe_schema_is_current() {
        let schema = schemars::schema_for!(Report);
        let wanted = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let path = docs("probe.schema.json");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &wanted).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "docs/probe.schema.json is stale: run `make docs`"
        );
    }

    #[test]
    fn docs_probe_page_names_every_field() {
        let schema = serde_json::to_value(schemars::schema_for!(Report)).unwrap();
        let page = fs::read_to_string(docs("probe.md")).unwrap_or_default();
        let words: BTreeSet<&str> = page
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .collect();
        let compared = serde_json::to_value(schemars::schema_for!(Comparison)).unwrap();
        for name in compared["properties"].as_object().unwrap().keys() {
            assert!(
                words.contains(name.as_str()),
                "docs/probe.md does not name {name}"
            );
        }
        let own = [
            &schema,
            &schema["$defs"]["Rung"],
            &schema["$defs"]["Whereabouts"],
        ];
        for (nth, object) in own.iter().enumerate() {
            let names = object["properties"].as_object().unwrap();
            assert!(names.len() > 5, "{nth}");
            for name in names.keys() {
                assert!(
                    words.contains(name.as_str()),
                    "docs/probe.md does not name {name}"
                );
            }
        }
    }
}
