//! Lines about sessions, for people.
//!
//! The first line says who the client was, how long the session lasted, what each end saw and why;
//! the second what to do (or, if all is well, what the session was about) and the id for `wstap
//! explain`. On a terminal both lines are wrapped at its width and the id is the short one;
//! elsewhere each is a single line with the whole id, for `grep`. Repetitions are shortened
//! (`again`). Everything that a peer wrote was escaped when it was recorded.

mod again;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Color, Style};

use self::again::{Again, Say};
use super::batch::Batch;
use super::{Consumer, Flushed, Unwritten};
use crate::session::SessionRecord;
use crate::session::moment::Moment;
use crate::session::record::{Class, Kind, Saw, SawBasis};
use crate::session::short_id;
use crate::terminal::Look;
use crate::terminal::text::{columns, cut, fit, wrap};
use crate::verdict::view::{human_bytes, human_ms};

/// Column at which the text after a line's time begins.
const INDENT: usize = 10;

/// Interval at which repeated endings are checked for a line that is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Writes lines to a writer: the lines of all waiting sessions at once.
pub(crate) struct Lines<W> {
    writer: W,
    /// Queried for every session: a terminal can change its size.
    look: Box<dyn Fn() -> Look + Send>,
    again: Again,
    batch: Batch,
    torn: bool,
}

impl<W> std::fmt::Debug for Lines<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl<W> Lines<W> {
    /// Creates lines for this writer. `look` says how they are formatted.
    pub(crate) fn new(writer: W, look: impl Fn() -> Look + Send + 'static) -> Self {
        Self {
            writer,
            look: Box::new(look),
            again: Again::default(),
            batch: Batch::default(),
            torn: false,
        }
    }

    fn take(&mut self, record: &SessionRecord, now: Instant) -> io::Result<()> {
        let look = (self.look)();
        let text = match self.again.say(record, now) {
            Say::InFull => session_lines(record, look),
            Say::Again { count, over } => again_line(record, look, count, over),
            Say::Nothing => String::new(),
        };
        self.batch.add(|bytes| bytes.write_all(text.as_bytes()))
    }
}

impl<W: Write> Lines<W> {
    /// Writes a text that does not belong to one record; it is not counted.
    fn write_now(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.torn) {
            self.writer.write_all(b"\n")?;
        }
        let written = self.writer.write_all(text.as_bytes());
        self.torn = written.is_err();
        written.and_then(|()| self.writer.flush())
    }

    fn write_repeats(&mut self, due: &[again::Unreported]) -> io::Result<()> {
        let look = (self.look)();
        let lines = due
            .iter()
            .map(|(record, count, over)| again_line(record, look, *count, *over));
        let text: String = lines.collect();
        self.write_now(&text)
    }
}

impl<W: Write + Send + 'static> Consumer for Lines<W> {
    fn consume(&mut self, record: &SessionRecord) -> io::Result<()> {
        self.take(record, Instant::now())
    }

    fn has_much(&self) -> bool {
        self.batch.has_much()
    }

    fn flush(&mut self) -> Result<Flushed, Unwritten> {
        self.batch.write_next(&mut self.writer, &mut self.torn)
    }

    fn looks_every(&self) -> Option<Duration> {
        self.again.waits().then_some(LOOK_EVERY)
    }

    fn look(&mut self) -> io::Result<()> {
        let due = self.again.due(Instant::now());
        self.write_repeats(&due)
    }

    fn notice(&mut self, text: &str, at: Moment) -> io::Result<()> {
        let text = notice_line(text, at, (self.look)());
        self.write_now(&text)
    }

    fn finish(&mut self) -> io::Result<()> {
        let rest = self.again.rest(Instant::now());
        self.write_repeats(&rest)
    }
}

/// The lines of a judged record, with line ends.
#[must_use]
pub(crate) fn session_lines(record: &SessionRecord, look: Look) -> String {
    let mut text = String::new();
    let Some(verdict) = &record.verdict else {
        return text;
    };
    let why = why(record, &verdict.summary);
    first_line(&mut text, record, verdict.class, &why, look);
    let about = verdict.class.is_fine().then(|| about(record)).flatten();
    match about {
        Some(about) => paragraph(&mut text, &about, DIM, record, look),
        None => paragraph(
            &mut text,
            &format!("next: {}", verdict.next),
            NEXT,
            record,
            look,
        ),
    }
    text
}

/// The summary, and the number of sessions that a joined record stands for.
fn why(record: &SessionRecord, summary: &str) -> String {
    let Some(repeats) = record.repeats else {
        return summary.to_owned();
    };
    let of = if repeats.many_clients {
        " of many clients"
    } else {
        ""
    };
    let since = clock(repeats.first_at);
    format!("{summary} ({} times{of} since {since})", repeats.count)
}

