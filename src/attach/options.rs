//! Arguments of `wstap attach`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use jiff::SignedDuration;

#[cfg(target_os = "linux")]
use crate::config::{Dialect, OutputFormat, duration_text};
use crate::place::NamespaceOwner;

/// The longest `--for`.
const LONGEST: Duration = Duration::from_hours(24);

/// Arguments of `wstap attach`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[arg(
        long,
        value_name = "PORT",
        value_parser = port,
        required_unless_present_any = ["status", "detach"],
        help = "The gateway's TCP port, for example 18789"
    )]
    port: Option<u16>,
    #[arg(
        long = "for",
        value_name = "TIME",
        value_parser = time,
        required_unless_present_any = ["status", "detach", "dry_run"],
        help = "How long to stay, for example 15m; at most 24h"
    )]
    time: Option<Duration>,
    #[cfg(target_os = "linux")]
    #[arg(
        long = "in",
        value_name = "PLACE",
        help = "The network namespace to enter: container:NAME, compose:SERVICE, pid:N or netns:PATH; \
                without it, this one"
    )]
    pub(super) place: Option<NamespaceOwner>,
    #[arg(
        long,
        value_name = "TIME",
        value_parser = duration,
        default_value = "5m",
        help = "How long tapped sessions may stay open after the tap detaches"
    )]
    pub(super) grace: Duration,
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5000,
        help = "While this many sessions are open, new connections go straight to the gateway"
    )]
    pub(super) max_sessions: usize,
    #[arg(
        long,
        value_name = "FILE",
        help = "Write the records to this file, as JSON lines"
    )]
    pub(super) records: Option<PathBuf>,
    #[arg(
        long,
        value_name = "line|json|none",
        help = "What to write to stdout for each session: readable lines, its record as JSON, or nothing; \
                default: line; with --json: none"
    )]
    output: Option<OutputFormat>,
    #[arg(
        long,
        help = "Tap only connections that begin in the gateway's own namespace; needs no ip"
    )]
    pub(super) local_only: bool,
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        help = "The certificate of a gateway with TLS (PEM), to read its connections; without it they pass \
                unread, and records describe their transport only"
    )]
    cert: Option<PathBuf>,
    #[arg(
        long,
        value_name = "FILE",
        requires = "cert",
        help = "The key of --cert (PEM)"
    )]
    key: Option<PathBuf>,
    #[arg(
        long,
        value_parser = PossibleValuesParser::new(["openclaw", "plain"]).map(|name| dialect(&name)),
        default_value_t,
        help = "Protocol inside the WebSocket"
    )]
    pub(super) dialect: Dialect,
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 0,
        hide_default_value = true,
        help = "The tap's own port, if a firewall must allow it; default: any free port"
    )]
    pub(super) tap_port: u16,
    #[arg(
        long,
        conflicts_with_all = ["status", "detach"],
        help = "Print the exact rules and commands, and what is missing; change nothing"
    )]
    dry_run: bool,
    #[arg(
        long,
        conflicts_with = "detach",
        help = "Show the tap that is attached in this namespace, with its sessions"
    )]
    status: bool,
    #[arg(long, help = "End the tap that is attached in this namespace")]
    detach: bool,
    #[arg(
        long,
        help = "Print the status, or the summary at the end, as one JSON object; with --output line or json the summary goes to stderr"
    )]
    pub(super) json: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Attach for this long.
    Attach(Duration),
    /// Print what would be done.
    DryRun,
    /// Ask the tap that is attached.
    Status,
    /// Detach the tap that is attached.
    Detach,
}

impl Options {
    /// The gateway's port; 0 if none is needed.
    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or_default()
    }

    /// Format of the sessions on stdout. `--json` alone keeps stdout for the summary.
    pub(super) fn output(&self) -> OutputFormat {
        let unless_given = if self.json {
            OutputFormat::None
        } else {
            OutputFormat::Line
        };
        self.output.unwrap_or(unless_given)
    }

    /// The certificate and key of a gateway with TLS.
    pub(super) fn identity(&self) -> Option<(&Path, &Path)> {
        self.cert.as_deref().zip(self.key.as_deref())
    }

    pub(super) fn action(&self) -> Action {
        match (self.status, self.detach, self.dry_run, self.time) {
            (true, ..) => Action::Status,
            (_, true, ..) => Action::Detach,
            (_, _, true, _) | (.., None) => Action::DryRun,
            (.., Some(time)) => Action::Attach(time),
        }
    }
}

fn dialect(name: &str) -> Dialect {
    match name {
        "plain" => Dialect::Plain,
        _ => Dialect::OpenClaw,
    }
}

fn port(text: &str) -> Result<u16, String> {
    if text.contains('/') || text.starts_with("unix") {
        let path = text.trim_start_matches("unix:");
        return Err(format!(
            "a unix socket cannot be redirected. To put the tap in front of one: move the gateway's socket to \
             {path}.gateway, and run `wstap serve --listen unix:{path} --gateway unix:{path}.gateway`"
        ));
    }
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a TCP port from 1 to 65535".to_owned()),
        Ok(port) => Ok(port),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration with a unit, such as 90s, 15m or 2h".to_owned();
    let parsed: SignedDuration = text.parse().map_err(|_| expected())?;
    Duration::try_from(parsed).map_err(|_| expected())
}

fn time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time < Duration::from_secs(1) || time > LONGEST {
        return Err(format!("expected 1s to {}", duration_text(LONGEST)));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_is_answered_with_the_way_that_works() {
        for given in ["unix:/run/claw.sock", "/run/claw.sock"] {
            let error = port(given).unwrap_err();
            assert!(
                error.contains("--gateway unix:/run/claw.sock.gateway"),
                "{error}"
            );
        }
    }

    #[test]
    fn ports_and_times_are_bounded() {
        assert_eq!(port("18789"), Ok(18789));
        for wrong in ["0", "65536", "-1", "http"] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
        assert_eq!(time("15m"), Ok(Duration::from_mins(15)));
        assert_eq!(time("24h"), Ok(LONGEST));
        for wrong in ["15", "0s", "25h", "-1m", "soon"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
