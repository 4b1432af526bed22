//! Makes a record from a capture, as the relay makes it from a session: the same scanner, counters,
//! dialect and recorder see the same bytes.

use std::time::{Duration, Instant};

use http::HeaderMap;
use uuid::Uuid;

use super::read::{Frame, Scenario, Session, What};
use crate::dialect::observer::{Observer, SessionReaders};
use crate::dialect::{Choice, Ending as DialectEnding, reader};
use crate::session::credential::Fingerprinter;
use crate::session::heartbeats::Heartbeats;
use crate::session::moment::Anchor;
use crate::session::party::{Direction, Leg, Phase};
use crate::session::record::gateway::{ForwardedFacts, ForwardedMode, ForwardedWhy};
use crate::session::record::{
    AnswerBy, AnswerFacts, Frames, GatewayFacts, Kind, Latency, RequestFacts, SessionRecord,
    TransportEnd,
};
use crate::session::recorder::{Recorder, Tunnelled};
use crate::session::text::PeerText;
use crate::ws::extensions::Extensions;
use crate::ws::frame::encode_close;
use crate::ws::masking::apply_mask;
use crate::ws::{CloseCode, Masking};

/// The placeholder of the captures, and a secret of a usual form in its place.
const SECRET: (&str, &str) = ("<secret>", "q8Zt3vK1mXw7Rb2Nc5Yd9Lf4Hs6Jg0Pa");

/// A longer message is cut off here if the gateway closed because of it.
const MOST: usize = 1 << 20;

/// A scenario's request, derived from its name: the captures have no heads.
#[derive(Debug, Default)]
struct Asked<'a> {
    path: &'a str,
    origin: Option<&'static str>,
    forwarded: bool,
    http: bool,
}

impl<'a> Asked<'a> {
    fn of(scenario: &'a Scenario) -> Self {
        let name = scenario.name.as_str();
        let has = |part: &str| name.contains(part);
        let trusted = has("trusted-remote") || has("-remote");
        let origin = if has("foreign-origin") || (trusted && has("controlui")) {
            Some("https://ui.example.com")
        } else if has("null-origin") {
            Some("null")
        } else if has("local-origin") {
            Some("http://127.0.0.1:18789")
        } else {
            None
        };
        let number: u32 = name
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .unwrap();
        Self {
            path: scenario.path.as_deref().unwrap_or("/"),
            origin,
            forwarded: has("xff") || trusted,
            http: (44..50).contains(&number),
        }
    }
}

