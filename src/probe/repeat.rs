//! Changes from one run to the next.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::report::{Report, Rung};
use crate::terminal::Look;
use crate::verdict::words::human_ms;

/// One line for a run like the one before, else a line for each rung with another result.
pub(super) fn changes(before: &Report, now: &Report, look: Look) -> String {
    let at = now.at.to_zoned(TimeZone::UTC).strftime("%H:%M:%SZ");
    let state = match now.first_failing {
        Some(id) => format!("first failing rung: {id}"),
        None => "no rung failed".to_owned(),
    };
    let took = human_ms(now.ms);
    let rungs = before.rungs.iter().zip(&now.rungs);
    let changed: Vec<_> = rungs.filter(|(a, b)| differs(a, b)).collect();
    if changed.is_empty() {
        return look.fit(&format!("{at} as before: {state}, {took}")) + "\n";
    }
    let mut text = look.fit(&format!("{at} changed: {state}, {took}")) + "\n";
    for (a, b) in changed {
        let why = b.verdict.as_ref().map_or_else(
            || b.because.clone(),
            |verdict| format!("{}: {}", verdict.rule, verdict.summary),
        );
        let line = format!(
            "  {} {} -> {}: {why}",
            b.id,
            a.status.word(),
            b.status.word()
        );
        let _ = writeln!(text, "{}", look.fit(&line));
    }
    text
}

/// Times always differ, and so do words that contain them.
fn differs(a: &Rung, b: &Rung) -> bool {
    let rule = |rung: &Rung| rung.verdict.as_ref().map(|verdict| verdict.rule.clone());
    // Resolvers change the order from answer to answer.
    let answers = |rung: &Rung| {
        let answers = rung.facts.get("answers").and_then(Value::as_array);
        let answers = answers.into_iter().flatten().filter_map(Value::as_str);
        answers.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    a.status != b.status || rule(a) != rule(b) || answers(a) != answers(b)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::Status;
    use super::super::whereabouts::{Environment, Whereabouts};
    use super::super::{report::Versions, target::Target};
    use super::*;

    fn report(rungs: Vec<Rung>) -> Report {
        let environment = Environment::parse(b"");
        let target = Target::find(Some("ws://gw"), None, &environment, false).unwrap();
        let here = Whereabouts::here(&environment, None);
        let took = std::time::Duration::from_millis(5);
        Report::new(&target, here, rungs, (None, Versions::default()), took)
    }

    fn name(answers: &[&str]) -> Rung {
        let facts = json!({ "answers": answers });
        Rung::new("L1.name", Status::Pass, "x").facts(facts.as_object().cloned().unwrap())
    }

    #[test]
    fn changes_are_named() {
        let tcp = |status| Rung::new("L1.tcp", status, "0 of 4 connected");
        let before = report(vec![name(&["a", "b"]), tcp(Status::Pass)]);
        let same = report(vec![name(&["b", "a"]), tcp(Status::Pass)]);
        let text = changes(&before, &same, Look::PLAIN);
        assert!(text.contains("as before: no rung failed"), "{text}");
        let moved = report(vec![name(&["b", "c"]), tcp(Status::Fail)]);
        let text = changes(&before, &moved, Look::PLAIN);
        assert!(
            text.contains("changed: first failing rung: L1.tcp"),
            "{text}"
        );
        assert!(
            text.contains("L1.tcp pass -> FAIL: 0 of 4 connected"),
            "{text}"
        );
        assert!(text.contains("L1.name pass -> pass"), "{text}");
    }
}
