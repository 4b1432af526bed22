//! `wstap demo`: a stand-in gateway, the tap with TLS in front of it, and a scripted set of good
//! and faulty sessions through real sockets. The output comes from the same records, rules and
//! sinks as in `wstap serve`.

mod client;
mod error;
mod gateway;
mod scenes;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::timeout;

use self::client::Trust;
use self::error::DemoError;
use self::gateway::StandIn;
use self::scenes::{SCENES, Scene, TapSetup};
use crate::app::Bound;
use crate::config::{self, Config, Overrides};
use crate::exit;
use crate::serve::Signals;
use crate::serve::ending::{RecordPipelines, run_to_the_end};
use crate::session::SessionRecord;
use crate::session::record::Kind;
use crate::sink::line::session_lines;
use crate::sink::{Consumer, Queue};
use crate::terminal::Look;

/// How long a scene's record may take; the slowest scene takes about two seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// Arguments of `wstap demo`.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Exit after the table.
    pub once: bool,
    /// Records as JSON lines on stdout, everything else on stderr.
    pub json: bool,
    /// Where the development certificate is kept.
    pub state_dir: Option<PathBuf>,
}

/// Runs the demo and returns the exit code: 1 if a verdict was not the expected one.
#[must_use]
pub(crate) fn run(options: &Options) -> u8 {
    let mut err = io::stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(err, "wstap: failed to start the runtime: {error}");
            return exit::INTERNAL;
        }
    };
    let mut out = Output { json: options.json };
    let (sender, mut records) = unbounded_channel();
    let pipelines = RecordPipelines::default();
    let playing = play(options, &mut out, (&sender, &mut records), &pipelines);
    let played = run_to_the_end(runtime, &pipelines, playing);
    // Discard records of sessions that were opened by hand.
    while let Ok(record) = records.try_recv() {
        out.record(&record);
    }
    match played {
        Ok(true) => exit::OK,
        Ok(false) => exit::FAILED,
        Err(error) => {
            let text = Look::stderr().fit(&format!("wstap: {error}"));
            let _ = writeln!(err, "{text}");
            match error {
                DemoError::NoRecord(_) => exit::FAILED,
                _ => exit::USAGE,
            }
        }
    }
}

/// Hands records to the script.
struct ToScript(UnboundedSender<SessionRecord>);

