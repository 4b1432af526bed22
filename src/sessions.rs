//! `wstap sessions`: the open sessions of a running tap, as a table; with `--follow` again and again.
//!
//! A record is written when its session ends. This command shows the sessions that hang.

mod table;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::admin::client::{self, Client, Options};
use crate::admin::open::Sessions;
use crate::exit;
use crate::terminal::Look;

/// The sessions as a table of this width.
#[must_use]
pub(crate) fn page(sessions: &Sessions, width: usize) -> String {
    table::of(sessions, width)
}

/// How often `--follow` asks.
const EVERY: Duration = Duration::from_secs(1);

/// Moves to the upper left corner and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Asks once, or until Ctrl-C. Returns the exit code: 0, 1 if no tap answers, 2 for a usage or
/// configuration error.
#[must_use]
pub(crate) fn run(options: &Options, json: bool, follow: bool, err: &mut dyn Write) -> u8 {
    let (client, runtime) = match client::start(options, err) {
        Ok(started) => started,
        Err(code) => return code,
    };
    let shown = runtime.block_on(async {
        if follow {
            tokio::select! {
                shown = show_again_and_again(&client, json) => shown,
                _ = tokio::signal::ctrl_c() => Ok(()),
            }
        } else {
            show(&client, json, "").await
        }
    });
    match shown {
        Ok(()) => exit::OK,
        Err(error) => {
            let text = Look::stderr().fit(&format!("wstap: {error}"));
            let _ = writeln!(err, "{text}");
            exit::FAILED
        }
    }
}

async fn show_again_and_again(client: &Client, json: bool) -> Result<(), String> {
    let redraw = !json && io::stdout().is_terminal();
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        show(client, json, if redraw { CLEAR } else { "" }).await?;
    }
}

async fn show(client: &Client, json: bool, before: &str) -> Result<(), String> {
    let answer = client
        .get("/sessions")
        .await
        .map_err(|error| error.to_string())?;
    let sessions: Sessions = serde_json::from_slice(&answer.body)
        .map_err(|_| "what listens there is not the admin listener of a tap".to_owned())?;
    let text = if json {
        String::from_utf8_lossy(&answer.body).into_owned()
    } else {
        table::of(&sessions, Look::stdout().page())
    };
    let mut out = io::stdout().lock();
    write!(out, "{before}{text}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("failed to write: {error}"))
}
