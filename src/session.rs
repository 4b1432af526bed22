//! One session's facts: who the parties are, how far it got, how each leg ended, and the record
//! that is written at its end.
//!
//! Everything here is pure: events and `now` come in as arguments, a record comes out. Nothing
//! here says whose fault an ending was; that is [`crate::verdict`]'s job alone.

pub(crate) mod added;
pub(crate) mod address;
pub(crate) mod caps;
pub mod credential;
pub(crate) mod dial;
pub(crate) mod end_cause;
pub(crate) mod first_act;
pub mod heartbeats;
pub(crate) mod legs;
pub(crate) mod memory;
pub(crate) mod moment;
pub(crate) mod page;
pub mod party;
pub mod record;
pub(crate) mod recorder;
pub(crate) mod secrets;
pub(crate) mod short_id;
pub(crate) mod sizes;
pub(crate) mod stats;
pub mod text;
pub(crate) mod visits;

pub use moment::{Anchor, Moment};
pub use party::{Direction, Leg, Party, Phase};
pub use record::SessionRecord;
pub use recorder::{Facts, Recorder, TapIdentity, Tapped, Tunnelled};
