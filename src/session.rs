//! One session's facts: who the parties are, how far it got, how each leg ended, and the record
//! that is written at its end.
//!
//! Everything here is pure: events and `now` come in as arguments, a record comes out. Nothing
//! here says whose fault an ending was; that is [`crate::verdict`]'s job alone.

pub mod added;
pub mod address;
pub mod caps;
pub mod credential;
pub mod dial;
pub mod end_cause;
pub mod first_act;
pub mod heartbeats;
pub mod legs;
pub mod memory;
pub mod moment;
pub mod page;
pub mod party;
pub mod record;
pub mod recorder;
pub mod secrets;
pub mod short_id;
pub mod sizes;
pub mod stats;
pub mod text;
pub mod visits;

pub use moment::{Anchor, Moment};
pub use party::{Direction, Leg, Party, Phase};
pub use record::SessionRecord;
pub use recorder::{Facts, Recorder, Tapped, Tunnelled};
