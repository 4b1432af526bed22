//! `wstap check`: a summary of the configuration, or all of its errors.
//!
//! It reads everything that the tap would read at start (certificates included) and opens no
//! socket, so it can run beside a live tap and in a build pipeline.

use std::io::Write;
use std::path::Path;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde_json::{Value, json};

use crate::admission::forwarded::Mode;
use crate::config::{
    self, ClientAuthMode, Config, ConfigError, ConfigErrors, Listener, ListenerTls, MinVersion,
    Overrides, Records, Target, Timeouts, Warning, Workers, duration_text, size_text,
};
use crate::exit;
use crate::terminal::Look;

/// Checks `file` under `overrides` and writes a summary, or every error, to `out`; as one JSON
/// object with `json`. Returns the exit code of the process: 0 or 2.
pub(crate) fn run(
    file: Option<&Path>,
    overrides: &Overrides,
    json: bool,
    look: Look,
    out: &mut dyn Write,
) -> u8 {
    let result = config::load(file, overrides);
    let written = match (&result, json) {
        (Ok(config), false) => write!(out, "{}", summary(config, look)),
        (Err(errors), false) => write!(out, "{}", look.fit(&failures(errors))),
        (result, true) => writeln!(out, "{}", as_json(result.as_ref())),
    };
    if result.is_ok() && written.is_ok() {
        exit::OK
    } else {
        exit::USAGE
    }
}

fn as_json(result: Result<&Config, &ConfigErrors>) -> Value {
    let (errors, warnings) = match result {
        Ok(config) => (
            Vec::new(),
            config.warnings().iter().map(warning_json).collect(),
        ),
        Err(errors) => (errors.iter().map(error_json).collect(), Vec::new()),
    };
    json!({ "ok": result.is_ok(), "errors": errors, "warnings": Value::Array(warnings) })
}

fn error_json(error: &ConfigError) -> Value {
    json!({
        "file": error.file().map(|file| file.to_string_lossy()),
        "source": error.source().map(|source| source.to_string()),
        "line": error.line(),
        "column": error.column(),
        "key_path": error.key_path(),
        "expected": error.expected(),
        "found": error.found(),
        "advice": error.advice(),
        "message": error.to_string(),
    })
}

fn warning_json(warning: &Warning) -> Value {
    json!({ "key_path": warning.key_path(), "message": warning.message() })
}

fn failures(errors: &ConfigErrors) -> String {
    match errors.count() {
        1 => format!("{errors}\n1 error\n"),
        count => format!("{errors}\n{count} errors\n"),
    }
}

/// The summary of the configuration: names and texts. A text without a name belongs to the name
/// above it.
#[derive(Debug, Default)]
struct Rows(Vec<(&'static str, String)>);

impl Rows {
    fn add(&mut self, name: &'static str, text: &str) {
        self.0.push((name, text.to_owned()));
    }
}

fn summary(config: &Config, look: Look) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(look.page()).unwrap_or(u16::MAX));
    for (name, text) in rows(config).0 {
        table.add_row([name.to_owned(), text]);
    }
    if let Some(names) = table.column_mut(0) {
        names
            .set_padding((2, 2))
            .set_constraint(ColumnConstraint::Absolute(Width::Fixed(14)));
    }
    if let Some(texts) = table.column_mut(1) {
        texts.set_padding((0, 0));
    }
    format!("the configuration is fine\n{}\n", table.trim_fmt())
}

