//! The confusion report: every fault that can be injected here, against the class that the tap
//! gives it. All must be on the diagonal.
//!
//! Faults are injected end to end, through the running binary, by peers and clients that fail. What
//! each end observed (`client_saw`, `gateway_saw`) is part of the table. The report is printed and
//! written to `target/confusion.txt`. `WSTAP_FAULT=words` injects only those whose name or rule
//! has these words.
#![allow(clippy::too_many_lines, reason = "the functions are tables of faults")]

mod answers;
mod breaches;
mod clients;
mod closes;
mod dial;
mod fates;
mod first_frames;
mod heads;
mod matrix;
mod network;
mod old_gateways;
mod ours;
mod pairing;
mod pings;
mod refusals;
mod requests;
mod table;
mod tls;
mod tunnel;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::matrix::{Case, Matrix, Outcome};
use self::table::Fault;
use crate::support::netns::{self, Entered, test_name};
use crate::support::records::class;
use crate::support::skip::skip;

/// Taps at once: most of a fault's time is waiting.
const AT_ONCE: usize = 12;

fn faults() -> Vec<Fault> {
    [
        dial::faults(),
        answers::faults(),
        tunnel::faults(),
        closes::faults(),
        fates::faults(),
        breaches::faults(),
        refusals::faults(),
        old_gateways::faults(),
        pairing::faults(),
        pings::faults(),
        first_frames::faults(),
        requests::faults(),
        clients::faults(),
        heads::faults(),
        tls::faults(),
        ours::faults(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_gets_its_class() {
    let only = std::env::var("WSTAP_FAULT").ok();
    let mut faults = faults();
    let net = match netns::try_enter(test_name!(every_fault_gets_its_class)).await {
        Entered::Inside(net) => Some(net),
        Entered::Passed => return,
        Entered::Impossible(why) => {
            skip("confusion: faults of the network", &why);
            None
        }
    };
    let whole = only.is_none() && net.is_some();
    faults.extend(net.map(network::faults).into_iter().flatten());
    if let Some(part) = &only {
        faults
            .retain(|fault| fault.name.contains(part.as_str()) || fault.wanted.rule.contains(part));
    }
    let begun = Instant::now();
    let matrix = inject(faults).await;
    let report = matrix.report(begun.elapsed());
    matrix::publish(&report);
    let wrong = matrix.complaints(whole);
    assert!(wrong.is_empty(), "{report}\n{}", wrong.join("\n"));
}

async fn inject(faults: Vec<Fault>) -> Matrix {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (number, fault) in faults.into_iter().enumerate() {
        let gate = Arc::clone(&gate);
        running.spawn(async move {
            let _place = gate.acquire_owned().await.expect("never closed");
            let wanted = fault.wanted;
            // A task of its own: a fault whose steps fail is a line in the report like any other.
            let outcome = match tokio::spawn((fault.inject)()).await {
                Ok(record) => Outcome::Record {
                    class: class(&record),
                    objections: wanted.objections(&record),
                },
                Err(error) => Outcome::Failed(error.to_string()),
            };
            (number, Case::new(fault.name, wanted.class(), outcome))
        });
    }
    let mut cases = running.join_all().await;
    cases.sort_by_key(|(number, _)| *number);
    Matrix::new(cases.into_iter().map(|(_, case)| case).collect())
}
