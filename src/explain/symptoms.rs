//! Finds the rules that may explain a symptom: a text that people see in a log or on a screen.
//!
//! A Close code, an HTTP status or an error message is no verdict: many faults look alike to the
//! client. So this lists candidates, each with the fact that distinguishes it from the others.
//! Codes, statuses and words come from the rules' fixtures and texts; only messages that client
//! programs write themselves, which no record holds, are listed here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::page_writer::{PageWriter, count};
use super::rules::{example, rule_json};
use crate::session::SessionRecord;
use crate::session::record::{Class, Kind};
use crate::verdict::{Rule, rules};

/// Maximum number of candidates for words; for a code or a status all are listed.
const MOST: usize = 8;
/// The code that libraries report when no Close arrived (RFC 6455 section 7.1.5), and browsers also when no
/// WebSocket opened at all.
const ABNORMAL: u16 = 1006;
/// Share of a query's weight that a rule must match.
const COVERED: f64 = 0.5;
/// Share of the best candidate's score below which a rule is not a candidate.
const BESIDE_BEST: f64 = 0.6;

/// Messages that client programs write themselves about a failure: words, and prefixes of the rules
/// that they point to.
const SAYINGS: [(&str, &[&str]); 9] = [
    (
        "gateway timeout after",
        &[
            "gateway.silent",
            "gateway.unreachable.timeout",
            "network.stall",
        ],
    ),
    (
        "gateway not reachable econnrefused",
        &["gateway.unreachable.refused"],
    ),
    ("self-signed certificate", &["tap.certificate"]),
    (
        "self signed certificate in certificate chain",
        &["tap.certificate"],
    ),
    (
        "unable to verify the first certificate",
        &["tap.certificate"],
    ),
    (
        "unable to get local issuer certificate",
        &["tap.certificate"],
    ),
    ("err_cert_authority_invalid", &["tap.certificate"]),
    (
        "getaddrinfo enotfound eai_again",
        &["gateway.unreachable.dns"],
    ),
    (
        "invalid websocket frame",
        &["client.fault", "gateway.fault", "hop.fault"],
    ),
];

/// A symptom that somebody saw.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Symptom {
    asked: String,
    /// The Close code in it.
    code: Option<u16>,
    /// The HTTP status in it.
    status: Option<u16>,
    words: Vec<String>,
}

/// The rules that may explain a symptom.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    symptom: Symptom,
    rules: Vec<&'static Rule>,
    /// Classes of sessions that never became a WebSocket, where browsers report the same code.
    unopened: Vec<Class>,
}

impl Symptom {
    /// Reads a Close code, an HTTP status, or words with at least one letter; `None` for anything else.
    #[must_use]
    pub(crate) fn read(asked: &str) -> Option<Self> {
        let words = words(asked);
        let number = |from: u16, to: u16| {
            let mut numbers = words.iter().filter_map(|word| word.parse().ok());
            numbers.find(|number| (from..to).contains(number))
        };
        let (code, status) = (number(1000, 5000), number(100, 600));
        let is_number = words.len() == 1 && (code.is_some() || status.is_some());
        // One word is a name, a file or an id, unless it is a code or a status.
        let is_message = asked.split_whitespace().nth(1).is_some();
        (is_number || is_message).then(|| Self {
            asked: asked.trim().to_owned(),
            code,
            status,
            words: words.into_iter().filter(|word| !is_digits(word)).collect(),
        })
    }

    /// The rules that may explain it; `None` if there are none.
    #[must_use]
    pub(crate) fn candidates(self) -> Option<Candidates> {
        let rules = if self.words.is_empty() {
            let mut rules: Vec<&Rule> = INDEX
                .rules()
                .filter(|at| self.is_number_of(at))
                .map(|at| at.rule)
                .collect();
            rules.sort_by_key(|rule| rule.id);
            rules
        } else {
            self.by_words()
        };
        let unopened = if self.code == Some(ABNORMAL) {
            INDEX.unopened()
        } else {
            Vec::new()
        };
        (!rules.is_empty()).then_some(Candidates {
            symptom: self,
            rules,
            unopened,
        })
    }

    fn is_number_of(&self, at: &Entry) -> bool {
        self.code.is_some() && self.code == at.code
            || self.status.is_some() && self.status == at.status
    }

