//! Ping-to-pong times of each leg, as seen in passing (RFC 6455 sections 5.5.2 and 5.5.3).

use std::time::{Duration, Instant};

use super::moment::{Anchor, millis};
use super::party::{Direction, Leg};
use super::record::frames::{PingRtt, Rtt, UnansweredPings, WaitingPings};

/// Keeps only the last ping of each direction, because a pong may answer only that one. Takes no
/// memory until the first ping.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats(Option<Box<Beats>>);

#[derive(Clone, Debug, Default)]
struct Beats {
    to_client: Option<Pending>,
    to_gateway: Option<Pending>,
    client: Option<RttCounts>,
    gateway: Option<RttCounts>,
}

#[derive(Clone, Debug)]
struct Pending {
    body: Vec<u8>,
    at: Instant,
    /// Pings since the last answered one, including this one.
    count: u32,
    /// From the first of those pings to this one.
    waited_ms: u32,
}

#[derive(Clone, Copy, Debug)]
struct RttCounts {
    count: u64,
    min: Duration,
    max: Duration,
    last: Duration,
}

impl Heartbeats {
    /// Records a ping in this direction.
    pub fn ping(&mut self, direction: Direction, body: &[u8], at: Instant) {
        let beats = self.0.get_or_insert_default();
        let pending = beats.pending(direction);
        match pending {
            Some(pending) => {
                let since = at.saturating_duration_since(pending.at);
                let since = u32::try_from(since.as_millis()).unwrap_or(u32::MAX);
                pending.body.clear();
                pending.body.extend_from_slice(body);
                pending.at = at;
                pending.count = pending.count.saturating_add(1);
                pending.waited_ms = pending.waited_ms.saturating_add(since);
            }
            None => {
                *pending = Some(Pending {
                    body: body.to_vec(),
                    at,
                    count: 1,
                    waited_ms: 0,
                });
            }
        }
    }

    /// Records a pong in this direction; a pong that answers no ping gives no round trip.
    pub fn pong(&mut self, direction: Direction, body: &[u8], at: Instant) {
        let asked = match direction {
            Direction::ToGateway => Direction::ToClient,
            Direction::ToClient => Direction::ToGateway,
        };
        let Some(beats) = &mut self.0 else {
            return;
        };
        let pending = beats.pending(asked);
        let Some(pending) = pending.take_if(|pending| pending.body == body) else {
            // It answers an earlier ping, so that end is late, not silent.
            if let Some(last) = pending {
                (last.count, last.waited_ms) = (1, 0);
            }
            return;
        };
        let rtt = at.saturating_duration_since(pending.at);
        let seen = match direction.from() {
            Leg::Client => &mut beats.client,
            Leg::Gateway => &mut beats.gateway,
        };
        let seen = seen.get_or_insert(RttCounts {
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

    /// The summary for the record.
    #[must_use]
    pub fn summary(&self) -> PingRtt {
        let rtt = |seen: &RttCounts| Rtt {
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

impl Heartbeats {
    /// Pings that were unanswered at the end, in the form of the record.
    #[must_use]
    pub fn unanswered(&self, anchor: &Anchor) -> UnansweredPings {
        let waiting = |pending: &Pending| {
            let waited = Duration::from_millis(pending.waited_ms.into());
            let first = pending.at.checked_sub(waited).unwrap_or(pending.at);
            WaitingPings {
                count: pending.count.into(),
                first_at: anchor.at(first),
                last_at: anchor.at(pending.at),
            }
        };
        let beats = self.0.as_ref();
        UnansweredPings {
            client: beats.and_then(|beats| beats.to_client.as_ref().map(waiting)),
            gateway: beats.and_then(|beats| beats.to_gateway.as_ref().map(waiting)),
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

    #[test]
    fn pings_without_an_answer_are_counted_from_the_last_that_had_one() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let wall = "2026-11-21T10:00:00Z".parse().unwrap();
        let anchor = Anchor::new(wall, start);
        let mut beats = Heartbeats::default();
        let waiting = |beats: &Heartbeats| {
            let unanswered = beats.unanswered(&anchor);
            assert_eq!(unanswered.gateway, None);
            unanswered.client.map(|waiting| {
                let age = |at: super::super::moment::Moment| at.millis_since(anchor.at(start));
                (waiting.count, age(waiting.first_at), age(waiting.last_at))
            })
        };
        assert_eq!(waiting(&beats), None);
        beats.ping(Direction::ToClient, b"a", ms(100));
        assert_eq!(waiting(&beats), Some((1, 100, 100)));
        beats.ping(Direction::ToClient, b"b", ms(200));
        beats.ping(Direction::ToClient, b"c", ms(350));
        assert_eq!(waiting(&beats), Some((3, 100, 350)));
        // Late, but alive.
        beats.pong(Direction::ToGateway, b"a", ms(360));
        assert_eq!(waiting(&beats), Some((1, 350, 350)));
        beats.pong(Direction::ToGateway, b"c", ms(370));
        assert_eq!(waiting(&beats), None);
        // An unsolicited pong, and a pong from the other side.
        beats.pong(Direction::ToGateway, b"", ms(380));
        beats.ping(Direction::ToClient, b"", ms(400));
        beats.pong(Direction::ToClient, b"", ms(410));
        assert_eq!(waiting(&beats), Some((1, 400, 400)));
    }
}
