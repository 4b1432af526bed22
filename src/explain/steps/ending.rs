//! The end of a session: Close frames, timers, both transports.

use std::fmt::Write as _;

use super::step::StepEnd::{Client, Gateway, Tap};
use super::step::{Event, StepEnd, Steps};
use crate::session::moment::Moment;
use crate::session::party::Direction;
use crate::session::record::{Saw, SawBasis, StreamFault, TransportEnd};
use crate::verdict::words::{cap_words, close_words, human_ms, limit};

pub(super) fn add_steps(steps: &mut Steps<'_>) {
    let record = steps.record;
    let close = &record.close;
    if let Some(seen) = &close.gateway {
        let text = format!("Close {}", close_words(seen));
        steps.add(Some(seen.at), (Gateway, Client), Event::Close, text);
        undelivered(steps, close.client_saw, "the client's connection was gone");
    }
    if let Some(seen) = &close.client {
        let text = format!("Close {}", close_words(seen));
        steps.add(Some(seen.at), (Client, Gateway), Event::Close, text);
        undelivered(
            steps,
            close.gateway_saw,
            "the gateway's connection was gone",
        );
    }
    if let Some(timer) = &close.timer {
        let text = format!(
            "timeouts.{} ({}) runs out after {}",
            timer.key.as_str(),
            limit(timer.limit_ms),
            human_ms(timer.observed_ms),
        );
        steps.add(Some(timer.at), (Tap, Tap), Event::Timer, text);
    }
    if let Some(cap) = &close.cap {
        let (from, who) = match cap.direction {
            Direction::ToGateway => (Client, "client"),
            Direction::ToClient => (Gateway, "gateway"),
        };
        let text = format!("the {who} {}", cap_words(cap));
        steps.add(Some(cap.at), (from, Tap), Event::Cap, text);
    }
    if close.drained {
        let at = close.tap.as_ref().map(|seen| seen.at);
        let text = "the tap is shutting down";
        steps.add(at, (Tap, Tap), Event::Drained, text);
    }
    if let Some(fault) = &close.fault {
        let text = format!("a bug of the tap: {fault}");
        steps.add(None, (Tap, Tap), Event::Fault, text);
    }
    if let Some(seen) = &close.tap {
        let text = format!("Close {}, of the tap's own", close_words(seen));
        steps.add(Some(seen.at), (Tap, Client), Event::Close, text.as_str());
        undelivered(steps, close.client_saw, "the client's connection was gone");
        if record.gateway.is_some() {
            steps.add(Some(seen.at), (Tap, Gateway), Event::Close, text);
            undelivered(
                steps,
                close.gateway_saw,
                "the gateway's connection was gone",
            );
        }
    }
    let ends = &close.transport;
    let client = Ended {
        end: ends.client,
        at: ends.client_at,
        cause: ends.client_cause.as_deref(),
        fault: ends.client_fault.as_ref(),
    };
    let gateway = Ended {
        end: ends.gateway,
        at: ends.gateway_at,
        cause: ends.gateway_cause.as_deref(),
        fault: ends.gateway_fault.as_ref(),
    };
    // If both legs ended at the same moment, our end follows from the other.
    if ends.client == TransportEnd::Local && ends.client_fault.is_none() {
        leg(steps, (Gateway, Tap), gateway);
        leg(steps, (Client, Tap), client);
    } else {
        leg(steps, (Client, Tap), client);
        leg(steps, (Gateway, Tap), gateway);
    }
    let text = format!(
        "the session is over, after {}",
        human_ms(record.duration_ms)
    );
    steps.add(Some(record.closed_at), (Tap, Tap), Event::Over, text);
}

/// Marks the last step as not delivered, if the tap knows that.
fn undelivered(steps: &mut Steps<'_>, saw: Option<Saw>, why: &str) {
    if saw.is_some_and(|saw| saw.basis == SawBasis::Undelivered)
        && let Some(last) = steps.found.last_mut()
    {
        last.delivered = false;
        let _ = write!(last.text, " (not delivered: {why})");
    }
}

/// How a leg ended.
#[derive(Clone, Copy)]
struct Ended<'a> {
    end: TransportEnd,
    at: Option<Moment>,
    cause: Option<&'a str>,
    fault: Option<&'a StreamFault>,
}

fn leg(steps: &mut Steps<'_>, (far, near): (StepEnd, StepEnd), ended: Ended<'_>) {
    let Ended {
        end,
        at,
        cause,
        fault,
    } = ended;
    let words = match end {
        TransportEnd::None => return,
        TransportEnd::Fin => "ends its connection (FIN)",
        // A fatal alert breaks off the stream like a reset, but is not one.
        TransportEnd::Rst if fault.is_some() => "breaks off TLS with an alert",
        TransportEnd::Local if fault.is_some() => "breaks its TLS stream",
        TransportEnd::Rst => "resets its connection",
        TransportEnd::TlsClose => "ends its connection (TLS close_notify)",
        TransportEnd::TlsTruncated => "ends its connection (FIN without close_notify)",
        TransportEnd::Timeout => "does not answer the network any more",
        TransportEnd::Local => "the tap ends this connection",
    };
    let way = if end == TransportEnd::Local && fault.is_none() {
        (near, far)
    } else {
        (far, near)
    };
    let text = match cause {
        Some(cause) => format!("{words}: {cause}"),
        None => words.to_owned(),
    };
    steps.add(at, way, Event::LegEnded, text);
}
