//! Arguments of `wstap map`.

use std::time::Duration;

use clap::Args;

use crate::probe::options::{Route, budget};

/// The arguments.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) route: Route,
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
