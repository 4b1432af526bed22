//! The pages of every fixture and of whole records, and invariants of all pages.

use std::path::Path;

use super::page_writer::columns;
use super::*;
use crate::session::SessionRecord;
use crate::session::moment::Moment;
use crate::session::record::Repeats;
use crate::session::text::must_escape;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn read(path: &Path) -> SessionRecord {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    source::record(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every fixture with its name: those of the rules, and whole records of a running tap.
fn all() -> Vec<(String, SessionRecord)> {
    let mut found = Vec::new();
    for name in ["verdicts", "records"] {
        for entry in std::fs::read_dir(folder(name)).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            found.push((stem, read(&path)));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert!(found.len() > 180);
    found
}

/// The width without a terminal, in columns.
const WIDTH: usize = 80;

fn plain(page: &str) -> String {
    anstream::adapter::strip_str(page).to_string()
}

fn page_of(record: &SessionRecord) -> String {
    plain(&Story::new(record).page(WIDTH))
}

#[test]
fn pages_use_the_width_that_there_is() {
    let widest = |width: usize| {
        let mut widest = 0;
        for (name, record) in all() {
            let page = plain(&Story::new(&record).page(width));
            let most = page.lines().map(columns).max().unwrap();
            assert!(most <= width, "{name}: {page}");
            widest = widest.max(most);
        }
        widest
    };
    assert!(widest(60) <= 60);
    let wide = widest(120);
    assert!((100..=120).contains(&wide), "{wide}");
}

/// No line is too wide, none acts on a terminal.
fn assert_readable(name: &str, page: &str) {
    for line in page.lines() {
        assert!(columns(line) <= WIDTH, "{name}: {line}");
        assert!(!line.chars().any(must_escape), "{name}: {line:?}");
        assert_eq!(line.trim_end(), line, "{name}: {line:?}");
    }
}

#[test]
fn a_tap_that_has_just_started_says_so() {
    let fixture = folder("verdicts").join("gateway.left.open.json");
    let mut record = read(&fixture);
    let opened = record.opened_at.0.as_millisecond();
    let mut page = |before: i64| {
        let started = jiff::Timestamp::from_millisecond(opened - before).unwrap();
        record.tap.started_at = Some(Moment(started));
        plain(&Story::new(&record).page(200))
    };
    assert!(page(12_000).contains("started 12.0 s before: knew only sessions since then"));
    // Long ago, or before the clock was set back.
    for before in [300_000, -1] {
        assert!(
            !page(before).contains("knew only sessions since then"),
            "{before}"
        );
    }
}

#[test]
fn every_fixture_is_told_within_the_width() {
    for (name, record) in all() {
        let page = page_of(&record);
        assert_readable(&name, &page);
        assert!(page.contains("next: "), "{name}");
        let mut summary = Summary::default();
        summary.add(&record);
        let page = plain(&summary.page(&name, &Unread::default(), 3, WIDTH));
        assert_readable(&name, &page);
    }
}

#[test]
fn every_rule_has_a_page_within_the_width() {
    for rule in crate::verdict::rules() {
        let page = plain(&named(rule.id).unwrap().page(WIDTH));
        assert_readable(rule.id, &page);
        assert!(page.contains("What it looks like"), "{}", rule.id);
    }
    for class in crate::session::record::Class::ALL {
        let page = plain(&named(class.as_str()).unwrap().page(WIDTH));
        assert_readable(class.as_str(), &page);
    }
}

#[test]
fn the_verdict_from_the_file_is_the_stored_one() {
    for (name, mut record) in all() {
        record.verdict = Some(crate::verdict::decide(&record));
        let line = serde_json::to_vec(&record).unwrap();
        let again = source::record(&line).unwrap();
        assert_eq!(
            Some(crate::verdict::decide(&again)),
            again.verdict,
            "{name}"
        );
        assert!(!page_of(&again).contains("had judged"), "{name}");
    }
}

#[test]
fn steps_are_in_order_and_each_says_something() {
    for (name, record) in all() {
        let steps = steps::steps(&record);
        assert!(steps.len() >= 2, "{name}");
        let times: Vec<_> = steps.iter().filter_map(|step| step.at).collect();
        assert!(times.is_sorted(), "{name}");
        assert!(steps.iter().all(|step| !step.text.is_empty()), "{name}");
    }
}

#[test]
fn pages() {
    for name in ["gateway.auth.token_mismatch", "gateway.auth", "unknown"] {
        let page = plain(&named(name).unwrap().page(WIDTH));
        insta::assert_snapshot!(format!("page_{}", name.replace('.', "_")), page);
    }
}

#[test]
fn sessions() {
    for name in [
        "verdicts/gateway.left.open",
        "verdicts/client.fault.tls",
        "verdicts/tap.denied.origin",
        "verdicts/gateway.unreachable.dns",
        "verdicts/tap.timeout.idle",
        "verdicts/http.error.client",
        "verdicts/gateway.silent.requests",
        "verdicts/channel.missing_scope",
        "verdicts/gateway.auth.token_two_sources",
        "verdicts/hop.fault.idle_cadence",
        "records/token_mismatch",
        "records/reset",
    ] {
        let record = read(&folder(&format!("{name}.json")));
        let file = name.replace(['/', '.'], "_");
        insta::assert_snapshot!(format!("session_{file}"), page_of(&record));
    }
}

#[test]
fn session_as_json() {
    let record = read(&folder("records/token_mismatch.json"));
    let mut json = Story::new(&record).json();
    json["record"] = "the whole record".into();
    insta::assert_json_snapshot!(json);
}

#[test]
fn a_file() {
    let mut summary = Summary::default();
    for (_, mut record) in all() {
        let mut verdict = crate::verdict::decide(&record);
        if verdict.rule == "gateway.left.open" {
            verdict.rule = "gateway.left.old_name".to_owned();
        }
        record.verdict = Some(verdict);
        summary.add(&record);
    }
    let unread = Unread {
        count: 2,
        first: Some("r.jsonl, line 7: expected value at line 1 column 1".to_owned()),
    };
    insta::assert_snapshot!(plain(&summary.page("r.jsonl", &unread, 2, WIDTH)));
}

/// The last client of a flood may be anyone: the sessions of the others do not count as its own.
#[test]
fn what_many_clients_share_is_not_the_last_ones() {
    let summary = |many_clients| {
        let mut record = (all().into_iter())
            .find_map(|(name, record)| (name == "tap.denied.origin").then_some(record))
            .expect("the fixture");
        record.client.addr = "192.0.2.1:5".to_owned();
        record.repeats = Some(Repeats {
            count: 49_800,
            first_at: record.opened_at,
            last_at: record.closed_at,
            many_clients,
        });
        let mut summary = Summary::default();
        summary.add(&record);
        summary.json("r.jsonl", &Unread::default())
    };
    let clients = |json: &Value| -> Vec<(String, u64)> {
        let one = |it: &Value| {
            let client = it["client"].as_str().unwrap().to_owned();
            (client, it["records"].as_u64().unwrap())
        };
        json["clients"]
            .as_array()
            .unwrap()
            .iter()
            .map(one)
            .collect()
    };
    let of = |client: &str, records| (client.to_owned(), records);
    let many = summary(true);
    assert_eq!(many["records"], 49_800);
    assert_eq!(many["rules"][0]["count"], 49_800);
    let expected = [of("(many clients)", 49_799), of("192.0.2.1", 1)];
    assert_eq!(clients(&many), expected);
    assert_eq!(
        (&many["clients_count"], &many["rules"][0]["clients"]),
        (&1.into(), &1.into())
    );
    // Repeated sessions of one client count as its own.
    assert_eq!(clients(&summary(false)), [of("192.0.2.1", 49_800)]);
}

/// Every text in a record is replaced: a file may have been written by anyone.
#[test]
fn hostile_records_cannot_act_on_a_terminal() {
    const HOSTILE: &str = "\u{1b}[2J\u{202e}x\nforged: line \u{9b}31m`rm -rf /`";
    for (name, record) in all() {
        let mut value = serde_json::to_value(&record).unwrap();
        replace_texts(&mut value, HOSTILE);
        let text = serde_json::to_vec(&value).unwrap();
        // Enumerations cannot hold it: then the record is refused, with an inert message.
        let Ok(record) = source::record(&text) else {
            continue;
        };
        let page = page_of(&record);
        assert_readable(&name, &page);
        let json = inert_json(Story::new(&record).json()).to_string();
        assert!(!json.chars().any(must_escape), "{name}");
        assert!(!one_line(&record).chars().any(must_escape), "{name}");
        let mut summary = Summary::default();
        summary.add(&record);
        assert_readable(
            &name,
            &plain(&summary.page(HOSTILE, &Unread::default(), 1, WIDTH)),
        );
    }
}

/// Replaces the texts that are not restricted by their own type.
fn replace_texts(value: &mut Value, by: &str) {
    const FREE: [&str; 26] = [
        "addr",
        "name",
        "version",
        "listener",
        "host",
        "path",
        "origin",
        "user_agent",
        "reason",
        "detail",
        "message",
        "code",
        "details_code",
        "place",
        "fingerprint",
        "user",
        "url",
        "local_addr",
        "fault",
        "client_cause",
        "gateway_cause",
        "cipher",
        "alert",
        "server",
        "value",
        "request_id",
    ];
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                if field.is_string() && FREE.contains(&key.as_str()) {
                    *field = by.into();
                } else {
                    replace_texts(field, by);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_texts(item, by)),
        _ => {}
    }
}

#[test]
fn what_is_not_found_says_what_was_looked_at() {
    let options = |what: &str| Options {
        what: what.to_owned(),
        records: None,
        config: None,
        overrides: Overrides::default(),
        width: WIDTH,
        json: false,
    };
    let run = |options: &Options| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(options, Box::new(io::empty()), &mut out, &mut err);
        (
            code,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    };
    let (code, out, err) = run(&options("gateway.auth.token_missmatch"));
    assert_eq!((code, out.as_str()), (1, ""));
    insta::assert_snapshot!(err, @r"
    wstap: gateway.auth.token_missmatch is no rule, class, file, Close code or
    session's id
    Did you mean
      gateway.auth.token_mismatch
      gateway.auth.token_missing
      gateway.auth.device_token_mismatch
    ");
    let (code, _, err) = run(&options("019ab1c2"));
    assert_eq!(code, 2);
    assert!(err.contains("--records FILE"), "{err}");
    let (code, _, err) = run(&options("-"));
    assert_eq!(code, 1);
    assert!(err.contains("standard input holds no records"), "{err}");
    let (code, out, _) = run(&Options {
        json: true,
        ..options("\u{1b}[2J")
    });
    assert_eq!(code, 1);
    assert!(
        !out.contains('\u{1b}') && out.contains("\"explains\":null"),
        "{out}"
    );
}

/// The names of all fields, but those of a record and a verdict, which have their own page.
fn fields(value: &Value, names: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                names.insert(name.clone());
                if name != "record" && name != "verdict" {
                    fields(value, names);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, names)),
        _ => {}
    }
}

#[test]
fn docs_explain_page_names_every_field_and_event() {
    let mut names = std::collections::BTreeSet::new();
    let mut summary = Summary::default();
    for (_, mut record) in all() {
        names.extend(
            steps::steps(&record)
                .iter()
                .map(|step| page_writer::word(&step.event)),
        );
        fields(&Story::new(&record).json(), &mut names);
        let mut other = crate::verdict::decide(&record);
        other.rule = "another".to_owned();
        record.verdict = Some(other);
        summary.add(&record);
    }
    fields(&summary.json("f", &Unread::default()), &mut names);
    fields(&named("gateway.auth").unwrap().json(), &mut names);
    fields(
        &named("gateway.auth.token_mismatch").unwrap().json(),
        &mut names,
    );
    fields(&ExplainError::NoRecords.json(), &mut names);
    assert!(names.len() > 60, "{names:?}");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/explain.md");
    let page = std::fs::read_to_string(page).unwrap();
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/explain.md does not name {missing:?}"
    );
}
