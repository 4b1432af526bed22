//! The versions of a place's OpenClaw and of the gateway.

use serde_json::json;

use super::{VARIABLE, command, run, rung, ws};
use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Script, TOKEN};

/// The gateway names its version, and the tool on the PATH is of another.
#[tokio::test]
async fn a_skew_of_versions_is_named() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let folder = tempfile::TempDir::new().unwrap();
    let package = folder.path().join("lib/node_modules/openclaw");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    for (version, skew) in [
        (
            "2026.3.7",
            Some("is 2026.3.7, older than the gateway's 2026.9.6"),
        ),
        ("2026.9.6", None),
    ] {
        let text = json!({ "name": "openclaw", "version": version }).to_string();
        std::fs::write(package.join("package.json"), text).unwrap();
        let mut command = command(&[&ws(&gateway.peer), "--json", "--token-env", VARIABLE]);
        command
            .env(VARIABLE, TOKEN)
            .env("PATH", folder.path().join("bin"));
        let report = run(command).await.report();
        assert_eq!(report["versions"]["client"], version, "{report}");
        let because = rung(&report, "L2.auth")["because"].as_str().unwrap();
        assert!(skew.is_none_or(|skew| because.contains(skew)), "{because}");
        assert_eq!(
            skew.is_some(),
            because.contains("OpenClaw CLI here"),
            "{because}"
        );
    }
}
