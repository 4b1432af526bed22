//! The taps of the table: every configuration of the headers that name clients to the gateway.

use std::net::SocketAddr;

use serde_json::json;
use wstap::session::SessionRecord;
use wstap::session::record::gateway::Acceptance;

use super::clients::Meeting;
use crate::live::visitor::{Answer, Visitor};
use crate::support::client::connect;
use crate::support::deadline::within;
use crate::support::netns::HERE_V4;
use crate::support::tap::{Face, Setup, Tap};

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    pub name: &'static str,
    /// `gateway.forwarded`
    forwarded: &'static str,
    /// `trusted_proxies` names the nginx on the tap's own host.
    lists_nginx: bool,
    /// `gateway.allow_remote_as_local`
    pub allowed: bool,
    /// Nobody can connect but from the same host.
    loopback_only: bool,
}

const fn mode(name: &'static str, forwarded: &'static str) -> Mode {
    Mode {
        name,
        forwarded,
        lists_nginx: false,
        allowed: false,
        loopback_only: false,
    }
}

const AUTO: Mode = mode("auto", "auto");
const AUTO_LIST: Mode = Mode {
    lists_nginx: true,
    ..mode("auto, lists nginx", "auto")
};
const PASS: Mode = mode("pass", "pass");
const PASS_LOOPBACK: Mode = Mode {
    loopback_only: true,
    ..mode("pass, on loopback", "pass")
};
const OVERWRITE: Mode = mode("overwrite", "overwrite");
const OVERWRITE_LIST: Mode = Mode {
    lists_nginx: true,
    ..mode("overwrite, lists nginx", "overwrite")
};
const NONE: Mode = mode("none", "none");
/// The control: if it is configured so, the tap does make everybody local.
const NONE_ALLOWED: Mode = Mode {
    allowed: true,
    ..mode("none, allowed", "none")
};

/// On the gateway's host, and the gateway trusts nobody.
pub const BEFORE_LOOPBACK: &[Mode] = &[
    AUTO,
    AUTO_LIST,
    OVERWRITE,
    OVERWRITE_LIST,
    PASS_LOOPBACK,
    NONE_ALLOWED,
];
/// These would make everybody local there: the tap does not start.
pub const NEVER_BEFORE_LOOPBACK: &[Mode] = &[PASS, NONE];
pub const UNTRUSTED: &[Mode] = &[AUTO, AUTO_LIST, OVERWRITE, PASS_LOOPBACK];
pub const TRUSTED: &[Mode] = &[AUTO, AUTO_LIST, OVERWRITE, OVERWRITE_LIST, PASS_LOOPBACK];
/// By its network address the gateway is a host like any other.
pub const ELSEWHERE: &[Mode] = &[AUTO, AUTO_LIST, OVERWRITE, OVERWRITE_LIST, PASS, NONE];

/// How a tap ended that did not start.
pub struct Refusal {
    pub code: Option<i32>,
    pub stderr: String,
}

impl Mode {
    pub fn is_auto(&self) -> bool {
        self.forwarded == "auto"
    }

    pub async fn start(&self, gateway: SocketAddr) -> Tap {
        self.setup(gateway).start().await
    }

    pub async fn refused_to_start(&self, gateway: SocketAddr) -> Refusal {
        let (code, stderr) = self.setup(gateway).start_in_vain().await;
        Refusal { code, stderr }
    }

    /// Waits until the tap knows whether the gateway believes it.
    pub async fn settled(&self, tap: &Tap) {
        if self.loopback_only {
            return;
        }
        within("the acceptance check", async {
            loop {
                let visitor = Visitor::command_line();
                visitor
                    .visit(connect((HERE_V4, port(tap)).into()).await)
                    .await;
                let gateway = visitor.record(tap).await.gateway;
                let forwarded = gateway.and_then(|gateway| gateway.forwarded);
                if forwarded.expect("how it was forwarded").acceptance != Acceptance::Unknown {
                    break;
                }
            }
        })
        .await;
    }

    fn setup(&self, gateway: SocketAddr) -> Setup {
        let listen = if self.loopback_only {
            "127.0.0.1:0"
        } else {
            "[::]:0"
        };
        let mut setup = Setup::before_url(&format!("http://{gateway}"))
            .openclaw()
            .set("listeners", json!([{ "listen": listen }]));
        setup = setup.set("gateway.forwarded", self.forwarded);
        if self.lists_nginx {
            setup = setup.set("trusted_proxies", json!(["127.0.0.1/32"]));
        }
        if self.allowed {
            setup = setup.set("gateway.allow_remote_as_local", true);
        }
        setup
    }
}

pub fn port(tap: &Tap) -> u16 {
    tap.addr(Face::Plain).port()
}

/// The tap's records of these visits, in their order; those that never reached it have none.
pub async fn records(tap: &Tap, meeting: &Meeting) -> Vec<SessionRecord> {
    let mut found = Vec::new();
    for visit in &meeting.0 {
        if matches!(visit.answer, Answer::Unreachable(_)) {
            continue;
        }
        found.push(visit.visitor.record(tap).await);
    }
    found
}
