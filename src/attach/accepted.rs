//! Makes sockets that the gateway accepts from the tap inherit our mark (`net.ipv4.tcp_fwmark_accept`, which also
//! covers IPv6).
//!
//! Policy routing then sends the gateway's packets over loopback from the SYN-ACK on: with loopback's segment size, and
//! with one route lookup instead of two. The tap also works without it, only slower for large messages of remote
//! clients (docs/attach.md, "Performance").
//!
//! The setting belongs to the network namespace. It is switched on only where no other rule uses marks, and back at
//! the end. A marker route records that we did, so that the next run can switch it back after SIGKILL.

use std::fs::{self, OpenOptions};
use std::io;
use std::process::Command;

use super::filter::Filter;
use super::iproute::{self, RouteError};
use super::rules::{self, Plan};

/// In `/proc`, this is the setting of this process's network namespace.
const SETTING: &str = "/proc/sys/net/ipv4/tcp_fwmark_accept";

/// Whether inheriting marks is permitted, useful and safe: it is off, and nobody else routes or
/// filters by marks, so that no other connection can be routed differently.
pub(super) fn is_useful(plan: &Plan, filter: &Filter) -> bool {
    // It is read-only in most containers.
    let may_write = || OpenOptions::new().write(true).open(SETTING).is_ok();
    !plan.local_only && is("0") && may_write() && !filter.uses_marks() && !has_rules_by_mark()
}

/// Switches it on, and returns whether that succeeded.
pub(super) fn switch_on() -> bool {
    // Marker first: after a kill in between, the next run must know that the setting is ours.
    if let Err(error) = iproute::ip(&rules::add_marker()) {
        tracing::debug!(%error, "failed to add the marker of tcp_fwmark_accept; it stays off");
        return false;
    }
    if let Err(error) = fs::write(SETTING, "1") {
        tracing::debug!(%error, "failed to switch tcp_fwmark_accept on");
        let _ = iproute::ip(&rules::flush_marker());
        return false;
    }
    true
}

/// Switches it back, and removes the marker.
pub(super) fn switch_back() -> Result<(), RouteError> {
    // Without permission to remove the marker, leave both the marker and the setting.
    iproute::ip(&rules::add_marker())?;
    if is("1") {
        fs::write(SETTING, "0").map_err(RouteError::Setting)?;
    }
    iproute::ip(&rules::flush_marker())
}

/// Switches it back if a killed tap has left it on.
pub(super) fn sweep() -> Result<(), RouteError> {
    // The table does not exist before its first route, which `ip` calls an error.
    if has_marker().unwrap_or(false) {
        switch_back()
    } else {
        Ok(())
    }
}

fn is(value: &str) -> bool {
    fs::read_to_string(SETTING).is_ok_and(|found| found.trim() == value)
}

fn has_marker() -> io::Result<bool> {
    Ok(listed(&rules::show_marker())?.contains("throw"))
}

/// Whether a policy rule of somebody else looks at marks; assumed where that cannot be seen.
fn has_rules_by_mark() -> bool {
    let by_mark = |family| {
        let rules = listed(&format!("{family} rule show"))?;
        let mut others = rules.lines().filter(|rule| !rules::is_own(rule));
        Ok::<_, io::Error>(others.any(|rule| rule.contains("fwmark")))
    };
    // Without IPv6 it has no rules either.
    by_mark("-4").unwrap_or(true) || by_mark("-6").unwrap_or(false)
}

fn listed(arguments: &str) -> io::Result<String> {
    let done = Command::new("ip").args(arguments.split(' ')).output()?;
    if !done.status.success() {
        return Err(io::Error::other(format!("ip {arguments}: {}", done.status)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
