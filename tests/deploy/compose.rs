//! The Compose files: against the Compose specification's own schema, and against the other files
//! that they have to agree with.

use std::collections::BTreeSet;
use std::env;

use serde_json::{Value, json};

use super::{document, path, read, seconds, words};
use crate::support::skip::skip;

const BRIDGE: &str = "deploy/compose.yaml";
const SHARED: &str = "deploy/compose.shared.yaml";
const OVERRIDE: &str = "deploy/compose.upstream-override.yaml";
const CONFIG: &str = "config/compose.yaml";
const PORT: &str = "8443";

/// The schema that `scripts/fetch-packages.sh` has put there.
fn schema() -> Option<Value> {
    let folder =
        env::var_os("WSTAP_PACKAGES_DIR").map_or_else(|| path("target/packages"), Into::into);
    let text = std::fs::read_to_string(folder.join("compose-spec.json")).ok()?;
    Some(serde_json::from_str(&text).expect("the schema is JSON"))
}

/// What is wrong with a document; `None` without the schema.
fn complaints(document: &Value) -> Option<Vec<String>> {
    let schema = schema()?;
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors = validator.iter_errors(document);
    Some(
        errors
            .map(|it| format!("{}: {it}", it.instance_path()))
            .collect(),
    )
}

pub fn assert_fits_the_schema(name: &str, document: &Value) {
    match complaints(document) {
        Some(found) => assert_eq!(found, Vec::<String>::new(), "{name}"),
        None => skip(
            name,
            "the schema of Compose files is missing: run make fetch",
        ),
    }
}

#[test]
fn the_files_fit_the_specification() {
    for name in [BRIDGE, SHARED, OVERRIDE] {
        assert_fits_the_schema(name, &document(name));
    }
}

#[test]
fn the_schema_finds_what_is_wrong() {
    for (key, value) in [
        ("portz", json!(["8443:8443"])),
        ("cap_drop", json!("ALL")),
        ("read_only", json!("sometimes")),
        (
            "depends_on",
            json!({ "openclaw-gateway": { "condition": "service_happy" } }),
        ),
    ] {
        let mut broken = document(BRIDGE);
        broken["services"]["wstap"][key] = value;
        let Some(found) = complaints(&broken) else {
            return skip("deploy: the schema", "it is missing: run make fetch");
        };
        assert!(!found.is_empty(), "{key} is not noticed");
    }
}

#[test]
fn the_tap_is_the_only_way_in() {
    let bridge = document(BRIDGE);
    let services = bridge["services"].as_object().expect("services");
    for (name, service) in services {
        let ports = words(&service["ports"]);
        let wanted = if name == "wstap" {
            vec!["8443:8443"]
        } else {
            vec![]
        };
        assert_eq!(ports, wanted, "{name}");
        assert_eq!(service.get("network_mode"), None, "{name}");
    }
    // The shared namespace is the tap's, which outlives the gateway's container; the gateway stays on its
    // loopback.
    let shared = document(SHARED);
    let (gateway, tap) = (
        &shared["services"]["openclaw-gateway"],
        &shared["services"]["wstap"],
    );
    assert_eq!(words(&tap["ports"]), ["8443:8443"]);
    assert!(
        words(&gateway["command"])
            .windows(2)
            .any(|it| it == ["--bind", "loopback"])
    );
    assert_eq!(gateway["network_mode"], "service:wstap");
    assert_eq!(
        (gateway.get("ports"), gateway.get("networks")),
        (None, None)
    );
    let config = document(CONFIG);
    let listen = config["listeners"][0]["listen"].as_str();
    assert!(
        listen.is_some_and(|it| it.ends_with(&format!(":{PORT}"))),
        "{listen:?}"
    );
}

