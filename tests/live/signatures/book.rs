//! The expectation of each case, and the book in which the results are noted.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::live::connected::Visit;
use crate::live::gateway::Gateway;
use crate::support::deadline::{STEP, poll};
use crate::support::tap::Tap;

/// What a record has to say.
#[derive(Clone, Debug)]
pub struct Expect {
    rule: &'static str,
    facts: Vec<(&'static str, Value)>,
    next: Vec<String>,
}

/// The verdict is of this rule.
pub fn rule(id: &'static str) -> Expect {
    Expect {
        rule: id,
        facts: Vec::new(),
        next: Vec::new(),
    }
}

/// The gateway answered connect with this `details.code` and closed with 1008.
pub fn refused(id: &'static str, details: &str) -> Expect {
    let expect = rule(id).closed(1008);
    let expect = expect.fact("/dialect/result", "refused");
    if details.is_empty() {
        return expect.fact("/dialect/error/details_code", Value::Null);
    }
    expect.fact("/dialect/error/details_code", details)
}

impl Expect {
    /// A place in the record has this value.
    pub fn fact(mut self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.facts.retain(|(known, _)| *known != pointer);
        self.facts.push((pointer, value.into()));
        self
    }

    pub fn act_on(self, party: &str) -> Self {
        self.fact("/verdict/act_on", party)
    }

    /// What to do next holds these words.
    pub fn next(mut self, words: &str) -> Self {
        self.next.push(words.to_owned());
        self
    }

    /// The gateway's Close with this code came first and the client answered it.
    pub fn closed(self, code: u16) -> Self {
        self.fact("/close/first", "gateway")
            .fact("/close/gateway/code", code)
            .saw(json!([code, "acked"]), json!([code, "written"]))
    }

    /// What both ends saw: `[code, basis]` or null.
    pub fn saw(self, client: Value, gateway: Value) -> Self {
        let saw = |saw: Value| match saw {
            Value::Array(pair) => json!({ "code": pair[0], "basis": pair[1] }),
            other => other,
        };
        self.fact("/close/client_saw", saw(client))
            .fact("/close/gateway_saw", saw(gateway))
    }

    /// What is wrong with this record.
    fn complaints(&self, record: &Value) -> Vec<String> {
        let verdict = &record["verdict"];
        let mut wrong = Vec::new();
        if verdict["rule"] != self.rule {
            wrong.push(format!(
                "the rule is {}, not {}",
                verdict["rule"], self.rule
            ));
        }
        let class = verdict["class"].as_str().unwrap_or_default();
        if !self.rule.starts_with(class) || class == "unknown" {
            wrong.push(format!("the class is {class}"));
        }
        for (pointer, wanted) in &self.facts {
            let found = record.pointer(pointer).unwrap_or(&Value::Null);
            if found != wanted {
                wrong.push(format!("{pointer} is {found}, not {wanted}"));
            }
        }
        let next = verdict["next"].as_str().unwrap_or_default();
        for words in &self.next {
            if !next.contains(words.as_str()) {
                wrong.push(format!("what to do next does not say {words:?}"));
            }
        }
        wrong
    }
}

/// The cases of one test.
pub struct Book {
    theme: &'static str,
    lines: Vec<String>,
    wrong: Vec<String>,
    /// Each record that was checked, by its case and the client's `User-Agent`.
    checked: Vec<(String, String, Value)>,
}

impl Book {
    pub fn new(theme: &'static str) -> Self {
        Self {
            theme,
            lines: Vec::new(),
            wrong: Vec::new(),
            checked: Vec::new(),
        }
    }

    /// The record of a visit: as expected, and its account of the client's view agrees with what
    /// the client saw.
    pub async fn check(&mut self, case: &str, tap: &Tap, visit: &Visit, expect: Expect) -> Value {
        let record = tap.record_of(&visit.agent, case).await;
        let record = serde_json::to_value(record).expect("a record");
        self.judge(case, &record, &expect);
        let agent = visit.agent.clone();
        self.checked.push((case.to_owned(), agent, record.clone()));
        let said = record["close"]["client_saw"]["code"].as_u64();
        let saw = visit.saw.map(u64::from);
        if said != saw {
            self.complain(
                case,
                &format!("the client saw {saw:?}, not {said:?}"),
                &record,
            );
        }
        record
    }

