//! `wstap probe`: climbs the ladder from this namespace to the gateway, and says at which rung it breaks.
//!
//! Requests whose result needs a verdict go through a tap in this process: the probe is that tap's
//! only client, so that the record and the rules explain each refusal as they would for a real
//! client. The tap listens on a unix socket without a file, which sends no packets.

pub(crate) mod address;
mod certificate;
mod channels;
mod compare;
mod device;
pub(crate) mod formats;
mod health;
mod inert;
mod ladder;
pub(crate) mod options;
mod proxy;
mod repeat;
mod report;
mod session;
pub(crate) mod target;
pub(crate) mod tcp;
mod versions;
pub(crate) mod whereabouts;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::Builder;
use tokio::time::sleep_until;

pub(crate) use self::options::Options;
pub(crate) use self::report::{Report, Rung, Status, Versions};

use self::compare::Comparison;
use self::device::Device;
use self::proxy::Choice;
use self::target::Target;
use self::whereabouts::Whereabouts;
use crate::exit;
use crate::place::EnterError;
use crate::terminal::{Look, log, print};

/// The probe's place and targets: everything that is read before anything is sent.
#[derive(Debug)]
pub(crate) struct Entered {
    started: Instant,
    target: Result<Target, target::TargetError>,
    /// The target that `--compare` names.
    second: Option<Result<Target, target::TargetError>>,
    whereabouts: Whereabouts,
    /// The version of the place's `OpenClaw`.
    client: Option<String>,
}

/// Enters the place that `--in` names. Call it while the process has one thread, so before logging
/// starts: threads share their mount namespace.
pub(crate) fn enter(options: &Options) -> Result<Entered, EnterError> {
    let started = Instant::now();
    let (environment, seen) = options.route.enter(options.budget)?;
    let find = |url: Option<&str>| {
        let secret = options.secret()?;
        let mut target = Target::find(url, secret, &environment, seen.is_some())?;
        let state = options.device_state.as_deref();
        target.device = state.map(Device::read).transpose()?;
        target.proxy = Choice::of(&target.address, &environment);
        if let Some(pid) = seen.as_ref().and_then(|seen| seen.pid) {
            target.below(&format!("/proc/{pid}/root"));
        }
        Ok(target)
    };
    let target = find(options.route.url.as_deref());
    let second = options.compare.as_deref().map(|url| find(Some(url)));
    let pid = seen.as_ref().and_then(|seen| seen.pid);
    let root = pid.map_or_else(|| "/".to_owned(), |pid| format!("/proc/{pid}/root"));
    let client = versions::of_client(Path::new(&root), &environment);
    let whereabouts = Whereabouts::here(&environment, seen);
    Ok(Entered {
        started,
        target,
        second,
        whereabouts,
        client,
    })
}

