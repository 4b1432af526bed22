//! Whole configurations: defaults, every key, overrides, warnings, and random texts.

mod certificates;
mod locality;
mod mistakes;

use std::fs;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::session::caps::{Caps, Rate};

fn parse_text(text: &str) -> Result<Config, ConfigErrors> {
    parse(text, Path::new("f.yaml"), &Overrides::default())
}

/// A text with a gateway in its last line, so that nothing else is wrong.
fn with_gateway(text: &str) -> String {
    format!("{text}\ngateway: {{ url: 'http://gw' }}\n")
}

fn flag(name: &'static str, value: &str) -> Override {
    Override {
        value: value.to_owned(),
        source: OverrideSource::Flag(name),
    }
}

fn env(name: &'static str, value: &str) -> Override {
    Override {
        value: value.to_owned(),
        source: OverrideSource::Env(name),
    }
}

#[test]
fn defaults_are_complete() {
    let config = parse_text("gateway: { url: 'http://gw' }").unwrap();
    assert_eq!(config.listeners().len(), 1);
    assert_eq!(config.listeners()[0].listen.to_string(), "[::]:8443");
    assert!(
        matches!(&config.listeners()[0].tls, ListenerTls::SelfSigned { names, .. } if names == &["localhost", "wstap"])
    );
    assert_eq!(config.gateway().dialect(), Dialect::OpenClaw);
    assert_eq!(config.timeouts(), Timeouts::default());
    assert_eq!(config.limits(), Limits::default());
    assert_eq!(config.http2(), Http2::default());
    assert_eq!(config.records(), &Records::default());
    assert_eq!(config.output(), OutputFormat::Line);
    assert!(config.session_header());
    assert!(config.origins().allowed().is_empty());
    assert!(config.fingerprint_key().is_none());
    assert!(config.state_dir().ends_with("wstap"));
    assert_eq!(config.workers(), Workers::PerCpu);
    assert!(config.warnings().is_empty());
}

fn assert_sockets(config: &Config) {
    let unix = &config.listeners()[2];
    assert_eq!(unix.listen, Listen::Unix("/run/tap.sock".into()));
    assert_eq!(unix.mode, FileMode(0o600));
    assert_eq!(unix.proxy_protocol.entries(), ["10.0.0.0/8", "unix"]);
    let passed = Listen::Systemd(Some("tap".to_owned()));
    assert_eq!(config.listeners()[3].listen, passed);
    assert!(config.trusted_proxies().has_unix());
}

fn assert_records(config: &Config) {
    let records = config.records();
    assert_eq!(
        (records.rotate_bytes, records.keep, records.http),
        (4096, 0, RecordFilter::All)
    );
    assert_eq!(records.mode, FileMode(0o640));
    assert_eq!(records.connections, RecordFilter::None);
    assert_eq!(records.repeats, RepeatedRecords::Each);
    assert_eq!(records.path, std::path::absolute("r.jsonl").ok());
}