    /// A record that was found in another way.
    pub fn judge(&mut self, case: &str, record: &Value, expect: &Expect) {
        let verdict = &record["verdict"];
        let text = |key: &str| verdict[key].as_str().unwrap_or("-").to_owned();
        let theme = self.theme;
        let rule = text("rule");
        eprintln!("{theme}: {case} -> {rule}");
        let told = format!(
            "{theme}: {case} -> {rule} (acts: {}, {})\n    {}\n    {}\n",
            text("act_on"),
            text("confidence"),
            text("summary"),
            text("next"),
        );
        self.lines.push(told);
        let problems = expect.complaints(record);
        if !problems.is_empty() {
            self.complain(case, &problems.join("; "), record);
        }
    }

    /// Something about this record is wrong.
    pub fn complain(&mut self, case: &str, problem: &str, record: &Value) {
        let (verdict, close) = (&record["verdict"], &record["close"]);
        let facts = verdict["evidence"].as_array().into_iter().flatten();
        let facts: Vec<&str> = facts.filter_map(|fact| fact["fact"].as_str()).collect();
        let ends = ["first", "client", "gateway", "client_saw", "gateway_saw"];
        let ends: Vec<String> = ends.iter().map(|end| close[end].to_string()).collect();
        let line = format!(
            "{case}: {problem}\n    {}: {}\n    {}\n    close {}\n    error {}",
            verdict["rule"],
            verdict["summary"],
            facts.join(" | "),
            ends.join(" "),
            record["dialect"]["error"],
        );
        self.wrong.push(line);
    }

    /// The gateway logs with which code each client ended that it had not accepted (but not every
    /// time when they are all alike). That has to be what the record says that the gateway saw.
    pub async fn compare_with_log(&mut self, gateway: &Gateway) {
        const ENOUGH: usize = 20;
        let refused: Vec<_> = std::mem::take(&mut self.checked)
            .into_iter()
            .filter(|(_, _, record)| record["dialect"]["result"] == "refused")
            .collect();
        // It writes its log a moment later.
        let last = refused.last().map(|(_, agent, _)| agent.clone());
        let logged = || {
            let codes = codes(&gateway.log());
            let complete = last.as_ref().is_some_and(|last| codes.contains_key(last));
            complete.then_some(codes)
        };
        let codes = poll(STEP, logged).await.unwrap_or_default();
        let mut compared = 0;
        for (case, agent, record) in &refused {
            let said = record["close"]["gateway_saw"]["code"].as_u64();
            let Some(logged) = codes.get(agent).copied() else {
                continue;
            };
            compared += 1;
            if said != Some(logged) {
                let problem = format!("the gateway saw {logged}, not {said:?}");
                self.complain(case, &problem, record);
            }
        }
        if compared < ENOUGH {
            let wrong = format!("the gateway's log names {compared} of the clients it refused");
            self.wrong.push(wrong);
        }
    }

    /// Writes the cases into `target/signatures.txt`, and fails when one was wrong.
    pub fn finish(self) {
        // Tests of one process may end at the same time; those of several take turns.
        static FILE: Mutex<()> = Mutex::new(());
        let file = FILE.lock();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let path = folder.join("signatures.txt");
        let mut themes = BTreeMap::new();
        let before = fs::read_to_string(&path).unwrap_or_default();
        for section in before.split("\n\n").filter(|section| !section.is_empty()) {
            let name = section.split(": ").next().unwrap_or_default();
            themes.insert(name.to_owned(), section.trim_end().to_owned());
        }
        let own = self.lines.concat().trim_end().to_owned();
        themes.insert(self.theme.to_owned(), own);
        let mut text = String::new();
        for section in themes.values() {
            writeln!(text, "{section}\n").expect("writing to a string");
        }
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, text));
        written.expect("write the cases");
        drop(file);
        assert!(
            self.wrong.is_empty(),
            "{} wrong:\n{}",
            self.wrong.len(),
            self.wrong.join("\n")
        );
    }
}

/// `closed before connect … ua=AGENT … code=CODE …`: the code by the agent.
fn codes(log: &[String]) -> HashMap<String, u64> {
    let value = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}="))?;
        Some(rest.split(' ').next()?.to_owned())
    };
    let lines = log
        .iter()
        .filter(|line| line.starts_with("closed before connect "));
    lines
        .filter_map(|line| Some((value(line, "ua")?, value(line, "code")?.parse().ok()?)))
        .collect()
}
