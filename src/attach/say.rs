//! Messages on stderr: at the beginning, when the redirect ends, and the summary.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use super::gateway::Listeners;
use super::options::Options;
use super::status::Fixed;
use super::tally::Tally;
use crate::config::{OutputFormat, duration_text};
use crate::explain::source::Unread;
use crate::terminal::{Look, log};
use crate::transport::holder::Holder;

/// Reports that new connections are tapped from now on.
pub(super) fn attached(fixed: &Fixed, listeners: &Listeners, local_only: bool) {
    let whose = if local_only {
        "new local connections"
    } else {
        "new connections"
    };
    let gateway = match &listeners.holder {
        None => "nothing listens on the port now".to_owned(),
        Some(Holder::Process { name, pid }) => format!("the gateway is {name} (pid {pid})"),
        Some(Holder::Ourselves | Holder::Unseen) => {
            "the gateway's process is not visible from here".to_owned()
        }
    };
    let records = match &fixed.records {
        Some(path) => format!("records in {path}"),
        None => "no records file (--records FILE)".to_owned(),
    };
    let mut text = format!("wstap {}\n", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(
        text,
        "attached to port {} in {}: {whose} pass through the tap",
        fixed.port, fixed.namespace
    );
    let _ = writeln!(
        text,
        "  ends at {:.0}, in {}; `wstap attach --detach` or Ctrl-C ends it earlier",
        fixed.ends_at().0,
        duration_text(fixed.time)
    );
    let _ = write!(text, "  {gateway}\n  {records}");
    if let Some(sessions) = fixed.fewer_sessions {
        let _ = write!(
            text,
            "\n  {sessions} sessions at the same time, fewer than --max-sessions: the limit of open files is too low \
             (ulimit -Hn, or --ulimit nofile of docker run)"
        );
    }
    if let Some(tls) = fixed.tls() {
        let _ = write!(text, "\n  {}", tls.words());
    }
    log::say(&text);
}

/// Reports that new connections go straight to the gateway from now on; `open` tapped ones remain.
pub(super) fn detached(why: &str, open: usize, grace: Duration) {
    let rest = match open {
        0 => String::new(),
        1 => format!(
            ". 1 tapped connection may live on for {} (Ctrl-C cuts it)",
            duration_text(grace)
        ),
        open => format!(
            ". {open} tapped connections may live on for {} (Ctrl-C cuts them)",
            duration_text(grace)
        ),
    };
    log::say(&format!(
        "detached, {why}: new connections go straight to the gateway{rest}"
    ));
}

/// Prints the summary of the sessions.
pub(super) fn summary(options: &Options, tally: &Tally) {
    let summary = tally.summary();
    if summary.records() == 0 && !options.json {
        log::say("no session was tapped");
        return;
    }
    let title = options.records.as_ref().map_or_else(
        || "tapped sessions".to_owned(),
        |path| path.display().to_string(),
    );
    let unread = Unread::default();
    if !options.json {
        log::write(&summary.page(&title, &unread, 0, Look::stderr().page()));
        return;
    }
    let text = format!("{}\n", summary.json(&title, &unread));
    // Not if stdout already has the sessions.
    if options.output() == OutputFormat::None {
        let _ = io::stdout().write_all(text.as_bytes());
    } else {
        log::write(&text);
    }
}