#[test]
fn every_key_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key");
    fs::write(&key_file, "0123456789abcdef\n").unwrap();
    let ca = rcgen::generate_simple_self_signed(["gw".to_owned()])
        .unwrap()
        .cert
        .pem();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, ca).unwrap();
    let config = parse_text(&format!(
        "listeners:
- listen: '[::1]:1'
- listen: 'host:2'
  tls: {{ self_signed: {{ names: [a.example, 10.0.0.1] }} }}
- listen: 'unix:/run/tap.sock'
  mode: '0600'
  proxy_protocol: {{ from: [10.0.0.0/8, unix] }}
- listen: systemd:tap
trusted_proxies: [unix]
gateway:
  url: wss://gw:3
  dialect: plain
  tls: {{ ca: '{}', server_name: other }}
origins: {{ allowedOrigins: ['https://a.example'] }}
timeouts: {{ proxy_header: 9s, tls_handshake: 1s, request_head: 2s, request_body: 3s, connect: 4s, upgrade: 5s, idle: 6s, half_close: 7s, close: 8s, drain: 8ms }}
tcp: {{ keepalive: 2s, keepalive_interval: 1m, user_timeout: 1h }}
limits:
  {{ connections: 1, per_client: 4, handshakes: 5, head_bytes: 8KiB, headers: 3,
     session: {{ bytes: 1MiB, message_bytes: 1KiB, messages_per_second: 7, bytes_per_second: 10,
                 bytes_burst: 2KiB }} }}
http2: {{ enabled: false, websocket: true, max_concurrent_streams: 7 }}
records: {{ path: r.jsonl, rotate_bytes: 4096, keep: 0, mode: '0640', http: all, connections: none, repeats: each }}
output: json
session_header: false
fingerprint_key_file: '{}'
state_dir: state
workers: 3
",
        ca_file.display(),
        key_file.display(),
    ))
    .unwrap();
    assert!(matches!(config.listeners()[0].tls, ListenerTls::Plain));
    assert!(
        matches!(&config.listeners()[1].tls, ListenerTls::SelfSigned { names, .. } if names == &["a.example", "10.0.0.1"])
    );
    assert_sockets(&config);
    assert_eq!(config.gateway().url(), "wss://gw:3");
    assert_eq!(config.gateway().dialect(), Dialect::Plain);
    assert_eq!(config.gateway().tls().ca().len(), 1);
    assert_eq!(
        config.gateway().tls().server_name().unwrap().to_str(),
        "other"
    );
    assert_eq!(
        config.origins().allowed().origins()[0].to_string(),
        "https://a.example"
    );
    let timers: Vec<_> = config.timeouts().named().map(|(_, timer)| timer).into();
    let seconds = [9, 1, 2, 3, 4, 5, 6, 7, 8].map(Duration::from_secs);
    assert_eq!(timers[..9], seconds);
    assert_eq!(timers[9], Duration::from_millis(8));
    let tcp = config.tcp();
    let tcp = [tcp.keepalive, tcp.keepalive_interval, tcp.user_timeout];
    assert_eq!(tcp, [2, 60, 3600].map(Duration::from_secs));
    assert_eq!(
        config.limits(),
        Limits {
            connections: 1,
            per_client: 4,
            handshakes: 5,
            head_bytes: 8192,
            headers: 3,
            session: Caps {
                bytes: Some(1 << 20),
                message_bytes: Some(1024),
                messages: Some(Rate {
                    per_second: 7,
                    burst: 70
                }),
                byte_rate: Some(Rate {
                    per_second: 10,
                    burst: 2048
                }),
            }
        }
    );
    let http2 = config.http2();
    assert_eq!((http2.enabled, http2.websocket), (false, true));
    assert_eq!(http2.max_concurrent_streams, 7);
    assert_records(&config);
    assert_eq!(config.output(), OutputFormat::Json);
    assert!(!config.session_header());
    assert_eq!(
        config.fingerprint_key().unwrap().expose(),
        b"0123456789abcdef"
    );
    assert_eq!(config.state_dir(), std::path::absolute("state").unwrap());
    assert_eq!(config.workers().to_string(), "3");
}

