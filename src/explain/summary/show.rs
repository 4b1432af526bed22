//! A summary as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{MANY, OfRule, Summary};
use crate::explain::page_writer::{PageWriter, count, cut, pad, pad_left, word};
use crate::explain::source::Unread;
use crate::session::moment::Moment;

/// Maximum number of clients and actions that are shown.
const SHOWN: usize = 8;
/// Width of a count, in columns.
const COUNT: usize = 7;

impl Summary {
    /// The summary as JSON; see `docs/explain.md`.
    #[must_use]
    pub(crate) fn json(&self, file: &str, unread: &Unread) -> Value {
        let mut clients = self.clients();
        let clients_count = clients.iter().filter(|one| one.client != MANY).count();
        clients.truncate(100);
        let rules: Vec<Value> = self
            .classes()
            .into_iter()
            .flat_map(|(class, _)| self.of_class(class))
            .map(|(id, rule)| {
                let mut value = json!(rule);
                if let Some(value) = value.as_object_mut() {
                    value.insert("rule".into(), id.into());
                    value.insert("clients".into(), self.clients_of(id).into());
                }
                value
            })
            .collect();
        let classes: Vec<Value> = self
            .classes()
            .into_iter()
            .map(|(class, count)| json!({ "class": class, "count": count }))
            .collect();
        let changed: Vec<Value> = self
            .changed
            .iter()
            .map(|((stored, now), count)| json!({ "stored": stored, "now": now, "count": count }))
            .collect();
        json!({
            "explains": "file",
            "file": file,
            "records": self.records,
            "fine": self.fine,
            "unreadable": unread,
            "first_at": self.times.map(|(first, _)| first),
            "last_at": self.times.map(|(_, last)| last),
            "classes": classes,
            "rules": rules,
            "clients": clients,
            "clients_count": clients_count,
            "clients_left_out": self.clients_left_out,
            "without_verdict": self.unjudged,
            "changed": changed,
            "changed_left_out": self.changed_left_out,
        })
    }

    /// The summary for people. `older` is the number of rotated files beside the file.
    #[must_use]
    pub(crate) fn page(&self, file: &str, unread: &Unread, older: usize, width: usize) -> String {
        let mut writer = PageWriter::new(width);
        writer.title(file);
        if let Some((first, last)) = self.times {
            let sessions = count(self.records, "session");
            let text = format!("{sessions}, {} to {}", short(first), short(last));
            writer.text("  ", &text);
        }
        let text = format!(
            "{} fine, {} to look at",
            self.fine,
            self.records - self.fine
        );
        writer.text("  ", &text);
        if let Some(first) = &unread.first {
            let lines = count(unread.count, "unreadable line");
            let text = format!("{lines}; the first: {first}");
            writer.text("  ", &text);
        }
        if older > 0 {
            let files = count(older as u64, "older file");
            let mut text = format!("{files} beside it not read");
            // A line that people paste may only contain names that a shell takes as one plain word.
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
            if file.chars().all(plain) {
                let _ = write!(text, ": `cat {file}* | wstap explain -`");
            }
            writer.text("  ", &text);
        }
        self.verdicts(&mut writer);
        self.client_list(&mut writer);
        self.action_list(&mut writer);
        self.changes(&mut writer);
        writer.finish()
    }

    fn verdicts(&self, writer: &mut PageWriter) {
        writer.heading("Verdicts");
        for (class, number) in self.classes() {
            let name = format!("  {}  ", pad_left(&number.to_string(), COUNT));
            writer.class_after(class, &name, class.as_str());
            for (id, rule) in self.of_class(class) {
                let tail = id.strip_prefix(class.as_str()).unwrap_or(id);
                let line = self.rule_line(id, tail.trim_start_matches('.'), rule);
                writer.table_row(&line);
            }
        }
    }

    fn rule_line(&self, id: &str, tail: &str, rule: &OfRule) -> String {
        let clients = count(self.clients_of(id), "client");
        format!(
            "{}    {}  {}  {}",
            pad_left(&rule.count.to_string(), COUNT + 2),
            pad(&cut(tail, 28), 28),
            pad_left(&clients, 12),
            short(rule.last_at)
        )
    }

    fn clients_of(&self, id: &str) -> u64 {
        let of_rule = (self.pairs.keys()).filter(|(client, rule)| rule == id && client != MANY);
        of_rule.count() as u64
    }

    fn client_list(&self, writer: &mut PageWriter) {
        let clients = self.clients();
        writer.heading("Clients");
        for one in clients.iter().take(SHOWN) {
            let mut text = count(one.records, "session");
            if let Some(rule) = &one.mostly {
                let bad = one.records - one.fine;
                text = format!("{text}, {bad} to look at, mostly {rule}");
            }
            let name = pad(&cut(&one.client, 24), 15);
            writer.item(&format!("  {name}  "), &text);
        }
        let rest = clients.len().saturating_sub(SHOWN);
        if rest > 0 {
            writer.text("  ", &format!("and {rest} more clients"));
        }
        if self.clients_left_out > 0 {
            let text = format!(
                "{} sessions of further clients are not counted by client",
                self.clients_left_out
            );
            writer.text("  ", &text);
        }
    }

    fn action_list(&self, writer: &mut PageWriter) {
        let actions = self.actions();
        if actions.is_empty() {
            return;
        }
        writer.heading("What to do, the most frequent first");
        for (id, rule) in actions.iter().take(SHOWN) {
            let head = format!("  {}  ", pad_left(&rule.count.to_string(), COUNT));
            writer.item(&head, &format!("{id}, to act: {}", word(&rule.act_on)));
            writer.next(&rule.next);
            writer.dim("  ", &format!("the last: {}", rule.last_id));
        }
        let rest = actions.len().saturating_sub(SHOWN);
        if rest > 0 {
            writer.text("  ", &format!("and {rest} more rules"));
        }
    }

    fn changes(&self, writer: &mut PageWriter) {
        if self.unjudged > 0 {
            writer.gap();
            let records = count(self.unjudged, "record");
            writer.text("", &format!("without a verdict in the file: {records}"));
        }
        if self.changed.is_empty() {
            return;
        }
        writer.heading("Judged otherwise than in the file, which another version wrote");
        for ((stored, now), number) in &self.changed {
            let head = format!("  {}  ", pad_left(&number.to_string(), COUNT));
            writer.item(&head, &format!("{stored}, now {now}"));
        }
        if self.changed_left_out > 0 {
            writer.text("  ", &format!("and {} more records", self.changed_left_out));
        }
    }
}

/// `2026-11-21 10:00:00Z`
fn short(moment: Moment) -> String {
    let text = moment.to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(date), Some(time)) => format!("{date} {time}Z"),
        _ => text,
    }
}
