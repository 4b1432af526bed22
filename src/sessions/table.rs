//! The table, 80 columns wide. Everything that a peer wrote was escaped when it was noted.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::admin::open::{Open, Sessions, Way};
use crate::session::party::Phase;
use crate::session::record::Kind;
use crate::verdict::view::human_bytes;

/// How many of the ended ones are shown.
const ENDED: usize = 5;

/// Two lines for each open session, then the last ones that ended.
pub(super) fn of(sessions: &Sessions) -> String {
    let mut text = String::new();
    let shown = sessions.open.len();
    let more = match sessions.open_count.saturating_sub(shown) {
        0 => String::new(),
        more => format!(" (and {more} younger ones)"),
    };
    let _ = writeln!(
        text,
        "{} open at {}{more}",
        sessions.open_count,
        clock(sessions)
    );
    if shown > 0 {
        let _ = writeln!(
            text,
            "{:<13} {:<9} {:>6} {:>6}  {:<21} PATH",
            "ID", "PHASE", "AGE", "IDLE", "CLIENT",
        );
    }
    for open in &sessions.open {
        row(&mut text, open);
    }
    let ended: Vec<_> = sessions.recent.iter().take(ENDED).collect();
    if !ended.is_empty() {
        let _ = writeln!(text, "\nended lately");
    }
    for one in ended {
        let class = one.verdict.as_ref().map_or("", |it| it.class.as_str());
        let summary = one.verdict.as_ref().map_or("", |it| it.summary.as_str());
        let line = format!(
            "{:<13} {:<19} {:>6}  {summary}",
            short(&one.id),
            class,
            span(one.duration_ms),
        );
        let _ = writeln!(text, "{}", cut(&line, 80));
    }
    text
}

fn row(text: &mut String, open: &Open) {
    let path = match (&open.path, open.kind) {
        (Some(path), _) => path.as_str(),
        (None, Kind::Connection) => "(no request yet)",
        (None, _) => "",
    };
    let _ = writeln!(
        text,
        "{:<13} {:<9} {:>6} {:>6}  {:<21} {}",
        short(&open.id),
        open.phase.as_str(),
        span(open.age_ms),
        span(open.idle_ms),
        cut(&open.client, 21),
        cut(path, 19),
    );
    if open.phase < Phase::Handshake {
        return;
    }
    let line = format!(
        "{:14}client {}, gateway {}",
        "",
        way(&open.to_gateway),
        way(&open.to_client)
    );
    let _ = writeln!(text, "{}", cut(&line, 80));
}

/// `3 msg 1.2 KiB 4 s ago`, and what is stuck.
fn way(way: &Way) -> String {
    let last = match way.last_ms_ago {
        Some(ago) => format!(
            "{} msg {} {} ago",
            way.messages,
            human_bytes(way.bytes),
            span(ago)
        ),
        None => "silent".to_owned(),
    };
    match way.waiting {
        0 => last,
        waiting => format!("{last}, {} stuck", human_bytes(waiting)),
    }
}

/// Its beginning, which is the time to the millisecond and which `wstap explain` takes.
fn short(id: &uuid::Uuid) -> String {
    let text = id.to_string();
    text.get(..13).unwrap_or_default().to_owned()
}

fn clock(sessions: &Sessions) -> String {
    let at = sessions.at.to_string();
    format!("{}Z", at.get(11..19).unwrap_or_default())
}

/// At most six columns: `12 ms`, `3.4 s`, `59 s`, `12 min`, `3.4 h`, `12 d`.
fn span(ms: f64) -> String {
    let seconds = ms / 1000.0;
    let (minutes, hours) = (seconds / 60.0, seconds / 3600.0);
    if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if seconds < 99.5 {
        format!("{seconds:.0} s")
    } else if minutes < 99.5 {
        format!("{minutes:.0} min")
    } else if hours < 99.5 {
        format!("{hours:.0} h")
    } else {
        format!("{:.0} d", hours / 24.0)
    }
}

/// As much as fits into so many columns.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= columns
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::open::Ended;
    use crate::session::SessionRecord;
    use crate::session::record::Class;
    use crate::session::text::PeerText;
    use uuid::Uuid;

    fn open(id: u128, phase: Phase, path: &str) -> Open {
        let way = |last_ms_ago, waiting| Way {
            messages: 12,
            bytes: 34_567,
            waiting,
            last_ms_ago,
        };
        Open {
            id: Uuid::from_u128(id),
            kind: Kind::Websocket,
            opened_at: "2026-11-21T00:00:00Z"
                .parse()
                .map(crate::session::moment::Moment)
                .unwrap(),
            phase,
            age_ms: 125_000.0,
            idle_ms: 61_000.0,
            client: "[2001:db8:1234:5678::9]:54321".to_owned(),
            host: None,
            path: Some(PeerText::new(path, 200)),
            to_gateway: way(Some(61_000.0), 0),
            to_client: way(None, 65_536),
        }
    }

    #[test]
    fn it_is_eighty_columns_wide() {
        let hung = open(1, Phase::Handshake, "/");
        let early = open(2, Phase::Upgrade, &"/very-long".repeat(20));
        let at = hung.opened_at;
        let mut refused = crate::verdict::decide(&SessionRecord::default());
        refused.class = Class::GatewayAuth;
        refused.summary = "the client's token does not match ".repeat(4);
        let sessions = Sessions {
            at,
            open_count: 5,
            open: vec![hung, early],
            recent: vec![Ended {
                id: Uuid::from_u128(3),
                kind: Kind::Websocket,
                opened_at: at,
                closed_at: at,
                duration_ms: 4.0,
                phase: Phase::Open,
                client: String::new(),
                host: None,
                path: None,
                repeats: None,
                verdict: Some(refused),
            }],
        };
        let text = of(&sessions);
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        insta::assert_snapshot!(text, @"
        5 open at 00:00:00Z (and 3 younger ones)
        ID            PHASE        AGE   IDLE  CLIENT                PATH
        00000000-0000 handshake  2 min   61 s  [2001:db8:1234:5678:… /
                      client 12 msg 33.8 KiB 61 s ago, gateway silent, 64.0 KiB stuck
        00000000-0000 upgrade    2 min   61 s  [2001:db8:1234:5678:… /very-long/very-lo…

        ended lately
        00000000-0000 gateway.auth          4 ms  the client's token does not match the…
        ");
    }

    #[test]
    fn spans_have_six_columns() {
        for (ms, text) in [
            (0.4, "0 ms"),
            (999.6, "1.0 s"),
            (9_960.0, "10 s"),
            (99_600.0, "2 min"),
            (3_600_000.0, "60 min"),
            (36_000_000.0, "10 h"),
            (864_000_000.0, "10 d"),
        ] {
            assert_eq!(span(ms), text);
        }
    }
}
