//! The request head of a record, with secrets masked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codes::Http2Error;
use crate::session::text::PeerText;

/// A request head as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequestFacts {
    /// The method if it is a known one; otherwise only its length, as `[masked 9]`.
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
    /// All headers: the allow-listed ones with their value, the others with only name and length.
    pub headers: Vec<HeaderFact>,
    /// Headers that were removed because a program behind the tap may mistake them for others:
    /// underscore twins such as `X_Forwarded_For`.
    pub dropped: Vec<PeerText>,
    /// Whether it carried `Upgrade: websocket` with `Connection: Upgrade`.
    pub wants_upgrade: bool,
    /// Whether it carried a `Sec-WebSocket-Key`.
    pub has_websocket_key: bool,
}

/// One header line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderFact {
    /// The name in the spelling of the wire if that is known, otherwise in lower case.
    pub name: PeerText,
    /// `null` when only the length is recorded.
    pub value: Option<PeerText>,
    /// Length of the value in bytes.
    pub length: usize,
}

/// The `Origin`, and the result of checking it against the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OriginFacts {
    /// The value as sent.
    pub value: Option<PeerText>,
    /// Scheme, host and port in their normal form; `null` when there is none.
    pub normalised: Option<String>,
    /// The result of our list, and what we did.
    pub decision: OriginDecision,
    /// The entry, or the gateway's own rule, that allowed it.
    pub rule: Option<String>,
    /// The entry that nearly matched, and why it did not.
    pub nearest: Option<NearestEntry>,
    /// Why there is no normal form, for rules. `null` in records of older versions.
    pub error_kind: Option<OriginError>,
    /// The same as text.
    pub error: Option<String>,
}

/// Why a value is not a single, plain origin. The texts complete "failed to read the origin: ".
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum OriginError {
    /// Empty, or only blanks. The gateway treats an empty Origin like a missing one.
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
    /// A path, query or fragment after the host.
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
    /// Not on the list, but let through.
    WouldDeny,
    /// The request had no Origin, and needed none.
    Absent,
    /// Not checked: `origins.mode` is `off`, or the request does not ask for a WebSocket.
    Off,
}

/// The list entry that an origin nearly matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NearestEntry {
    /// The entry as written in the list.
    pub entry: PeerText,
    /// Why it did not match.
    pub why: Miss,
    /// The same as text.
    pub text: PeerText,
}

/// Why an entry did not match. Case is never the reason: both sides are lower-cased.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Miss {
    /// The entry ends with a slash, so the gateway never matches it.
    TrailingSlash,
    /// The entry names the default port, which browsers leave out, so the gateway never matches it.
    DefaultPort,
    /// The entry has a spelling that no browser sends (`127.1`, letters outside ASCII).
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
    /// The entry has a wildcard for part of a name, which is not supported.
    Wildcard,
    /// One host is below the other.
    Subdomain,
    /// There is user information before the real host.
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
    /// The entry contains a placeholder that only the gateway can fill in (`${NAME}`).
    Placeholder,
    /// A few letters differ.
    Similar,
    /// The entry is not an origin.
    Invalid,
}

/// A request that was refused because of its head, before anything after it was examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedHead {
    /// The kind, for rules.
    pub kind: HeadFault,
    /// For people: what was found.
    pub detail: String,
    /// HTTP/2: the error with which its stream or connection was ended, in our `RST_STREAM` or
    /// GOAWAY.
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
    /// The HTTP/2 preface where HTTP/1.1 is expected.
    Http2Preface,
    /// HTTP/2: a header that only HTTP/1 has, or blanks around a value.
    Http2Field,
    /// HTTP/2: a malformed request, which was answered only with a `RST_STREAM`.
    Http2Stream,
    /// HTTP/2: the connection itself was broken, and was ended with GOAWAY.
    Http2Connection,
    /// HTTP/2: more resets, or more frames that cost us work, than any client needs.
    Http2Flood,
    /// No path, or a path with bytes that must be encoded.
    Target,
    /// A whole URL as the target.
    AbsoluteForm,
    /// CONNECT.
    ConnectMethod,
    /// HTTP/2: an extended CONNECT for something other than a WebSocket.
    ConnectProtocol,
    /// CR without LF.
    BareCr,
    /// LF without CR.
    BareLf,
    /// A control character, NUL for example.
    ControlByte,
    /// A header line that continues the one before.
    ObsFold,
    /// A name that is not a token, or a line without a colon.
    FieldName,
    /// A blank between name and colon.
    SpaceBeforeColon,
    /// No Host in HTTP/1.1.
    HostMissing,
    /// Two Hosts.
    HostDuplicate,
    /// HTTP/2: `:authority` and Host name different hosts.
    HostMismatch,
    /// A Host that is not `host[:port]`.
    HostInvalid,
    /// Two Origins, or a list in one Origin.
    OriginList,
    /// An Origin with bytes that are not ASCII.
    OriginInvalid,
    /// A `Connection` that is not a list of tokens.
    ConnectionList,
    /// `Connection` nominates a header that a client must not have removed.
    Nominated,
    /// A Content-Length that is not a number.
    LengthInvalid,
    /// Two Content-Lengths.
    LengthDuplicate,
    /// A Transfer-Encoding other than `chunked`, or in HTTP/1.0.
    EncodingInvalid,
    /// Both Content-Length and Transfer-Encoding.
    LengthAndEncoding,
    /// The chunked coding is broken, or its trailers are.
    Chunk,
    /// An upgrade with a body.
    UpgradeWithBody,
    /// An upgrade with a method other than GET.
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
