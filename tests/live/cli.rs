//! The real command line tool, in a home of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::Install;
use super::gateway::{command, configured};

const LIMIT: Duration = Duration::from_mins(3);

/// The result of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

/// Runs `openclaw ARGS`. `ca` is trusted in addition to the system's authorities.
pub async fn run(install: &Install, args: &[&str], ca: Option<&Path>) -> Output {
    run_with(install, args, &[], ca).await
}

/// The same with more variables in its environment.
pub async fn run_with(
    install: &Install,
    args: &[&str],
    env: &[(&str, &str)],
    ca: Option<&Path>,
) -> Output {
    let folder = TempDir::new().expect("a temporary folder");
    let mut command = command(install, folder.path());
    command.args(args).stdin(Stdio::null());
    let config = folder.path().join("state/openclaw.json");
    command.envs(configured(&config)).envs(env.iter().copied());
    if let Some(ca) = ca {
        command.env("NODE_EXTRA_CA_CERTS", ca);
    }
    let mut command = tokio::process::Command::from(command);
    let running = command.kill_on_drop(true).output();
    let output = timeout(LIMIT, running)
        .await
        .unwrap_or_else(|_| panic!("{args:?} hangs"));
    let output = output.expect("run the command line tool");
    Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    }
}

/// `gateway call METHOD` to a URL with a token.
pub async fn call(
    install: &Install,
    method: &str,
    url: &str,
    token: &str,
    ca: Option<&Path>,
) -> Output {
    run(
        install,
        &["gateway", "call", method, "--url", url, "--token", token],
        ca,
    )
    .await
}
