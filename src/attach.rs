//! `wstap attach`: puts the tap into the path of new connections to a running gateway, for a limited time.
//!
//! nftables redirects new connections to the gateway's port; established connections, the gateway
//! and its clients are left alone. The redirect expires within seconds unless it is renewed, and it
//! is renewed only after a self-check through the tap's own data path: whatever happens to the tap,
//! traffic goes straight to the gateway again.

mod accepted;
mod capacity;
mod checks;
mod config;
mod conntrack;
mod control;
mod filter;
mod gateway;
mod guard;
mod iproute;
mod nft;
mod obstacle;
mod options;
mod others;
mod routes;
mod rules;
mod run;
mod say;
mod self_check;
mod status;
mod tally;

pub(crate) use self::options::Options;
pub(crate) use self::run::run;
