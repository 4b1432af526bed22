//! The client's place and its target: everything that is read before anything is sent.

use std::time::Instant;

use super::facts::Facts;
use super::options::Options;
use super::scan::Netns;
use crate::place::{self, EnterError};
use crate::probe::address::Address;
use crate::probe::target::{Target, TargetError};
use crate::probe::whereabouts::Whereabouts;

/// The client's place and its target: everything that is read before anything is sent.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(super) started: Instant,
    pub(super) target: Result<Target, TargetError>,
    /// The path of a unix socket as the place's processes name it.
    pub(super) socket: Option<String>,
    pub(super) whereabouts: Whereabouts,
    pub(super) pid: Option<u32>,
    pub(super) facts: Facts,
    /// The network namespace in which wstap was started.
    pub(super) host: Netns,
}

/// Enters the place that `--in` names. Call it while the process has one thread, so before logging
/// starts: threads share their mount namespace.
pub(crate) fn enter(options: &Options) -> Result<Entered, EnterError> {
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
        // The secret is not used, so it is not kept.
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
