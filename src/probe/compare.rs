//! Two paths side by side: where they differ first, and what each answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::Style;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::report::{Report, Rung, Status, lines};
use crate::exit;
use crate::terminal::Look;
use crate::terminal::text::{cut, pad};

/// The value of `schema`.
const SCHEMA: &str = "wstap.probe.compare/1";

/// Width of a rung's name, and of its outcome on the first path, in columns.
const NAME: usize = 12;
const OUTCOME: usize = 32;

/// Headers of the upgrade's answer that are never the same twice.
const EACH_TIME: [&str; 2] = ["date", "sec-websocket-accept"];

/// Both reports, and where they differ: one JSON object.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Comparison {
    /// `wstap.probe.compare/1`.
    pub schema: &'static str,
    /// Report of the URL.
    pub first: Report,
    /// Report of the URL that `--compare` names.
    pub second: Report,
    /// The lowest rung that works on one path only, or fails for different reasons.
    pub first_differing: Option<&'static str>,
    /// Headers of the answer to the upgrade that differ.
    pub headers: Vec<HeaderDifference>,
}

/// A header that one answer has and the other has not, or has with another value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct HeaderDifference {
    /// Its name.
    pub name: String,
    /// Its values on the first path; several are joined by commas.
    pub first: Option<String>,
    /// Its values on the second.
    pub second: Option<String>,
}

/// Why the second path gets no connect request.
pub(super) const NOT_TWICE: &str = "tried on the first path, and not sent again";

/// Result of a rung. Whether a path has TLS, or a name, is not a difference in itself.
#[derive(PartialEq, Eq)]
enum Outcome<'a> {
    Works,
    Warns,
    Fails(Option<&'a str>),
}

/// Whether a rung works on one path and not on the other, which needs both to be tested.
fn differs(a: &Rung, b: &Rung) -> bool {
    let is_withheld = |rung: &Rung| rung.status == Status::Skip && rung.because == NOT_TWICE;
    !is_withheld(a) && !is_withheld(b) && outcome(a) != outcome(b)
}

fn outcome(rung: &Rung) -> Outcome<'_> {
    match rung.status {
        Status::Pass | Status::Skip => Outcome::Works,
        Status::Warn => Outcome::Warns,
        Status::Fail => Outcome::Fails(rung.verdict.as_ref().map(|verdict| verdict.rule.as_str())),
    }
}

impl Comparison {
    pub(super) fn of(first: Report, second: Report) -> Self {
        let mut pairs = first.rungs.iter().zip(&second.rungs);
        let first_differing = pairs.find(|(a, b)| differs(a, b)).map(|(rung, _)| rung.id);
        let (ours, theirs) = (headers(&first), headers(&second));
        let names = ours
            .keys()
            .chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
        let differences = names.map(|name| HeaderDifference {
            name: name.clone(),
            first: ours.get(name).cloned(),
            second: theirs.get(name).cloned(),
        });
        let headers = differences.filter(|it| it.first != it.second).collect();
        Self {
            schema: SCHEMA,
            first_differing,
            headers,
            first,
            second,
        }
    }

    /// The exit code of the path that breaks first.
    pub(super) fn exit_code(&self, by_layer: bool) -> u8 {
        let codes = [&self.first, &self.second].map(|report| report.exit_code(by_layer));
        codes
            .into_iter()
            .filter(|code| *code != exit::OK)
            .min()
            .unwrap_or(exit::OK)
    }
}

/// Names and values of the headers of the answer to the upgrade.
fn headers(report: &Report) -> BTreeMap<String, String> {
    let mut found = BTreeMap::<String, String>::new();
    let rung = report.rungs.iter().find(|rung| rung.id == "L1.upgrade");
    let all = rung
        .and_then(|rung| rung.facts.get("headers"))
        .and_then(Value::as_array);
    for line in all.into_iter().flatten() {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        let name = text("name").to_ascii_lowercase();
        if EACH_TIME.contains(&name.as_str()) {
            continue;
        }
        let values = found.entry(name).or_default();
        if !values.is_empty() {
            values.push_str(", ");
        }
        let value = line.get("value").and_then(Value::as_str);
        values.push_str(value.unwrap_or("(not shown)"));
    }
    found
}

fn word(rung: &Rung) -> String {
    let rule = rung
        .verdict
        .as_ref()
        .map(|verdict| format!(" {}", verdict.rule));
    format!("{}{}", rung.status.word(), rule.unwrap_or_default())
}

/// For people: a line for each rung, then why the paths differ.
pub(super) fn text(comparison: &Comparison, look: Look) -> String {
    let Comparison { first, second, .. } = comparison;
    let bold = Style::new().bold();
    let mut text = String::new();
    for (label, report) in [("first", first), ("second", second)] {
        let line = format!(
            "{} {} ({})",
            pad(label, 6),
            report.target,
            report.taken_from
        );
        let _ = writeln!(text, "{bold}{}{bold:#}", look.fit(&line));
    }
    for (a, b) in first.rungs.iter().zip(&second.rungs) {
        let mark = if Some(a.id) == comparison.first_differing {
            "> "
        } else {
            "  "
        };
        let ours = pad(&cut(&word(a), OUTCOME), OUTCOME);
        let line = format!("{mark}{} {ours} {}", pad(a.id, NAME), word(b));
        let _ = writeln!(text, "{}", look.fit(line.trim_end()));
    }
    for line in &comparison.headers {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        let (a, b) = (value(&line.first), value(&line.second));
        let line = format!("  header {}: {a} | {b}", line.name);
        let _ = writeln!(text, "{}", look.fit(&line));
    }
    let Some(id) = comparison.first_differing else {
        let is_whole = !second.rungs.iter().any(|rung| rung.because == NOT_TWICE);
        text.push_str(if is_whole {
            "no rung differs\n"
        } else {
            "no rung differs up to L2.auth: the secret was tried on the first path, and not sent again\n"
        });
        return text;
    };
    let _ = writeln!(text, "{bold}first rung that differs: {id}{bold:#}");
    for (label, report) in [("first", first), ("second", second)] {
        for rung in report.rungs.iter().filter(|rung| rung.id == id) {
            let _ = write!(text, "{label}\n{}", lines(rung, look));
        }
    }
    text
}
