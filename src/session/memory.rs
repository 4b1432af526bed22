//! A small, bounded memory of recent sessions, and what it adds to the one that ends now.
//!
//! Sessions that die together explain each other: one lost session could have any cause, three in
//! the same second are a crash, and three that died after the same silence point to a timer. Pure:
//! all times come from the records.

mod announcement;
mod around;
mod attempt;
mod cadence;
mod cancels;
mod chance;
mod credentials;
mod down;
mod event;
mod living;
mod loss;
mod numbers;
mod remembered;
mod together;

use std::collections::VecDeque;
use std::net::IpAddr;

pub(crate) use self::announcement::announcement;
use self::around::Around;
pub(crate) use self::attempt::answered_after_ms;
pub(crate) use self::cadence::{FAR_FROM_CHANCE, PERIODS_S, WAVES_ALIKE};
use self::cadence::{LEAST_PERIOD_MS, cadence};
use self::down::{Announced, going_down};
pub(crate) use self::down::{DOWN_MS, ONE_EVENT};
pub(crate) use self::living::{Answer, LetIn, Living, asks};
use self::loss::is_unanswered;
pub(crate) use self::loss::lost;
use self::numbers::Numbers;
use self::remembered::Remembered;
use self::together::Together;
use super::record::context::{ContextFacts, GoingDown};
use super::record::{Kind, SessionRecord};
use super::text::PeerText;

/// Maximum number of sessions that are remembered.
const MAX: usize = 1024;

/// How long they are remembered, in milliseconds: three times the longest known cadence.
const REACH_MS: i64 = 3 * 3600 * 1000;

/// Recent sessions. Each session that ends is compared with all of them, so the compared fields are
/// kept in short rows, as numbers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    sessions: VecDeque<Remembered>,
    texts: Numbers<String>,
    clients: Numbers<IpAddr>,
    announced: Announced,
}

impl Memory {
    /// Remembers an upgrade attempt; other records are ignored.
    pub(crate) fn note(&mut self, record: &SessionRecord) {
        if record.kind != Kind::Websocket {
            return;
        }
        let Self {
            sessions,
            texts,
            clients,
            ..
        } = self;
        let hold = |text: &str| texts.hold(text);
        sessions.push_back(Remembered::of(record, hold, |ip| clients.hold(ip)));
        let now = record.closed_at;
        while let Some(oldest) = sessions.front()
            && (sessions.len() > MAX || now.millis_since(oldest.closed_at) > REACH_MS)
        {
            oldest.texts().for_each(|text| texts.release(text));
            oldest.client.into_iter().for_each(|ip| clients.release(ip));
            sessions.pop_front();
        }
    }

    /// Records that an open session received the gateway's announcement that it goes down; `boot`
    /// is the process that sent it, where known.
    pub(crate) fn announce(&mut self, gateway: &str, boot: Option<PeerText>, down: GoingDown) {
        self.announced.note(gateway, boot, down);
    }

    /// What the remembered sessions and the open ones show about this session, which may be among
    /// the remembered ones.
    #[must_use]
    pub(crate) fn context(&self, record: &SessionRecord, living: &Living) -> Option<ContextFacts> {
        // Only a gateway that goes down can explain a plain request.
        let only_down = record.kind == Kind::Http && is_unanswered(record);
        if record.kind != Kind::Websocket && !only_down {
            return None;
        }
        let unknown;
        let mut latest = self.sessions.iter().rev();
        let this = if let Some(this) = latest.find(|one| one.id == record.id) {
            this
        } else {
            let text = |text: &str| self.texts.of(text);
            unknown = Remembered::of(record, text, |ip| self.clients.of(ip));
            &unknown
        };
        let Around {
            remembered,
            mismatches,
            attempts,
            ends,
            boots,
            mut credentials,
            device,
            since,
            mut let_in,
            newest,
        } = Around::of(this, &self.sessions);
        let url = record.gateway.as_ref().map_or("", |gateway| &gateway.url);
        let survivors = living.survivors;
        let_in.extend(&living.let_in);
        let going_down = going_down(&down::Around {
            this,
            ends: &ends,
            announced: self.announced.of(url),
            since,
            let_in,
            survivors,
        });
        if only_down {
            return going_down.map(|down| ContextFacts {
                going_down: Some(down),
                ..ContextFacts::default()
            });
        }
        let together = this.lost.map(|lost| Together::about(lost, &ends, since));
        let silence = this.silence_ms.filter(|own| *own >= LEAST_PERIOD_MS);
        let as_silent = |other: &&Remembered| {
            let its = other.silence_ms.zip(silence);
            its.is_some_and(|(its, own)| alike(its, own))
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let beside = || {
            together
                .iter()
                .flat_map(|together| together.others.iter().copied())
        };
        let (lost_together, lost_alike) = (beside().count(), beside().filter(as_silent).count());
        let processes_lost = boots.lost_in_turn(this);
        let process_heard_at = this.lost.and_then(|(_, at)| boots.heard_after(this, at));
        let (boots, boots_alternate) = boots.into_report();
        Some(ContextFacts {
            remembered,
            lost_together: count(lost_together),
            lost_alike: count(lost_alike),
            lost_beside: together.as_ref().map_or(0, |together| together.beside),
            lost_together_one_in: together.as_ref().and_then(|together| together.one_in),
            survivors,
            process_heard_at,
            cadence: together
                .as_ref()
                .and_then(|together| cadence(&ends, this, together)),
            other_credentials: credentials.other(&self.texts),
            same_credential: credentials.same(&self.texts),
            working: credentials.working(&self.texts),
            issued: credentials.issued(),
            // A device that was removed was taken away on purpose, not lost.
            device_accepted_at: device
                .filter(|last| !last.removed)
                .map(|last| last.closed_at),
            going_down,
            processes_lost: if boots_alternate { 0 } else { processes_lost },
            boots,
            boots_alternate,
            release: newest.map(Remembered::release),
            mismatches,
            attempts: attempts + 1,
            cancels: cancels::around(this, &self.sessions, &living.answers),
            visits: None,
        })
    }
}

/// Within 5 % of each other.
fn alike(value: u64, own: u64) -> bool {
    value.abs_diff(own).saturating_mul(20) <= own
}

#[cfg(test)]
mod tests;
