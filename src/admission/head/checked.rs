//! A head and what came of it.

use super::raw::RawHead;
use super::refusal::Refusal;

/// What a request asks to switch to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// A WebSocket, by `Upgrade: websocket` that `Connection` nominates.
    WebSocket,
    /// Part of that only, a WebSocket key for example: a hop before us has stripped the rest.
    StrippedWebSocket,
    /// Nothing that we pass on.
    Nothing,
}

/// A head and what came of it.
#[derive(Debug)]
pub struct Checked {
    /// As it stood on the wire; of a refused one as much as was read.
    pub head: RawHead,
    /// What it asks for.
    pub asks: Asks,
    /// It is not passed on.
    pub refusal: Option<Refusal>,
}