#[test]
fn overrides_win_and_are_named_in_errors() {
    let overrides = Overrides {
        listen: vec![
            flag("--listen", "http://127.0.0.1:0"),
            flag("--listen", "tap.lan:1"),
        ],
        gateway: Some(env("WSTAP_GATEWAY", " wss://gw2 ")),
        allowed_origins: vec![env("WSTAP_ALLOWED_ORIGINS", "https://b.example")],
        admin: Some(env("WSTAP_ADMIN", "[::1]:9")),
        output: Some(OutputFormat::Json),
        state_dir: Some("s".into()),
        records: None,
        tls_keylog: None,
    };
    let text = "admin: { hosts: [tap.lan] }\nlisteners: [{ listen: 'a:9' }]\ngateway: { url: 'http://gw', dialect: plain }\n\
                origins: { allowed: ['https://a.example'] }\noutput: line\nstate_dir: t";
    let config = parse(text, Path::new("f.yaml"), &overrides).unwrap();
    let admin = config.admin().unwrap();
    assert_eq!(admin.listen.to_string(), "[::1]:9");
    assert!(admin.is_known_as("tap.lan:9", [127, 0, 0, 1].into()));
    assert_eq!(config.listeners().len(), 2);
    assert!(matches!(config.listeners()[0].tls, ListenerTls::Plain));
    assert_eq!(config.gateway().url(), "wss://gw2");
    assert_eq!(config.gateway().dialect(), Dialect::Plain);
    assert_eq!(
        config.origins().allowed().origins()[0].to_string(),
        "https://b.example"
    );
    assert_eq!(config.origins().allowed().origins().len(), 1);
    assert_eq!(config.output(), OutputFormat::Json);
    assert_eq!(config.state_dir(), std::path::absolute("s").unwrap());

    let overrides = Overrides {
        listen: vec![flag("--listen", "8443")],
        gateway: Some(env("WSTAP_GATEWAY", "http://gw/x")),
        allowed_origins: vec![env("WSTAP_ALLOWED_ORIGINS", "a.example")],
        ..Overrides::default()
    };
    let errors = parse("output: xml", Path::new("f.yaml"), &overrides).unwrap_err();
    assert_eq!(
        errors.to_string().lines().collect::<Vec<_>>(),
        [
            "f.yaml:1:9: output: expected one of `line`, `json` or `none`, found `xml`",
            "--listen: expected `host:port`; for every address write `[::]:8443`, found a port alone",
            "WSTAP_GATEWAY: expected `http://gw` alone (the client's own path is passed on), found a path (not shown)",
            "WSTAP_ALLOWED_ORIGINS: expected \"https://a.example\", found `a.example` with no scheme",
        ]
    );
}

#[test]
fn an_output_of_nothing_at_all_is_odd() {
    let odd = |text: &str| {
        let text = format!("gateway: {{ url: 'http://gw' }}\n{text}");
        let config = parse(&text, Path::new("f.yaml"), &Overrides::default()).unwrap();
        let warnings = config.warnings();
        warnings.iter().any(|it| it.key_path() == "output")
    };
    assert!(odd("output: none"));
    assert!(!odd("output: none\nrecords: { path: r.jsonl }"));
    assert!(!odd("output: none\nadmin: {}"));
    assert!(!odd("output: line"));
}

#[test]
fn empty_environment_counts_as_not_set() {
    let overrides = Overrides {
        listen: vec![env("WSTAP_LISTEN", "")],
        gateway: Some(env("WSTAP_GATEWAY", " ")),
        allowed_origins: vec![env("WSTAP_ALLOWED_ORIGINS", "")],
        ..Overrides::default()
    };
    let config = parse(
        "gateway: { url: 'http://gw' }",
        Path::new("f.yaml"),
        &overrides,
    )
    .unwrap();
    assert_eq!(config.gateway().url(), "http://gw");
    assert_eq!(config.listeners()[0].listen.tcp().unwrap().port, 8443);

    let gateway = Some(flag("--gateway", ""));
    let errors = load(
        None,
        &Overrides {
            gateway,
            ..Overrides::default()
        },
    )
    .unwrap_err();
    assert!(
        errors.to_string().starts_with("--gateway: expected a URL"),
        "{errors}"
    );
}

