//! `wstap map`: the way from a client to the gateway's process, and which part of it is broken.
//!
//! One WebSocket is held open without a credential, and while it is open the kernel's tables show who has accepted it and
//! where it was connected onward. What no connection shows is read from the tables alone, or asked of the container
//! engine; what nothing shows is said to be unverified, and why.

mod claims;
mod client;
mod conclude;
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

use std::time::Instant;

use tokio::runtime::Builder;

pub use self::graph::{Broken, Edge, Map, Node};
pub use self::options::Options;

use self::facts::Facts;
use crate::exit;
use crate::place::{self, EnterError};
use crate::probe::target::{Address, Target, TargetError};
use crate::probe::whereabouts::Whereabouts;
use crate::terminal::{Look, log, print};

/// Where the client is, and what it looks for: all that is read before anything is sent.
#[derive(Debug)]
pub struct Entered {
    started: Instant,
    target: Result<Target, TargetError>,
    /// The path of a unix socket as the place's processes name it.
    socket: Option<String>,
    whereabouts: Whereabouts,
    pid: Option<u32>,
    facts: Facts,
    /// The network namespace in which wstap was started.
    host: scan::Netns,
}

/// Enters the place of `--in`. To be called while the process has one thread, so before logging starts: threads share
/// their view of files.
pub fn enter(options: &Options) -> Result<Entered, EnterError> {
    let started = Instant::now();
    let host = place::netns_of("self").unwrap_or_default();
    let facts = Facts::ask(started + options.budget / 2);
    let (environment, seen) = options.route.enter(options.budget)?;
    let pid = seen.as_ref().and_then(|seen| seen.pid);
    let target = Target::find(
        options.route.url.as_deref(),
        None,
        &environment,
        seen.is_some(),
    );
    let socket = match target.as_ref().map(|it| &it.address) {
        Ok(Address::Unix(path)) => Some(path.display().to_string()),
        _ => None,
    };
    let target = target.map(|mut target| {
        if let Some(pid) = pid {
            target.below(&format!("/proc/{pid}/root"));
        }
        // None is used, so none is kept.
        target.secret = None;
        target
    });
    Ok(Entered {
        started,
        target,
        socket,
        whereabouts: Whereabouts::here(&environment, seen),
        pid,
        facts,
        host,
    })
}

/// Makes the map, prints it, and returns the exit code.
#[must_use]
pub fn run(options: &Options, entered: &Entered) -> u8 {
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
    // A look-up that hangs has a thread of its own, which is not waited for.
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
