//! `wstap probe`: climbs the ladder from this namespace to the gateway, and says at which rung it breaks.
//!
//! What needs judgement goes through a tap in this process: the probe is that tap's only client, so that the
//! record and the rules explain each refusal as they would explain it to a real client. The tap listens on a
//! unix socket without a file, which sends no packets.

mod certificate;
mod channels;
mod device;
mod formats;
mod health;
mod ladder;
mod options;
mod proxy;
mod report;
mod session;
mod target;
mod tcp;
mod whereabouts;

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::runtime::Builder;

pub use self::options::Options;
pub use self::report::{Report, Rung, Status};

use self::device::Device;
use self::proxy::Choice;
use self::target::Target;
use self::whereabouts::{Environment, Whereabouts};
use crate::exit;
use crate::place::{self, EnterError};
use crate::terminal::{Look, log};

/// Where the probe stands, and what it looks for: all that is read before anything is sent.
#[derive(Debug)]
pub struct Entered {
    started: Instant,
    target: Result<Target, target::TargetError>,
    whereabouts: Whereabouts,
}

/// Enters the place of `--in`. To be called while the process has one thread, so before logging starts: threads share
/// their view of files.
pub fn enter(options: &Options) -> Result<Entered, EnterError> {
    let started = Instant::now();
    let seen = match &options.place {
        Some(at) => Some(place::enter_with_names(at)?),
        None => None,
    };
    let environment = match &seen {
        Some(seen) if seen.pid.is_some() => Environment::parse(&seen.environment),
        _ => Environment::own(),
    };
    let target = options.secret().and_then(|secret| {
        let mut target =
            Target::find(options.url.as_deref(), secret, &environment, seen.is_some())?;
        let state = options.device_state.as_deref();
        target.device = state.map(Device::read).transpose()?;
        target.proxy = Choice::of(&target, &environment);
        if let Some(pid) = seen.as_ref().and_then(|seen| seen.pid) {
            target.below(&format!("/proc/{pid}/root"));
        }
        Ok(target)
    });
    let whereabouts = Whereabouts::here(&environment, seen);
    Ok(Entered {
        started,
        target,
        whereabouts,
    })
}

/// Climbs the ladder and returns the exit code.
#[must_use]
pub fn run(options: &Options, entered: Entered) -> u8 {
    let Entered {
        started,
        target,
        whereabouts,
    } = entered;
    let target = match target {
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
    let look = Look::stdout();
    let live = !(options.json || options.short || options.markdown);
    let mut shown = |rung: &Rung| {
        if live {
            print(&report::lines(rung, look));
        }
    };
    if let Some(device) = &target.device {
        log::say(&format!(
            "wstap: --device-state: if the gateway does not know the device {}, this leaves a pairing request there, \
             or a paired device if the gateway is on the same host",
            device.id()
        ));
    }
    if live {
        print(&report::title(&target, look));
    }
    let climbing = ladder::climb(&target, whereabouts, started + options.budget, &mut shown);
    let report = match runtime.block_on(climbing) {
        Ok(report) => report,
        Err(error) => {
            log::say(&format!("wstap: failed to probe: {error}"));
            return match error {
                session::ProbeError::Config(_) => exit::USAGE,
                _ => exit::INTERNAL,
            };
        }
    };
    // A look-up that hangs has a thread of its own, which is not waited for.
    runtime.shutdown_background();
    if options.json {
        let text = serde_json::to_string(&report).unwrap_or_default();
        print(&format!("{text}\n"));
    } else if options.short {
        print(&report::short(&report, look));
    } else if options.markdown {
        print(&formats::markdown(&report));
    } else {
        print(&report::last(&report, look));
    }
    match written(options, &report) {
        Ok(()) => report.exit_code(options.exit_by_layer),
        Err(error) => {
            log::say(&format!("wstap: {error}"));
            exit::USAGE
        }
    }
}

/// For those who do not read the terminal: a test dashboard, and the page of a job on GitHub.
fn written(options: &Options, report: &Report) -> Result<(), String> {
    let failed =
        |path: &Path, error: io::Error| format!("failed to write {}: {error}", path.display());
    if let Some(path) = &options.junit {
        formats::write_junit(report, path).map_err(|error| failed(path, error))?;
    }
    if env::var_os("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return Ok(());
    }
    for line in report.rungs.iter().filter_map(formats::annotation) {
        // Not on stdout, which may have the report.
        log::write(&line);
    }
    if let Some(path) = env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from) {
        formats::add_to_summary(report, &path).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

fn print(text: &str) {
    let mut out =
        anstream::AutoStream::new(io::stdout(), anstream::AutoStream::choice(&io::stdout()));
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
