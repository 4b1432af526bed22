//! The `nft` processes: one that holds our table, and short ones that check and read.
//!
//! A table with the flag `owner` belongs to the netlink socket that made it, so one `nft -i` is kept for the
//! whole time. It exits when its standard input closes, so it exits when we do, even after SIGKILL.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command as Blocking, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::rules::{self, Plan, SET, TABLE};

/// Time limit for one command. The kernel needs milliseconds.
const LIMIT: Duration = Duration::from_secs(2);

/// What `nft` prints before each of its errors.
const ERROR: &str = "Error: ";

/// A command of `nft` failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NftError {
    /// It could not be started, or the pipe to it broke.
    #[error("failed to run nft: {0}")]
    Run(#[from] io::Error),
    /// It refused, in its own words.
    #[error("nft: {0}")]
    Refused(String),
    /// It did not answer.
    #[error("nft gave no answer within {} s", LIMIT.as_secs())]
    Silent,
    /// The process that held the table is gone, and the table with it.
    #[error("the nft process that held the table has ended")]
    Gone,
}

/// The process that owns the table.
#[derive(Debug)]
pub(super) struct Holder {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<pipe::Receiver>>,
    /// Number of listings that have not come yet, including those of commands that were given up.
    owed: u32,
}

impl Holder {
    /// Creates the table of a plan, in one transaction.
    pub(super) async fn create(plan: &Plan) -> Result<Self, NftError> {
        // Errors go where the answers go, so that they keep their order.
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new("nft");
        command
            .arg("-i")
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .kill_on_drop(true)
            // Ctrl-C on the terminal is for us: the table must survive it, because open sessions
            // need it.
            .process_group(0);
        let mut child = command.spawn()?;
        // Drop our copies of the pipe's write end, so that end of file means that nft has exited.
        drop(command);
        let input = child.stdin.take().ok_or(NftError::Gone)?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let output = BufReader::new(output).lines();
        let mut holder = Self {
            child,
            input,
            output,
            owed: 0,
        };
        let commands: Vec<String> = plan.ruleset().lines().map(str::to_owned).collect();
        holder.run(&commands.join("; ")).await?;
        Ok(holder)
    }

    /// Redirects the port for this time from now on. Returns the names of all tables but ours: another
    /// process's `nft flush ruleset` removes those, and their absence is how we notice it.
    pub(super) async fn arm(
        &mut self,
        plan: &Plan,
        time: Duration,
    ) -> Result<BTreeSet<String>, NftError> {
        let answer = self
            .run(&format!("{}\nlist tables", plan.arm(time)))
            .await?;
        let renewed = format!("{} timeout", plan.port);
        if !answer.iter().any(|line| line.contains(&renewed)) {
            return Err(NftError::Refused("the port is not in the set".to_owned()));
        }
        let tables = answer.iter().filter_map(|line| line.strip_prefix("table "));
        let others = tables.filter(|name| !name.starts_with(TABLE));
        Ok(others.map(str::to_owned).collect())
    }

    /// Stops the redirect.
    pub(super) async fn disarm(&mut self) -> Result<(), NftError> {
        self.run(&rules::disarm()).await.map(drop)
    }

    /// Removes the table and waits until the process has ended.
    pub(super) async fn close(mut self) -> Result<(), NftError> {
        // The kernel removes the table with its holder.
        drop(self.input);
        if let Ok(ended) = timeout(LIMIT, self.child.wait()).await {
            return ended.map(drop).map_err(NftError::Run);
        }
        self.child.kill().await?;
        Err(NftError::Silent)
    }

    /// Runs one transaction, and returns its answer followed by a listing of the set.
    async fn run(&mut self, command: &str) -> Result<Vec<String>, NftError> {
        let text = format!("{command}\nlist set {SET}\n");
        self.owed += 1;
        let mut answer = Vec::new();
        let answered = timeout(LIMIT, async {
            let written = self.input.write_all(text.as_bytes()).await;
            written.map_err(|_| NftError::Gone)?;
            while let Some(line) = self.output.next_line().await? {
                // A listing ends with the only brace in the first column.
                let is_end = line == "}";
                answer.push(line);
                if !is_end {
                    continue;
                }
                self.owed -= 1;
                if self.owed == 0 {
                    return Ok(());
                }
                // That was the answer to a command that was given up.
                answer.clear();
            }
            Err(NftError::Gone)
        })
        .await;
        // If the set could not be created, no listing follows: prefer nft's error to our timeout.
        let mut lines = answer.iter();
        if let Some(refused) = lines.find_map(|line| line.strip_prefix(ERROR)) {
            return Err(NftError::Refused(refused.to_owned()));
        }
        match answered {
            Ok(result) => result.map(|()| answer),
            Err(_) => Err(NftError::Silent),
        }
    }
}

/// Whether the kernel would take these commands. Nothing changes.
pub(super) fn check(commands: &str) -> Result<(), NftError> {
    let mut child = Blocking::new("nft")
        .args(["-c", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(commands.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    if done.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr);
    let refused = text.split_once(ERROR).map_or(&*text, |(_, rest)| rest);
    Err(NftError::Refused(first_error(refused)))
}

/// What `nft` prints for these arguments.
pub(super) fn read(arguments: &[&str]) -> Result<String, NftError> {
    let done = Blocking::new("nft").args(arguments).output()?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&done.stderr);
    let refused = text.split_once(ERROR).map_or(&*text, |(_, rest)| rest);
    Err(NftError::Refused(first_error(refused)))
}

/// Whether new connections are redirected right now, by whichever process holds the table.
pub(super) fn is_armed() -> bool {
    let mut words = vec!["list", "set"];
    words.extend(SET.split(' '));
    read(&words).is_ok_and(|set| set.contains("elements = {"))
}

/// Whether there is a table of ours.
pub(super) fn has_table() -> bool {
    let mut words = vec!["list", "table"];
    words.extend(TABLE.split(' '));
    read(&words).is_ok()
}

/// The first line of an error; the lines after it repeat the command.
fn first_error(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}
