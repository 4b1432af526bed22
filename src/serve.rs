//! `wstap serve`: runs the tap until a signal ends it.

pub(crate) mod ending;
mod manager;

use std::future::poll_fn;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::task::Poll;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use self::ending::{RecordPipelines, run_to_the_end};
use self::manager::Watched;
use crate::app::reload::Source;
use crate::app::{Bound, BoundListener, StartError};
use crate::config::{ClientAuthMode, Config, Origins, OutputFormat, Overrides, Workers};
use crate::exit;
use crate::sink::Queue;
use crate::sink::jsonl::JsonLines;
use crate::sink::line::Lines;
use crate::terminal::{Look, log};
use crate::transport::activation::Passed;
use crate::transport::listening::ListenAddr;
use crate::transport::{notify, open_files};

/// Maximum number of records that wait for the reader of stdout.
const STDOUT_QUEUE: usize = 4096;

/// Runs until SIGTERM or SIGINT, drains, and returns the exit code.
#[must_use]
pub fn run(file: Option<&Path>, overrides: &Overrides) -> u8 {
    let passed = Passed::take();
    let source = Source {
        file: file.map(Path::to_owned),
        overrides: overrides.clone(),
    };
    let config = match source.load() {
        Ok(config) => config,
        Err(errors) => {
            log::say(&errors.to_string());
            return exit::USAGE;
        }
    };
    open_files::raise();
    let runtime = match runtime(config.workers()) {
        Ok(runtime) => runtime,
        Err(error) => {
            log::say(&format!("wstap: failed to start the runtime: {error}"));
            return exit::INTERNAL;
        }
    };
    let pipelines = RecordPipelines::default();
    let serving = serve(config, source, passed, &pipelines);
    match run_to_the_end(runtime, &pipelines, serving) {
        Ok(()) => exit::OK,
        Err(error) => {
            log::say(&format!("wstap: {error}"));
            exit::USAGE
        }
    }
}

/// With one worker, everything runs on this thread: no work moves between threads.
fn runtime(workers: Workers) -> io::Result<Runtime> {
    let mut builder = match workers {
        Workers::Exactly(NonZeroUsize::MIN) => Builder::new_current_thread(),
        Workers::Exactly(number) => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(number.get());
            builder
        }
        Workers::PerCpu => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

async fn serve(
    config: Config,
    source: Source,
    passed: Passed,
    pipelines: &RecordPipelines,
) -> Result<(), StartError> {
    let queues = stdout_queue(config.output())?.into_iter().collect();
    let shutdown = Signals::listen()?;
    // A records file at the file size limit makes a write fail; the signal must not end the
    // process.
    let _too_large = signal(SignalKind::from_raw(libc::SIGXFSZ))?;
    let asked = hangups()?;
    let bound = Bound::bind_with(config, queues, passed).await?;
    let bound = bound.reloading(source, asked).watching_the_gateway();
    let mut start = Vec::new();
    let _ = announce(&bound, &mut start);
    log::say(String::from_utf8_lossy(&start).trim_end());
    pipelines.add(bound.tap().pipeline());
    let (shutdown, again) = shutdown.split();
    let status = manager::status(&bound);
    let shutdown = async move {
        notify::ready(&status);
        shutdown.await;
        notify::stopping("draining");
    };
    let _watched = Watched::begin();
    tokio::select! {
        () = bound.run(shutdown) => {}
        // A second request means: do not wait for the drain.
        () = again => tracing::warn!("asked to end a second time: every session is cut"),
    }
    Ok(())
}

/// Receives SIGHUP from now on. One that comes while another is being handled is kept; more are
/// dropped.
fn hangups() -> io::Result<mpsc::Receiver<()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let (ask, asked) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let _ = ask.try_send(());
        }
    });
    Ok(asked)
}

/// The queue of records for stdout, if the output format wants any.
pub(crate) fn stdout_queue(output: OutputFormat) -> io::Result<Option<Queue>> {
    let queue = match output {
        OutputFormat::None => return Ok(None),
        OutputFormat::Line => {
            let lines = Lines::new(io::stdout(), Look::stdout);
            Queue::start("stdout", STDOUT_QUEUE, lines)?
        }
        OutputFormat::Json => Queue::start("stdout", STDOUT_QUEUE, JsonLines::new(io::stdout()))?,
    };
    Ok(Some(queue))
}

