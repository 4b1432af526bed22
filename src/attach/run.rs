//! Runs `wstap attach`: the checks, the tap until its last session ends, and the summary.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::accepted;
use super::capacity::Capacity;
use super::checks;
use super::config::{Tls, config};
use super::control::{Asked, Control, Question, ask};
use super::filter::{self, Filter};
use super::gateway::{self, Listeners, Spoken};
use super::guard::{BeginError, Guard, SharedProgress, State};
use super::iproute::RouteError;
use super::nft::{Holder, NftError};
use super::obstacle::Obstacle;
use super::options::{Action, Options};
use super::routes::{Ipv6, Routes};
use super::rules::{self, Plan};
use super::self_check::{self, SelfCheck};
use super::status::{Fixed, TlsWay, now};
use super::tally::Tally;
use super::{others, say};
use crate::admin::open;
use crate::app::{Bound, StartError};
use crate::config::{Config, ConfigErrors, duration_text};
use crate::exit;
use crate::place::{self, EnterError};
use crate::proxy::Tap;
use crate::serve::ending::{RecordPipelines, run_to_the_end};
use crate::serve::{Signals, stdout_queue};
use crate::sink::Queue;
use crate::terminal::{Look, log};
use crate::transport::redirected::{Redirected, SelfChecks, listen_marked};
use crate::transport::{listener, open_files};

/// Maximum number of records that wait to be counted for the summary.
const QUEUE: usize = 8192;

/// How often to check whether the last tapped session has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often to check whether the network namespace still has interfaces.
const INTERFACES_EVERY: Duration = Duration::from_secs(1);

/// How long attaching waits for the gateway's answer. Clients of a gateway that hangs must be
/// tapped at once, too.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Connections that were redirected right before the end get this time to arrive.
const LAST_ARRIVALS: Duration = Duration::from_secs(1);

/// Times before the end at which it is announced.
const ANNOUNCED: [Duration; 7] = [
    Duration::from_hours(1),
    Duration::from_mins(30),
    Duration::from_mins(10),
    Duration::from_mins(5),
    Duration::from_mins(1),
    Duration::from_secs(30),
    Duration::from_secs(10),
];

/// Further announcements, on a terminal only.
const LAST_SECONDS: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(4),
    Duration::from_secs(3),
    Duration::from_secs(2),
    Duration::from_secs(1),
];

