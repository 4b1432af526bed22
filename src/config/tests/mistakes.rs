//! One case for each kind of bad file, with the place and the key path that must be named.

use std::fs;

use super::super::{Overrides, load};
use super::{parse_text, with_gateway};

/// The errors of a text, one per line.
pub(super) fn lines(text: &str) -> Vec<String> {
    match parse_text(text) {
        Ok(config) => panic!("no error in {text:?}: {config:?}"),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

/// The only error of a text.
pub(super) fn line(text: &str) -> String {
    let mut lines = lines(text);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

#[test]
fn errors_name_line_column_and_key_path() {
    for (text, expected) in [
        // Unknown keys, with the nearest legal one.
        (
            "timeouts:\n  idel: 1h",
            "f.yaml:2:3: timeouts.idel: expected one of `proxy_header`, `tls_handshake`, `request_head`, `request_body`, `connect`, `upgrade`, `idle`, `half_close`, `close` or `drain`, found the unknown key `idel` (did you mean `idle`?)",
        ),
        (
            "limits: { per_clients: 512 }",
            "f.yaml:1:11: limits.per_clients: expected one of `connections`, `per_client`, `handshakes`, `head_bytes`, `headers` or `session`, found the unknown key `per_clients` (did you mean `per_client`?)",
        ),
        (
            "allowedOrigins: ['*']",
            "f.yaml:1:1: allowedOrigins: expected one of `listeners`, `gateway`, `origins`, `trusted_proxies`, `timeouts`, `tcp`, `limits`, `http2`, `records`, `admin`, `output`, `session_header`, `fingerprint_key_file`, `state_dir`, `reload` or `workers`, found the unknown key `allowedOrigins` (did you mean `origins.allowed`?)",
        ),
        // Permissions.
        (
            "records: { mode: 640 }",
            "f.yaml:1:18: records.mode: expected permissions in quotes, such as `\"0660\"` (owner and group) or `\"0600\"`, found a number without quotes",
        ),
        (
            "records: { mode: '0440' }",
            "f.yaml:1:18: records.mode: expected permissions to read and write, for the owner at least, such as `\"0640\"`, found `\"0440\"`",
        ),
        // Wrong types.
        (
            "listeners: here",
            "f.yaml:1:12: listeners: expected a list, found a text",
        ),
        (
            "listeners:\n- 5",
            "f.yaml:2:3: listeners[0]: expected a mapping with `listen`, `mode`, `proxy_protocol` or `tls`, found a number",
        ),
        (
            "timeouts:\n  - 1s",
            "f.yaml:1:1: timeouts: expected a mapping with `proxy_header`, `tls_handshake`, `request_head`, `request_body`, `connect`, `upgrade`, `idle`, `half_close`, `close` or `drain`, found a list",
        ),
        (
            "session_header: yes",
            "f.yaml:1:17: session_header: expected `true` or `false`, found a text",
        ),
        (
            "output: lines",
            "f.yaml:1:9: output: expected one of `line`, `json` or `none`, found `lines` (did you mean `line`?)",
        ),
        (
            "output: [json]",
            "f.yaml:1:1: output: expected one of `line`, `json` or `none`, found a list",
        ),
        (
            "state_dir: 5",
            "f.yaml:1:12: state_dir: expected a text (put it in quotes), found a number",
        ),
        (
            "state_dir: ''",
            "f.yaml:1:12: state_dir: expected a path, found an empty text",
        ),
        (
            "limits: { session: { messages_burst: 5 } }",
            "f.yaml:1:38: limits.session.messages_burst: expected `messages_per_second` beside it, found a burst without a rate",
        ),
        (
            "limits: { session: { bytes_per_second: 0B } }",
            "f.yaml:1:40: limits.session.bytes_per_second: expected a size of at least `1B`, found `0B`",
        ),
        (
            "tcp: { user_timeout: 20s }",
            "f.yaml:1:22: tcp.user_timeout: expected `tcp.user_timeout` to be at least 1m, which is `keepalive` and two of `keepalive_interval`: with less, one lost packet ends a quiet connection, found 20s",
        ),
        (
            "tcp: { keepalive: 3m }",
            "f.yaml:1:19: tcp.keepalive: expected `tcp.user_timeout` to be at least 3m 30s, which is `keepalive` and two of `keepalive_interval`: with less, one lost packet ends a quiet connection, found 2m",
        ),
        (
            "tcp: { keepalive: 1500ms }",
            "f.yaml:1:19: tcp.keepalive: expected a duration of whole seconds, such as `30s` or `1m`, found `1500ms`",
        ),
        (
            "tcp: { keepalive_interval: 10h }",
            "f.yaml:1:28: tcp.keepalive_interval: expected a duration of at most `9h`, found `10h`",
        ),
        (
            "limits: { headers: -1 }",
            "f.yaml:1:20: limits.headers: expected a whole number from 1 to 10000, found a number",
        ),
        (
            "limits: { headers: 0 }",
            "f.yaml:1:20: limits.headers: expected a whole number from 1 to 10000, found 0",
        ),
    ] {
        assert_eq!(line(&with_gateway(text)), expected, "{text}");
    }
}

#[test]
fn durations_and_sizes_have_units() {
    for (text, expected) in [
        (
            "timeouts: { idle: 10 }",
            "f.yaml:1:19: timeouts.idle: expected a duration with a unit, such as `10s` or `10ms`, found `10` without a unit",
        ),
        (
            "timeouts: { idle: 0s }",
            "f.yaml:1:19: timeouts.idle: expected a duration of at least `1ms`, found `0s`",
        ),
        (
            "timeouts: { idle: soon }",
            "f.yaml:1:19: timeouts.idle: expected a duration with a unit, such as `500ms`, `10s` or `1h 30m`, found `soon`",
        ),
        (
            "limits: { head_bytes: 4KiB }",
            "f.yaml:1:23: limits.head_bytes: expected a size of at least `8KiB`, found `4KiB`",
        ),
        (
            "limits: { head_bytes: 64k }",
            "f.yaml:1:23: limits.head_bytes: expected a size with the unit KiB: `64KiB`, found `64k`",
        ),
    ] {
        assert_eq!(line(&with_gateway(text)), expected, "{text}");
    }
}

#[test]
fn at_least_one_worker() {
    assert_eq!(
        line(&with_gateway("workers: 0")),
        "f.yaml:1:10: workers: expected a whole number from 1 to 1024, found 0"
    );
}

#[test]
fn lists_name_the_entry() {
    for (text, expected) in [
        // Addresses and origins.
        (
            "listeners: [{ listen: 8443 }]",
            "f.yaml:1:23: listeners[0].listen: expected `host:port`; for every address write `[::]:8443` (in quotes in a file), found a port alone",
        ),
        (
            "listeners: [{ tls: { self_signed: {} } }]",
            "f.yaml:1:13: listeners[0].listen: expected an address to listen on, found nothing",
        ),
        (
            "origins:\n  allowed:\n  - https://ok.example\n  - https://Claw.example.com:443/",
            "f.yaml:4:5: origins.allowed[1]: expected \"https://claw.example.com\", found `https://Claw.example.com:443/` with upper case and a trailing slash and the default port",
        ),
        (
            "origins: { allowed: ['https://*.a.example'] }",
            "f.yaml:1:22: origins.allowed[0]: expected each host on a line of its own, such as \"https://app.example.com\", found a wildcard in `https://*.a.example`",
        ),
        (
            "origins: { allowed: [], allowedOrigins: [] }",
            "f.yaml:1:1: origins: expected `allowed` once, found it twice, once under its other name",
        ),
        (
            "origins: { mode: enforced }",
            "f.yaml:1:18: origins.mode: expected one of `enforce`, `report` or `off`, found `enforced` (did you mean `enforce`?)",
        ),
        (
            "origins: { mode: false }",
            "f.yaml:1:18: origins.mode: expected one of `enforce`, `report` or `off`, found `false`",
        ),
        (
            "origins: { deny_with: 403 }",
            "f.yaml:1:23: origins.deny_with: expected one of `http` or `close`, found a number",
        ),
        (
            "origins:\n  from_gateway_config: /nonexistent/openclaw.json",
            "f.yaml:2:24: origins.from_gateway_config: expected the gateway's own configuration file, found no file `/nonexistent/openclaw.json`",
        ),
        // The admin listener.
        (
            "admin: { listen: '0.0.0.0:8480' }",
            "f.yaml:1:18: admin.listen: expected a loopback address such as `127.0.0.1:8480`, or a token for everybody else: add `token_file: /run/secrets/wstap-admin` under `admin`, found `0.0.0.0:8480` without a token",
        ),
        (
            "admin:\n  listen: 127.0.0.1:8480\n  token_file: /nonexistent/hunter2",
            "f.yaml:3:15: admin.token_file: expected a file with a token of 16 to 4096 visible ASCII characters, found no readable file: No such file or directory (os error 2)",
        ),
        (
            "admin: { hosts: ['tap.internal:8480'] }",
            "f.yaml:1:18: admin.hosts[0]: expected a host name or an IP address without a port, such as `tap.internal`, found `tap.internal:8480`",
        ),
        // TLS of a listener.
        (
            "listeners:\n- listen: 'a:1'\n  tls:",
            "f.yaml:3:3: listeners[0].tls: expected a mapping with `self_signed`, `certificates`, `min_version` or `client_auth`, found nothing",
        ),
        (
            "listeners:\n- listen: 'a:1'\n  tls: {}",
            "f.yaml:3:3: listeners[0].tls: expected exactly one of `self_signed` and `certificates`, found neither",
        ),
        (
            "listeners:\n- listen: 'a:1'\n  tls: { certificates: [] }",
            "f.yaml:3:10: listeners[0].tls.certificates: expected at least one entry with `cert` and `key`, found an empty list",
        ),
        (
            "listeners:\n- listen: 'a:1'\n  tls: { self_signed: { names: [] } }",
            "f.yaml:3:25: listeners[0].tls.self_signed.names: expected at least one name, found an empty list",
        ),
        (
            "listeners:\n- listen: 'a:1'\n  tls: { self_signed: { names: [a b] } }",
            "f.yaml:3:33: listeners[0].tls.self_signed.names[0]: expected a host name or an IP address, such as `gateway.internal`, found `a b`",
        ),
        (
            "listeners:\n- listen: 'a:1'\n- listen: 'a:1'",
            "f.yaml:3:11: listeners[1].listen: expected an address that no other listener has, found `a:1` again",
        ),
        // Duplicates.
        (
            "output: line\noutput: json",
            "f.yaml:2:1: output: expected each key once, found it again (first at 1:1)",
        ),
    ] {
        assert_eq!(line(&with_gateway(text)), expected, "{text}");
    }
}

#[test]
fn sockets_and_who_speaks_for_others_there() {
    for (text, expected) in [
        (
            "listeners: [{ listen: 'unix:' }]",
            "f.yaml:1:23: listeners[0].listen: expected `unix:/path/of/the.sock`, found no file name",
        ),
        (
            "listeners: [{ listen: 'unix:/a', mode: 0660 }]",
            "f.yaml:1:40: listeners[0].mode: expected permissions in quotes, such as `\"0660\"` (owner and group) or `\"0600\"`, found a number without quotes",
        ),
        (
            "listeners: [{ listen: 'a:1', mode: '0660' }]",
            "f.yaml:1:36: listeners[0].mode: expected no `mode` without `listen: unix:/path`, found it beside `a:1`",
        ),
        (
            "listeners: [{ listen: 'unix:/a' }, { listen: 'unix:/a' }]",
            "f.yaml:1:46: listeners[1].listen: expected an address that no other listener has, found `unix:/a` again",
        ),
        (
            "listeners: [{ listen: 'a:1', proxy_protocol: {} }]",
            "f.yaml:1:30: listeners[0].proxy_protocol.from: expected the addresses or networks of the proxies that send it, found nothing",
        ),
        (
            "listeners: [{ listen: 'a:1', proxy_protocol: { from: [] } }]",
            "f.yaml:1:48: listeners[0].proxy_protocol.from: expected the addresses or networks of the proxies that send it, found an empty list",
        ),
        (
            "listeners: [{ listen: 'a:1', proxy_protocol: { from: [10.0.0.5/8] } }]",
            "f.yaml:1:55: listeners[0].proxy_protocol.from[0]: expected `10.0.0.0/8` for the network, or `10.0.0.5` for the one address, found `10.0.0.5/8`",
        ),
    ] {
        assert_eq!(line(&with_gateway(text)), expected, "{text}");
    }
}

#[test]
fn gateway_errors_name_their_place() {
    for (text, expected) in [
        (
            "gateway: http://gw",
            "f.yaml:1:10: gateway: expected a mapping with `url`, `dialect`, `forwarded`, `allow_remote_as_local` or `tls`, found a text",
        ),
        (
            "gateway:\n  url: ftp://gw",
            "f.yaml:2:8: gateway.url: expected a URL with http, https, ws, wss or unix, such as `http://openclaw-gateway:18789`, found the scheme `ftp`",
        ),
        (
            "gateway:\n  url: http://me:pw@gw:1/x",
            "f.yaml:2:8: gateway.url: expected `http://gw:1` alone (clients bring their own credentials, the client's own path is passed on), found a user name or password and a path (not shown)",
        ),
        (
            "gateway:\n  url: http://gw\n  tls: { server_name: gw }",
            "f.yaml:3:3: gateway.tls: expected no `tls` without an https or wss gateway, found it beside `http://gw`",
        ),
        (
            "gateway:\n  url: unix:/run/gw.sock\n  tls: {}",
            "f.yaml:3:3: gateway.tls: expected no `tls` without an https or wss gateway, found it beside a unix socket",
        ),
        (
            "gateway: { url: 'http://gw', dialect: openclw }",
            "f.yaml:1:39: gateway.dialect: expected one of `openclaw` or `plain`, found `openclw` (did you mean `openclaw`?)",
        ),
        (
            "gateway: { uri: 'http://gw', url: 'http://gw' }",
            "f.yaml:1:12: gateway.uri: expected one of `url`, `dialect`, `forwarded`, `allow_remote_as_local` or `tls`, found the unknown key `uri` (did you mean `url`?)",
        ),
        (
            "gateway: {}",
            "f.yaml:1:1: no gateway configured: give `--gateway URL`, `WSTAP_GATEWAY` or `gateway.url` in a config file; to look around first, run `wstap demo`",
        ),
        (
            "",
            "f.yaml: no gateway configured: give `--gateway URL`, `WSTAP_GATEWAY` or `gateway.url` in a config file; to look around first, run `wstap demo`",
        ),
    ] {
        assert_eq!(line(text), expected, "{text}");
    }
    let error = load(None, &Overrides::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no gateway configured: give `--gateway URL`, `WSTAP_GATEWAY` or `gateway.url` in a \
         config file; to look around first, run `wstap demo`"
    );
}

#[test]
fn broken_yaml_names_its_place() {
    for (text, place) in [
        ("a: [1, 2", "f.yaml:2:1: "),
        ("gateway:\n  url: http://gw\n url: x", "f.yaml:3:"),
        ("gateway:\n\turl: x", "f.yaml:2:"),
        ("a: 'open", "f.yaml:1:"),
        ("a: *nothing", "f.yaml:1:4: "),
        ("- a\nb: c", "f.yaml:2:1: "),
    ] {
        let line = line(text);
        assert!(line.starts_with(place), "{text:?}: {line}");
        assert!(
            line.contains("expected valid YAML, found an error: "),
            "{line}"
        );
    }
    assert_eq!(
        line("output: line\n---\noutput: json"),
        "f.yaml:2:1: expected one YAML document, found the start of another document"
    );
    assert_eq!(
        line("output: !!python/object x"),
        "f.yaml:1:9: output: expected a value without a YAML tag, found a tag"
    );
    assert_eq!(
        line("? [a]\n: b"),
        "f.yaml:1:3: expected a text as the key, found something else"
    );
    assert!(line("just words").starts_with("f.yaml:1:1: expected a mapping with `listeners`"));
}

#[test]
fn all_mistakes_come_at_once_in_order() {
    let text = "\
listeners:
- listen: nowhere
  tls:
    certificates:
    - cert: /nonexistent/cert.pem
      kye: /nonexistent/key.pem
gateway:
  url: ftp://gw
  tls: { ca: /nonexistent/ca.pem }
timeouts: { idle: 5, idle: 6s, drain: 0s }
origins: { allowed: [a.example, 'https://b.example/'] }
admin: { listen: '[::]:8480' }
fingerprint_key_file: /nonexistent/key
";
    let places: Vec<_> = lines(text)
        .iter()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        places,
        [
            "f.yaml:2:11 listeners[0].listen",
            "f.yaml:5:7 listeners[0].tls.certificates[0].key",
            "f.yaml:5:13 listeners[0].tls.certificates[0].cert",
            "f.yaml:6:7 listeners[0].tls.certificates[0].kye",
            "f.yaml:8:8 gateway.url",
            "f.yaml:9:14 gateway.tls.ca",
            "f.yaml:10:19 timeouts.idle",
            "f.yaml:10:22 timeouts.idle",
            "f.yaml:10:39 timeouts.drain",
            "f.yaml:11:22 origins.allowed[0]",
            "f.yaml:11:33 origins.allowed[1]",
            "f.yaml:12:18 admin.listen",
            "f.yaml:13:23 fingerprint_key_file",
        ]
    );
}

#[test]
fn secrets_in_wrong_places_are_not_echoed() {
    for text in [
        "gateway: 'http://u:hunter2@gw'",
        "gateway: { url: 'hunter2://x:hunter2@y' }",
        "gateway: { url: ['hunter2'], dialect: 'hunter2 and more' }",
        "fingerprint_key_file: hunter2",
        "fingerprint_key_file: { hunter: hunter2 }",
        "origins: { allowed: ['https://u:hunter2@a.example', {a: hunter2}] }",
        "listeners: ['hunter2', {listen: 'u:hunter2@h:1'}]",
        "session_header: hunter2",
        "timeouts: hunter2",
    ] {
        let errors = lines(text).join("\n");
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let load_text = |name: &str| {
        let file = folder.path().join(name);
        let error = load(Some(&file), &Overrides::default())
            .unwrap_err()
            .to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    assert!(
        load_text("none.yaml").starts_with("none.yaml: expected a readable file, found an error: ")
    );
    fs::write(folder.path().join("latin.yaml"), b"a: b\n# \xe9\n").unwrap();
    assert_eq!(
        load_text("latin.yaml"),
        "latin.yaml:2:3: expected text in UTF-8, found other bytes"
    );
    fs::write(folder.path().join("big.yaml"), " ".repeat(1024 * 1024 + 1)).unwrap();
    assert_eq!(
        load_text("big.yaml"),
        "big.yaml: expected a file of at most 1MiB, found a larger one"
    );
}

#[test]
fn the_fingerprint_key_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, "short\n").unwrap();
    let text = with_gateway(&format!("fingerprint_key_file: {}", path.display()));
    assert_eq!(
        line(&text),
        "f.yaml:1:23: fingerprint_key_file: expected a file with a key of 16 bytes to 64KiB, found 5 bytes"
    );
}

#[test]
fn very_many_mistakes_stay_bounded() {
    let mut text = String::from("origins:\n  allowed:\n");
    text.extend(std::iter::repeat_n("  - 'bad.example/'\n", 3000));
    let errors = parse_text(&text).unwrap_err();
    assert_eq!(errors.as_slice().len(), 100);
    assert!(errors.to_string().contains("\nand at least "));
}
