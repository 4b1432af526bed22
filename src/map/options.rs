//! Arguments of `wstap map`.

use std::time::Duration;

use clap::Args;

use crate::place::Place;
use crate::probe::options::budget;

/// The arguments.
#[derive(Clone, Debug, Args)]
pub struct Options {
    #[arg(
        value_name = "URL",
        help = "The gateway as a client dials it: ws, wss, http or https, or unix:/path. Default: \
                OPENCLAW_GATEWAY_URL, else what OpenClaw's configuration says, else ws://127.0.0.1:18789"
    )]
    pub(super) url: Option<String>,
    #[arg(
        long = "in",
        value_name = "PLACE",
        help = "Start from the network namespace of PLACE, with its hosts file and resolv.conf: container:NAME, \
                compose:SERVICE, pid:N or netns:PATH"
    )]
    pub(super) place: Option<Place>,
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        value_parser = budget,
        help = "Time limit for the whole run, 1s to 10m"
    )]
    pub(super) budget: Duration,
    #[arg(
        long,
        conflicts_with = "markdown",
        help = "Print one JSON object (docs/map.md)"
    )]
    pub(super) json: bool,
    #[arg(long, help = "Print Markdown with a mermaid graph")]
    pub(super) markdown: bool,
}
