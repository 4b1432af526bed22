//! The rules that only `OpenClaw`'s dialect has: its codes, its words, the bodies of its answers.

mod attribution;
mod auth_device;
mod auth_identity;
mod auth_secret;
mod channel;
mod client;
mod lifecycle;
mod lifecycle_session;
mod limit;
mod origin;
mod pairing;
mod protocol;
mod services;
mod silent;
mod subprotocol;
mod together_auth;

use crate::verdict::rule::Rule;

/// The rules of every file in this folder.
pub(super) const FILES: &[&[Rule]] = &[
    attribution::RULES,
    auth_device::RULES,
    auth_identity::RULES,
    auth_secret::RULES,
    channel::RULES,
    client::RULES,
    lifecycle::RULES,
    lifecycle_session::RULES,
    limit::RULES,
    origin::RULES,
    pairing::RULES,
    protocol::RULES,
    services::RULES,
    silent::RULES,
    subprotocol::RULES,
    together_auth::RULES,
];