#[test]
fn the_tap_has_no_more_rights_than_it_needs() {
    for name in [BRIDGE, SHARED, OVERRIDE] {
        let tap = &document(name)["services"]["wstap"];
        assert_eq!(tap["read_only"], true, "{name}");
        assert_eq!(words(&tap["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(
            words(&tap["security_opt"]),
            ["no-new-privileges:true"],
            "{name}"
        );
        for key in ["privileged", "cap_add", "user", "pid", "ipc", "devices"] {
            assert_eq!(tap.get(key), None, "{name}: {key}");
        }
        // Liveness, not readiness. Without one it is the image's.
        if let Some(check) = tap.get("healthcheck") {
            assert_eq!(words(&check["test"]), ["CMD", "wstap", "health"]);
        }
    }
}

#[test]
fn the_tap_ends_before_it_is_killed() {
    let drain = seconds(&document(CONFIG)["timeouts"]["drain"]);
    for name in [BRIDGE, SHARED] {
        let grace = seconds(&document(name)["services"]["wstap"]["stop_grace_period"]);
        assert!(
            grace >= drain + 2,
            "{name}: {grace} s, and the drain takes {drain} s"
        );
    }
}

/// Every secret, volume and network that is used is declared, and the other way round; what is
/// mounted from the repository is there.
#[test]
fn what_is_used_is_declared() {
    for name in [BRIDGE, SHARED] {
        let file = document(name);
        for (kind, declared) in ["secrets", "networks", "volumes"].map(|kind| (kind, &file[kind])) {
            let declared = declared.as_object().expect("a mapping");
            let declared: BTreeSet<&str> = declared.keys().map(String::as_str).collect();
            assert_eq!(used(&file, kind), declared, "{name}: {kind}");
        }
        let tap = &file["services"]["wstap"];
        let config = words(&tap["volumes"])[0];
        assert_eq!(
            config, "../config/compose.yaml:/etc/wstap/wstap.yaml:ro",
            "{name}"
        );
        let context = path("deploy").join(tap["build"]["context"].as_str().expect("a folder"));
        let dockerfile = tap["build"]["dockerfile"].as_str().expect("a file");
        assert!(context.join(dockerfile).is_file(), "{name}");
    }
}

fn used<'a>(file: &'a Value, kind: &str) -> BTreeSet<&'a str> {
    let services = file["services"].as_object().expect("services");
    let lists = services.values().filter_map(|service| service.get(kind));
    let names = lists.flat_map(|list| match list {
        Value::Object(keys) => keys.keys().map(String::as_str).collect(),
        list => words(list),
    });
    let names = names.map(|name| name.split(':').next().unwrap_or(name));
    // Volumes that begin so are folders.
    names
        .filter(|name| !name.starts_with(['.', '/', '$']))
        .collect()
}

#[test]
fn the_taps_configuration_is_of_these_files() {
    let (bridge, shared, config) = (document(BRIDGE), document(SHARED), document(CONFIG));
    let secret = config["fingerprint_key_file"].as_str().expect("a file");
    let secret = secret.strip_prefix("/run/secrets/").expect("a secret");
    let state = config["state_dir"].as_str().expect("a folder");
    for file in [&bridge, &shared] {
        let tap = &file["services"]["wstap"];
        assert!(words(&tap["secrets"]).contains(&secret), "{secret}");
        let volumes = words(&tap["volumes"]);
        assert!(
            volumes.contains(&format!("wstap-state:{state}").as_str()),
            "{volumes:?}"
        );
    }
    let records = config["records"]["path"].as_str().expect("a file");
    assert!(records.starts_with(state), "{records}");
    // Where the gateway is.
    assert_eq!(config["gateway"]["url"], "http://openclaw-gateway:18789");
    let variable = &shared["services"]["wstap"]["environment"]["WSTAP_GATEWAY"];
    assert_eq!(variable, "http://127.0.0.1:18789");
    // Both names under which other containers reach the tap.
    let names = words(&config["listeners"][0]["tls"]["self_signed"]["names"]);
    for name in ["localhost", "wstap", "openclaw-gateway"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn the_gateway_trusts_the_tap_and_lets_its_page_in() {
    let bridge = document(BRIDGE);
    let address = &bridge["services"]["wstap"]["networks"]["gateway"]["ipv4_address"];
    let address = format!("{}/32", address.as_str().expect("an address"));
    let files = [
        ("deploy/openclaw.json", address.as_str()),
        ("deploy/openclaw.shared.json", "127.0.0.1/32"),
    ];
    for (name, trusted) in files {
        let gateway: Value = serde_json::from_str(&read(name)).expect("JSON");
        assert_eq!(
            words(&gateway["gateway"]["trustedProxies"]),
            [trusted],
            "{name}"
        );
        let allowed = words(&gateway["gateway"]["controlUi"]["allowedOrigins"]);
        assert_eq!(
            allowed,
            words(&document(CONFIG)["origins"]["allowed"]),
            "{name}"
        );
        let token = &gateway["secrets"]["providers"]["gateway-token"]["path"];
        assert_eq!(token, "/run/secrets/openclaw-gateway-token", "{name}");
    }
}