/// One line for an ending that was printed in full before.
fn again_line(record: &SessionRecord, look: Look, count: u64, over: Duration) -> String {
    let mut text = String::new();
    let Some(verdict) = &record.verdict else {
        return text;
    };
    let times = match count {
        1 => String::new(),
        count => format!(", {count} times in {} s", over.as_secs().max(1)),
    };
    let why = why(record, &verdict.summary);
    let why = format!("again{times}: {why} {}", id(record, look));
    first_line(&mut text, record, verdict.class, &why, look);
    text
}

/// `12:05:24Z gateway             …`: an event outside any session.
fn notice_line(notice: &str, at: Moment, look: Look) -> String {
    let bold = if look.styled { NEXT } else { Style::new() };
    let head = format!("{} {:<19} ", clock(at), "gateway");
    let mut text = head.clone();
    match look.width {
        Some(width) if columns(&head) + columns(notice) > width => {
            text.truncate(head.trim_end().len());
            for line in wrap(notice, width.saturating_sub(INDENT)) {
                let _ = write!(text, "\n{:INDENT$}{bold}{line}{bold:#}", "");
            }
            text.push('\n');
        }
        _ => {
            let _ = writeln!(text, "{bold}{notice}{bold:#}");
        }
    }
    text
}

/// The time, the class, who it was, what each end saw, and why.
fn first_line(text: &mut String, record: &SessionRecord, class: Class, why: &str, look: Look) {
    let name = class.as_str();
    let head = format!("{} {name:<19} {}", clock(record.closed_at), subject(record));
    let rest = match saw(record) {
        Some(saw) => format!("  {saw}: {why}"),
        None => format!(": {why}"),
    };
    let lines = match look.width {
        Some(width) if columns(&head) + columns(&rest) > width => {
            let mut lines = fit(&head, width);
            let rest = rest.trim_start_matches([':', ' ']);
            for line in wrap(rest, width.saturating_sub(INDENT)) {
                let _ = write!(lines, "\n{:INDENT$}{line}", "");
            }
            lines
        }
        _ => format!("{head}{rest}"),
    };
    match lines.split_once(name) {
        Some((before, after)) if look.styled => {
            let style = style(class);
            let _ = writeln!(text, "{before}{style}{name}{style:#}{after}");
        }
        _ => {
            let _ = writeln!(text, "{lines}");
        }
    }
}

/// An indented text, then the session's id.
fn paragraph(text: &mut String, content: &str, style: Style, record: &SessionRecord, look: Look) {
    let (style, dim) = if look.styled {
        (style, DIM)
    } else {
        (Style::new(), Style::new())
    };
    let id = id(record, look);
    let lines = match look.width {
        Some(width) => wrap(content, width.saturating_sub(INDENT)),
        None => vec![content.to_owned()],
    };
    let mut used = 0;
    for (index, line) in lines.iter().enumerate() {
        let end = if index == 0 { "" } else { "\n" };
        let _ = write!(text, "{end}{:INDENT$}{style}{line}{style:#}", "");
        used = INDENT + columns(line);
    }
    let fits = look
        .width
        .is_none_or(|width| used + 1 + columns(&id) <= width);
    if fits {
        let _ = writeln!(text, " {dim}{id}{dim:#}");
    } else {
        let _ = writeln!(text, "\n{:INDENT$}{dim}{id}{dim:#}", "");
    }
}

/// `[session 2926b0b1]`, or the whole id where nobody has to type it.
fn id(record: &SessionRecord, look: Look) -> String {
    match look.width {
        Some(_) => format!("[session {}]", short_id::of(record.id)),
        None => format!("[session {}]", record.id),
    }
}

/// `12:05:24Z`
fn clock(at: Moment) -> String {
    let text = at.to_string();
    text.get(11..19)
        .map_or_else(String::new, |time| format!("{time}Z"))
}

/// `127.0.0.1:50344 /ws 38 ms`
fn subject(record: &SessionRecord) -> String {
    let mut text = record.client.addr.clone();
    if let Some(request) = &record.request {
        if record.kind == Kind::Http {
            let _ = write!(text, " {}", request.method);
        }
        let _ = write!(text, " {}", cut(request.path.as_str(), 48));
    }
    let _ = write!(text, " {}", human_ms(record.duration_ms));
    text
}

