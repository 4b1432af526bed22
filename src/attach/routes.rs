//! Policy rules and routes, set with `ip`: the commands that `--dry-run` prints are those that run.

use std::fs;

use super::accepted;
use super::conntrack;
use super::filter::Filter;
use super::iproute::{RouteError, ip};
use super::rules::{self, Plan};

/// The kernel's words for a missing capability, as `ip` repeats them (EPERM).
const NOT_PERMITTED: &str = "Operation not permitted";

/// The policy rules and routes of a plan; removed on drop.
#[derive(Debug)]
pub(super) struct Routes {
    /// Sockets that the gateway accepts inherit our mark.
    inherits: bool,
}

impl Routes {
    /// Adds those of a plan, replacing the leftovers of a killed tap, and lets sockets inherit
    /// marks if `filter` allows it.
    pub(super) fn add(plan: &Plan, filter: &Filter) -> Result<Self, RouteError> {
        sweep()?;
        if let Err(error) = accepted::sweep() {
            tracing::warn!(%error, "a killed tap left the setting on; attaching goes on all the same");
        }
        let mut routes = Self { inherits: false };
        for arguments in plan.routes() {
            // Without IPv6 there are no clients of it either.
            if arguments.starts_with("-6") && Ipv6::here() != Ipv6::Usable {
                continue;
            }
            ip(&arguments)?;
        }
        routes.inherits = accepted::is_useful(plan, filter) && accepted::switch_on();
        Ok(routes)
    }

    /// Stops the inheriting of marks: somebody else's rules have changed, and may use marks now.
    pub(super) fn leave_marks_alone(&mut self) {
        if std::mem::take(&mut self.inherits)
            && let Err(error) = accepted::switch_back()
        {
            tracing::warn!(%error, "accepted sockets keep inheriting the mark of their connection");
        }
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        self.leave_marks_alone();
        if let Err(error) = sweep() {
            tracing::warn!(
                %error,
                "failed to remove our policy rules; they match our own packets alone, and `wstap attach --detach` \
                 tries again"
            );
        }
    }
}

/// Removes all of our rules and routes and the tracking entries of tapped connections, including
/// the leftovers of a killed tap.
///
/// # Errors
/// Fails if there are some and this process may not remove them.
pub(super) fn sweep() -> Result<(), RouteError> {
    if let Err(error) = conntrack::sweep() {
        tracing::debug!(%error, "failed to remove connection tracking entries");
    }
    let mut swept = Ok(());
    for arguments in rules::sweep() {
        match ip(&arguments) {
            Err(error) if error.to_string().contains(NOT_PERMITTED) => swept = Err(error),
            // There is no such table before its first route.
            Err(error) => {
                tracing::debug!(%error, "failed to remove policy rules or routes; there may be none");
            }
            Ok(()) => {}
        }
    }
    swept
}

/// Whether replies to IPv6 clients can be routed back over loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ipv6 {
    /// They can.
    Usable,
    /// They cannot, and need not: no interface has an IPv6 address. Docker makes containers like this.
    Absent,
    /// They cannot: it is disabled for loopback alone.
    NotOnLoopback,
}

impl Ipv6 {
    /// The state in this network namespace.
    pub(super) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::of(
            &read("/proc/sys/net/ipv6/conf/lo/disable_ipv6"),
            &read("/proc/net/if_inet6"),
        )
    }

    /// Computed from the setting of loopback and the addresses of all interfaces. A kernel without
    /// IPv6 has neither.
    fn of(disabled: &str, addresses: &str) -> Self {
        match (disabled.trim(), addresses.trim()) {
            ("0", _) => Self::Usable,
            (_, "") => Self::Absent,
            _ => Self::NotOnLoopback,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_needed_where_an_interface_has_an_address() {
        let address = "fe800000000000000042acfffe120002 02 40 20 80     eth0\n";
        assert_eq!(Ipv6::of("0\n", ""), Ipv6::Usable);
        assert_eq!(Ipv6::of("0\n", address), Ipv6::Usable);
        assert_eq!(Ipv6::of("1\n", ""), Ipv6::Absent);
        assert_eq!(Ipv6::of("", ""), Ipv6::Absent);
        assert_eq!(Ipv6::of("1\n", address), Ipv6::NotOnLoopback);
    }
}