fn rows(config: &Config) -> Rows {
    let mut rows = Rows::default();
    let out = &mut rows;
    for listener in config.listeners() {
        summarise_listener(listener, config, out);
        if !listener.proxy_protocol.is_empty() {
            let from = listener.proxy_protocol.entries().join(", ");
            out.add("", &format!("PROXY header required from {from}"));
        }
    }
    let gateway = config.gateway();
    let target = match gateway.target() {
        Target::Tcp { host, port } => format!("{host}:{port}"),
        Target::Unix(path) => path.display().to_string(),
    };
    out.add(
        "gateway",
        &format!(
            "{} ({target}), dialect {}",
            gateway.url(),
            gateway.dialect()
        ),
    );
    if !gateway.tls().ca().is_empty() {
        out.add(
            "gateway CA",
            &format!("{} certificates", gateway.tls().ca().len()),
        );
    }
    if gateway.forwarded() != Mode::default() {
        out.add("forwarded", gateway.forwarded().as_str());
    }
    let proxies = config.trusted_proxies();
    if !proxies.is_empty() {
        out.add("trusted", &proxies.entries().join(", "));
    }
    out.add("origins", &config.origins().to_string());
    let default = Timeouts::default().named();
    for ((name, value), (_, usual)) in config.timeouts().named().into_iter().zip(default) {
        if value != usual {
            let text = format!(
                "{name} {} instead of {}",
                duration_text(value),
                duration_text(usual)
            );
            out.add("timeout", &text);
        }
    }
    let records = config.records();
    let text = match &records.path {
        Some(path) => format!(
            "{}, rotated at {}, {} kept; http: {}",
            path.display(),
            size_text(records.rotate_bytes),
            records.keep,
            records.http
        ),
        None => format!("no file; http: {}", records.http),
    };
    out.add("records", &text);
    let usual = Records::default();
    if records.path.is_some() && records.mode != usual.mode {
        out.add("", &format!("mode: {}", records.mode));
    }
    if records.connections != usual.connections {
        out.add("", &format!("connections: {}", records.connections));
    }
    if records.repeats != usual.repeats {
        out.add("", &format!("repeats: {}", records.repeats));
    }
    if let Some(admin) = config.admin() {
        let token = if admin.token.is_some() {
            "with a token"
        } else {
            "without a token"
        };
        out.add("admin", &format!("{}, {token}", admin.listen));
    }
    out.add("output", &config.output().to_string());
    out.add("state", &config.state_dir().display().to_string());
    if let Workers::Exactly(number) = config.workers() {
        out.add("workers", &number.to_string());
    }
    for warning in config.warnings() {
        out.add("warning", &warning.to_string());
    }
    rows
}

