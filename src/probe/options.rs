//! Arguments of `wstap probe`.

use std::fs::File;
use std::io::Read as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use zeroize::Zeroizing;

use super::target::{Given, TargetError};
use super::whereabouts::Environment;
use crate::place::{self, EnterError, NamespaceFacts, NamespaceOwner};

/// No gateway's token is longer.
const MOST: usize = 16 * 1024;

/// The arguments.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) route: Route,
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "token_file",
        help = "Read the gateway's token or password from this environment variable"
    )]
    pub(super) token_env: Option<String>,
    #[arg(
        long,
        value_name = "FILE",
        help = "Read the gateway's token or password from this file"
    )]
    pub(super) token_file: Option<PathBuf>,
    #[arg(
        long,
        value_name = "DIR",
        help = "Connect as the OpenClaw CLI's device whose state is in this folder (~/.openclaw), so that scopes and channels are \
                tested too. The folder is only read. If the gateway does not know the device, a pairing request is left there"
    )]
    pub(super) device_state: Option<PathBuf>,
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["every", "short", "markdown", "junit"],
        help = "Probe a second path as well, and say where the two differ first"
    )]
    pub(super) compare: Option<String>,
    #[arg(
        long,
        value_name = "DURATION",
        conflicts_with_all = ["short", "markdown", "junit"],
        value_parser = every,
        help = "Probe again and again, 10s to 24h apart, and print what changed"
    )]
    pub(super) every: Option<Duration>,
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "20s",
        value_parser = budget,
        help = "Time limit for the whole run, 1s to 10m"
    )]
    pub(super) budget: Duration,
    #[arg(
        long,
        conflicts_with_all = ["json", "markdown"],
        help = "At most six lines, for a chat"
    )]
    pub(super) short: bool,
    #[arg(
        long,
        conflicts_with = "markdown",
        help = "Print one JSON object (docs/probe.md)"
    )]
    pub(super) json: bool,
    #[arg(long, help = "Print a table in Markdown")]
    pub(super) markdown: bool,
    #[arg(
        long,
        value_name = "FILE",
        help = "Write a JUnit report to this file as well: a test for each rung"
    )]
    pub(super) junit: Option<PathBuf>,
    #[arg(
        long,
        help = "Exit with 10, 11 or 12 instead of 1 if the first failing rung is in L1, L2 or L3"
    )]
    pub(super) exit_by_layer: bool,
}

/// Start and target of a probe.
#[derive(Clone, Debug, Args)]
pub(crate) struct Route {
    #[arg(
        value_name = "URL",
        help = "The gateway as a client dials it: ws, wss, http or https, or unix:/path. Default: \
                OPENCLAW_GATEWAY_URL, else what OpenClaw's configuration says, else ws://127.0.0.1:18789"
    )]
    pub(crate) url: Option<String>,
    #[arg(
        long = "in",
        value_name = "PLACE",
        help = "Start from the network namespace of PLACE, with its hosts file and resolv.conf: container:NAME, compose:SERVICE, \
                pid:N or netns:PATH"
    )]
    pub(crate) place: Option<NamespaceOwner>,
}

impl Route {
    /// Enters the place, and reads the environment of its process. `limit` is the container
    /// engine's time to answer.
    pub(crate) fn enter(
        &self,
        limit: Duration,
    ) -> Result<(Environment, Option<NamespaceFacts>), EnterError> {
        let seen = match &self.place {
            Some(at) => Some(place::enter_with_names(at, limit)?),
            None => None,
        };
        let environment = match &seen {
            Some(seen) if seen.pid.is_some() => Environment::parse(&seen.environment),
            _ => Environment::own(),
        };
        Ok((environment, seen))
    }
}

impl Options {
    /// Reads the secret that the arguments name.
    pub(super) fn secret(&self) -> Result<Option<Given>, TargetError> {
        if let Some(name) = &self.token_env {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| TargetError::NoVariable(name.clone()))?;
            return Ok(Some(Given::new(value, format!("--token-env {name}"))));
        }
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let failed = |why: String| TargetError::TokenFile {
            path: path.clone(),
            why,
        };
        let mut bytes = Zeroizing::new(Vec::new());
        File::open(path)
            .and_then(|file| file.take(1 + MOST as u64).read_to_end(&mut bytes))
            .map_err(|error| failed(error.to_string()))?;
        if bytes.len() > MOST {
            return Err(failed(format!("it has more than {MOST} bytes")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| failed("it is not text".to_owned()))?;
        match text.trim() {
            "" => Err(failed("it is empty".to_owned())),
            text => Ok(Some(Given::new(text.to_owned(), "--token-file".to_owned()))),
        }
    }
}

/// Parses the time limit for a whole run.
pub(crate) fn budget(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1)..=Duration::from_mins(10))
        .ok_or_else(|| "expected a duration from 1s to 10m, such as 20s".to_owned())
}

/// A gateway locks an address out after ten wrong secrets within a minute.
fn every(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(10)..=Duration::from_hours(24))
        .ok_or_else(|| "expected a duration from 10s to 24h, such as 1m".to_owned())
}

fn within(text: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
    let parsed = text.parse::<SignedDuration>().ok();
    let parsed = parsed.and_then(|it| Duration::try_from(it).ok());
    parsed.filter(|it| range.contains(it))
}
