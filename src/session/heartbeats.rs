//! Ping to pong of each leg, as seen in passing (RFC 6455 sections 5.5.2 and 5.5.3).

use std::time::{Duration, Instant};

use super::moment::millis;
use super::party::{Direction, Leg};
use super::record::frames::{PingRtt, Rtt};

/// Remembers the last ping of each direction, as a pong may answer only that one. Until the first
/// ping it takes no memory.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats(Option<Box<Beats>>);

#[derive(Clone, Debug, Default)]
struct Beats {
    to_client: Option<Pending>,
    to_gateway: Option<Pending>,
    client: Option<Seen>,
    gateway: Option<Seen>,
}

#[derive(Clone, Debug)]
struct Pending {
    body: Vec<u8>,
    at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    count: u64,
    min: Duration,
    max: Duration,
    last: Duration,
}

impl Heartbeats {
    /// A ping travelled this way.
    pub fn ping(&mut self, direction: Direction, body: &[u8], at: Instant) {
        let beats = self.0.get_or_insert_default();
        let pending = beats.pending(direction);
        match pending {
            Some(pending) => {
                pending.body.clear();
                pending.body.extend_from_slice(body);
                pending.at = at;
            }
            None => {
                *pending = Some(Pending {
                    body: body.to_vec(),
                    at,
                });
            }
        }
    }

    /// A pong travelled this way; one that answers nothing is left alone.
    pub fn pong(&mut self, direction: Direction, body: &[u8], at: Instant) {
        let asked = match direction {
            Direction::ToGateway => Direction::ToClient,
            Direction::ToClient => Direction::ToGateway,
        };
        let Some(beats) = &mut self.0 else {
            return;
        };
        let Some(pending) = beats.pending(asked).take_if(|pending| pending.body == body) else {
            return;
        };
        let rtt = at.saturating_duration_since(pending.at);
        let seen = match direction.from() {
            Leg::Client => &mut beats.client,
            Leg::Gateway => &mut beats.gateway,
        };
        let seen = seen.get_or_insert(Seen {
            count: 0,
            min: rtt,
            max: rtt,
            last: rtt,
        });
        seen.count += 1;
        seen.min = seen.min.min(rtt);
        seen.max = seen.max.max(rtt);
        seen.last = rtt;
    }

    /// The record's form.
    #[must_use]
    pub fn summary(&self) -> PingRtt {
        let rtt = |seen: &Seen| Rtt {
            count: seen.count,
            min_ms: millis(seen.min),
            max_ms: millis(seen.max),
            last_ms: millis(seen.last),
        };
        let beats = self.0.as_ref();
        PingRtt {
            client: beats.and_then(|beats| beats.client.as_ref().map(rtt)),
            gateway: beats.and_then(|beats| beats.gateway.as_ref().map(rtt)),
        }
    }
}

impl Beats {
    fn pending(&mut self, direction: Direction) -> &mut Option<Pending> {
        match direction {
            Direction::ToGateway => &mut self.to_gateway,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_is_matched_with_the_last_ping_of_the_other_side() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut beats = Heartbeats::default();
        beats.pong(Direction::ToGateway, b"", start);
        beats.ping(Direction::ToClient, b"a", start);
        beats.pong(Direction::ToGateway, b"b", ms(1));
        beats.pong(Direction::ToGateway, b"a", ms(5));
        beats.pong(Direction::ToGateway, b"a", ms(9));
        beats.ping(Direction::ToClient, b"", ms(10));
        beats.pong(Direction::ToGateway, b"", ms(12));
        let rtt = beats.summary().client.unwrap();
        assert_eq!(rtt.count, 2);
        assert!((rtt.min_ms - 2.0).abs() < 1e-9 && (rtt.max_ms - 5.0).abs() < 1e-9);
        assert_eq!(beats.summary().gateway, None);
    }
}