/// Climbs the ladder and returns the exit code.
#[must_use]
pub(crate) fn run(options: &Options, entered: Entered) -> u8 {
    let Entered {
        started,
        target,
        second,
        whereabouts,
        client,
    } = entered;
    let (target, second) = match (target, second.transpose()) {
        (Ok(target), Ok(second)) => (target, second),
        (Err(error), _) | (_, Err(error)) => {
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
    if let Some(device) = &target.device {
        log::say(&format!(
            "wstap: --device-state: if the gateway does not know the device {}, this leaves a pairing request there, \
             or a paired device if the gateway is on the same host",
            device.id()
        ));
    }
    let prober = Prober {
        options,
        whereabouts,
        client,
        look: Look::stdout(),
    };
    let code = runtime.block_on(async {
        match (&second, options.every) {
            (Some(second), _) => prober.compare(&target, second, started).await,
            (None, Some(every)) => prober.repeat(&target, every, started).await,
            (None, None) => prober.once(&target, started).await,
        }
    });
    // A look-up that hangs runs on a separate thread: do not wait for it.
    runtime.shutdown_background();
    code.unwrap_or_else(|error| {
        log::say(&format!("wstap: failed to probe: {error}"));
        match error {
            session::ProbeError::Config(_) => exit::USAGE,
            _ => exit::INTERNAL,
        }
    })
}

/// How long gateways count wrong secrets of an address (2026.9.6: after ten, it is locked out for 5
/// min).
const LOCKOUT: Duration = Duration::from_mins(1);

struct Prober<'a> {
    options: &'a Options,
    whereabouts: Whereabouts,
    client: Option<String>,
    look: Look,
}

impl Prober<'_> {
    /// One run. With `live`, its rungs are printed as they are done.
    async fn climb(
        &self,
        target: &Target,
        started: Instant,
        withheld: Option<&'static str>,
        live: bool,
    ) -> Result<Report, session::ProbeError> {
        let look = self.look;
        let mut show = |rung: &Rung| {
            if live {
                print(&report::lines(rung, look));
            }
        };
        if live {
            print(&report::title(target, look));
        }
        let deadline = started + self.options.budget;
        let whereabouts = self.whereabouts.clone();
        let versions = Versions {
            client: self.client.clone(),
            ..Versions::default()
        };
        let here = (whereabouts, versions);
        ladder::climb(target, here, deadline, withheld, &mut show).await
    }

    async fn once(&self, target: &Target, started: Instant) -> Result<u8, session::ProbeError> {
        let Options {
            json,
            short,
            markdown,
            ..
        } = *self.options;
        let live = !(json || short || markdown);
        let report = self.climb(target, started, None, live).await?;
        print(&if json {
            json_line(&report)
        } else if short {
            report::short(&report, self.look)
        } else if markdown {
            formats::markdown(&report)
        } else {
            report::last(&report, self.look)
        });
        Ok(match written(self.options, &report) {
            Ok(()) => report.exit_code(self.options.exit_by_layer),
            Err(error) => {
                log::say(&format!("wstap: {error}"));
                exit::USAGE
            }
        })
    }

    /// Two paths within one budget.
    async fn compare(
        &self,
        target: &Target,
        other: &Target,
        started: Instant,
    ) -> Result<u8, session::ProbeError> {
        let first = self.climb(target, started, None, false).await?;
        // Both may lead to the same gateway, which counts wrong secrets.
        let withheld = auth_failed(&first).then_some(compare::NOT_TWICE);
        let second = self.climb(other, started, withheld, false).await?;
        let comparison = Comparison::of(first, second);
        print(&if self.options.json {
            json_line(&comparison)
        } else {
            compare::text(&comparison, self.look)
        });
        Ok(comparison.exit_code(self.options.exit_by_layer))
    }

    /// Repeats until the process is ended or its output is closed.
    async fn repeat(
        &self,
        target: &Target,
        every: Duration,
        started: Instant,
    ) -> Result<u8, session::ProbeError> {
        let json = self.options.json;
        let mut before = self.climb(target, started, None, !json).await?;
        let mut is_read = print(&if json {
            json_line(&before)
        } else {
            report::last(&before, self.look)
        });
        let mut began = started;
        while is_read {
            // The probe must not lock out the clients of its address.
            let least = if auth_failed(&before) { LOCKOUT } else { every };
            sleep_until((began + every.max(least)).into()).await;
            began = Instant::now();
            let now = self.climb(target, began, None, false).await?;
            is_read = print(&if json {
                json_line(&now)
            } else {
                repeat::changes(&before, &now, self.look)
            });
            before = now;
        }
        Ok(before.exit_code(self.options.exit_by_layer))
    }
}

/// A connect request was sent, and not accepted.
fn auth_failed(report: &Report) -> bool {
    let mut auth = report.rungs.iter().filter(|rung| rung.id == "L2.auth");
    auth.any(|rung| rung.status == Status::Fail)
}

fn json_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// Writes the reports for other readers: a test dashboard, and the page of a GitHub job.
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
