//! The check for modes in which remote clients would look local, and the list of trusted proxies.

use super::*;
use crate::admission::forwarded::Mode;

const WAY_OUT: &str = "expected `auto` (or `allow_remote_as_local: true` beside it, which lets the \
                       gateway take every client for local)";

#[test]
fn none_before_a_gateway_on_this_host_is_an_error_with_its_place() {
    for (url, found) in [
        ("http://127.0.0.1:1", "a gateway on this host"),
        ("http://localhost:1", "a gateway on this host"),
        ("wss://[::1]:1", "a gateway on this host"),
        ("http://127.9.9.9", "a gateway on this host"),
        ("http://[::ffff:127.0.0.1]:1", "a gateway on this host"),
        ("http://0.0.0.0:1", "a gateway on this host"),
        ("http://[::]:1", "a gateway on this host"),
        ("unix:/run/gw.sock", "a gateway behind a unix socket"),
    ] {
        let text = format!("gateway:\n  url: '{url}'\n  forwarded: none\n");
        let errors = parse_text(&text).unwrap_err();
        assert_eq!(
            errors.to_string(),
            format!(
                "f.yaml:3:14: gateway.forwarded: {WAY_OUT}, found `none` before {found}, which \
                 treats requests without forwarded headers as local"
            )
        );
        let allowed = format!("{text}  allow_remote_as_local: true\n");
        let config = parse_text(&allowed).unwrap();
        assert!(config.gateway().must_be_elsewhere("x").is_none());
        let warned: Vec<&str> = config.warnings().iter().map(Warning::key_path).collect();
        assert_eq!(warned, ["gateway.allow_remote_as_local"]);
    }
}

#[test]
fn none_by_a_flag_for_the_gateway_is_an_error_too() {
    let overrides = Overrides {
        gateway: Some(flag("--gateway", "http://127.0.0.1:1")),
        ..Overrides::default()
    };
    let text = "gateway: { url: 'http://gw', forwarded: none }";
    let errors = parse(text, Path::new("f.yaml"), &overrides).unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("f.yaml:1:41: gateway.forwarded: ")
    );
}

#[test]
fn pass_is_an_error_only_where_others_can_connect() {
    let with = |listen: &str| {
        let text = format!(
            "listeners: [{{ listen: '{listen}' }}]\n\
             gateway: {{ url: 'http://127.0.0.1:1', forwarded: pass }}"
        );
        parse_text(&text)
    };
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "tap.example:0"] {
        let errors = with(open).unwrap_err().to_string();
        assert!(
            errors.starts_with("f.yaml:2:50: gateway.forwarded: "),
            "{errors}"
        );
        assert!(
            errors.contains("found `pass` before a gateway on this host"),
            "{errors}"
        );
    }
    for closed in ["127.0.0.1:0", "[::1]:0", "localhost:0"] {
        assert_eq!(with(closed).unwrap().gateway().forwarded(), Mode::Pass);
    }
}

#[test]
fn what_a_name_resolves_to_is_looked_at_later() {
    let text = "gateway: { url: 'http://gw', forwarded: none }";
    let config = parse_text(text).unwrap();
    assert!(!config.gateway().is_local());
    let error = config.gateway().must_be_elsewhere("`gw`, here").unwrap();
    assert_eq!(
        error.to_string(),
        format!("f.yaml:1:41: gateway.forwarded: {WAY_OUT}, found `none` before `gw`, here")
    );
    for mode in ["auto", "overwrite"] {
        let text = format!("gateway: {{ url: 'http://gw', forwarded: {mode} }}");
        assert!(
            parse_text(&text)
                .unwrap()
                .gateway()
                .must_be_elsewhere("x")
                .is_none()
        );
    }
}

#[test]
fn trusted_proxies_are_read_and_corrected() {
    let config = parse_text(&with_gateway("trusted_proxies: [10.0.0.0/8, '::1']")).unwrap();
    let proxies = config.trusted_proxies();
    assert!(proxies.contains("10.1.2.3".parse().unwrap()));
    assert!(proxies.contains("::ffff:10.1.2.3".parse().unwrap()));
    assert!(!proxies.contains("127.0.0.1".parse().unwrap()));
    let warnings: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("trusted_proxies[1]: ::1/128: every process"));

    let errors = parse_text(&with_gateway("trusted_proxies:\n- 10.0.0.5/8\n- '*'")).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "f.yaml:2:3: trusted_proxies[0]: expected `10.0.0.0/8` for the network, or `10.0.0.5` for \
         the one address, found `10.0.0.5/8`\n\
         f.yaml:3:3: trusted_proxies[1]: expected the addresses or networks of your proxies, each \
         on a line of its own, found `*`, which would believe everybody"
    );
}

#[test]
fn an_unknown_mode_is_told() {
    let errors = parse_text("gateway: { url: 'http://gw', forwarded: off }").unwrap_err();
    let text = errors.to_string();
    assert!(
        text.starts_with("f.yaml:1:41: gateway.forwarded: expected one of `auto`"),
        "{text}"
    );
}

#[test]
fn pass_for_strangers_is_warned_of() {
    let warned = |listen: &str| {
        let text = format!(
            "listeners: [{{ listen: '{listen}', tls: {{ self_signed: {{}} }} }}]\n\
             gateway: {{ url: 'http://gw', forwarded: pass }}"
        );
        let config = parse_text(&text).unwrap();
        let warnings = config.warnings().iter();
        warnings
            .map(|one| one.key_path().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(warned("[::]:1"), ["gateway.forwarded"]);
    assert!(warned("127.0.0.1:1").is_empty());
}
