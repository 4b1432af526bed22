//! HTTP/2 with clients: pages, `WebSocket`s in streams, and what goes wrong.

mod attacks;
mod bounds;
mod pages;
mod same;
mod websocket;