    fn by_words(&self) -> Vec<&'static Rule> {
        let sayings = SAYINGS.iter().filter(|(words, _)| self.says(words));
        let meant: Vec<&str> = sayings.flat_map(|(_, of)| of.iter().copied()).collect();
        let whole: f64 = self.words.iter().map(|word| INDEX.rarity(word)).sum();
        let mut scored: Vec<(f64, &'static Rule)> = Vec::new();
        for at in INDEX.rules() {
            let matched = |word: &String| INDEX.rarity(word) * at.weight(word);
            let mut score: f64 = self.words.iter().map(matched).sum();
            // A known message of a program takes precedence over words in common with rules.
            if meant.is_empty() && (score < COVERED * whole || score == 0.0)
                || !meant.is_empty() && !meant.iter().any(|begin| at.rule.id.starts_with(begin))
            {
                continue;
            }
            if self.is_number_of(at) {
                score += whole;
            }
            scored.push((score, at.rule));
        }
        scored.sort_by(|(one, a), (two, b)| two.total_cmp(one).then(a.id.cmp(b.id)));
        let best = scored.first().map_or(0.0, |(score, _)| *score);
        let least = if meant.is_empty() {
            BESIDE_BEST * best
        } else {
            0.0
        };
        let near = scored.into_iter().take_while(|(score, _)| *score >= least);
        near.take(MOST).map(|(_, rule)| rule).collect()
    }

    /// Whether all words of a message are in the symptom, or at least two thirds of them and two.
    fn says(&self, saying: &str) -> bool {
        let wanted = words(saying);
        let found = wanted
            .iter()
            .filter(|word| self.words.contains(word))
            .count();
        found == wanted.len() || found >= 2 && 3 * found >= 2 * wanted.len()
    }
}

impl Candidates {
    /// For people.
    #[must_use]
    pub(crate) fn page(&self, width: usize) -> String {
        let mut writer = PageWriter::new(width);
        let Symptom { asked, .. } = &self.symptom;
        let many = count(self.rules.len() as u64, "verdict");
        writer.title(&format!("{asked}: {many} can look like this to the client"));
        writer.text(
            "",
            "The record of the session says which one it was. The differences:",
        );
        let width = self
            .rules
            .iter()
            .map(|rule| rule.id.len())
            .max()
            .unwrap_or(0);
        let mut classes: Vec<Class> = Vec::new();
        for rule in &self.rules {
            if !classes.contains(&rule.class) {
                classes.push(rule.class);
            }
        }
        for class in classes {
            writer.gap();
            writer.class(class, class.as_str());
            writer.text("  ", class.about());
            for rule in self.rules.iter().filter(|rule| rule.class == class) {
                writer.row(rule.id, width, rule.evidence);
            }
        }
        if !self.unopened.is_empty() {
            writer.heading("Browsers report 1006 also when no WebSocket opened");
            let width = self.unopened.iter().map(|class| class.as_str().len()).max();
            for class in &self.unopened {
                writer.row(class.as_str(), width.unwrap_or(0), class.about());
            }
        }
        writer.gap();
        if let Some(first) = self.rules.first() {
            let act = format!("what to do about one: `wstap explain {}`", first.id);
            writer.dim("", &act);
        }
        writer.dim(
            "",
            "which one it was: `wstap explain SESSION-ID --records FILE`",
        );
        writer.finish()
    }

    /// The page as JSON; see `docs/explain.md`.
    #[must_use]
    pub(crate) fn json(&self) -> Value {
        json!({
            "explains": "symptom",
            "asked": self.symptom.asked,
            "code": self.symptom.code,
            "status": self.symptom.status,
            "candidates": self.rules.iter().map(|rule| rule_json(rule)).collect::<Vec<_>>(),
            "unopened": self.unopened,
        })
    }
}

/// A rule with the words that lead to it.
struct Entry {
    rule: &'static Rule,
    /// The code that the client saw in its example.
    code: Option<u16>,
    /// The status that the client got in its example, when no WebSocket opened.
    status: Option<u16>,
    is_websocket: bool,
    /// Each word with its weight, summed over the texts that contain it: 1 for the peers' own
    /// words, less for the rule's name and title, least elsewhere.
    words: HashMap<String, f64>,
}

struct Index {
    entries: Vec<Entry>,
    /// Number of entries that contain each word.
    spread: HashMap<String, usize>,
}

static INDEX: LazyLock<Index> = LazyLock::new(Index::new);

impl Index {
    fn new() -> Self {
        let entries: Vec<Entry> = rules().iter().map(|rule| Entry::new(rule)).collect();
        let mut spread = HashMap::new();
        for word in entries.iter().flat_map(|entry| entry.words.keys()) {
            *spread.entry(word.clone()).or_insert(0) += 1;
        }
        Self { entries, spread }
    }

