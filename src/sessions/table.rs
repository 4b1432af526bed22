//! The table, of the requested width. Everything that a peer wrote was escaped when it was
//! recorded.

use std::fmt::Write as _;

use crate::admin::open::{DirectionTraffic, Open, Sessions};
use crate::session::party::Phase;
use crate::session::record::Kind;
use crate::session::short_id;
use crate::terminal::text::cut;
use crate::verdict::view::human_bytes;

/// Number of ended sessions that are shown.
const ENDED: usize = 5;

/// Columns before the path.
const BEFORE_PATH: usize = short_id::DIGITS + 49;

/// Two lines for each open session, then the sessions that ended last.
pub(super) fn of(sessions: &Sessions, width: usize) -> String {
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
        let head = format!(
            "{:<8} {:<9} {:>6} {:>6}  {:<22} PATH",
            "ID", "PHASE", "AGE", "IDLE", "CLIENT",
        );
        let _ = writeln!(text, "{}", cut(&head, width));
    }
    for open in &sessions.open {
        row(&mut text, open, width);
    }
    let ended: Vec<_> = sessions.recent.iter().take(ENDED).collect();
    if !ended.is_empty() {
        let _ = writeln!(text, "\nended recently");
    }
    for one in ended {
        let class = one.verdict.as_ref().map_or("", |it| it.class.as_str());
        let summary = one.verdict.as_ref().map_or("", |it| it.summary.as_str());
        let line = format!(
            "{:<8} {:<19} {:>6}  {summary}",
            short_id::of(one.id),
            class,
            span(one.duration_ms),
        );
        let _ = writeln!(text, "{}", cut(&line, width));
    }
    text
}

fn row(text: &mut String, open: &Open, width: usize) {
    let path = match (&open.path, open.kind) {
        (Some(path), _) => path.as_str(),
        // Only a connection that passes unread gets this far without a request.
        (None, Kind::Connection) if open.phase == Phase::Open => "(passes unread)",
        (None, Kind::Connection) => "(no request yet)",
        (None, _) => "",
    };
    let _ = writeln!(
        text,
        "{:<8} {:<9} {:>6} {:>6}  {:<22} {}",
        short_id::of(open.id),
        open.phase.as_str(),
        span(open.age_ms),
        span(open.idle_ms),
        cut(&open.client, 22),
        cut(path, width.saturating_sub(BEFORE_PATH)),
    );
    if open.phase < Phase::Handshake {
        return;
    }
    let line = format!(
        "{:9}client {}, gateway {}",
        "",
        way(&open.to_gateway),
        way(&open.to_client)
    );
    let _ = writeln!(text, "{}", cut(&line, width));
}

/// `3 msg 1.2 KiB 4 s ago`, and bytes that are stuck.
fn way(way: &DirectionTraffic) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::open::Ended;
    use crate::session::SessionRecord;
    use crate::session::record::Class;
    use crate::session::text::PeerText;
    use crate::terminal::text::columns;
    use uuid::Uuid;

    fn open(id: u128, phase: Phase, path: &str) -> Open {
        let way = |last_ms_ago, waiting| DirectionTraffic {
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
    fn it_is_as_wide_as_it_is_asked_for() {
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
        for width in [60, 80, 120] {
            let text = of(&sessions, width);
            assert!(text.lines().all(|line| columns(line) <= width), "{text}");
        }
        assert!(of(&sessions, 120).lines().any(|line| columns(line) == 120));
        insta::assert_snapshot!(of(&sessions, 80), @"
        5 open at 00:00:00Z (and 3 younger ones)
        ID       PHASE        AGE   IDLE  CLIENT                 PATH
        00000001 handshake  2 min   61 s  [2001:db8:1234:5678::… /
                 client 12 msg 33.8 KiB 61 s ago, gateway silent, 64.0 KiB stuck
        00000002 upgrade    2 min   61 s  [2001:db8:1234:5678::… /very-long/very-long/v…

        ended recently
        00000003 gateway.auth          4 ms  the client's token does not match the clie…
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