/// The record of a scenario.
pub(super) fn scenario(scenario: &Scenario) -> SessionRecord {
    let asked = Asked::of(scenario);
    let (mut recorder, start) = begin(&asked);
    let Some(status) = scenario.status else {
        return tunnel(recorder, start, &asked, &scenario.frames);
    };
    let body = scenario.body.as_deref().unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in &scenario.headers {
        let name: http::HeaderName = name.parse().unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    let at = start + Duration::from_millis(4);
    let gateway = recorder.facts_mut().gateway.as_mut().unwrap();
    gateway.status = Some(status);
    gateway.body_kind = Some(crate::proxy::request::body::kind_of(
        body.as_bytes(),
        &headers,
    ));
    recorder.facts_mut().kind = if asked.http {
        Kind::Http
    } else {
        Kind::Websocket
    };
    recorder.facts_mut().answer = Some(AnswerFacts {
        by: AnswerBy::Gateway,
        status,
        error: None,
        body_bytes: Some(body.len() as u64),
        request_body_bytes: Some(0),
        complete: true,
    });
    if !asked.http {
        recorder.leg_refused(Leg::Gateway, at);
    }
    recorder.request_sent();
    recorder.leg_ended(Leg::Gateway, TransportEnd::Fin, None, at);
    recorder.leg_ended(Leg::Client, TransportEnd::Local, None, at);
    recorder.finish(at)
}

/// The record of a session of a command line tool; `None` where the capture ends before the session.
pub(super) fn session(session: &Session) -> Option<SessionRecord> {
    let closed = |frame: &Frame| matches!(frame.what, What::Close(..));
    if !session.frames.iter().any(closed) {
        return None;
    }
    let asked = Asked {
        path: "/",
        forwarded: session.remote,
        ..Asked::default()
    };
    let (recorder, start) = begin(&asked);
    Some(tunnel(recorder, start, &asked, &session.frames))
}

fn begin(asked: &Asked<'_>) -> (Recorder, Instant) {
    let start = Instant::now();
    let wall = "2026-11-29T12:00:00Z".parse().unwrap();
    let mut recorder = Recorder::new(Uuid::nil(), Anchor::new(wall, start));
    let facts = recorder.facts_mut();
    facts.kind = Kind::Websocket;
    facts.client.addr = "127.0.0.1:50344".to_owned();
    facts.request = Some(RequestFacts {
        method: "GET".to_owned(),
        http_version: "HTTP/1.1".to_owned(),
        host: Some(PeerText::new("127.0.0.1:18789", 255)),
        path: PeerText::new(asked.path, 255),
        origin: asked.origin.map(|origin| PeerText::new(origin, 255)),
        wants_upgrade: !asked.http,
        has_websocket_key: !asked.http,
        ..RequestFacts::default()
    });
    let brought = asked
        .forwarded
        .then(|| PeerText::new("x-forwarded-for", 64));
    facts.gateway = Some(GatewayFacts {
        url: "http://127.0.0.1:18789".to_owned(),
        expects: "openclaw".to_owned(),
        addr: Some("127.0.0.1:18789".to_owned()),
        connect_ms: Some(0.2),
        forwarded: Some(ForwardedFacts {
            mode: ForwardedMode::Pass,
            why: Some(if asked.forwarded {
                ForwardedWhy::LoopbackProxy
            } else {
                ForwardedWhy::LocalClient
            }),
            brought: brought.into_iter().collect(),
            sent: Vec::new(),
            acceptance: crate::session::record::gateway::Acceptance::NotChecked,
        }),
        ..GatewayFacts::default()
    });
    (recorder, start)
}

fn tunnel(
    mut recorder: Recorder,
    start: Instant,
    asked: &Asked<'_>,
    frames: &[Frame],
) -> SessionRecord {
    recorder.facts_mut().gateway.as_mut().unwrap().status = Some(101);
    recorder.facts_mut().answer = Some(AnswerFacts {
        by: AnswerBy::Gateway,
        status: 101,
        error: None,
        body_bytes: None,
        request_body_bytes: None,
        complete: true,
    });
    recorder.tunnel_opened();
    let mut dialect = reader(
        Choice::OpenClaw,
        &Fingerprinter::with_key(b"a key for the tests"),
        asked.path,
    );
    let mut heartbeats = Heartbeats::default();
    let mut to_gateway = Observer::new(Direction::ToGateway, Extensions::default());
    let mut to_client = Observer::new(Direction::ToClient, Extensions::default());
    let mut now = start;
    for frame in frames {
        now = now.max(start + Duration::from_secs_f64(frame.ms / 1000.0));
        let observer = match frame.direction {
            Direction::ToGateway => &mut to_gateway,
            Direction::ToClient => &mut to_client,
        };
        let mut shared = SessionReaders {
            dialect: &mut *dialect,
            heartbeats: &mut heartbeats,
        };
        observer.observe(&bytes_of(frame), now, &mut shared);
        if dialect.is_open() {
            recorder.session_opened();
        }
        let leg = frame.direction.from();
        if recorder.ending().received(leg).is_none()
            && let Some((close, _)) = observer.stats().close()
        {
            recorder.close_received(leg, close, now);
            recorder.written(leg.other(), now);
            if recorder.facts().phase >= Phase::Open {
                recorder.closing();
            }
        }
        now += Duration::from_micros(50);
    }
    for (leg, end) in [
        (Leg::Gateway, TransportEnd::Fin),
        (Leg::Client, TransportEnd::Local),
    ] {
        now += Duration::from_micros(50);
        recorder.leg_ended(leg, end, None, now);
    }
    let anchor = *recorder.anchor();
    let (said, credentials) = dialect.facts(&DialectEnding {
        anchor: &anchor,
        now,
        written_to_gateway: u64::MAX,
    });
    let summary = |observer: &Observer| observer.stats().summary(observer.scanner(), &anchor);
    recorder.tunnel_ended(Tunnelled::WebSocket {
        frames: Frames {
            to_gateway: summary(&to_gateway),
            to_client: summary(&to_client),
        },
        latency: Latency::default(),
        dialect: said,
    });
    if let Some(seen) = dialect.seen() {
        recorder.secrets_seen(seen);
    }
    recorder.said_credentials(credentials);
    recorder.finish(now)
}

/// The frame as on the wire.
fn bytes_of(frame: &Frame) -> Vec<u8> {
    let masking = match frame.direction {
        Direction::ToGateway => Masking::Masked,
        Direction::ToClient => Masking::Unmasked,
    };
    let (length, text) = match &frame.what {
        What::Message(length, text) => (*length, text),
        What::Close(Some(code), reason) => {
            return encode_close(CloseCode(*code), reason, masking);
        }
        What::Close(None, _) => {
            return match masking {
                Masking::Masked => vec![0x88, 0x80, 1, 2, 3, 4],
                Masking::Unmasked => vec![0x88, 0],
            };
        }
    };
    let mut payload = text.as_deref().map_or_else(Vec::new, |text| {
        text.replace(SECRET.0, SECRET.1).into_bytes()
    });
    // Omitted text is replaced by blanks; a stand-in for a secret may be longer than the secret.
    let length = length.max(payload.len());
    payload.resize(length.min(MOST), b' ');
    let mut bytes = vec![if text.is_some() { 0x81 } else { 0x82 }];
    let mask_bit = if masking == Masking::Masked { 0x80 } else { 0 };
    match length {
        0..126 => bytes.push(mask_bit | u8::try_from(length).unwrap()),
        126..65536 => {
            bytes.push(mask_bit | 0x7e);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(mask_bit | 0x7f);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    if masking == Masking::Masked {
        let key = [7, 1, 9, 4];
        bytes.extend(key);
        apply_mask(&mut payload, key, 0);
    }
    bytes.extend(payload);
    bytes
}