impl Consumer for ToScript {
    fn consume(&mut self, record: &SessionRecord) -> io::Result<()> {
        self.0
            .send(record.clone())
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A tap of the demo.
struct Stage {
    addr: SocketAddr,
    bound: Bound,
}

async fn play(
    options: &Options,
    out: &mut Output,
    (sender, records): (
        &UnboundedSender<SessionRecord>,
        &mut UnboundedReceiver<SessionRecord>,
    ),
    pipelines: &RecordPipelines,
) -> Result<bool, DemoError> {
    let mut shutdown = Signals::listen()?;
    let stand_in = StandIn::start().await?;
    let good = format!("http://{}", stand_in.addr());
    let nobody = format!("http://{}", scenes::refusing_address().await?);
    let stage = async |gateway: &str, more: &str| {
        let config = stage_config(gateway, more, options.state_dir.as_deref())?;
        let queue = Queue::start("demo", 1024, ToScript(sender.clone()))?;
        let bound = Bound::bind(config, vec![queue]).await?;
        pipelines.add(bound.tap().pipeline());
        let addr = bound
            .listeners
            .first()
            .and_then(|listener| listener.place.addr());
        let addr = addr.ok_or_else(|| io::Error::other("no listener"))?;
        Ok::<Stage, DemoError>(Stage { addr, bound })
    };
    let main = stage(&good, "").await?;
    let impatient = stage(&good, "timeouts: { idle: 1s }").await?;
    let orphan = stage(&nobody, "").await?;
    let guarded = stage(&good, "origins: { allowed: [\"https://claw.example\"] }").await?;
    let ca = ca_file(&main.bound)?;
    let trust = Trust::new(&ca)?;
    let addresses = [main.addr, impatient.addr, orphan.addr, guarded.addr];

    let title = format!(
        "wstap {} demo: client ⇄ TLS ⇄ tap {} ⇄ stand-in gateway {}\n",
        env!("CARGO_PKG_VERSION"),
        main.addr,
        stand_in.addr(),
    );
    out.say(&out.look().fit(&title));
    let (stop, stopped) = watch::channel(());
    let running: Vec<_> = [main, impatient, orphan, guarded]
        .into_iter()
        .map(|stage| {
            let mut stopped = stopped.clone();
            tokio::spawn(stage.bound.run(async move {
                let _ = stopped.changed().await;
            }))
        })
        .collect();

    let mut played = Vec::new();
    for scene in SCENES {
        let addr = match scene.way {
            TapSetup::Usual => addresses[0],
            TapSetup::Impatient => addresses[1],
            TapSetup::Orphan => addresses[2],
            TapSetup::Guarded => addresses[3],
        };
        out.say(&format!("▸ {}", scene.title));
        let record = perform(scene, addr, &trust, records).await?;
        out.record(&record);
        played.push((scene, record));
    }
    let fine = played.iter().all(|(scene, record)| expected(scene, record));
    out.say(&table(&played, out.look().page()));
    if !options.once {
        out.say(&by_hand(addresses[0], &ca));
        loop {
            tokio::select! {
                () = shutdown.next() => break,
                Some(record) = records.recv() => out.record(&record),
            }
        }
    }
    drop(stop);
    for task in running {
        let _ = task.await;
    }
    Ok(fine)
}

fn stage_config(
    gateway: &str,
    more: &str,
    state_dir: Option<&Path>,
) -> Result<Config, config::ConfigErrors> {
    let text = format!(
        "listeners:\n  - listen: 127.0.0.1:0\n    tls: {{ self_signed: {{ names: [localhost, wstap] }} }}\n\
         gateway: {{ url: \"{gateway}\" }}\nrecords: {{ http: all, connections: all, repeats: each }}\n{more}\n"
    );
    let overrides = Overrides {
        state_dir: state_dir.map(Path::to_owned),
        ..Overrides::default()
    };
    config::parse(&text, Path::new("demo"), &overrides)
}

fn ca_file(bound: &Bound) -> io::Result<PathBuf> {
    bound
        .listeners
        .first()
        .and_then(|listener| listener.certificate.as_ref())
        .and_then(|certificate| certificate.development.as_ref())
        .map(|files| files.ca.clone())
        .ok_or_else(|| io::Error::other("the demo has no development certificate"))
}

/// Plays one scene and waits for the record of its session.
async fn perform(
    scene: &'static Scene,
    addr: SocketAddr,
    trust: &Trust,
    records: &mut UnboundedReceiver<SessionRecord>,
) -> Result<SessionRecord, DemoError> {
    // A scene's client may fail: that can be the scene itself. Only the record counts.
    let acting = timeout(PATIENCE, scene.act(addr, trust));
    if let Ok(Err(error)) = acting.await {
        tracing::debug!(scene = scene.title, %error, "the scene's client ended");
    }
    let waiting = async {
        loop {
            match records.recv().await {
                Some(record) if record.kind == Kind::Websocket => return Some(record),
                Some(_) => {}
                None => return None,
            }
        }
    };
    let record = timeout(PATIENCE, waiting).await.ok().flatten();
    record.ok_or(DemoError::NoRecord(scene.title))
}

fn expected(scene: &Scene, record: &SessionRecord) -> bool {
    record
        .verdict
        .as_ref()
        .is_some_and(|verdict| verdict.class == scene.expected)
}

fn table(played: &[(&Scene, SessionRecord)], width: usize) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(u16::MAX))
        .set_header(["session", "client saw", "verdict", "to act"]);
    for (scene, record) in played {
        let saw = match (record.close.client_saw, &record.answer) {
            (Some(saw), _) => saw.code.to_string(),
            (None, Some(answer)) if !record.had_tunnel() => format!("HTTP {}", answer.status),
            _ => "(it left)".to_owned(),
        };
        let Some(verdict) = &record.verdict else {
            continue;
        };
        let class = if expected(scene, record) {
            verdict.class.as_str().to_owned()
        } else {
            format!("{} (expected {})", verdict.class, scene.expected)
        };
        table.add_row([scene.title.to_owned(), saw, class, word(&verdict.act_on)]);
    }
    let right = played
        .iter()
        .filter(|(scene, record)| expected(scene, record))
        .count();
    format!(
        "\n{table}\n{right} of {} verdicts as expected\n",
        played.len()
    )
}

/// The word by which a fact is recorded.
fn word(fact: &impl serde::Serialize) -> String {
    match serde_json::to_value(fact) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn by_hand(addr: SocketAddr, ca: &Path) -> String {
    let (port, ca, token) = (addr.port(), ca.display(), gateway::TOKEN);
    format!(
        "The tap stays up. Try it by hand, each session is shown here:\n\
         \n  curl --cacert {ca} https://localhost:{port}/healthz\
         \n  NODE_EXTRA_CA_CERTS={ca} openclaw gateway call health \\\
         \n      --url wss://localhost:{port} --token {token}\
         \n  (any other token is refused)\n\
         \nCtrl-C ends it."
    )
}

/// Output of the demo's text.
struct Output {
    json: bool,
}

impl Output {
    /// The current look of the text's stream.
    fn look(&self) -> Look {
        if self.json {
            Look::stderr()
        } else {
            Look::stdout()
        }
    }

    fn say(&mut self, text: &str) {
        let _ = if self.json {
            writeln!(io::stderr(), "{text}")
        } else {
            writeln!(io::stdout(), "{text}")
        };
    }

    fn record(&mut self, record: &SessionRecord) {
        let _ = if self.json {
            serde_json::to_string(record)
                .map_err(io::Error::from)
                .and_then(|line| writeln!(io::stdout(), "{line}"))
        } else {
            write!(io::stdout(), "{}", session_lines(record, self.look()))
        };
    }
}
