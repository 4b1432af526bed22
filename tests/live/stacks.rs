//! `wstap probe` from another host, through everything that can be between a client and the real
//! gateway: each stack with the rung that fails first, the rule and its advice. Cases that the
//! gateway cannot produce have a stand-in.

pub mod field;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::field::Field;
use super::gateway::TOKEN;
use super::turn;
use crate::probe::{broken, command, is_whole, run, rung};
use crate::support::deadline::promised;
use crate::support::netns::{self, test_name};

const VARIABLE: &str = "PROBE_SECRET";
pub const WRONG: &str = "wrong-0123456789abcdef0123456789abcdef";
/// `--budget`, when none is given.
const BUDGET: Duration = Duration::from_secs(20);
/// With a paired device, and for half of the stacks.
const IN_ORDER: Duration = Duration::from_secs(3);
const MEDIAN: Duration = Duration::from_secs(5);

/// Everything between a client and the gateway.
pub struct Stack {
    pub name: &'static str,
    pub url: String,
    pub secret: Option<&'static str>,
    /// More of the environment.
    pub env: Vec<(&'static str, String)>,
    /// State of the device that signs.
    pub device: Option<PathBuf>,
    /// The first failing rung (`none` if all is in order), its rule, and words of the advice.
    pub expected: (&'static str, &'static str, &'static str),
    /// Any of these words in the output of one of OpenClaw's six commands names the cause, in lower case.
    pub words: &'static [&'static str],
}

impl Stack {
    pub fn new(name: &'static str, url: String, rung: &'static str, rule: &'static str) -> Self {
        Self {
            name,
            url,
            secret: Some(TOKEN),
            env: Vec::new(),
            device: None,
            expected: (rung, rule, ""),
            words: &[],
        }
    }

    pub fn advises(mut self, words: &'static str) -> Self {
        self.expected.2 = words;
        self
    }

    pub fn named_by(mut self, words: &'static [&'static str]) -> Self {
        self.words = words;
        self
    }

    pub fn secret(mut self, secret: Option<&'static str>) -> Self {
        self.secret = secret;
        self
    }

    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    pub fn device(mut self, state: PathBuf) -> Self {
        self.device = Some(state);
        self
    }

    /// The probe's report, and how long it took.
    pub async fn probed(&self, field: &Field) -> (Value, Duration) {
        let mut command = command(&[&self.url, "--json", "--in", &field.place()]);
        if let Some(secret) = self.secret {
            command
                .args(["--token-env", VARIABLE])
                .env(VARIABLE, secret);
        }
        if let Some(state) = &self.device {
            command.arg("--device-state").arg(state);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let began = Instant::now();
        let run = run(command).await;
        let took = began.elapsed();
        for secret in [TOKEN, WRONG] {
            assert!(!run.stdout.contains(secret), "a secret in the output");
        }
        (run.report(), took)
    }

    /// What is wrong with a report on this stack.
    pub fn complaint(&self, report: &Value) -> Option<String> {
        let (id, rule, advice) = self.expected;
        let (found, its_rule) = broken(report);
        let verdict = (found != "none").then(|| &rung(report, &found)["verdict"]);
        let next = verdict.map_or("", |it| it["next"].as_str().unwrap_or_default());
        let class = verdict.map_or("", |it| it["class"].as_str().unwrap_or_default());
        let is_right = found == id
            && its_rule == rule
            && next.contains(advice)
            && rule.starts_with(class)
            && (class.is_empty() == (id == "none"));
        (!is_right).then(|| {
            format!(
                "{}: {found} {its_rule} {class}: {next}: {report}",
                self.name
            )
        })
    }
}

/// The results of all stacks.
#[derive(Default)]
struct Outcome {
    lines: Vec<String>,
    wrong: Vec<String>,
    times: Vec<Duration>,
}

impl Outcome {
    async fn try_stack(&mut self, field: &Field, stack: &Stack) -> Value {
        let (report, took) = stack.probed(field).await;
        is_whole(&report);
        self.wrong.extend(stack.complaint(&report));
        let (rung, rule) = broken(&report);
        let name = stack.name;
        let seconds = took.as_secs_f64();
        self.lines
            .push(format!("{name:30} {seconds:6.2} s  {rung:12} {rule}"));
        let most = promised(BUDGET + Duration::from_secs(1));
        if took > most {
            self.wrong.push(format!("{name} took {took:?}"));
        }
        self.times.push(took);
        report
    }
}

#[tokio::test]
async fn each_breaks_where_it_is_broken() {
    const TEST: &str = "live: stacks before the gateway";
    let Some((_turn, install)) = turn(TEST).await else {
        return;
    };
    let Some(net) = netns::enter(TEST, test_name!(each_breaks_where_it_is_broken)).await else {
        return;
    };
    let Some(mut field) = Field::build(&net, &install).await else {
        return;
    };
    let mut outcome = Outcome::default();
    for stack in field.stacks() {
        let report = outcome.try_stack(&field, &stack).await;
        match stack.name {
            "empty scopes" => assert_eq!(rung(&report, "L2.scopes")["status"], "skip", "{report}"),
            "two gateways behind a name" => {
                let because = rung(&report, "L2.auth")["because"].as_str().expect("text");
                assert!(because.contains("which is one of 2 addresses"), "{because}");
            }
            "clock 5 minutes ahead" => {
                let skew = report["clock_skew_ms"].as_f64().expect("a skew");
                assert!((280_000.0..320_000.0).contains(&skew), "{skew}");
                assert_eq!(rung(&report, "L1.challenge")["status"], "warn", "{report}");
            }
            _ => {}
        }
    }
    let in_order = field.paired(&install).await;
    let report = outcome.try_stack(&field, &in_order).await;
    for id in ["L2.auth", "L2.scopes", "L3.channels"] {
        assert_eq!(rung(&report, id)["status"], "pass", "{report}");
    }
    let took = *outcome.times.last().expect("its time");
    assert!(took <= promised(IN_ORDER), "in order after {took:?}");
    let locked = field.locked_out().await;
    outcome.try_stack(&field, &locked).await;
    outcome.wrong.extend(field.draining().await);

    outcome.times.sort();
    let median = outcome.times[outcome.times.len() / 2];
    let stacks = outcome.times.len() + 1;
    eprintln!(
        "{}\n{stacks} stacks, median {median:?}",
        outcome.lines.join("\n")
    );
    assert!(outcome.wrong.is_empty(), "{}", outcome.wrong.join("\n"));
    assert!(median <= promised(MEDIAN), "{median:?}");
}