#[test]
fn odd_but_legal_things_are_warned_of() {
    let warnings = |text: &str| -> Vec<String> {
        parse_text(text)
            .unwrap()
            .warnings()
            .iter()
            .map(|w| w.key_path().to_owned())
            .collect()
    };
    for (text, key_path) in [
        ("listeners: [{ listen: '0.0.0.0:80' }]", "listeners[0]"),
        ("origins: { allowed: ['*', 'http://a'] }", "origins.allowed"),
        ("origins: { mode: enforce }", "origins.mode"),
        (
            "origins: { allowed: ['http://a'], mode: report }",
            "origins.mode",
        ),
        (
            "origins: { allowed: ['http://a'], mode: off }",
            "origins.mode",
        ),
        (
            "origins: { allowed: ['http://a'], missing: deny }",
            "origins.missing",
        ),
        ("origins: { missing: deny }", "origins.missing"),
        ("origins: { mode: off, missing: deny }", "origins.missing"),
        ("origins: { deny_with: close }", "origins.deny_with"),
        (
            "origins: { mode: off, deny_with: close }",
            "origins.deny_with",
        ),
        ("timeouts: { drain: 11s }", "timeouts.drain"),
        ("records: { keep: 3 }", "records"),
    ] {
        assert_eq!(warnings(&with_gateway(text)), [key_path], "{text}");
    }
    assert!(warnings(&with_gateway("listeners: [{ listen: '127.0.0.1:80' }]")).is_empty());
    assert!(warnings(&with_gateway("records: { path: r, keep: 3 }")).is_empty());
    for text in [
        "origins: { allowed: ['http://a'] }",
        "origins: { allowed: ['http://a'], mode: enforce, deny_with: close }",
        "origins: { mode: report }",
        "origins: { mode: off }",
    ] {
        assert!(warnings(&with_gateway(text)).is_empty(), "{text}");
    }
}

#[test]
fn the_gateways_file_is_read_and_its_dead_entries_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openclaw.json");
    fs::write(
        &file,
        "{ gateway: { controlUi: { allowedOrigins: ['https://a.b', 'https://c.d/', 'https://e.f:443', \
         'https://*.g.h', '${X}'], dangerouslyAllowHostHeaderOriginFallback: true } } }",
    )
    .unwrap();
    let text = with_gateway(&format!(
        "origins: {{ from_gateway_config: '{}' }}",
        file.display()
    ));
    let config = parse_text(&text).unwrap();
    assert_eq!(
        config.origins().policy_at_start().mode(),
        crate::admission::origin::policy::Mode::Enforce
    );
    assert_eq!(
        config.origins().to_string(),
        format!("enforce: 1 of {}", file.display())
    );
    let warnings: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
    for (warning, part) in warnings.iter().zip([
        "its entry https://c.d/, which ends with a slash: write \"https://c.d\"",
        "its entry https://e.f:443, which names the default port: write \"https://e.f\"",
        "its entry https://*.g.h, which has a wildcard",
        "fills in its entry ${X}",
        "dangerouslyAllowHostHeaderOriginFallback",
    ]) {
        assert!(
            warning.starts_with("origins.from_gateway_config: ") && warning.contains(part),
            "{warning}"
        );
    }
    assert_eq!(warnings.len(), 5);
}

#[test]
fn certificates_near_their_end_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let cert = folder.path().join("cert.pem");
    let key_file = folder.path().join("key.pem");
    fs::write(&cert, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let text = with_gateway(&format!(
        "listeners: [{{ listen: 'a:1', tls: {{ certificates: [{{ cert: '{}', key: '{}' }}] }} }}]",
        cert.display(),
        key_file.display()
    ));
    let config = parse_text(&text).unwrap();
    let at = |time: &str| {
        let warnings = warnings::warnings(&config, time.parse().unwrap());
        warnings
            .first()
            .map(|warning| warning.message().to_owned())
            .unwrap_or_default()
    };
    assert!(at("2022-01-01T00:00:00Z").contains("expired at 2021-01-01"));
    assert!(at("2020-12-25T00:00:00Z").contains("expires soon"));
    assert!(at("2019-01-01T00:00:00Z").contains("not valid before 2020-01-01"));
    assert_eq!(at("2020-06-01T00:00:00Z"), "");
}