    fn rules(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Weight of a word: zero if it is in every rule (the usual inverse document frequency).
    fn rarity(&self, word: &str) -> f64 {
        let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        // A word that no rule has does not distinguish the rules.
        let spread = self.spread.get(word);
        spread.map_or(0.0, |spread| {
            (number(self.entries.len()) / number(*spread)).ln()
        })
    }

    /// Classes of upgrades that were not answered with a 101.
    fn unopened(&self) -> Vec<Class> {
        let unopened = self
            .entries
            .iter()
            .filter(|at| at.is_websocket && at.code.is_none());
        let found: BTreeMap<&str, Class> = unopened
            .map(|at| (at.rule.class.as_str(), at.rule.class))
            .collect();
        found.into_values().collect()
    }
}

impl Entry {
    fn new(rule: &'static Rule) -> Self {
        let shown = example(rule.id);
        let record = shown.as_ref().map(|(record, _)| record);
        let said = record.map(said).unwrap_or_default();
        let verdict_text = shown.as_ref().map(|(_, verdict)| {
            let facts = verdict
                .evidence
                .iter()
                .map(|evidence| evidence.fact.as_str());
            facts
                .chain([verdict.summary.as_str()])
                .collect::<Vec<_>>()
                .join(" ")
        });
        let mut weights = HashMap::new();
        for (text, weight) in [
            (verdict_text.as_deref().unwrap_or_default(), 1.0),
            (rule.explanation, 1.0),
            (rule.title, 2.0),
            (rule.id, 2.0),
            (said.as_str(), 3.0),
        ] {
            for word in words(text) {
                *weights.entry(word).or_insert(0.0) += weight / 3.0;
            }
        }
        let answer = record.and_then(|record| record.answer.as_ref());
        Self {
            rule,
            code: record.and_then(|record| Some(record.close.client_saw?.code.0)),
            status: answer
                .map(|answer| answer.status)
                .filter(|status| *status != 101),
            is_websocket: record.is_some_and(|record| record.kind == Kind::Websocket),
            words: weights,
        }
    }

    fn weight(&self, word: &str) -> f64 {
        self.words.get(word).copied().unwrap_or(0.0)
    }
}

/// The peers' own words in a session: Close reasons and errors.
fn said(record: &SessionRecord) -> String {
    let close = &record.close;
    let reasons = [&close.gateway, &close.client, &close.tap];
    let mut texts: Vec<String> = reasons
        .into_iter()
        .flatten()
        .map(|seen| seen.reason.as_str().to_owned())
        .collect();
    if let Some(dialect) = &record.dialect {
        let dialect = serde_json::to_value(dialect).unwrap_or_default();
        let texts_of = dialect.get("error").and_then(Value::as_object);
        let texts_of = texts_of.into_iter().flatten();
        texts.extend(texts_of.filter_map(|(_, value)| Some(value.as_str()?.to_owned())));
    }
    if let Some(error) = record.gateway.as_ref().and_then(|it| it.error.as_ref()) {
        texts.push(error.detail.clone());
    }
    texts.join(" ")
}

/// Lower-case words of letters and digits, each once, in the order in which they come.
fn words(text: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 1)
        .map(str::to_lowercase)
        .filter(|word| seen.insert(word.clone()))
        .collect()
}

