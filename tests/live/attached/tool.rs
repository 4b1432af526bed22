//! The real command line tool, in the gateway's own namespace: direct, with `wstap serve` in front, and attached.

use std::net::SocketAddr;

use serde_json::json;
use wstap::session::SessionRecord;
use wstap::session::record::{Class, TapMode};

use super::LONG;
use super::clients::WRONG;
use crate::live::Install;
use crate::live::cli::Output;
use crate::live::gateway::{Gateway, TOKEN};
use crate::live::works::steady;
use crate::support::attached::Attached;
use crate::support::deadline::{STEP, poll};
use crate::support::netns::HERE_PRIVATE;
use crate::support::records::{class, is_websocket, rule, summary};
use crate::support::tap::{Face, Setup, Tap};

/// The arguments of the tool, and the result that they lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    WrongToken,
    /// By the host's own address the gateway takes it for remote: its device has to be approved.
    Unpaired,
}

impl Fault {
    const ALL: [Self; 3] = [Self::None, Self::WrongToken, Self::Unpaired];

    fn class(self) -> Class {
        match self {
            Self::None => Class::Ok,
            Self::WrongToken => Class::GatewayAuth,
            Self::Unpaired => Class::GatewayPairing,
        }
    }

    /// The gateway's address for it.
    fn gateway(self, port: u16) -> SocketAddr {
        match self {
            Self::None | Self::WrongToken => ([127, 0, 0, 1], port).into(),
            Self::Unpaired => (HERE_PRIVATE, port).into(),
        }
    }

    /// `gateway call health`, with the gateway's own configuration and state.
    async fn call(self, install: &Install, gateway: &Gateway, to: SocketAddr) -> Output {
        let token = if self == Self::WrongToken {
            WRONG
        } else {
            TOKEN
        };
        let url = format!("ws://{to}");
        let mut arguments = vec!["gateway", "call", "health"];
        // As it is called on the gateway's host: it finds address and token in the configuration.
        if self != Self::None || to != gateway.addr() {
            arguments.extend(["--url", &url, "--token", token]);
        }
        let output = gateway.command_line(install, &arguments).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Output {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            code: output.status.code(),
        }
    }
}

pub async fn works_and_its_faults_are_judged_as_inline(install: &Install, gateway: &Gateway) {
    let port = gateway.addr().port();
    let mut direct = Vec::new();
    let mut inline = Vec::new();
    let mut taps: Vec<(Tap, usize)> = Vec::new();
    for fault in Fault::ALL {
        let to = fault.gateway(port);
        direct.push(fault.call(install, gateway, to).await);
        // One tap for each address, because a verdict counts with what its tap has seen before.
        let known = taps
            .iter()
            .position(|(tap, _)| address(tap).ip() == to.ip());
        let at = if let Some(at) = known {
            at
        } else {
            taps.push((before(to).await, 0));
            taps.len() - 1
        };
        let (tap, seen) = &mut taps[at];
        fault.call(install, gateway, address(tap)).await;
        inline.push(tap.newest(seen).await);
    }
    let attached = Attached::start(port, LONG).await;
    for (number, fault) in Fault::ALL.into_iter().enumerate() {
        let output = fault.call(install, gateway, fault.gateway(port)).await;
        assert_same(fault, &output, &direct[number]);
        let record = websocket(&attached, number).await;
        assert_as_inline(fault, &record, &inline[number]);
    }
    attached.detach().await;
}

/// The record of an upgrade attempt, after this many others. An attached tap records other connections too.
async fn websocket(attached: &Attached, before: usize) -> SessionRecord {
    let look = || {
        let records = attached.records();
        records.into_iter().filter(is_websocket).nth(before)
    };
    let found = poll(STEP, look).await;
    let shown = summary(&attached.records());
    eprint!("{shown}");
    found.unwrap_or_else(|| panic!("{before} websocket records:\n{shown}"))
}

fn address(tap: &Tap) -> SocketAddr {
    tap.addr(Face::Plain)
}

/// `wstap serve` on the address by which it reaches the gateway.
async fn before(gateway: SocketAddr) -> Tap {
    Setup::before_url(&format!("http://{gateway}"))
        .openclaw()
        .set(
            "listeners",
            json!([{ "listen": format!("{}:0", gateway.ip()) }]),
        )
        .set("gateway.forwarded", "pass")
        .start()
        .await
}

fn assert_same(fault: Fault, attached: &Output, direct: &Output) {
    eprintln!("{fault:?}: exit {:?}: {}", attached.code, attached.stderr);
    match fault {
        Fault::None => {
            assert_eq!(attached.code, Some(0), "{attached:?}");
            assert_eq!(steady(attached), steady(direct));
        }
        Fault::WrongToken | Fault::Unpaired => {
            assert_eq!(attached.code, Some(1), "{attached:?}");
            assert_eq!(attached, direct);
        }
    }
}

fn assert_as_inline(fault: Fault, attached: &SessionRecord, inline: &SessionRecord) {
    eprintln!("{fault:?}: {} / {}", rule(attached), rule(inline));
    assert_eq!(attached.tap.mode, TapMode::Attached);
    assert_eq!(inline.tap.mode, TapMode::Inline);
    assert_eq!(class(attached), fault.class(), "{fault:?}");
    assert_eq!(rule(attached), rule(inline), "{fault:?}");
    assert_eq!(attached.phase, inline.phase, "{fault:?}");
    let closes = |record: &SessionRecord| {
        let of = |close: &Option<_>| serde_json::to_value(close).expect("JSON")["code"].clone();
        (of(&record.close.client), of(&record.close.gateway))
    };
    assert_eq!(closes(attached), closes(inline), "{fault:?}");
}