/// The signals that ask the process to end, handled from construction on: SIGTERM, SIGINT, and
/// those whose default action would end the process without a record.
pub(crate) struct Signals(Vec<Signal>);

/// `SigIgn` in `/proc/self/status` is a mask in hexadecimal; its lowest bit is signal 1 (`proc_pid_status(5)`).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let lowest = mask.and_then(|mask| mask.trim().chars().next_back()?.to_digit(16));
    lowest.is_some_and(|digit| digit & 1 == 1)
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self(vec![
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::quit())?,
            signal(SignalKind::alarm())?,
            signal(SignalKind::user_defined1())?,
            signal(SignalKind::user_defined2())?,
        ]))
    }

    /// SIGHUP as well, unless it is ignored, as under `nohup`.
    pub(crate) fn and_hangup(mut self) -> io::Result<Self> {
        if !ignores_hangup() {
            self.0.push(signal(SignalKind::hangup())?);
        }
        Ok(self)
    }

    /// Completes at the next signal.
    pub(crate) async fn next(&mut self) {
        let any = poll_fn(|cx| {
            let mut signals = self.0.iter_mut();
            if signals.any(|signal| signal.poll_recv(cx).is_ready()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        any.await;
    }

    /// The first signal and the one after it, as two futures.
    fn split(mut self) -> (impl Future<Output = ()>, impl Future<Output = ()>) {
        let (first_sent, first_received) = oneshot::channel();
        let both = async move {
            self.next().await;
            let _ = first_sent.send(());
            self.next().await;
        };
        let first = async move {
            if first_received.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        (first, both)
    }
}

/// Prints where it listens, with which certificate, and where it forwards to.
pub(crate) fn announce(bound: &Bound, out: &mut dyn Write) -> io::Result<()> {
    let tap = bound.tap();
    let config = tap.config();
    writeln!(out, "wstap {}", env!("CARGO_PKG_VERSION"))?;
    for listener in &bound.listeners {
        announce_listener(listener, out)?;
    }
    for socket in &bound.admin {
        writeln!(out, "admin on http://{}", socket.addr)?;
    }
    let gateway = config.gateway();
    writeln!(
        out,
        "forwarding to {} (dialect {})",
        gateway.url(),
        gateway.dialect()
    )?;
    // With the default settings there is nothing to report.
    if *config.origins() != Origins::default() {
        writeln!(out, "origins {}", config.origins())?;
    }
    if let Some(path) = &config.records().path {
        writeln!(out, "records in {}", path.display())?;
    }
    for warning in config.warnings() {
        writeln!(
            out,
            "warning: {}: {}",
            warning.key_path(),
            warning.message()
        )?;
    }
    if let Some(shortage) = open_files::shortage(config.limits().connections) {
        writeln!(out, "warning: limits.connections: {shortage}")?;
    }
    Ok(())
}

/// `http://127.0.0.1:8443`, `http+unix:/run/wstap.sock`
fn url(scheme: &str, place: &ListenAddr) -> String {
    match place {
        ListenAddr::Tcp(addr) => format!("{scheme}://{addr}"),
        ListenAddr::Unix(_) => format!("{scheme}+{place}"),
    }
}

fn announce_listener(listener: &BoundListener, out: &mut dyn Write) -> io::Result<()> {
    let Some(certificate) = &listener.certificate else {
        return writeln!(out, "listening on {}", url("http", &listener.place));
    };
    writeln!(out, "listening on {}", url("https", &listener.place))?;
    for identity in &certificate.identities {
        writeln!(
            out,
            "  certificate sha256 {}, valid until {:.0}, for {}",
            identity.sha256_hex(),
            identity.not_after,
            identity.names.join(", "),
        )?;
    }
    if let Some(auth) = &certificate.policy.client_auth {
        let mode = match auth.mode {
            ClientAuthMode::Required => "required",
            ClientAuthMode::Optional => "asked for",
        };
        writeln!(out, "  client certificates {mode}")?;
    }
    if let Some(files) = &certificate.development {
        writeln!(
            out,
            "  signed by the development CA {} (certs/README.md: how to trust it)",
            files.ca.display(),
        )?;
    }
    Ok(())
}
