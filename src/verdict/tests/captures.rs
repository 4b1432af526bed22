//! Judges every scenario of real gateways from nine months: `tests/fixtures/gateway-versions`.
//!
//! The snapshot keeps the rule of each scenario and version. These invariants are asserted: nothing
//! is `unknown`, a good session is `ok`, and a scenario has the same class with each gateway unless
//! [`exceptions`] says why.

mod docs_tests;
mod exceptions;
mod read;
mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use self::exceptions::EXCEPTIONS;
use self::read::{Command, VERSIONS, commands, scenarios};
use super::*;
use crate::session::record::Class;
use crate::session::record::dialect::ConnectResult;
use crate::session::record::verdict::ActOn;

/// The verdicts of each scenario, by version.
fn judged() -> BTreeMap<String, Vec<(&'static str, SessionRecord, Verdict)>> {
    let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for version in VERSIONS {
        for scenario in scenarios(version) {
            let record = replay::scenario(&scenario);
            let verdict = decide(&record);
            let row = all.entry(scenario.name).or_default();
            row.push((version, record, verdict));
        }
    }
    all
}

#[test]
fn table() {
    let mut table = String::new();
    for (scenario, row) in judged() {
        let _ = writeln!(table, "{scenario}");
        let mut rules: Vec<(&str, Vec<&str>)> = Vec::new();
        for (version, _, verdict) in &row {
            match rules.iter_mut().find(|(rule, _)| *rule == verdict.rule) {
                Some((_, versions)) => versions.push(version),
                None => rules.push((&verdict.rule, vec![version])),
            }
        }
        for (rule, versions) in rules {
            let versions = if versions.len() == VERSIONS.len() {
                "all".to_owned()
            } else {
                versions.join(" ")
            };
            let _ = writeln!(table, "  {rule:<40} {versions}");
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn no_scenario_is_unknown_or_explained_twice() {
    let mut count = 0;
    for (scenario, row) in judged() {
        for (version, record, verdict) in row {
            assert_ne!(verdict.class, Class::Unknown, "{scenario} with {version}");
            precedence::assert_no_tie(&record);
            count += 1;
        }
    }
    assert!(count > 500, "{count} captures");
}

/// A session that was accepted, with at least one successful request or none at all, is fine,
/// whatever else was said in it.
#[test]
fn a_good_session_is_ok() {
    let mut count = 0;
    for (scenario, row) in judged() {
        for (version, record, verdict) in row {
            let Some(dialect) = &record.dialect else {
                continue;
            };
            let said = dialect.application();
            let rpc = said.requests;
            let worked = rpc.is_none_or(|rpc| rpc.requests == 0 || rpc.errors < rpc.responses);
            let ended_well = record
                .close
                .gateway
                .as_ref()
                .is_none_or(|one| one.code.is_none());
            if said.result == ConnectResult::Accepted && worked && ended_well {
                assert_eq!(verdict.class, Class::Ok, "{scenario} with {version}");
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count} good sessions");
}

#[test]
fn a_scenario_has_one_class_unless_the_gateways_differ() {
    let mut used = BTreeSet::new();
    let mut wrong = String::new();
    for (scenario, row) in judged() {
        // The rules were written for the newest gateway.
        let expected = row.last().unwrap().2.class;
        for (version, _, verdict) in &row {
            if verdict.class == expected {
                continue;
            }
            let known = EXCEPTIONS
                .iter()
                .find(|one| one.covers(&scenario, version) && one.class == verdict.class);
            match known {
                Some(exception) => {
                    used.insert((exception.scenarios, exception.class));
                }
                None => {
                    let _ = writeln!(
                        wrong,
                        "{scenario} with {version}: {} is not {expected}",
                        verdict.rule
                    );
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    for exception in EXCEPTIONS {
        assert!(!exception.why.is_empty());
        let key = (exception.scenarios, exception.class);
        assert!(used.contains(&key), "nothing needs the exception {key:?}");
    }
}

#[test]
fn command_lines_of_other_versions() {
    let mut table = String::new();
    let mut open = 0;
    for command in commands() {
        let mut found: Vec<String> = Vec::new();
        for session in &command.sessions {
            let Some(record) = replay::session(session) else {
                open += 1;
                continue;
            };
            let verdict = decide(&record);
            let act_on = serde_json::to_value(verdict.act_on).unwrap();
            let rule = format!("{} ({})", verdict.rule, act_on.as_str().unwrap());
            assert_ne!(verdict.class, Class::Unknown, "{command:?}");
            assert_direction(&command, &verdict);
            if !found.contains(&rule) {
                found.push(rule);
            }
        }
        if found.is_empty() {
            found.push("(the capture ends before a session does)".to_owned());
        }
        let pair = format!("gateway {} cli {}", command.gateway, command.cli);
        let _ = writeln!(
            table,
            "{pair:<38} {}\n    {}",
            command.line,
            found.join(", ")
        );
    }
    assert_eq!(open, 10, "captures that end before their sessions");
    insta::assert_snapshot!(table);
}

/// In a verdict on a skew, the older of the two has to act.
fn assert_direction(command: &Command, verdict: &Verdict) {
    if verdict.class != Class::GatewayProtocol {
        return;
    }
    let release = |version: &str| skew::Release::of(version).unwrap();
    let older = match release(&command.cli).cmp(&release(&command.gateway)) {
        std::cmp::Ordering::Less => ActOn::Client,
        std::cmp::Ordering::Greater => ActOn::Gateway,
        std::cmp::Ordering::Equal => panic!("no skew: {command:?}: {verdict:?}"),
    };
    assert_eq!(verdict.act_on, older, "{command:?}: {verdict:?}");
    assert!(verdict.next.contains("one release"), "{}", verdict.next);
}
