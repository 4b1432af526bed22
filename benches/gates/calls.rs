//! System calls of the running tap for one message, by strace: a read, a write, and a wait for the next.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::callgrind::find;
use super::figures::Figure;
use super::gate::{Outcome, Place};
use super::support::Fallible;
use super::support::client::{Client, Door};
use super::support::gateway::Gateway;
use super::support::numbers::float;
use super::support::talk::Messages;
use super::support::tap::Setup;

const TRIPS: (usize, usize) = (200, 1200);
/// One read, one write, one `epoll_wait`.
const LEAST: f64 = 3.0;
/// The count includes work that happens once a second.
const MARGIN: f64 = 0.04;

pub fn gate(place: &Place<'_>) -> Fallible<Outcome> {
    let Some(strace) = find("strace") else {
        let why = "no strace (make fetch, or install strace)";
        return Ok(Outcome::Skipped(why.to_owned()));
    };
    let gateway = Gateway::start(place.folder, place.around)?;
    let mut figures = Vec::new();
    for (name, tls, cases) in [
        (
            "traced",
            false,
            [("calls-plain-32B", 32), ("calls-plain-16KiB", 16 << 10)],
        ),
        (
            "traced-tls",
            true,
            [("calls-tls-32B", 32), ("calls-tls-16KiB", 16 << 10)],
        ),
    ] {
        let log = place.folder.join(format!("{name}.strace"));
        let mut under = strace.clone();
        under.extend(["-f", "-qq", "-o"].map(Into::into));
        under.push(log.clone().into());
        let setup = Setup {
            name,
            tls,
            under,
            ..Setup::default()
        };
        let started = setup.start(place.folder, place.certificate, gateway.plain, place.core);
        let (_tap, addr) = started?;
        let client = place
            .certificate
            .client(rustls::client::Resumption::disabled());
        let tls = tls.then_some(client).transpose()?;
        let mut client = Client::greet(&Door { addr, tls })?;
        for (name, size) in cases {
            let mut messages = Messages::new(size);
            client.trips(&mut messages, 50)?;
            let mut count = |trips| {
                let before = fs::metadata(&log)?.len();
                client.trips(&mut messages, trips)?;
                Calls::since(&log, before)
            };
            let (few, many) = (count(TRIPS.0)?, count(TRIPS.1)?);
            let value = (float(many.total()) - float(few.total())) / float(TRIPS.1 - TRIPS.0) / 2.0;
            if value > LEAST * (1.0 + MARGIN) {
                eprintln!("gates: {name}: {} round trips: {:?}", TRIPS.1, many.0);
            }
            figures.push(
                Figure::new(name, "system calls a message", value)
                    .margin(MARGIN)
                    .budget(LEAST * (1.0 + MARGIN)),
            );
        }
    }
    Ok(Outcome::Measured(figures))
}

/// Number of calls by name.
struct Calls(BTreeMap<String, usize>);

impl Calls {
    /// Reads the log from this offset on.
    fn since(log: &Path, start: u64) -> Fallible<Self> {
        let text = fs::read(log)?;
        let text = String::from_utf8_lossy(text.get(usize::try_from(start)?..).unwrap_or_default());
        let mut calls = BTreeMap::new();
        for name in text.lines().filter_map(called) {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
        Ok(Self(calls))
    }

    fn total(&self) -> usize {
        self.0.values().sum()
    }
}

/// `sendto` for `4711 sendto(9, ...`; nothing for the second half of a call that was interrupted.
fn called(line: &str) -> Option<&str> {
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let (name, _) = line.split_once('(')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}
