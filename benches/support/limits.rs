//! A figure's stored limit, and its update after a new measurement.

use serde::{Deserialize, Serialize};

/// The stored measurement of a figure, and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Written {
    pub measured: f64,
    pub limit: f64,
}

/// The effect of a new measurement on a stored limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Store it: it is new, or tighter, or may be raised.
    Write(Written),
    /// Keep the stored limit: the new value is within it and gives no tighter one.
    Keep,
    /// The limit would have to be raised to this.
    Loosen(Written),
}

impl Update {
    /// `old` is the stored limit, `new` the limit that follows from the measurement.
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
