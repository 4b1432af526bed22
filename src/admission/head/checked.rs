//! A head and the result of its check.

use super::raw::RawHead;
use super::refusal::Refusal;

/// What a request asks to switch to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// A WebSocket, by `Upgrade: websocket` that `Connection` nominates.
    WebSocket,
    /// Only a part of that, for example a WebSocket key: a hop before us has stripped the rest.
    StrippedWebSocket,
    /// Nothing that we pass on.
    Nothing,
}

/// A head and the result of its check.
#[derive(Debug)]
pub struct Checked {
    /// As received; if it was refused, as much as was read.
    pub head: RawHead,
    /// What it asks for.
    pub asks: Asks,
    /// It is not passed on.
    pub refusal: Option<Refusal>,
}
