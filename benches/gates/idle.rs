//! Bytes per silent session: the growth of the tap's memory with the number of sessions.

use super::figures::Figure;
use super::gate::{Outcome, Place};
use super::support::Fallible;
use super::support::client::Door;
use super::support::crowd::Crowd;
use super::support::gateway::Gateway;
use super::support::numbers::float;
use super::support::process;
use super::support::tap::Setup;

/// Sessions before the first measurement: after them the tap has allocated what it needs only once.
const FIRST: usize = 200;
const SESSIONS: usize = 2000;
/// KiB.
const BUDGET: f64 = 14.0;
/// The same program takes half a KiB more in one environment than in another, because of pages and
/// how the C library fills them.
const MARGIN: f64 = 0.08;

pub fn gate(place: &Place<'_>) -> Fallible<Outcome> {
    process::raise_files()?;
    let gateway = Gateway::start(place.folder, place.around)?;
    let setup = Setup {
        name: "idle",
        ..Setup::default()
    };
    let (tap, addr) = setup.start(place.folder, place.certificate, gateway.plain, place.core)?;
    let door = Door {
        addr,
        tls: Some(
            place
                .certificate
                .client(rustls::client::Resumption::disabled())?,
        ),
    };
    let mut first = Crowd::gather(&door, FIRST)?;
    let before = tap.pss()?;
    let mut crowd = Crowd::gather(&door, SESSIONS)?;
    let fresh = grown(before, tap.pss()?);
    first.once(16 << 10)?;
    crowd.once(16 << 10)?;
    let used = grown(before, tap.pss()?);
    let figure = |name, value| {
        Figure::new(name, "KiB a session", value)
            .margin(MARGIN)
            .budget(BUDGET)
    };
    Ok(Outcome::Measured(vec![
        figure("idle-fresh", fresh),
        figure("idle-after-16KiB", used),
    ]))
}

fn grown(before: usize, after: usize) -> f64 {
    float(after.saturating_sub(before)) / float(SESSIONS)
}
