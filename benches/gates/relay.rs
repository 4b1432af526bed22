//! Instructions of the running tap: for one message, and for one session from its TLS handshake to its
//! Close; and how often it reads a clock. Clients and gateway are outside of valgrind.

use super::callgrind::{Callgrind, Dump, MISSING};
use super::figures::Figure;
use super::gate::{Outcome, Place};
use super::support::Fallible;
use super::support::client::{Client, Door};
use super::support::gateway::Gateway;
use super::support::numbers::float;
use super::support::talk::Messages;
use super::support::tap::Setup;

/// Round trips of the two counts; the difference of the counts is divided by the difference of
/// these.
const TRIPS: (usize, usize) = (200, 1000);
const SESSIONS: (usize, usize) = (5, 45);
/// Maximum number of clock reads by the tap itself for a message that wakes it; the runtime's reads
/// are extra.
const OWN_CLOCK: f64 = 2.0;
/// The count includes work that happens five times a second.
const MARGIN: f64 = 0.04;

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
        figures.push(Figure::new(
            name,
            "instructions a message",
            trips.instructions / 2.0,
        ));
        if size == 32 {
            figures.push(
                Figure::new("clock-own", "clock reads a message", trips.own_clock / 2.0)
                    .budget(OWN_CLOCK * (1.0 + MARGIN)),
            );
            figures.push(Figure::new(
                "clock-all",
                "clock reads a message",
                trips.clock / 2.0,
            ));
        }
    }
    client.close()?;
    let sessions = slope(&mut callgrind, tap.id(), SESSIONS, |count| {
        for _ in 0..count {
            Client::open(&door)?.close()?;
        }
        Ok(())
    })?;
    figures.push(Figure::new(
        "session",
        "instructions a session",
        sessions.instructions,
    ));
    let greeted = slope(&mut callgrind, tap.id(), SESSIONS, |count| {
        for _ in 0..count {
            Client::greet(&door)?.close()?;
        }
        Ok(())
    })?;
    figures.push(Figure::new(
        "session-connected",
        "instructions a session",
        greeted.instructions,
    ));
    Ok(Outcome::Measured(figures))
}

/// The cost of one message or session.
struct Each {
    instructions: f64,
    /// Reads of the clock, and those among them by the tap itself and not by its runtime.
    clock: f64,
    own_clock: f64,
}

/// The cost of one, from the difference between many and few.
fn slope(
    callgrind: &mut Callgrind,
    process: u32,
    (few, many): (usize, usize),
    mut work: impl FnMut(usize) -> Fallible<()>,
) -> Fallible<Each> {
    let mut count = |callgrind: &mut Callgrind, times| {
        callgrind.count(process)?;
        work(times)?;
        callgrind.count(process)
    };
    let (small, large) = (count(callgrind, few)?, count(callgrind, many)?);
    let each = |of: fn(&Dump) -> Fallible<u64>| {
        let (small, large) = (of(&small)?, of(&large)?);
        let more = large.checked_sub(small).ok_or("fewer for more work")?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let more = more as f64;
        Fallible::Ok(more / float(many - few))
    };
    Ok(Each {
        instructions: each(Dump::instructions)?,
        clock: each(|dump| dump.calls(|_| true, |it| it.starts_with("clock_gettime")))?,
        own_clock: each(|dump| dump.calls(is_ours, tells_the_time))?,
    })
}

/// Whether a caller is the tap's own code. The runtime's loop may have been inlined into its
/// callers.
fn is_ours(caller: &str) -> bool {
    caller.contains("wstap::")
        && !["wstap::serve::run", "wstap::cli::run"]
            .iter()
            .any(|one| caller.contains(one))
}

/// Whether this is a function by which Rust code reads the clock; which of them remain depends on
/// inlining.
fn tells_the_time(name: &str) -> bool {
    [
        "std::time::Instant>::now",
        "std::time::Instant::now",
        "std::time::Instant>::elapsed",
        "std::time::Instant::elapsed",
        "std::time::SystemTime>::now",
        "std::time::SystemTime::now",
        "unix::time::Timespec>::now",
        "unix::time::Timespec::now",
        "tokio::time::instant::Instant>::now",
        "tokio::time::instant::Instant::now",
        "tokio::time::clock::now",
        "clock_gettime",
    ]
    .iter()
    .any(|one| name.contains(one))
}