/// What each end saw: the close codes of a tunnel, otherwise the status of the answer.
fn saw(record: &SessionRecord) -> Option<String> {
    if !record.had_tunnel() {
        let answer = record.answer.as_ref()?;
        return Some(format!("client saw HTTP {}", answer.status));
    }
    let one = |who: &str, saw: Option<Saw>| match saw {
        None => format!("{who} was gone"),
        Some(saw) if saw.basis == SawBasis::Undelivered => {
            format!("{who} saw {} (undelivered)", saw.code)
        }
        Some(saw) => format!("{who} saw {}", saw.code),
    };
    let client = one("client", record.close.client_saw);
    // If the tap itself answered, no gateway was involved.
    Some(match record.gateway {
        Some(_) => format!("{client}, {}", one("gateway", record.close.gateway_saw)),
        None => client,
    })
}

/// The second line of a session that went well.
fn about(record: &SessionRecord) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(frames) = &record.frames {
        let (up, down) = (&frames.to_gateway, &frames.to_client);
        parts.push(format!(
            "{} {} to the gateway ({}), {} to the client ({})",
            up.messages,
            if up.messages == 1 {
                "message"
            } else {
                "messages"
            },
            human_bytes(up.wire_bytes),
            down.messages,
            human_bytes(down.wire_bytes),
        ));
    }
    let said = record.application();
    if said.client_id.is_some() || said.client_version.is_some() {
        let who: Vec<&str> = [said.client_id, said.client_version]
            .into_iter()
            .flatten()
            .map(super::super::session::text::PeerText::as_str)
            .collect();
        parts.push(who.join(" "));
    }
    // If there are several, it is not known which one let it in.
    let mut looked_at = record
        .auth
        .iter()
        .filter(|auth| auth.effective == Some(true));
    if let (Some(credential), None) = (looked_at.next(), looked_at.next()) {
        parts.push(format!("credential {}", credential.fingerprint));
    }
    if let (Kind::Http, Some(answer)) = (record.kind, &record.answer) {
        parts.push(human_bytes(answer.body_bytes.unwrap_or(0)));
    }
    parts.retain(|part| !part.is_empty());
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The next action: the most visible part.
const NEXT: Style = Style::new()
    .fg_color(Some(Color::Ansi(AnsiColor::Cyan)))
    .bold();

/// Details for those who look for them.
const DIM: Style = Style::new().dimmed();

