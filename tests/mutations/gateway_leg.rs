//! The same on the other leg: bytes from a gateway with TLS are changed, and no client is blamed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use wstap::session::record::Class;

use super::gateway::Gateway;
use super::session::{Face, Script};
use super::tamper::Change;
use super::{Addresses, STRANGERS, run, ways};
use crate::support::certs::{Ca, Validity};
use crate::support::dice::Dice;
use crate::support::records::class;
use crate::support::tap::Setup;

const SESSIONS: usize = 400;

/// Approximate number of bytes that a gateway sends in such a session.
const SENT: usize = 2200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_changed_byte_of_a_gateway_is_unknown_or_blames_a_client() {
    let dice = Dice::seeded("mutations of a gateway");
    let dice = Arc::new(Mutex::new(dice));
    let ca = Ca::new();
    let acceptor = TlsAcceptor::from(ca.server(&["gateway"], Validity::Now));
    let chance = Arc::clone(&dice);
    let changes = move || {
        let mut dice = chance.lock().unwrap();
        let at = dice.below(SENT);
        match dice.below(6) {
            0 | 1 => Change::Flip {
                at,
                mask: 1 << dice.below(8),
            },
            2 => Change::Lost {
                at,
                len: 1 + dice.below(40),
            },
            3 => Change::Rst { at },
            4 => Change::Fin { at },
            _ => Change::Before {
                at,
                bytes: STRANGERS[dice.below(STRANGERS.len())],
            },
        }
    };
    let gateway = Gateway::start(Some(acceptor), changes).await;
    let mut tap = Setup::before_url(&gateway.url)
        .gateway_ca(&ca, "gateway")
        // An incomplete message must run into somebody's timeout.
        .set("timeouts.connect", "1s")
        .set("timeouts.upgrade", "1s")
        .set("timeouts.idle", "1s")
        .start()
        .await;
    let ways = ways(&tap);
    let mut addresses = Addresses::default();
    // A client that is more patient than any timer here, so it never leaves first.
    let patience = Duration::from_mins(1);
    let plans: Vec<_> = (0..SESSIONS)
        .map(|index| {
            let script = [Script::WebSocket, Script::Early, Script::Kept][index % 3];
            addresses.plan((Face::Plain, script), Change::Nothing, patience)
        })
        .collect();
    drop(run(&plans, &ways).await);
    assert_eq!(tap.terminate().await, Some(0));
    assert!(!tap.stderr().contains("panicked"), "{}", tap.stderr());
    let wrong: Vec<String> = tap
        .records()
        .iter()
        .filter(|record| {
            let blamed = class(record);
            let gateways = blamed.as_str().starts_with("gateway.") || blamed == Class::HopFault;
            !matches!(blamed, Class::Ok | Class::TapTimeout) && !gateways
        })
        .map(|record| {
            let close = serde_json::to_string(&(&record.close, &record.gateway)).expect("JSON");
            format!(
                "{}\n    {close}",
                record.verdict.as_ref().expect("a verdict").rule
            )
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {SESSIONS}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
