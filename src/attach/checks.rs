//! Checks everything that an attached tap needs, before the first change.

use std::io;

use super::iproute;
use super::nft::{self, NftError};
use super::obstacle::Obstacle;
use super::routes::Ipv6;
use super::rules::{self, Plan};
use crate::transport::redirected;

/// The programs and capabilities.
pub(super) fn tools(local_only: bool) -> Vec<Obstacle> {
    let mut missing = Vec::new();
    let version = nft::read(&["--version"]);
    if let Ok(version) = &version
        && is_too_old(version)
    {
        missing.push(Obstacle::new(
            format!("nft is too old: {}", version.trim()),
            "install nft 1.0 or later, or use the image for attach (deploy/README.md)",
        ));
    }
    if let Err(error) = version {
        missing.push(match error {
            NftError::Run(error) if error.kind() == io::ErrorKind::NotFound => Obstacle::new(
                "there is no program nft",
                "install it (package nftables), or use the image for attach (deploy/README.md)",
            ),
            error => Obstacle::new(error.to_string(), "repair nft: `nft --version` has to work"),
        });
    }
    if !local_only {
        match iproute::version() {
            Ok(Some(_)) => {}
            Ok(None) => missing.push(Obstacle::new(
                "the program ip is not that of iproute2",
                "install iproute2, or use --local-only, which does not need it",
            )),
            Err(_) => missing.push(Obstacle::new(
                "there is no program ip",
                "install it (package iproute2), or use --local-only, which does not need it",
            )),
        }
        if Ipv6::here() == Ipv6::NotOnLoopback {
            missing.push(Obstacle::new(
                "IPv6 is disabled for loopback alone: the gateway's replies to IPv6 clients would not come back",
                "`sysctl net.ipv6.conf.lo.disable_ipv6=0` in the gateway's network namespace, or use --local-only",
            ));
        }
    }
    if let Err((option, error)) = redirected::permitted() {
        missing.push(Obstacle::new(
            format!("the socket option {option} is not permitted: {error}"),
            CAPABILITIES,
        ));
    }
    missing
}

/// Whether this is an nft before 1.0, which has no tables with an owner. `nftables v1.0.6 (Lester Gooch #5)`.
fn is_too_old(version: &str) -> bool {
    let number = version.split_once(" v").map(|(_, rest)| rest);
    let major = number.and_then(|number| number.split_once('.'));
    major.is_some_and(|(major, _)| major == "0")
}

const CAPABILITIES: &str = "run it as root with the capability NET_ADMIN in the gateway's network \
                            namespace; of a container: `docker run --rm -it --network container:NAME --user 0 \
                            --cap-add NET_ADMIN …`";

/// Whether the kernel accepts the rules.
pub(super) fn kernel(plan: &Plan) -> Option<Obstacle> {
    match nft::check(&plan.ruleset()) {
        Ok(()) => None,
        Err(NftError::Refused(why)) if why.contains("Operation not permitted") => {
            Some(Obstacle::new(
                format!("nft may not change the packet filter here: {why}"),
                CAPABILITIES,
            ))
        }
        Err(error) => Some(Obstacle::new(
            format!("this kernel does not take the rules: {error}"),
            "load its modules on the host (`modprobe -a nf_conntrack nft_ct nft_nat nft_redir nft_fib_inet \
             nft_reject_inet`), or put the tap in front by `wstap serve`",
        )),
    }
}

/// Whether the kernel accepts timeouts for tracked connections (`CONFIG_NF_CONNTRACK_TIMEOUT`). The
/// tap works without them.
pub(super) fn timeouts() -> bool {
    nft::check(&rules::has_timeouts()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_nft_before_1_0_is_too_old() {
        assert!(is_too_old("nftables v0.9.8 (E.D.S.)"));
        assert!(!is_too_old("nftables v1.0.6 (Lester Gooch #5)"));
        assert!(!is_too_old("another program"));
    }
}