fn style(class: Class) -> Style {
    let colour = match class {
        Class::Ok | Class::Probe => AnsiColor::Green,
        Class::ClientLeft | Class::ClientClosed | Class::TapDrain | Class::GatewayLifecycle => {
            AnsiColor::Yellow
        }
        _ => AnsiColor::Red,
    };
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::Repeats;
    use crate::verdict;

    /// A rule's fixture, judged.
    fn fixture(rule: &str) -> SessionRecord {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/verdicts");
        let text = std::fs::read(format!("{folder}/{rule}.json")).unwrap();
        let mut record: SessionRecord = serde_json::from_slice(&text).unwrap();
        record.verdict = Some(verdict::decide(&record));
        record
    }

    fn lines(rule: &str) -> String {
        session_lines(&fixture(rule), Look::PLAIN)
    }

    const STYLED: Look = Look {
        styled: true,
        width: None,
    };

    fn terminal(width: usize) -> Look {
        Look {
            styled: true,
            width: Some(width),
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn without_styles_only_the_styles_are_missing() {
        for rule in verdict::rules() {
            let record = fixture(rule.id);
            for look in [STYLED, terminal(80)] {
                let styled = session_lines(&record, look);
                let bare = Look {
                    styled: false,
                    ..look
                };
                assert_ne!(styled, plain(&styled));
                assert_eq!(plain(&styled), session_lines(&record, bare));
            }
        }
    }

    #[test]
    fn on_a_terminal_every_line_fits_and_nothing_is_lost() {
        for rule in verdict::rules() {
            let record = fixture(rule.id);
            let dense = |text: &str| text.replace([' ', '\n', ':'], "");
            let id = |id: &str| format!("[session {id}]");
            let whole = id(&record.id.to_string());
            let piped =
                session_lines(&record, Look::PLAIN).replace(&whole, &id(&short_id::of(record.id)));
            for width in [60, 80, 120] {
                let text = plain(&session_lines(&record, terminal(width)));
                for line in text.lines() {
                    assert!(columns(line) <= width, "{width}: {line}");
                }
                let indented = text.lines().skip(1);
                assert!(
                    indented.into_iter().all(|line| line.starts_with("  ")),
                    "{text}"
                );
                assert_eq!(dense(&text), dense(&piped), "{width}");
            }
        }
    }

    #[test]
    fn what_to_do_stands_out_and_the_short_id_is_on_the_line() {
        let record = fixture("gateway.auth.token_mismatch");
        let text = session_lines(&record, terminal(80));
        let mark = NEXT.to_string();
        let marked: Vec<&str> = text.lines().filter(|line| line.contains(&mark)).collect();
        assert!(
            marked[0].trim_start().starts_with(&format!("{mark}next: ")),
            "{text}"
        );
        assert!(marked.len() > 1, "{text}");
        let short = format!("[session {}]", short_id::of(record.id));
        assert!(text.contains(&short) && !text.contains(&record.id.to_string()));
    }

    #[test]
    fn endings_that_repeat_are_told_in_short() {
        let mut consumer = Lines::new(Vec::new(), || Look::PLAIN);
        let (record, start) = (fixture("gateway.auth.token_mismatch"), Instant::now());
        for second in 0..13 {
            consumer
                .take(&record, start + Duration::from_secs(second))
                .unwrap();
        }
        consumer.flush().unwrap();
        let due = consumer.again.due(start + Duration::from_mins(1));
        consumer.write_repeats(&due).unwrap();
        let text = String::from_utf8(consumer.writer.clone()).unwrap();
        let again: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once(": again").map(|(_, rest)| rest))
            .map(|rest| rest.split_once(':').unwrap().0)
            .collect();
        let times = [
            "",
            ", 2 times in 2 s",
            ", 4 times in 4 s",
            ", 8 times in 8 s",
            ", 12 times in 60 s",
        ];
        assert_eq!(again, times, "{text}");
        assert_eq!(text.matches("next: ").count(), 1);
    }

    #[test]
    fn lines_of_many_sessions_are_written_at_once() {
        #[derive(Default)]
        struct Writes(std::sync::Arc<std::sync::Mutex<Vec<String>>>);
        impl Write for Writes {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                self.0.lock().unwrap().push(text);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (writes, record) = (Writes::default(), fixture("ok.client_closed"));
        let seen = std::sync::Arc::clone(&writes.0);
        let mut consumer = Lines::new(writes, || Look::PLAIN);
        let others: Vec<SessionRecord> = (0..3)
            .map(|host| {
                let mut record = record.clone();
                record.client.addr = format!("192.0.2.{host}:1");
                record
            })
            .collect();
        for record in &others {
            consumer.consume(record).unwrap();
        }
        assert!(seen.lock().unwrap().is_empty());
        assert_eq!(consumer.flush().unwrap(), Flushed::All);
        let once: String = others
            .iter()
            .map(|record| session_lines(record, Look::PLAIN))
            .collect();
        assert_eq!(*seen.lock().unwrap(), [once]);
        while !consumer.has_much() {
            consumer.consume(&record).unwrap();
        }
    }

    #[test]
    fn a_failed_session_is_told_in_two_lines() {
        let all = [
            "gateway.auth.token_mismatch",
            "gateway.left.open",
            "client.left.open",
            "gateway.unreachable.dns",
            "tap.denied.origin",
            "client.fault.tls",
            "http.error.client",
            "ok.client_closed",
        ];
        insta::assert_snapshot!(all.map(lines).concat());
        let on_a_terminal = |width: usize| {
            let lines = all.map(|rule| plain(&session_lines(&fixture(rule), terminal(width))));
            lines.concat()
        };
        insta::assert_snapshot!("terminal_of_80_columns", on_a_terminal(80));
        insta::assert_snapshot!("terminal_of_120_columns", on_a_terminal(120));
    }

    #[test]
    fn joined_sessions_are_told_with_their_number() {
        let mut record = fixture("tap.denied.origin");
        let first_at = "2026-11-21T12:05:24Z".parse().unwrap();
        record.repeats = Some(Repeats {
            count: 980,
            first_at: Moment(first_at),
            last_at: record.closed_at,
            many_clients: false,
        });
        let text = session_lines(&record, Look::PLAIN);
        let first = text.lines().next().unwrap();
        assert!(first.ends_with(" (980 times since 12:05:24Z)"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn every_failed_session_says_who_what_and_what_to_do() {
        for rule in verdict::rules() {
            let text = lines(rule.id);
            assert_eq!(text.lines().count(), 2, "{text}");
            if rule.class.is_fine() {
                continue;
            }
            let (first, second) = text.split_once('\n').unwrap();
            assert!(first.contains(rule.class.as_str()), "{text}");
            let record = fixture(rule.id);
            let duration = human_ms(record.duration_ms);
            for part in [&record.client.addr, &duration] {
                assert!(first.contains(part.as_str()), "{text}");
            }
            assert!(!record.had_tunnel() || first.contains("client "), "{text}");
            assert!(second.trim_start().starts_with("next: "), "{text}");
        }
    }
}
