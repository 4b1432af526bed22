use super::support::Fallible;
use super::{Outcome, Place};
pub fn gate(_: &Place<'_>) -> Fallible<Outcome> { Ok(Outcome::Held(vec![])) }
pub fn play(_: &[std::ffi::OsString]) -> Fallible<()> { Ok(()) }
