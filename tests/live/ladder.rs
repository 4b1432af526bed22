//! `wstap probe` beside the six commands of OpenClaw's own troubleshooting page, on the same stacks: how long each
//! takes, and whether the cause is named. Half an hour: `make probe-ladder`.

use std::fs;
use std::path::{Path, PathBuf};
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

/// In the last column, if none of the commands names the cause.
const NOT_NAMED: &str = "none";

/// For one of them.
const LIMIT: Duration = Duration::from_mins(2);
/// For the whole test.
const RUN: Duration = Duration::from_mins(55);

/// Seconds until one of the six commands names the cause, that command, and seconds for all.
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

/// Rows of the table. They are kept in a file, so that a run which was interrupted goes on where it ended.
struct Outcome {
    kept: PathBuf,
    rows: String,
    wrong: Vec<String>,
}

impl Outcome {
    fn resume(target: &Path) -> Self {
        let kept = target.join("probe-ladder.rows");
        Self {
            rows: fs::read_to_string(&kept).unwrap_or_default(),
            kept,
            wrong: Vec::new(),
        }
    }

    fn has(&self, stack: &Stack) -> bool {
        let front = format!("| {} |", stack.name);
        self.rows.lines().any(|row| row.starts_with(&front))
    }

    async fn try_stack(&mut self, install: &Install, field: &Field, stack: &Stack) {
        if self.has(stack) {
            return;
        }
        let (report, took) = stack.probed(field).await;
        if let Some(complaint) = stack.complaint(&report) {
            self.wrong.push(complaint);
            return;
        }
        let (rung, rule) = broken(&report);
        let (named, all) = six(install, field, stack).await;
        let named = named.map_or_else(
            || NOT_NAMED.to_owned(),
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
        fs::write(&self.kept, &self.rows).expect("keep the rows");
    }

    /// The column of this number, in seconds, sorted.
    fn seconds(&self, column: usize) -> Vec<f64> {
        let cell = |row: &str| {
            row.split('|')
                .nth(column)?
                .trim()
                .strip_suffix(" s")?
                .parse()
                .ok()
        };
        let mut all: Vec<f64> = self.rows.lines().filter_map(cell).collect();
        all.sort_by(f64::total_cmp);
        all
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
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let mut outcome = Outcome::resume(&target);
    for stack in field.stacks() {
        outcome.try_stack(&install, &field, &stack).await;
    }
    let in_order = field.paired(&install).await;
    outcome.try_stack(&install, &field, &in_order).await;
    let locked = field.locked_out().await;
    outcome.try_stack(&install, &field, &locked).await;

    assert_eq!(outcome.wrong, Vec::<String>::new());
    let (times, six) = (outcome.seconds(2), outcome.seconds(4));
    let (count, rows) = (times.len(), &outcome.rows);
    let (median, of_six) = (times[count / 2], six[count / 2]);
    let unnamed = rows.matches(&format!("| {NOT_NAMED} |")).count();
    let table = format!(
        "| fault | `wstap probe` | answer | six commands | cause named by |\n\
         |---|---:|---|---:|---|\n{rows}\n\
         {count} stacks, {unnamed} not named by the six commands; medians: `wstap probe` {median:.1} s, \
         six commands {of_six:.0} s\n",
    );
    eprintln!("{table}");
    fs::write(target.join("probe-ladder.md"), &table).expect("write the table");
    fs::remove_file(&outcome.kept).expect("remove the kept rows");
    assert!(median <= 5.0, "{median}");
}
