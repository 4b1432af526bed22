//! Certificates of the tap and of its clients, versions, resumption, the key log; and what each
//! failure is called.

mod broken;
mod client_auth;
mod endings;
#[cfg(feature = "aws-lc-rs")]
mod groups;
mod hellos;
mod key_log;
mod kinds;
mod names;
mod openssl;
mod pki;
mod refusals;
mod reload;
mod verifying;
mod versions;
mod visitor;

use std::net::SocketAddr;

use serde_json::{Value, json};
use wstap::session::SessionRecord;

use self::pki::Leaf;
use crate::peers::{Peer, Via, ok_instead_of_101};
use crate::support::tap::{Face, Setup, Tap};

/// A gateway that answers every request, and a tap in front of it with one listener: TLS with these
/// certificates and what else is in `rest`.
async fn tap(leaves: &[&Leaf], rest: Value) -> (Peer, Tap) {
    let peer = ok_instead_of_101::start(&Via::Plain, &[], "ok").await;
    let tap = setup(&peer, leaves, rest).start().await;
    (peer, tap)
}

fn setup(peer: &Peer, leaves: &[&Leaf], rest: Value) -> Setup {
    let setup = Setup::before(peer);
    let entry = |(index, leaf): (usize, &&Leaf)| leaf.write(&setup.path(&format!("leaf-{index}")));
    let certificates: Vec<Value> = leaves.iter().enumerate().map(entry).collect();
    let mut tls = json!({ "certificates": certificates });
    if let (Value::Object(tls), Value::Object(rest)) = (&mut tls, rest) {
        tls.extend(rest);
    }
    setup.set(
        "listeners",
        json!([{ "listen": "127.0.0.1:0", "tls": tls }]),
    )
}

fn https(tap: &Tap) -> SocketAddr {
    tap.addr(Face::Tls)
}

/// The rule, and everything that the verdict says.
fn said(record: &SessionRecord) -> (String, String) {
    let verdict = record.verdict.as_ref().expect("a verdict");
    let mut text = format!("{}; ", verdict.summary);
    for evidence in &verdict.evidence {
        text.push_str(&evidence.fact);
        text.push_str("; ");
    }
    text.push_str(&verdict.next);
    (verdict.rule.clone(), text)
}

/// The records of a tap as they come, in the order of the file.
struct Book(usize);

impl Book {
    async fn next(&mut self, tap: &Tap) -> SessionRecord {
        self.0 += 1;
        let at = self.0;
        let look = || tap.records().into_iter().nth(at - 1);
        let found = crate::support::deadline::poll(crate::support::deadline::STEP, look).await;
        found.unwrap_or_else(|| panic!("no record {at}: {:#?}", tap.records()))
    }
}
