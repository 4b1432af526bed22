//! Summarises a whole file of records by verdict, in bounded memory: entries that are not kept are
//! counted.

mod show;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::page_writer::inert;
use crate::session::SessionRecord;
use crate::session::moment::Moment;
use crate::session::record::Class;
use crate::session::record::verdict::ActOn;
use crate::verdict;

/// Maximum number of pairs of client and rule that are counted separately.
const MOST_PAIRS: usize = 10_000;
/// Maximum number of kinds of changed verdicts that are counted separately.
const MOST_CHANGES: usize = 100;
/// Maximum length of a client's address, in characters.
const ADDRESS: usize = 64;
/// Takes the place of a client: sessions of many clients, whose addresses are in no record.
const MANY: &str = "(many clients)";

/// Summary of a file.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Number of records.
    pub(super) records: u64,
    /// Those that went as they should.
    pub(super) fine: u64,
    /// The earliest start and the latest end.
    pub(super) times: Option<(Moment, Moment)>,
    pub(super) rules: BTreeMap<String, OfRule>,
    pub(super) pairs: HashMap<(String, String), u64>,
    /// Records whose client was not counted.
    pub(super) clients_left_out: u64,
    /// Records without a verdict.
    pub(super) unjudged: u64,
    /// Number of records by stored rule and the rule of this version.
    pub(super) changed: BTreeMap<(String, String), u64>,
    pub(super) changed_left_out: u64,
}

/// The records of one rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OfRule {
    /// The rule's class.
    pub class: Class,
    /// Who has to act.
    pub act_on: ActOn,
    /// Number of sessions.
    pub count: u64,
    /// When the first began.
    pub first_at: Moment,
    /// When the last began.
    pub last_at: Moment,
    /// The last one's id.
    pub last_id: uuid::Uuid,
    /// The last one's summary.
    pub summary: String,
    /// The last one's next action.
    pub next: String,
}

/// A client and the results of its sessions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OfClient {
    /// Its address, without a port.
    pub client: String,
    /// Its sessions.
    pub records: u64,
    /// Those that went as they should.
    pub fine: u64,
    /// The most frequent rule of its other sessions.
    pub mostly: Option<String>,
}

impl Summary {
    /// Judges a record again and counts it.
    pub(crate) fn add(&mut self, record: &SessionRecord) {
        let verdict = verdict::decide(record);
        let repeats = record.repeats;
        // A file can claim any number.
        let sessions = repeats.map_or(1, |repeats| repeats.count.max(1));
        add(&mut self.records, sessions);
        if verdict.class.is_fine() {
            add(&mut self.fine, sessions);
        }
        let (mut begin, end) = (record.opened_at, record.closed_at);
        let last_begin = begin;
        if let Some(repeats) = repeats {
            begin = begin.min(repeats.first_at);
        }
        self.times = Some(match self.times {
            None => (begin, end),
            Some((first, last)) => (first.min(begin), last.max(end)),
        });
        match &record.verdict {
            None => add(&mut self.unjudged, sessions),
            Some(stored) if stored.rule != verdict.rule => {
                let key = (inert(&cut(&stored.rule)), verdict.rule.clone());
                if self.changed.len() < MOST_CHANGES || self.changed.contains_key(&key) {
                    add(self.changed.entry(key).or_default(), sessions);
                } else {
                    add(&mut self.changed_left_out, sessions);
                }
            }
            Some(_) => {}
        }
        // Sessions of many clients are not counted for the last one.
        let shared = repeats.is_some_and(|repeats| repeats.many_clients);
        let own = if shared { 1 } else { sessions };
        self.add_pair(client(record), &verdict.rule, own);
        if sessions > own {
            self.add_pair(MANY.to_owned(), &verdict.rule, sessions - own);
        }
        let of_rule = self.rules.entry(verdict.rule).or_insert_with(|| OfRule {
            class: verdict.class,
            act_on: verdict.act_on,
            count: 0,
            first_at: begin,
            last_at: last_begin,
            last_id: record.id,
            summary: String::new(),
            next: String::new(),
        });
        add(&mut of_rule.count, sessions);
        of_rule.first_at = of_rule.first_at.min(begin);
        if last_begin >= of_rule.last_at {
            of_rule.last_at = last_begin;
            of_rule.last_id = record.id;
            of_rule.summary = verdict.summary;
            of_rule.next = verdict.next;
        }
    }

