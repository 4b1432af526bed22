//! A tunnel: the upgrade to one, the client's leg of it, and the relay between both.

pub(crate) mod client_leg;
mod last_look;
mod relay;
pub(crate) mod upgrade;
