//! The tap's knowledge about whether the gateway accepts its attribution headers.

pub(super) mod check;

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::StatusCode;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::admission::forwarded::Mode;
use crate::admission::forwarded::acceptance::Plan;
use crate::config::Config;
use crate::dialect::Choice;
use crate::session::dial::DialFacts;
use crate::session::record::gateway::Acceptance;

/// What is known about how the gateway sees us.
#[derive(Debug)]
pub(crate) struct Attribution {
    known: Mutex<Known>,
    changed: Notify,
    /// Cancelled when another configuration replaces this one.
    retired: CancellationToken,
}

#[derive(Debug)]
struct Known {
    plan: Plan,
    our_ip: Option<IpAddr>,
    /// The gateway treats us as local, although we connect to another host.
    forwarded_to_loopback: bool,
}

impl Attribution {
    pub(crate) fn new(config: &Config) -> Self {
        let gateway = config.gateway();
        let everybody_passes = gateway.is_local()
            && config.serves_this_host_only()
            && config.trusted_proxies().is_empty();
        let dialect = Choice::from(gateway.dialect()).profile();
        let asks = dialect.attribution.is_some()
            && match gateway.forwarded() {
                Mode::Auto => !everybody_passes,
                Mode::Overwrite => true,
                Mode::Pass | Mode::None => false,
            };
        let plan = if asks {
            Plan::starting(Instant::now())
        } else {
            Plan::never()
        };
        let known = Mutex::new(Known {
            plan,
            our_ip: None,
            forwarded_to_loopback: false,
        });
        Self {
            known,
            changed: Notify::new(),
            retired: CancellationToken::new(),
        }
    }

    /// Stops the checks.
    pub(crate) fn retire(&self) {
        self.retired.cancel();
    }

    /// The findings of the checks so far.
    pub(crate) fn acceptance(&self) -> Acceptance {
        self.lock().plan.acceptance()
    }

    /// The address under which the gateway last saw us.
    pub(crate) fn our_ip(&self) -> Option<IpAddr> {
        self.lock().our_ip
    }

    /// Whether the gateway's answer showed that it treats us as local, although we connect to
    /// another host.
    pub(crate) fn is_forwarded_to_loopback(&self) -> bool {
        self.lock().forwarded_to_loopback
    }

    /// Records that a connection to the gateway was made.
    pub(crate) fn reached(&self, facts: &DialFacts) {
        self.update(|known| {
            known.our_ip = facts.our_ip();
            known.plan.reached(Instant::now());
        });
    }

    /// Records that the gateway could not be reached.
    pub(crate) fn lost(&self) {
        self.update(|known| known.plan.lost());
    }

    /// Records that the gateway answered a client's request.
    pub(crate) fn answered(&self, status: StatusCode) {
        if status == StatusCode::FORBIDDEN {
            self.update(|known| known.plan.contradicted(Instant::now()));
        }
    }

    /// Applies `change`, and wakes the task if the time of the next check has changed.
    fn update(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.lock();
        let before = known.plan.due();
        change(&mut known);
        let moved = known.plan.due() != before;
        drop(known);
        if moved {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