fn is_digits(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn ids(asked: &str) -> Vec<&'static str> {
        let found = Symptom::read(asked).and_then(Symptom::candidates);
        found.map_or_else(Vec::new, |found| {
            found.rules.iter().map(|rule| rule.id).collect()
        })
    }

    #[test]
    fn the_words_of_operators_lead_to_the_rule_first() {
        for (asked, rule) in [
            ("pairing required", "gateway.pairing"),
            ("gateway closed (1008): pairing required", "gateway.pairing"),
            (
                "unauthorized: gateway token mismatch",
                "gateway.auth.token_mismatch",
            ),
            (
                "unauthorized: gateway token missing",
                "gateway.auth.token_missing",
            ),
            ("missing scope: operator.read", "channel.missing_scope"),
            ("origin not allowed", "gateway.origin"),
            ("protocol mismatch", "gateway.protocol.version"),
            ("device identity required", "gateway.auth"),
            (
                "Gateway not reachable at ws://h:1 (ECONNREFUSED)",
                "gateway.unreachable.refused",
            ),
            ("self-signed certificate", "tap.certificate"),
            ("gateway timeout after 6000ms", "gateway."),
            ("service restart", "gateway.lifecycle"),
            ("slow consumer", "gateway.limit"),
        ] {
            let found = ids(asked);
            let first = found.first().copied().unwrap_or("nothing");
            assert!(first.starts_with(rule), "{asked}: {found:?}");
            assert!(found.len() <= MOST, "{asked}: {found:?}");
        }
    }

    #[test]
    fn numbers_lead_to_all_that_end_so() {
        let all = |asked: &str| ids(asked).into_iter().collect::<HashSet<_>>();
        let policy = all("1008");
        assert!(policy.contains("gateway.auth.token_mismatch") && policy.len() > 40);
        assert!(!policy.contains("gateway.left.open"));
        let abnormal = all("1006");
        assert!(abnormal.contains("gateway.left.open"), "{abnormal:?}");
        assert!(!abnormal.contains("gateway.auth.token_mismatch"));
        assert!(all("502").contains("gateway.unreachable.refused"));
        assert!(ids("1099").is_empty() && ids("777").is_empty());
    }

    #[test]
    fn a_browser_reports_1006_also_for_what_never_opened() {
        let found = Symptom::read("1006").and_then(Symptom::candidates).unwrap();
        assert!(found.unopened.contains(&Class::GatewayUnreachable));
        assert!(found.page(80).contains("no WebSocket opened"));
        let found = Symptom::read("1008").and_then(Symptom::candidates).unwrap();
        assert!(found.unopened.is_empty());
    }

    #[test]
    fn names_and_words_that_nobody_uses_are_no_symptoms() {
        for asked in ["", "gateway", "019ab1c2", "records.jsonl", "65536"] {
            assert!(ids(asked).is_empty(), "{asked}");
        }
        assert!(ids("xyzzy plugh frobnicate").is_empty());
        assert!(ids("the of and").len() <= MOST);
    }

    /// Frequently reported messages, in the words of the programs that show them.
    const MESSAGES: [&str; 20] = [
        "unauthorized: gateway token mismatch",
        "unauthorized: gateway token missing",
        "unauthorized: gateway password mismatch",
        "unauthorized: device token mismatch",
        "too many failed authentication attempts (retry later)",
        "pairing required",
        "device identity required",
        "control ui requires device identity",
        "device signature invalid",
        "origin not allowed",
        "protocol mismatch",
        "invalid connect params",
        "missing scope: operator.read",
        "service restart",
        "gateway starting; retry shortly",
        "slow consumer",
        "Gateway not reachable (ECONNREFUSED)",
        "getaddrinfo ENOTFOUND openclaw-gateway",
        "gateway timeout after 6000ms",
        "self-signed certificate",
    ];
    const NUMBERS: [&str; 19] = [
        "1000", "1001", "1002", "1005", "1006", "1008", "1009", "1011", "1012", "1013", "4000",
        "4001", "4008", "401", "403", "431", "502", "503", "504",
    ];

    fn messages() -> String {
        let mut table = String::from(
            "| seen | verdict | distinguished by | to act | next |\n|---|---|---|---|---|\n",
        );
        for seen in MESSAGES {
            let found = Symptom::read(seen).and_then(Symptom::candidates);
            let found = found.unwrap_or_else(|| panic!("nothing explains {seen}"));
            for (row, rule) in found.rules.iter().take(4).enumerate() {
                let seen = if row == 0 {
                    format!("`{seen}`")
                } else {
                    String::new()
                };
                let act = serde_json::to_value(rule.act_on).unwrap();
                let act = act.as_str().unwrap();
                let (id, needs, next) = (rule.id, rule.evidence, rule.action);
                table += &format!("| {seen} | `{id}` | {needs} | {act} | {next} |\n")
                    .replace("||", "\\|\\|");
            }
        }
        table
    }

    fn numbers() -> String {
        let mut table = String::from("| seen | classes |\n|---|---|\n");
        for seen in NUMBERS {
            let found = Symptom::read(seen).and_then(Symptom::candidates);
            let found = found.unwrap_or_else(|| panic!("nothing explains {seen}"));
            let mut classes = BTreeMap::<&str, usize>::new();
            for rule in &found.rules {
                *classes.entry(rule.class.as_str()).or_default() += 1;
            }
            let classes: Vec<String> = classes
                .iter()
                .map(|(class, count)| format!("`{class}` {count}"))
                .collect();
            let _ = writeln!(table, "| {seen} | {} |", classes.join(", "));
        }
        table
    }

    #[test]
    fn the_runbook_begins_with_what_people_see() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbook.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let mut wanted = page.clone();
        for (name, table) in [("messages", messages()), ("numbers", numbers())] {
            let (begin, end) = (
                format!("<!-- {name} -->\n"),
                format!("<!-- end of {name} -->"),
            );
            let (before, rest) = wanted.split_once(&begin).expect("where it begins");
            let (_, after) = rest.split_once(&end).expect("where it ends");
            wanted = format!("{before}{begin}\n{table}\n{end}{after}");
        }
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, wanted).unwrap();
        } else {
            assert!(page == wanted, "docs/runbook.md is stale: run make docs");
        }
    }
}