/// Words of the schema glued together: far more likely to get past the parser than noise.
fn yaml_like() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "listeners",
        "listen",
        "tls",
        "self_signed",
        "certificates",
        "cert",
        "key",
        "names",
        "gateway",
        "url",
        "dialect",
        "origins",
        "allowed",
        "allowedOrigins",
        "timeouts",
        "idle",
        "limits",
        "head_bytes",
        "records",
        "keep",
        "output",
        "state_dir",
        ": ",
        ":",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'",
        "\"",
        "&a ",
        "*a",
        "!!str ",
        "? ",
        "|\n",
        "#",
        "---\n",
        "null",
        "10s",
        "0",
        "8443",
        "-1",
        "64KiB",
        "http://gw",
        "https://é.example/",
        "\t",
        "\u{feff}",
        "\u{202e}",
        "<<: ",
        "/nonexistent",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = parse_text(&text).map_err(|errors| errors.to_string());
    }

    #[test]
    fn text_like_a_configuration_never_panics(text in yaml_like()) {
        if let Err(errors) = parse_text(&text) {
            prop_assert!(!errors.as_slice().is_empty());
            prop_assert_eq!(errors.to_string().lines().count(), errors.as_slice().len());
        }
    }

    #[test]
    fn any_override_never_panics(value in any::<String>()) {
        let overrides = Overrides {
            listen: vec![flag("--listen", &value)],
            gateway: Some(flag("--gateway", &value)),
            allowed_origins: vec![flag("--allowed-origins", &value)],
            ..Overrides::default()
        };
        let _ = load(None, &overrides).map_err(|errors| errors.to_string());
    }
}

#[test]
fn the_admin_listener_is_off_until_it_is_named() {
    let gateway = "gateway: { url: 'http://gw' }";
    let admin = |text: &str, overrides: &Overrides| {
        let config = parse(&format!("{gateway}\n{text}"), Path::new("f"), overrides).unwrap();
        config.admin().map(|admin| admin.listen.to_string())
    };
    let none = Overrides::default();
    assert_eq!(admin("", &none), None);
    assert_eq!(admin("admin: {}", &none).unwrap(), "127.0.0.1:8480");
    let given = |value: &str| Overrides {
        admin: Some(env("WSTAP_ADMIN", value)),
        ..Overrides::default()
    };
    assert_eq!(admin("", &given("127.0.0.1:1")).unwrap(), "127.0.0.1:1");
    assert_eq!(admin("", &given("")), None);
    let open = parse(gateway, Path::new("f"), &given("0.0.0.0:1")).unwrap_err();
    let open = open.to_string();
    assert!(
        open.starts_with("WSTAP_ADMIN: expected a loopback"),
        "{open}"
    );
}

#[test]
fn a_flag_or_the_environment_names_the_records_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let text = format!(
        "gateway: {{ url: http://gw }}\nrecords: {{ path: {} }}\n",
        at("file")
    );
    let path = |value: &str, source| {
        let overrides = Overrides {
            records: Some(Override {
                value: value.to_owned(),
                source,
            }),
            ..Overrides::default()
        };
        parse(&text, Path::new("f"), &overrides).map(|config| config.records().path.clone())
    };
    let (flag, env) = (
        OverrideSource::Flag("--records"),
        OverrideSource::Env("WSTAP_RECORDS"),
    );
    assert_eq!(path(&at("flag"), flag).unwrap(), Some(at("flag").into()));
    assert_eq!(path(&at("env"), env).unwrap(), Some(at("env").into()));
    assert_eq!(path("", env).unwrap(), Some(at("file").into()));
    for (value, source, place) in [
        ("", flag, "--records: "),
        (at("none/f").as_str(), env, "WSTAP_RECORDS: "),
        ("/dev/stdout", flag, "--records: "),
    ] {
        let error = path(value, source).unwrap_err().to_string();
        assert!(error.starts_with(place), "{error}");
    }
}
