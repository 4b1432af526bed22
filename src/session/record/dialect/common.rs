//! Facts that have the same form in every dialect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::requests::RpcFacts;
use crate::session::moment::Moment;
use crate::session::text::PeerText;
use crate::ws::inflate::InflateStop;

/// What an application said, in the terms that every dialect has. Rules that are not about one
/// application, the memory of sessions and the sinks use this, never the facts of one dialect.
#[derive(Clone, Debug, Default)]
pub struct Application<'a> {
    /// Outcome of the client's connect request.
    pub result: ConnectResult,
    /// When the gateway greeted the client.
    pub greeted_at: Option<Moment>,
    /// When the client sent its connect request.
    pub asked_at: Option<Moment>,
    /// When the gateway answered.
    pub answered_at: Option<Moment>,
    /// Whether any message of the client was read.
    pub client_spoke: bool,
    /// Why the gateway did not let the client in.
    pub refusal: Option<Refusal<'a>>,
    /// The gateway's announcement that it goes down.
    pub shutdown: Option<&'a ShutdownFacts>,
    /// Name of the client's program.
    pub client_id: Option<&'a PeerText>,
    /// The purpose of the client's program, in its own words.
    pub client_mode: Option<&'a PeerText>,
    /// Version of the client's program.
    pub client_version: Option<&'a PeerText>,
    /// The client's device.
    pub device: Option<&'a PeerText>,
    /// Fingerprint of the credential that the gateway issued to the client.
    pub issued_token: Option<&'a str>,
    /// The session's name in the gateway's log.
    pub log_id: Option<&'a PeerText>,
    /// What the gateway said about itself.
    pub gateway: Option<GatewayProcess<'a>>,
    /// The protocol version that both agreed on.
    pub protocol: Option<u64>,
    /// The largest message that the gateway takes, in bytes.
    pub max_message: Option<u64>,
    /// The limit, in bytes, of data that the gateway buffers for a client that does not read.
    pub max_buffered: Option<u64>,
    /// Requests after the handshake.
    pub requests: Option<&'a RpcFacts>,
}

impl Application<'_> {
    /// What the client says about itself: `cli cli 2026.9.6`.
    #[must_use]
    pub fn client_words(&self) -> Option<String> {
        let parts = [self.client_id, self.client_mode, self.client_version];
        let mut words: Vec<&str> = Vec::new();
        for part in parts.into_iter().flatten().map(PeerText::as_str) {
            // `cli` is both the id and the mode of a command line tool.
            if words.last() != Some(&part) {
                words.push(part);
            }
        }
        (!words.is_empty()).then(|| words.join(" "))
    }
}

/// Why a gateway did not let a client in.
#[derive(Clone, Debug, Default)]
pub struct Refusal<'a> {
    /// How the gateway said it, as a clause.
    pub how: &'static str,
    /// The gateway's words.
    pub message: Option<&'a PeerText>,
    /// Codes and the like, each with its name.
    pub codes: Vec<(&'static str, &'a PeerText)>,
    /// When the client may try again, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// What a gateway said about itself when it let a client in.
#[derive(Clone, Copy, Debug, Default)]
pub struct GatewayProcess<'a> {
    /// Its version.
    pub version: Option<&'a PeerText>,
    /// Identifier of the process; every new process has another one.
    pub boot: Option<&'a PeerText>,
    /// When the process began.
    pub began_at: Option<Moment>,
}

/// Outcome of the connect request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectResult {
    /// `hello-ok`.
    Accepted,
    /// `res` with `ok: false`.
    Refused,
    /// No answer was seen.
    #[default]
    None,
}

/// The `shutdown` event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShutdownFacts {
    /// `reason`.
    pub reason: Option<PeerText>,
    /// `restartExpectedMs`; absent when it stops for good.
    pub restart_expected_ms: Option<u64>,
    /// When it came.
    pub at: Moment,
}

/// How reading of compressed messages (permessage-deflate, RFC 7692) went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InflateFacts {
    /// Messages of the client.
    pub to_gateway: Option<InflateDirection>,
    /// Messages of the gateway.
    pub to_client: Option<InflateDirection>,
}

/// One direction's compressed messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InflateDirection {
    /// Number of messages whose reading was begun.
    pub messages: u64,
    /// Compressed bytes that were read.
    pub bytes_in: u64,
    /// Bytes after decompression.
    pub bytes_out: u64,
    /// Why no more messages were read; the bytes passed all the same.
    pub stopped: Option<InflateStop>,
    /// When reading stopped.
    pub stopped_at: Option<Moment>,
}
