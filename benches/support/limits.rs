//! A figure's limit as it is written down, and what a new measurement makes of it.

use serde::{Deserialize, Serialize};

/// What was measured once, and what is allowed since.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Written {
    pub measured: f64,
    pub limit: f64,
}

/// What becomes of a limit when it is written anew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// It is new, or tighter, or may be raised.
    Write(Written),
    /// What was measured is within the present limit and no reason for a tighter one.
    Keep,
    /// It would have to be raised to this.
    Loosen(Written),
}

impl Update {
    /// `old` is what is written down, `new` what the measurement would make of it.
    pub fn of(old: Option<Written>, new: Written, may_loosen: bool) -> Self {
        match old {
            Some(old) if new.limit > old.limit && !may_loosen => {
                if new.measured <= old.limit {
                    Self::Keep
                } else {
                    Self::Loosen(new)
                }
            }
            _ => Self::Write(new),
        }
    }
}