    fn add_pair(&mut self, client: String, rule: &str, sessions: u64) {
        let key = (client, rule.to_owned());
        if self.pairs.len() < MOST_PAIRS || self.pairs.contains_key(&key) {
            add(self.pairs.entry(key).or_default(), sessions);
        } else {
            add(&mut self.clients_left_out, sessions);
        }
    }

    /// How many records it counts.
    #[must_use]
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Counts by class, in the order of the documentation.
    pub(super) fn classes(&self) -> Vec<(Class, u64)> {
        let count = |class: Class| -> u64 {
            let of_class = self.rules.values().filter(|rule| rule.class == class);
            of_class.fold(0, |sum, rule| sum.saturating_add(rule.count))
        };
        Class::ALL
            .into_iter()
            .map(|class| (class, count(class)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// The rules of a class, the most frequent first.
    pub(super) fn of_class(&self, class: Class) -> Vec<(&str, &OfRule)> {
        let mut rules: Vec<(&str, &OfRule)> = self
            .rules
            .iter()
            .filter(|(_, rule)| rule.class == class)
            .map(|(id, rule)| (id.as_str(), rule))
            .collect();
        rules.sort_by_key(|(_, rule)| std::cmp::Reverse(rule.count));
        rules
    }

    /// Rules that somebody has to act on, the most frequent first.
    pub(super) fn actions(&self) -> Vec<(&str, &OfRule)> {
        let mut rules: Vec<(&str, &OfRule)> = self
            .rules
            .iter()
            .filter(|(_, rule)| rule.act_on != ActOn::Nobody)
            .map(|(id, rule)| (id.as_str(), rule))
            .collect();
        rules.sort_by_key(|(_, rule)| std::cmp::Reverse(rule.count));
        rules
    }

    /// Clients, those with the most trouble first.
    pub(super) fn clients(&self) -> Vec<OfClient> {
        let mut by_client: BTreeMap<&str, (OfClient, u64)> = BTreeMap::new();
        for ((client, rule), count) in &self.pairs {
            let of_rule = self.rules.get(rule);
            let fine = of_rule.is_some_and(|rule| rule.class.is_fine());
            let (one, most) = by_client.entry(client).or_insert_with(|| {
                let client = client.clone();
                let fresh = OfClient {
                    client,
                    records: 0,
                    fine: 0,
                    mostly: None,
                };
                (fresh, 0)
            });
            add(&mut one.records, *count);
            if fine {
                add(&mut one.fine, *count);
            } else if (*count, Some(rule)) > (*most, one.mostly.as_ref()) {
                *most = *count;
                one.mostly = Some(rule.clone());
            }
        }
        let mut clients: Vec<OfClient> = by_client.into_values().map(|(one, _)| one).collect();
        clients.sort_by_key(|one| std::cmp::Reverse((one.records - one.fine, one.records)));
        clients
    }
}

fn add(count: &mut u64, sessions: u64) {
    *count = count.saturating_add(sessions);
}

/// The client's address without its port.
fn client(record: &SessionRecord) -> String {
    let addr = record.client.addr.as_str();
    let host = match addr.parse::<std::net::SocketAddr>() {
        Ok(addr) => addr.ip().to_string(),
        Err(_) => addr.to_owned(),
    };
    inert(&cut(if host.is_empty() { "(unknown)" } else { &host }))
}

fn cut(text: &str) -> String {
    text.chars().take(ADDRESS).collect()
}