/// Attaching failed, or the tap lost its table later. Everything that was changed is undone.
#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error("{}", list(.0))]
    Obstacles(Vec<Obstacle>),
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    Nft(#[from] NftError),
    #[error(transparent)]
    Begin(#[from] BeginError),
    #[error("failed to attach: {0}")]
    Io(#[from] io::Error),
    #[error("failed to attach: TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl AttachError {
    /// Another tap has the name already.
    fn another() -> Self {
        Self::Obstacles(another())
    }
}

fn another() -> Vec<Obstacle> {
    vec![Obstacle {
        what: "another wstap is attached in this network namespace".to_owned(),
        to_do: "`wstap attach --status` shows it, `wstap attach --detach` ends it".to_owned(),
    }]
}

fn list(obstacles: &[Obstacle]) -> String {
    let mut text = "not attached, nothing was changed:".to_owned();
    for Obstacle { what, to_do } in obstacles {
        let _ = write!(text, "\n- {what}\n  to do: {to_do}");
    }
    text
}

/// Runs the command and returns the exit code.
#[must_use]
pub(crate) fn run(options: &Options) -> u8 {
    if let Some(at) = &options.place
        && let Err(error) = place::enter(at)
    {
        return fail(&error.into());
    }
    match options.action() {
        Action::Status => others::status(options),
        Action::Detach => others::detach(),
        Action::DryRun => dry_run(options),
        Action::Attach(time) => attach(options, time),
    }
}

fn fail(error: &AttachError) -> u8 {
    log::say(&format!("wstap: {error}"));
    exit::FAILED
}

fn dry_run(options: &Options) -> u8 {
    let listeners = Listeners::on(options.port());
    let tap_port = match options.tap_port {
        0 => 18790,
        port => port,
    };
    let plan = plan(options, &listeners, tap_port);
    let spoken = match options.identity() {
        Some(_) => gateway::spoken(&listeners, options.port()),
        None => Spoken::Unknown,
    };
    let obstacles = match ask(Question::Status) {
        Ok(Asked::Answer(_) | Asked::Silent(_)) => another(),
        Ok(_) | Err(_) => obstacles(options, &listeners, spoken, &plan),
    };
    let mut text = String::from("# One `nft -i` is kept with these, and ends when wstap does:\n");
    text.push_str(&plan.ruleset());
    text.push_str("# Each second, after a self-check:\n# ");
    text.push_str(&plan.arm(Duration::from_secs(3)));
    text.push('\n');
    for arguments in plan.routes() {
        let _ = writeln!(text, "# ip {arguments}");
    }
    if Filter::read().is_ok_and(|filter| accepted::is_useful(&plan, &filter)) {
        let _ = writeln!(text, "# ip {}", rules::add_marker());
        text.push_str("# sysctl -w net.ipv4.tcp_fwmark_accept=1\n");
    }
    let _ = io::stdout().write_all(text.as_bytes());
    if obstacles.is_empty() {
        exit::OK
    } else {
        fail(&AttachError::Obstacles(obstacles))
    }
}

fn plan(options: &Options, listeners: &Listeners, tap_port: u16) -> Plan {
    Plan {
        port: options.port(),
        tap_port,
        addresses: listeners.to_redirect(),
        local_only: options.local_only,
        timeouts: checks::timeouts(),
    }
}

/// Everything that is missing or in the way.
fn obstacles(
    options: &Options,
    listeners: &Listeners,
    spoken: Spoken,
    plan: &Plan,
) -> Vec<Obstacle> {
    let mut found = checks::tools(options.local_only);
    found.extend(listeners.obstacle(options.port()));
    if options.identity().is_some() {
        found.extend(gateway::tls(spoken, options.port()));
    }
    if !found.is_empty() {
        return found;
    }
    found.extend(checks::kernel(plan));
    match Filter::read() {
        Ok(filter) => found.extend(filter::obstacles(&filter, plan, options.tap_port != 0)),
        Err(error) => found.push(Obstacle {
            what: format!("failed to read the packet filter: {error}"),
            to_do: "use an nft that can print JSON (`nft -j list ruleset` has to work)".to_owned(),
        }),
    }
    found
}

fn attach(options: &Options, time: Duration) -> u8 {
    match ask(Question::Status) {
        Ok(Asked::Nobody) => {}
        Ok(Asked::Stranger(uid)) => return others::stranger(uid),
        Ok(_) => return fail(&AttachError::another()),
        Err(error) => return fail(&error.into()),
    }
    open_files::raise();
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let pipelines = RecordPipelines::default();
    let tally = Tally::default();
    let attached = attached(options, time, &pipelines, &tally);
    match run_to_the_end(runtime, &pipelines, attached) {
        Ok(()) => {
            say::summary(options, &tally);
            exit::OK
        }
        Err(error) => {
            // The tap may have lost its table after an hour.
            if tally.summary().records() > 0 {
                say::summary(options, &tally);
            }
            fail(&error)
        }
    }
}

async fn attached(
    options: &Options,
    time: Duration,
    pipelines: &RecordPipelines,
    tally: &Tally,
) -> Result<(), AttachError> {
    let records = absolute(options.records.as_deref())?;
    let capacity = capacity(options)?;
    // As when the terminal is closed.
    let mut signals = Signals::listen()?.and_hangup()?;
    let own = listen(options.tap_port)?;
    let tap_port = own.local_addr()?.port();
    let listeners = Listeners::on(options.port());
    let plan = plan(options, &listeners, tap_port);
    let (spoken, late) = spoken(options, &listeners).await;
    let obstacles = obstacles(options, &listeners, spoken, &plan);
    if !obstacles.is_empty() {
        return Err(AttachError::Obstacles(obstacles));
    }
    let (config, tls) = configured(options, &listeners, &capacity, records.as_deref())?;
    let unread = Arc::new(AtomicBool::new(spoken == Spoken::Tls && tls.is_none()));
    let filter = Filter::read()?;

    let checks = SelfChecks::default();
    let (servers, stand_ins) = stand_ins()?;
    let queues = stdout_queue(options.output())?.into_iter();
    let queues = queues.chain([Queue::start("summary", QUEUE, tally.clone())?]);
    let exhausted = Arc::<Notify>::default();
    let redirected = Redirected::new(
        own,
        checks.clone(),
        Arc::clone(&unread),
        Arc::clone(&exhausted),
    );
    let bound = Bound::bind_redirected(config, queues.collect(), redirected)?;
    let tap = bound.tap();
    pipelines.add(tap.pipeline());
    let control = Control::bind().map_err(|error| match error.kind() {
        // Another tap was started at the same time.
        io::ErrorKind::AddrInUse => AttachError::another(),
        _ => error.into(),
    })?;

    // Changes begin here, and are undone on every path out.
    let routes = Routes::add(&plan, &filter)?;
    let holder = Holder::create(&plan).await?;
    let fixed = Fixed {
        port: plan.port,
        tap_port,
        namespace: place::current(),
        started: Instant::now(),
        started_at: now(),
        time,
        grace: options.grace,
        unread: Arc::clone(&unread),
        is_terminated: options.identity().is_some(),
        records: records.map(|path| path.display().to_string()),
        fewer_sessions: Some(capacity.sessions).filter(|most| *most < options.max_sessions),
    };
    let progress = SharedProgress::default();
    let mut guard = Guard {
        holder,
        routes,
        plan,
        check: SelfCheck::new(
            checks,
            tap_port,
            stand_ins,
            !options.local_only,
            tls.as_ref().map(Tls::client).transpose()?,
        ),
        tap: Arc::clone(&tap),
        max_sessions: capacity.sessions,
        exhausted,
        progress: progress.clone(),
        tables: filter.others(),
    };
    let (detach, detached) = mpsc::channel(1);
    let mut beside: JoinSet<()> = servers.into_iter().map(self_check::serve).collect();
    if let Some(late) = late {
        beside.spawn(learn(late, unread));
    }
    let answering = tokio::spawn(control.serve(answers(
        Arc::clone(&tap),
        tally.clone(),
        fixed.clone(),
        progress,
        detach,
    )));
    let (end, ended) = oneshot::channel::<()>();
    let serving = bound.run(async {
        // A dropped sender ends it as well.
        let _ = ended.await;
    });
    let driving = async {
        let driven = drive(&mut guard, &tap, &fixed, &listeners, &mut signals, detached).await;
        let _ = end.send(());
        driven
    };
    let ((), driven) = tokio::join!(serving, driving);
    beside.abort_all();
    let Guard { holder, routes, .. } = guard;
    let closed = holder.close().await;
    // Drop it while we still have the name, so that no other tap is adding the rules that this
    // removes.
    drop(routes);
    answering.abort();
    driven?;
    Ok(closed?)
}

/// The gateway's protocol, and the receiver of a late answer.
async fn spoken(
    options: &Options,
    listeners: &Listeners,
) -> (Spoken, Option<oneshot::Receiver<Spoken>>) {
    let mut asking = gateway::ask_in_background(listeners, options.port());
    let limit = match options.identity() {
        // The gateway's certificate has to be pinned first.
        Some(_) => Duration::MAX,
        None => AT_ONCE,
    };
    // Without an answer each connection is judged by its first byte alone.
    match timeout(limit, &mut asking).await {
        Ok(spoken) => (spoken.unwrap_or(Spoken::Unknown), None),
        Err(_) => (Spoken::Unknown, Some(asking)),
    }
}

/// Waits for the late answer of a gateway.
async fn learn(late: oneshot::Receiver<Spoken>, unread: Arc<AtomicBool>) {
    if late.await == Ok(Spoken::Tls) {
        unread.store(true, Ordering::Relaxed);
        log::say(TlsWay::Unread.words());
    }
}

fn absolute(path: Option<&Path>) -> io::Result<Option<PathBuf>> {
    path.map(std::path::absolute).transpose()
}

/// Computes how many sessions are possible.
fn capacity(options: &Options) -> Result<Capacity, AttachError> {
    let capacity = Capacity::new(options.max_sessions, open_files::room());
    match capacity.obstacle() {
        Some(obstacle) => Err(AttachError::Obstacles(vec![obstacle])),
        None => Ok(capacity),
    }
}

/// Listeners that take the place of the gateway in self-checks, with their addresses.
fn stand_ins() -> io::Result<(Vec<TcpListener>, Vec<SocketAddr>)> {
    let mut servers = vec![listen_marked(Ipv4Addr::LOCALHOST.into())?];
    if Ipv6::here() == Ipv6::Usable {
        servers.push(listen_marked(Ipv6Addr::LOCALHOST.into())?);
    }
    let addresses = servers.iter().map(TcpListener::local_addr);
    let addresses = addresses.collect::<io::Result<_>>()?;
    Ok((servers, addresses))
}

/// A listener on this port, on all addresses.
fn listen(port: u16) -> io::Result<TcpListener> {
    let bind = |ip: IpAddr| listener::bind(SocketAddr::new(ip, port));
    // Without IPv6 in this namespace there is no dual-stack socket.
    bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|_| bind(Ipv4Addr::UNSPECIFIED.into()))
}

/// The configuration, and how a gateway's TLS is read where its certificate and key were given.
fn configured(
    options: &Options,
    listeners: &Listeners,
    capacity: &Capacity,
    records: Option<&Path>,
) -> Result<(Config, Option<Tls>), AttachError> {
    let tls = match options.identity() {
        None => None,
        Some((cert, key)) => Some(Tls {
            cert: std::path::absolute(cert)?,
            key: std::path::absolute(key)?,
            shown: gateway::certificate(listeners, options.port())?,
        }),
    };
    let config = config(
        options.port(),
        options.dialect,
        capacity.connections,
        records,
        tls.as_ref(),
    )
    .map_err(|errors| match gateway::identity(&errors) {
        // Name the flags, not the keys of the configuration that is built from them.
        obstacles if obstacles.is_empty() => errors.into(),
        obstacles => AttachError::Obstacles(obstacles),
    })?;
    let other = tls
        .as_ref()
        .and_then(|tls| gateway::same_certificate(&config, tls.shown));
    match other {
        Some(obstacle) => Err(AttachError::Obstacles(vec![obstacle])),
        None => Ok((config, tls)),
    }
}

/// Answers other shells.
fn answers(
    tap: Arc<Tap>,
    tally: Tally,
    fixed: Fixed,
    progress: SharedProgress,
    detach: mpsc::Sender<()>,
) -> impl Fn(Question) -> String {
    move |question| match question {
        Question::Status => {
            let sessions = open::look(tap.pipeline(), now());
            let ended = tally.summary().records();
            let status = fixed.status(&progress, sessions, ended);
            serde_json::to_string(&status).unwrap_or_default()
        }
        Question::Detach => {
            // Read this before the request, which may take effect at once.
            let is_leaving = progress.lock().state == State::Leaving;
            let _ = detach.try_send(());
            if is_leaving {
                return "tapped sessions are cut now".to_owned();
            }
            format!(
                "detached: new connections go straight to the gateway. Tapped sessions that are open may \
                 live on for {} (a second --detach cuts them).",
                duration_text(fixed.grace)
            )
        }
    }
}

/// Why the tap ends.
enum End {
    Time,
    Asked,
    Gone(NftError),
    /// The network namespace lost its interfaces.
    Unplugged,
}

/// Runs from the first check to the end of the last tapped session, or of the grace period.
async fn drive(
    guard: &mut Guard,
    tap: &Tap,
    fixed: &Fixed,
    listeners: &Listeners,
    signals: &mut Signals,
    mut detached: mpsc::Receiver<()>,
) -> Result<(), AttachError> {
    guard.begin().await?;
    say::attached(fixed, listeners, guard.plan.local_only);
    let end = tokio::select! {
        gone = guard.keep() => End::Gone(gone),
        () = until(fixed) => End::Time,
        () = unplugged() => End::Unplugged,
        () = signals.next() => End::Asked,
        _ = detached.recv() => End::Asked,
    };
    guard.leave().await;
    let why = match &end {
        End::Time => "the time is over",
        End::Asked => "as requested",
        End::Gone(_) => "the table is gone",
        End::Unplugged => {
            "this network namespace has lost its interfaces, as when a container stops or restarts (attach again)"
        }
    };
    say::detached(why, tap.connections(), fixed.grace);
    if let End::Gone(error) = end {
        // Without the table no packet of a tapped session passes, not even its end. Create it again without a
        // redirect, so that both peers see their sessions end.
        if let Ok(holder) = Holder::create(&guard.plan).await {
            guard.holder = holder;
        }
        return Err(error.into());
    }
    if matches!(end, End::Unplugged) {
        // No packets arrive any more.
        return Ok(());
    }
    let rest = async {
        // The last redirected connections may still be in their TCP handshake.
        sleep(LAST_ARRIVALS.min(fixed.grace)).await;
        last_session(tap).await;
    };
    tokio::select! {
        () = rest => {}
        () = sleep(fixed.grace) => {}
        () = signals.next() => {}
        _ = detached.recv() => {}
    }
    Ok(())
}

async fn last_session(tap: &Tap) {
    while tap.connections() > 0 {
        sleep(LOOK_EVERY).await;
    }
}

/// Waits until the network namespace has lost all interfaces that lead out of it; forever if it has
/// none now. An engine removes them when a container stops, and then there is nothing left to tap.
async fn unplugged() {
    if !place::has_interface() {
        std::future::pending::<()>().await;
    }
    while place::has_interface() {
        sleep(INTERFACES_EVERY).await;
    }
}

/// Waits until the time is over, and announces the end in advance.
async fn until(fixed: &Fixed) {
    let last = match Look::stderr().width {
        Some(_) => LAST_SECONDS.as_slice(),
        None => &[],
    };
    for before in ANNOUNCED.iter().chain(last).copied() {
        let Some(after) = fixed
            .time
            .checked_sub(before)
            .filter(|time| !time.is_zero())
        else {
            continue;
        };
        sleep_until((fixed.started + after).into()).await;
        log::say(&format!("ends in {}", duration_text(before)));
    }
    sleep_until((fixed.started + fixed.time).into()).await;
}
