//! Runs `ip`, the program of iproute2.

use std::io;
use std::process::Command;

/// A change of the routing failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("`ip {arguments}` failed: {why}")]
    Ip { arguments: String, why: String },
    #[error("failed to switch net.ipv4.tcp_fwmark_accept back to 0: {0}")]
    Setting(io::Error),
}

/// The version of `ip` if it is iproute2's; other programs of that name only resemble it.
pub(super) fn version() -> io::Result<Option<String>> {
    let done = Command::new("ip").arg("-V").output()?;
    let text = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    Ok(text.contains("iproute2").then_some(text))
}

/// Runs `ip` with these arguments.
pub(super) fn ip(arguments: &str) -> Result<(), RouteError> {
    let failed = |why: String| RouteError::Ip {
        arguments: arguments.to_owned(),
        why,
    };
    let done = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if done.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr);
    Err(failed(text.lines().next().unwrap_or_default().to_owned()))
}
