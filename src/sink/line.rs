//! Two short lines a session, for people.
//!
//! The first says who it was, how long it lasted, what each end saw and why; the second what to do
//! (or, when all is well, what it was about) and by which id `wstap explain` tells more. Everything
//! that a peer wrote was escaped when it was recorded.

use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::{AnsiColor, Color, Style};

use super::batch::Batch;
use super::{Consumer, Flushed, Unwritten};
use crate::session::SessionRecord;
use crate::session::moment::Moment;
use crate::session::record::{Class, Kind, Saw, SawBasis};
use crate::verdict::view::{human_bytes, human_ms};

/// Writes lines to a writer: those of all sessions that wait, at once.
#[derive(Debug)]
pub struct Lines<W> {
    writer: W,
    /// With styles for a terminal.
    styled: bool,
    batch: Batch,
    torn: bool,
}

impl<W> Lines<W> {
    /// Lines for this writer, with styles for a terminal or without.
    pub fn new(writer: W, styled: bool) -> Self {
        Self {
            writer,
            styled,
            batch: Batch::default(),
            torn: false,
        }
    }
}

impl<W: Write + Send + 'static> Consumer for Lines<W> {
    fn consume(&mut self, record: &SessionRecord) -> io::Result<()> {
        let text = two_lines(record, self.styled);
        self.batch.add(|bytes| bytes.write_all(text.as_bytes()))
    }

    fn has_much(&self) -> bool {
        self.batch.has_much()
    }

    fn flush(&mut self) -> Result<Flushed, Unwritten> {
        self.batch.write_next(&mut self.writer, &mut self.torn)
    }
}

/// The two lines of a judged record with their line ends, with styles or without.
#[must_use]
pub fn two_lines(record: &SessionRecord, styled: bool) -> String {
    let mut text = String::new();
    write_lines(&mut text, record, styled);
    text
}

fn write_lines(text: &mut String, record: &SessionRecord, styled: bool) {
    let Some(verdict) = &record.verdict else {
        return;
    };
    let (style, dim) = if styled {
        (style(verdict.class), Style::new().dimmed())
    } else {
        (Style::new(), Style::new())
    };
    let class = verdict.class.as_str();
    let _ = write!(
        text,
        "{} {style}{class:<19}{style:#} {}",
        clock(record.closed_at),
        subject(record)
    );
    if let Some(saw) = saw(record) {
        let _ = write!(text, "  {saw}");
    }
    let _ = write!(text, ": {}", verdict.summary);
    if let Some(repeats) = record.repeats {
        let of = if repeats.many_clients {
            " of many clients"
        } else {
            ""
        };
        let since = clock(repeats.first_at);
        let _ = write!(text, " ({} times{of} since {since})", repeats.count);
    }
    text.push('\n');
    let second = if verdict.class.is_fine() {
        about(record)
    } else {
        None
    };
    let second =
        second.unwrap_or_else(|| format!("next: {} [session {}]", verdict.next, record.id));
    let _ = writeln!(text, "{:9} {dim}{second}{dim:#}", "");
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
        let _ = write!(text, " {}", shorten(request.path.as_str(), 48));
    }
    let _ = write!(text, " {}", human_ms(record.duration_ms));
    text
}

/// What each end saw: of a tunnel the close codes, else the status of the answer.
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
    // Where the tap answered in its place there was no gateway.
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
    if let Some(client) = record
        .dialect
        .as_ref()
        .and_then(|dialect| dialect.client.as_ref())
    {
        let who: Vec<&str> = [&client.id, &client.version]
            .into_iter()
            .flatten()
            .map(super::super::session::text::PeerText::as_str)
            .collect();
        parts.push(who.join(" "));
    }
    // Which of several let it in cannot be known.
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

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn style(class: Class) -> Style {
    let colour = match class {
        Class::Ok | Class::Probe => AnsiColor::Green,
        Class::ClientLeft | Class::ClientClosed | Class::TapDrain | Class::GatewayLifecycle => {
            AnsiColor::Yellow
        }
        _ => AnsiColor::Red,
    };
    Style::new().fg_color(Some(Color::Ansi(colour))).bold()
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
        two_lines(&fixture(rule), false)
    }

    #[test]
    fn without_styles_only_the_styles_are_missing() {
        for rule in verdict::rules() {
            let record = fixture(rule.id);
            let styled = two_lines(&record, true);
            let stripped = anstream::adapter::strip_str(&styled).to_string();
            assert_ne!(styled, stripped);
            assert_eq!(stripped, two_lines(&record, false));
        }
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
        let mut consumer = Lines::new(writes, false);
        for _ in 0..3 {
            consumer.consume(&record).unwrap();
        }
        assert!(seen.lock().unwrap().is_empty());
        assert_eq!(consumer.flush().unwrap(), Flushed::All);
        let once = two_lines(&record, false).repeat(3);
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
        let text = two_lines(&record, false);
        let first = text.lines().next().unwrap();
        assert!(first.ends_with(" (980 times since 12:05:24Z)"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn every_failed_session_says_what_the_issue_asks_for() {
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
