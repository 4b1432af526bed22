//! The program's own log, on stderr: its level (`RUST_LOG`) and its format.

use tracing_subscriber::EnvFilter;

use crate::terminal::log::{self, LogGuard};

/// How the program's own log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object in each line: `timestamp`, `level`, `target`, `fields` and `spans`.
    Json,
}

impl LogFormat {
    /// The value of the flag, else that of the environment.
    pub(super) fn chosen(flag: Option<Self>) -> Result<Self, String> {
        let Some(value) = std::env::var_os("WSTAP_LOG_FORMAT").filter(|value| !value.is_empty())
        else {
            return Ok(flag.unwrap_or_default());
        };
        flag.map_or_else(
            || <Self as clap::ValueEnum>::from_str(&value.to_string_lossy(), false),
            Ok,
        )
        .map_err(|_| {
            format!(
                "WSTAP_LOG_FORMAT: expected text or json, found {}",
                value.display()
            )
        })
    }
}

/// Starts the program's own log on stderr, at the level of `RUST_LOG` (default `wstap=info`). The
/// guard flushes what is left when it is dropped.
pub(super) fn start(format: LogFormat) -> LogGuard {
    let (writer, guard) = log::start();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("wstap=info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // No colours on a terminal either: the program is built without tracing-subscriber's `ansi` feature, and the
        // library warns if it is asked for colours.
        .with_ansi(false);
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().with_current_span(false).try_init(),
    };
    guard
}
