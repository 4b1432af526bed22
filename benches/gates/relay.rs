//! Instructions of the running tap: for one message, and for one session from its TLS handshake to its
//! Close. Clients and gateway are outside of valgrind.

use super::callgrind::{Callgrind, MISSING};
use super::figures::Figure;
use super::support::Fallible;
use super::support::client::{Client, Door};
use super::support::gateway::Gateway;
use super::support::numbers::float;
use super::support::talk::Messages;
use super::support::tap::Setup;
use super::{Outcome, Place};

/// Round trips of the two counts whose difference is divided by the difference of these.
const TRIPS: (usize, usize) = (200, 1000);
const SESSIONS: (usize, usize) = (5, 45);

pub fn gate(place: &Place<'_>) -> Fallible<Outcome> {
    let Some(mut callgrind) = Callgrind::new(place.folder, "relay") else {
        return Ok(Outcome::Skipped(MISSING.to_owned()));
    };
    let gateway = Gateway::start(place.folder, place.around)?;
    let setup = Setup {
        name: "counted",
        under: callgrind.words(&[]),
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
    let mut figures = Vec::new();
    let mut client = Client::greet(&door)?;
    for (name, size) in [("relay-32B", 32), ("relay-16KiB", 16 << 10)] {
        let mut messages = Messages::new(size);
        client.trips(&mut messages, 50)?;
        let trips = slope(&mut callgrind, tap.id(), TRIPS, |count| {
            client.trips(&mut messages, count).map(drop)
        })?;
        // A round trip is two messages.
        figures.push(Figure::new(name, "instructions a message", trips / 2.0));
    }
    client.close()?;
    let sessions = slope(&mut callgrind, tap.id(), SESSIONS, |count| {
        for _ in 0..count {
            Client::open(&door)?.close()?;
        }
        Ok(())
    })?;
    figures.push(Figure::new("session", "instructions a session", sessions));
    Ok(Outcome::Measured(figures))
}

/// What one of something costs: the difference between many and few of them.
fn slope(
    callgrind: &mut Callgrind,
    process: u32,
    (few, many): (usize, usize),
    mut work: impl FnMut(usize) -> Fallible<()>,
) -> Fallible<f64> {
    let mut count = |callgrind: &mut Callgrind, times| {
        callgrind.count(process)?;
        work(times)?;
        callgrind.count(process)
    };
    let (small, large) = (count(callgrind, few)?, count(callgrind, many)?);
    let more = large
        .checked_sub(small)
        .ok_or("fewer instructions for more work")?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let more = more as f64;
    Ok(more / float(many - few))
}
