//! How many sessions one record stands for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::moment::Moment;

/// Sessions that ended by one rule and were joined into the record of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repeats {
    /// Sessions that the record stands for, the one that it describes included; at least 2.
    pub count: u64,
    /// When the first of them began.
    pub first_at: Moment,
    /// When the last of them ended.
    pub last_at: Moment,
    /// Whether they are from several clients: so many clients ended alike that they were not told
    /// apart.
    #[serde(default)]
    pub many_clients: bool,
}