fn summarise_listener(listener: &Listener, config: &Config, out: &mut Rows) {
    let address = &listener.listen;
    match &listener.tls {
        ListenerTls::Plain => out.add("listener", &format!("{address}, plain HTTP")),
        ListenerTls::SelfSigned { names, .. } => {
            out.add("listener", &format!("{address}, TLS"));
            let folder = config.state_dir().display();
            let text = format!(
                "development certificate in {folder} for {}",
                names.join(", ")
            );
            out.add("", &text);
        }
        ListenerTls::Files { identities, .. } => {
            out.add("listener", &format!("{address}, TLS"));
            for (index, identity) in identities.iter().enumerate() {
                let role = if index == 0 && identities.len() > 1 {
                    " (default)"
                } else {
                    ""
                };
                let names = identity.names.join(", ");
                out.add("", &format!("certificate for {names}{role}"));
                out.add("", &format!("{} key", identity.kind));
                out.add("SHA-256", &identity.sha256_hex());
                out.add("", &format!("expires {}", identity.not_after));
            }
        }
    }
    let Some(policy) = listener.tls.policy() else {
        return;
    };
    if policy.min_version == MinVersion::Tls13 {
        out.add("", "TLS 1.3 only");
    }
    match policy.client_auth.as_ref().map(|auth| auth.mode) {
        Some(ClientAuthMode::Required) => out.add("", "client certificates required"),
        Some(ClientAuthMode::Optional) => out.add("", "client certificates asked for"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Override, OverrideSource};
    use std::fs;

    fn check(text: &str, json: bool) -> (u8, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wstap.yaml");
        fs::write(&file, text).unwrap();
        let mut out = Vec::new();
        let code = run(
            Some(&file),
            &Overrides::default(),
            json,
            // Wide enough for the folder's path, which is removed below.
            Look {
                styled: false,
                width: Some(400),
            },
            &mut out,
        );
        let folder = format!("{}/", folder.path().display());
        (code, String::from_utf8(out).unwrap().replace(&folder, ""))
    }

    #[test]
    fn a_good_file_is_summarised() {
        let (code, text) = check(
            "listeners: [{ listen: '0.0.0.0:80' }, { listen: '[::]:8443', tls: { self_signed: {} } }]\n\
             gateway: { url: wss://gw }\n\
             timeouts: { idle: 1h 30m }\n\
             state_dir: state\nworkers: 1\n",
            false,
        );
        assert_eq!(code, 0);
        insta::assert_snapshot!(text, @r"
        the configuration is fine
          listener    0.0.0.0:80, plain HTTP
          listener    [::]:8443, TLS
                      development certificate in state for localhost, wstap
          gateway     wss://gw (gw:443), dialect openclaw
          origins     report: none listed
          timeout     idle 1h 30m instead of 1h
          records     no file; http: errors
          output      line
          state       state
          workers     1
          warning     listeners[0]: 0.0.0.0:80 is plain HTTP: credentials cross the network unencrypted
        ");
    }

    #[test]
    fn a_certificate_is_shown_with_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let pair = rcgen::generate_simple_self_signed(["claw.example".to_owned()]).unwrap();
        let cert = folder.path().join("cert.pem");
        let key = folder.path().join("key.pem");
        fs::write(&cert, pair.cert.pem()).unwrap();
        fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        let (code, text) = check(
            &format!(
                "listeners:\n  - listen: '127.0.0.1:0'\n    tls:\n      certificates:\n      \
                 - {{ cert: '{}', key: '{}' }}\ngateway: {{ url: 'unix:/run/gw.sock' }}\n",
                cert.display(),
                key.display(),
            ),
            false,
        );
        assert_eq!(code, 0, "{text}");
        for part in [
            "certificate for claw.example",
            "SHA-256 ",
            "expires 4096-01-01",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn every_error_is_listed() {
        let (code, text) = check("listenrs: 1\ngateway: { url: gw }\noutput: xml\n", false);
        assert_eq!(code, 2);
        insta::assert_snapshot!(text, @r"
        wstap.yaml:1:1: listenrs: expected one of `listeners`, `gateway`, `origins`, `trusted_proxies`, `timeouts`, `tcp`, `limits`, `http2`, `records`, `admin`, `output`, `session_header`, `fingerprint_key_file`, `state_dir`, `reload` or `workers`, found the unknown key `listenrs` (did you mean `listeners`?)
        wstap.yaml:2:17: gateway.url: expected a URL with a scheme: `http://gw:18789`, found no scheme
        wstap.yaml:3:9: output: expected one of `line`, `json` or `none`, found `xml`
        3 errors
        ");
    }

    #[test]
    fn json_is_one_object() {
        let (code, text) = check(
            "gateway: { url: 'http://gw' }\ntimeouts: { idle: 5 }\n",
            true,
        );
        assert_eq!(code, 2);
        assert_eq!(text.lines().count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        insta::assert_json_snapshot!(value, @r#"
        {
          "errors": [
            {
              "advice": null,
              "column": 19,
              "expected": "a duration with a unit, such as `5s` or `5ms`",
              "file": "wstap.yaml",
              "found": "`5` without a unit",
              "key_path": "timeouts.idle",
              "line": 2,
              "message": "wstap.yaml:2:19: timeouts.idle: expected a duration with a unit, such as `5s` or `5ms`, found `5` without a unit",
              "source": null
            }
          ],
          "ok": false,
          "warnings": []
        }
        "#);

        let (code, text) = check(
            "gateway: { url: 'http://gw' }\norigins: { allowed: ['*'] }\n",
            true,
        );
        assert_eq!(code, 0);
        insta::assert_json_snapshot!(serde_json::from_str::<Value>(&text).unwrap(), @r#"
        {
          "errors": [],
          "ok": true,
          "warnings": [
            {
              "key_path": "origins.allowed",
              "message": "\"*\" allows every web page to connect"
            }
          ]
        }
        "#);
    }

    #[test]
    fn a_flag_is_named_by_its_name() {
        let value = "ftp://x".to_owned();
        let gateway = Override {
            value,
            source: OverrideSource::Flag("--gateway"),
        };
        let overrides = Overrides {
            gateway: Some(gateway),
            ..Overrides::default()
        };
        let mut out = Vec::new();
        assert_eq!(run(None, &overrides, true, Look::PLAIN, &mut out), 2);
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["errors"][0]["source"], "--gateway");
        assert_eq!(value["errors"][0]["file"], Value::Null);
    }

    #[test]
    fn output_that_cannot_be_written_is_a_failure() {
        let value = "http://gw".to_owned();
        let gateway = Override {
            value,
            source: OverrideSource::Env("WSTAP_GATEWAY"),
        };
        let overrides = Overrides {
            gateway: Some(gateway),
            ..Overrides::default()
        };
        let mut none: &mut [u8] = &mut [];
        assert_eq!(run(None, &overrides, false, Look::PLAIN, &mut none), 2);
    }
}
