//! `wstap probe` beside the six commands of OpenClaw's own troubleshooting page, on the same stacks: how long each
//! takes, and whether the cause is named. Half an hour: `make probe-ladder`.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use super::gateway::{command, configured};
use super::stacks::Stack;
use super::stacks::field::Field;
use super::{Install, turn};
use crate::probe::broken;
use crate::support::netns::{self, test_name};

/// `docs/help/troubleshooting.md` of 2026.9.6, "First 60 seconds", without those that write a bundle or never end.
const COMMANDS: [&[&str]; 6] = [
    &["status"],
    &["status", "--all"],
    &["gateway", "probe"],
    &["gateway", "status"],
    &["doctor", "--non-interactive"],
    &["channels", "status", "--probe"],
];

/// For one of them.
const LIMIT: Duration = Duration::from_mins(2);
/// For the whole test.
const RUN: Duration = Duration::from_mins(55);

/// Seconds until one of the six commands names the cause, which that is, and seconds for all.
async fn six(install: &Install, field: &Field, stack: &Stack) -> (Option<(f64, String)>, f64) {
    let folder = TempDir::new().expect("a folder");
    let config = folder.path().join("openclaw.json");
    let remote = json!({ "url": stack.url, "token": stack.secret });
    let text = json!({ "gateway": { "mode": "remote", "remote": remote } });
    fs::write(&config, text.to_string()).expect("write the configuration");
    let began = Instant::now();
    let mut named = None;
    for arguments in COMMANDS {
        let mut command = command(install, folder.path());
        command
            .envs(configured(&config))
            .env("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS", "1")
            .envs(stack.env.iter().map(|(name, value)| (name, value)))
            .args(arguments);
        if let Some(state) = &stack.device {
            command.env("OPENCLAW_STATE_DIR", state);
        }
        let mut command = netns::run_in(field.there(), &command);
        command.stdin(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        let output = timeout(LIMIT, command.kill_on_drop(true).output()).await;
        let Ok(output) = output else {
            continue;
        };
        let output = output.expect("run the command line tool");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).to_lowercase();
        if named.is_none() && stack.words.iter().any(|word| text.contains(word)) {
            named = Some((began.elapsed().as_secs_f64(), arguments.join(" ")));
        }
    }
    (named, began.elapsed().as_secs_f64())
}

/// Rows of the table, and what they come to.
#[derive(Default)]
struct Outcome {
    rows: String,
    wrong: Vec<String>,
    times: Vec<Duration>,
    unnamed: usize,
}

impl Outcome {
    async fn try_stack(&mut self, install: &Install, field: &Field, stack: &Stack) {
        let (report, took) = stack.probed(field).await;
        self.wrong.extend(stack.complaint(&report));
        self.times.push(took);
        let (rung, rule) = broken(&report);
        let (named, all) = six(install, field, stack).await;
        self.unnamed += usize::from(named.is_none());
        let named = named.map_or_else(
            || "none".to_owned(),
            |(after, by)| format!("`{by}` after {after:.0} s"),
        );
        let answer = if rule.is_empty() {
            "no rung failed".to_owned()
        } else {
            format!("`{rung}` `{rule}`")
        };
        let (name, took) = (stack.name, took.as_secs_f64());
        let row = format!("| {name} | {took:.1} s | {answer} | {all:.0} s | {named} |\n");
        eprint!("{row}");
        self.rows += &row;
    }
}

#[tokio::test]
#[ignore = "run by make probe-ladder"]
async fn beside_the_six_commands() {
    const TEST: &str = "live: the ladder beside the six commands";
    let Some((_turn, install)) = turn(TEST).await else {
        return;
    };
    let name = test_name!(beside_the_six_commands);
    let Some(net) = netns::enter_for(TEST, name, RUN).await else {
        return;
    };
    let Some(field) = Field::build(&net, &install).await else {
        return;
    };
    let mut outcome = Outcome::default();
    for stack in field.stacks() {
        outcome.try_stack(&install, &field, &stack).await;
    }
    let in_order = field.paired(&install).await;
    outcome.try_stack(&install, &field, &in_order).await;
    let locked = field.locked_out().await;
    outcome.try_stack(&install, &field, &locked).await;

    outcome.times.sort();
    let count = outcome.times.len();
    let median = outcome.times[count / 2];
    let table = format!(
        "| stack | `wstap probe` | answer | six commands | cause named by |\n\
         |---|---:|---|---:|---|\n{}\n\
         {count} stacks, {} not named by the six commands; median of `wstap probe`: {:.1} s\n",
        outcome.rows,
        outcome.unnamed,
        median.as_secs_f64()
    );
    eprintln!("{table}");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    fs::write(target.join("probe-ladder.md"), &table).expect("write the table");
    assert_eq!(outcome.wrong, Vec::<String>::new());
    assert!(median <= Duration::from_secs(5), "{median:?}");
}
