//! The request head of a record, with secrets masked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codes::Http2Error;
use crate::session::text::PeerText;

/// A request head as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequestFacts {
    /// The method, if it is a known one; of any other only its length, as `[masked 9]`.
    pub method: String,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub http_version: String,
    /// The `Host` header.
    pub host: Option<PeerText>,
    /// Path and query; secrets in the path and every query value are masked.
    pub path: PeerText,
    /// The `Origin` header as sent.
    pub origin: Option<PeerText>,
    /// `Sec-WebSocket-Protocol` items; those that are credentials are masked.
    pub subprotocols: Vec<PeerText>,
    /// `Sec-WebSocket-Extensions`.
    pub extensions: Option<PeerText>,
    /// `User-Agent`.
    pub user_agent: Option<PeerText>,
    /// All headers: the allow-listed ones with their value, the others by name and length.
    pub headers: Vec<HeaderFact>,
    /// Headers that were taken out because a program behind the tap may take them for others:
    /// underscore twins such as `X_Forwarded_For`.
    pub dropped: Vec<PeerText>,
    /// It carried `Upgrade: websocket` with `Connection: Upgrade`.
    pub wants_upgrade: bool,
    /// It carried a `Sec-WebSocket-Key`.
    pub has_websocket_key: bool,
}

/// One header line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderFact {
    /// In the spelling of the wire where it is known, else lower case.
    pub name: PeerText,
    /// `null` when only the length is recorded.
    pub value: Option<PeerText>,
    /// Of the value, in bytes.
    pub length: usize,
}

/// What the `Origin` was, and what the list says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OriginFacts {
    /// As sent.
    pub value: Option<PeerText>,
    /// Scheme, host and port in their normal form; `null` when there is none.
    pub normalised: Option<String>,
    /// What our list says, and what came of it.
    pub decision: OriginDecision,
    /// The entry, or the gateway's own rule, that allowed it.
    pub rule: Option<String>,
    /// The entry that it nearly matched, and why it did not.
    pub nearest: Option<NearestEntry>,
    /// Why there is no normal form: for rules. `null` in records of older versions.
    pub error_kind: Option<OriginError>,
    /// The same in words.
    pub error: Option<String>,
}

/// Why a value is not a single, plain origin. The texts complete "failed to read the origin: ".
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum OriginError {
    /// Nothing, or blanks only. The gateway treats an empty Origin like a missing one.
    #[error("found nothing, expected scheme://host[:port]")]
    Empty,
    /// The opaque origin of sandboxed frames, `file:` and `data:` pages (RFC 6454 §6.1).
    #[error("found the opaque origin null, expected scheme://host[:port]")]
    Null,
    /// Several origins, separated by commas or blanks (RFC 6454 §7.1 allows it, browsers never do).
    #[error("found a list, expected one origin")]
    List,
    /// More than one header line, equal ones included.
    #[error("found more than one Origin header")]
    Several,
    /// Control characters or bytes that are not UTF-8; in a header also anything outside ASCII,
    /// because browsers send international names as punycode.
    #[error("found bytes that no origin contains")]
    Bytes,
    /// Longer than any host name allows.
    #[error("found more than 512 bytes")]
    TooLong,
    /// A bare host, or a scheme that is not followed by `://`.
    #[error("found no scheme, expected scheme://host[:port]")]
    NoScheme,
    /// Not a scheme (RFC 3986 §3.1).
    #[error("found an invalid scheme")]
    Scheme,
    /// `user@` or `user:password@`.
    #[error("found user information, expected scheme://host[:port]")]
    Userinfo,
    /// A path, query or fragment behind the host.
    #[error("found a path, query or fragment, expected scheme://host[:port]")]
    Path,
    /// No host, as in `file://`.
    #[error("found no host, expected scheme://host[:port]")]
    NoHost,
    /// A host that the URL standard rejects.
    #[error("found an invalid host")]
    Host,
    /// A port that is not a number up to 65535.
    #[error("found an invalid port")]
    Port,
}

/// See [`OriginFacts::decision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OriginDecision {
    /// On the list.
    Allowed,
    /// Refused by the tap.
    Denied,
    /// Not on the list; let through all the same.
    WouldDeny,
    /// The request had none, and needed none.
    Absent,
    /// It was not asked: `origins.mode` is `off`, or the request asks for no WebSocket.
    Off,
}

/// The list entry that an origin nearly matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NearestEntry {
    /// As the list has it.
    pub entry: PeerText,
    /// Why it did not match.
    pub why: Miss,
    /// The same in words.
    pub text: PeerText,
}

