//! A tunnel: the upgrade to one, the client's leg, and the relay between both legs.

pub(crate) mod client_leg;
mod last_look;
mod relay;
pub(crate) mod upgrade;
