//! `wstap map`: the path from a client to the gateway's process, and which part of it is broken.
//!
//! One WebSocket is held open without a credential, and while it is open the kernel's tables show
//! which process accepted it and where that process connected onward. Parts that no connection
//! shows are read from the tables alone or from the container engine; parts that neither shows are
//! marked as unverified, with the reason.

mod claims;
mod client;
mod conclude;
mod enter;
mod facts;
mod graph;
mod hold;
mod markdown;
mod onward;
mod options;
mod page;
mod scan;
mod survey;
mod trace;
mod watch;

use tokio::runtime::Builder;

pub(crate) use self::enter::{Entered, enter};
pub(crate) use self::options::Options;

use crate::exit;
use crate::terminal::{Look, log, print};

/// Makes the map, prints it, and returns the exit code.
#[must_use]
pub(crate) fn run(options: &Options, entered: &Entered) -> u8 {
    let target = match &entered.target {
        Ok(target) => target,
        Err(error) => {
            log::say(&format!("wstap: {error}"));
            return exit::USAGE;
        }
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::say(&format!("wstap: failed to start the runtime: {error}"));
            return exit::INTERNAL;
        }
    };
    let map = runtime.block_on(survey::survey(options, entered, target));
    // A look-up that hangs runs on a separate thread: do not wait for it.
    runtime.shutdown_background();
    let text = if options.json {
        let text = serde_json::to_string(&map).unwrap_or_default();
        format!("{text}\n")
    } else if options.markdown {
        markdown::markdown(&map)
    } else {
        page::text(&map, Look::stdout())
    };
    print(&text);
    match map.broken {
        None => exit::OK,
        Some(_) => exit::FAILED,
    }
}