/// Why an entry did not match. Case never is the reason: both sides are lower-cased.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Miss {
    /// The entry ends with a slash, so the gateway never matches it.
    TrailingSlash,
    /// The entry names the default port, which browsers leave out, so the gateway never matches it.
    DefaultPort,
    /// The entry is written as no browser writes it (`127.1`, letters outside ASCII).
    Spelling,
    /// The entry, or the origin, has a path, query or fragment.
    Path,
    /// One of the two host names ends with a dot.
    TrailingDot,
    /// Another scheme, or none.
    Scheme,
    /// Another port.
    Port,
    /// `localhost`, `127.0.0.1` and `[::1]` are different origins.
    HostAlias,
    /// The entry has a wildcard for a part of a name; there is no such thing.
    Wildcard,
    /// One host is below the other.
    Subdomain,
    /// User information stands before the real host.
    Userinfo,
    /// One of several origins in one header.
    List,
    /// The opaque origin `null`, which no entry covers.
    Null,
    /// The origin's host ends with the entry's, with no dot between.
    Suffix,
    /// The origin's host begins with the entry's and goes on to another domain.
    Prefix,
    /// Letters of another alphabet that look like the entry's.
    LookAlike,
    /// The entry stands for something that only the gateway can fill in (`${NAME}`).
    Placeholder,
    /// A few letters differ.
    Similar,
    /// The entry is no origin at all.
    Invalid,
}

/// A request that was refused for its head, before anything behind it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedHead {
    /// For rules.
    pub kind: HeadFault,
    /// For people: what was found.
    pub detail: String,
    /// HTTP/2: the error with which its stream or connection was ended, in a `RST_STREAM` or GOAWAY of ours.
    #[serde(default)]
    pub http2_error: Option<Http2Error>,
}

/// What is wrong with a request's head (or, for `chunk`, with its body's coding).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadFault {
    /// It does not begin like a request.
    NotHttp,
    /// Not three parts with one blank between them.
    RequestLine,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// The preface of HTTP/2 where HTTP/1.1 is spoken.
    Http2Preface,
    /// HTTP/2: a header that only HTTP/1 has, or blanks around a value.
    Http2Field,
    /// HTTP/2: a malformed request, which got a `RST_STREAM` and nothing else.
    Http2Stream,
    /// HTTP/2: the connection itself is broken, and was ended with GOAWAY.
    Http2Connection,
    /// HTTP/2: more resets, or more frames that cost us work, than anybody needs.
    Http2Flood,
    /// No path, or with bytes that must be encoded.
    Target,
    /// A whole URL as the target.
    AbsoluteForm,
    /// CONNECT.
    ConnectMethod,
    /// HTTP/2: an extended CONNECT for something else than a WebSocket.
    ConnectProtocol,
    /// CR without LF.
    BareCr,
    /// LF without CR.
    BareLf,
    /// A control character, NUL for example.
    ControlByte,
    /// A header line that continues the one before.
    ObsFold,
    /// A name that is no token, or a line without a colon.
    FieldName,
    /// A blank between name and colon.
    SpaceBeforeColon,
    /// No Host in HTTP/1.1.
    HostMissing,
    /// Two Hosts.
    HostDuplicate,
    /// HTTP/2: `:authority` and Host name different hosts.
    HostMismatch,
    /// A Host that is no `host[:port]`.
    HostInvalid,
    /// Two Origins, or a list in one.
    OriginList,
    /// An Origin with bytes that are not ASCII.
    OriginInvalid,
    /// A `Connection` that is no list of tokens.
    ConnectionList,
    /// `Connection` nominates a header that no client may have taken out.
    Nominated,
    /// A Content-Length that is no number.
    LengthInvalid,
    /// Two Content-Lengths.
    LengthDuplicate,
    /// A Transfer-Encoding other than `chunked`, or in HTTP/1.0.
    EncodingInvalid,
    /// Content-Length and Transfer-Encoding.
    LengthAndEncoding,
    /// The chunked coding is broken, or its trailers are.
    Chunk,
    /// An upgrade with a body.
    UpgradeWithBody,
    /// An upgrade by another method than GET.
    UpgradeMethod,
    /// An upgrade in HTTP/1.0.
    UpgradeHttp10,
    /// A WebSocket version other than 13.
    WebsocketVersion,
    /// No key, two, or one that is not 16 bytes.
    WebsocketKey,
    /// An empty subprotocol or extension header.
    WebsocketList,
    /// Larger than `limits.head_bytes`.
    HeadBytes,
    /// More lines than `limits.headers`.
    Headers,
    /// Not complete within `timeouts.request_head`.
    TooSlow,
}
