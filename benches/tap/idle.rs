//! Memory of idle sessions: new ones, and those that have carried a message.

use std::net::SocketAddr;

use crate::bench::Bench;
use crate::report::WHOLE;
use crate::stage::{Proxy, Stage};
use crate::support::Fallible;
use crate::support::crowd::Crowd;
use crate::support::numbers::float;

pub const GROUP: &str = "idle sessions: KiB each (PSS)";

const MESSAGE: usize = 16 * 1024;
/// Maximum number of a proxy's files that do not belong to sessions.
const OTHER_FILES: usize = 200;

pub fn fresh(sessions: usize) -> String {
    format!("{sessions}: new")
}

pub fn used(sessions: usize) -> String {
    format!("{sessions}: after one message of 16 KiB each way")
}

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    bench.apart()?;
    for wanted in bench.plan.idle.clone() {
        let sessions = within(bench, wanted);
        let found: Vec<_> = bench
            .proxies
            .iter()
            .filter(|proxy| proxy.name() != WHOLE)
            .map(|proxy| {
                let gateway = bench.stage.gateway.plain;
                let found = one(&bench.stage, proxy.as_ref(), gateway, sessions);
                (proxy.name(), found)
            })
            .collect();
        for (name, found) in found {
            let error = found.as_ref().err().map(ToString::to_string);
            let (new, after) = found.unwrap_or_default();
            for (label, value) in [(fresh(sessions), new), (used(sessions), after)] {
                let value = match &error {
                    None => Ok(value),
                    Some(error) => Err(error.clone().into()),
                };
                bench.less(GROUP, &label, name, value);
            }
        }
    }
    Ok(())
}

/// The wanted number of sessions, or as many as a proxy can hold with two files each.
pub fn within(bench: &mut Bench, wanted: usize) -> usize {
    let most = bench.files.saturating_sub(OTHER_FILES) / 2;
    if wanted > most {
        let files = bench.files;
        bench.report.note(format!(
            "{most} sessions instead of {wanted}: a process may open {files} files here"
        ));
    }
    wanted.min(most)
}

/// Memory per session, new and after a message. Uses a new process of the proxy, because memory
/// left by earlier figures does not belong to a session.
pub fn one(
    stage: &Stage,
    proxy: &dyn Proxy,
    gateway: SocketAddr,
    sessions: usize,
) -> Fallible<(f64, f64)> {
    let (process, door) = proxy.start(stage, gateway)?;
    // The first session allocates what all of them share.
    drop(Crowd::gather(&door, 1)?);
    let before = process.pss()?;
    let mut crowd = Crowd::gather(&door, sessions)?;
    let each = |pss: usize| float(pss.saturating_sub(before)) / float(sessions);
    let new = each(process.pss()?);
    crowd.once(MESSAGE)?;
    Ok((new, each(process.pss()?)))
}
