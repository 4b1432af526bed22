//! Sends one frame in slow pieces and measures when the other side gets the first of them. A proxy
//! that streams passes a piece on as it comes; one that waits for the whole frame or message holds
//! it for all the pauses.

use std::time::Duration;

use crate::bench::{Bench, turns};
use crate::support::Fallible;
use crate::support::client::Client;
use crate::support::numbers::Pooled;
use crate::support::slow::{Pieces, Way, first_piece};

pub const GROUP: &str = "frame buffering: µs until the first piece of a frame arrives";

const PIECES: usize = 4;
const PIECE: usize = 1024;

/// The row of a direction, under the name that budgets use.
pub const TO_GATEWAY: &str = "to the gateway: p50";
pub const TO_CLIENT: &str = "to the client: p50";

fn labels(way: Way) -> (&'static str, &'static str) {
    match way {
        Way::ToGateway => (TO_GATEWAY, "to the gateway: slowest"),
        Way::ToClient => (TO_CLIENT, "to the client: slowest"),
    }
}

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    bench.together()?;
    let pieces = Pieces {
        count: PIECES,
        size: PIECE,
        pause: bench.plan.pause,
    };
    let targets = &bench.targets;
    let mut lanes: Vec<Fallible<Client>> = targets
        .iter()
        .map(|target| Client::open(&target.door))
        .collect();
    let mut found = Vec::new();
    for way in Way::BOTH {
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); lanes.len()];
        for round in 0..bench.plan.frames {
            for turn in turns(lanes.len(), round) {
                let lane = &mut lanes[turn];
                if let Ok(client) = lane {
                    match first_piece(client, way, pieces) {
                        Ok(time) => times[turn].push(time),
                        Err(error) => *lane = Err(error),
                    }
                }
            }
        }
        for ((target, lane), times) in targets.iter().zip(&lanes).zip(times) {
            let pooled = Pooled::new(times);
            let (p50, slowest) = labels(way);
            for (label, share) in [(p50, 0.5), (slowest, 1.0)] {
                let value = match lane {
                    Ok(_) => pooled.quantile(share).ok_or_else(|| "no frame".into()),
                    Err(error) => Err(error.to_string().into()),
                };
                found.push((label, target.name, value));
            }
        }
    }
    for (label, name, value) in found {
        bench.less(GROUP, label, name, value);
    }
    Ok(())
}
