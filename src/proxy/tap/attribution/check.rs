//! Checks whether the gateway accepts our attribution headers.
//!
//! `admission::forwarded::acceptance` decides when; this file has the clock, the socket and the
//! warnings. The check does not run where attribution headers are never overwritten, because its
//! answer would change nothing and a gateway logs such a request as suspicious.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::admission::forwarded::acceptance::{Answer, CHECK_CLIENT, NOBODY, Outcome, Plan};
use crate::admission::forwarded::write::{Keep, write};
use crate::admission::forwarded::{Action, Mode};
use crate::dialect::profile::Attribution as Dialect;
use crate::proxy::tap::Tap;
use crate::session::dial::DialFacts;
use crate::session::record::gateway::Acceptance;
use crate::transport::stream::Stream;
use crate::verdict::trust::{trust_line, trust_line_of_any_version};

/// Maximum number of bytes of an answer that are inspected.
const LOOK: usize = 2048;

/// Time limit for the answer once connected.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The result of one check.
struct Found {
    outcome: Outcome,
    facts: DialFacts,
    forwarded_to_loopback: bool,
}

/// Starts the checks, if the configuration needs them.
pub(in crate::proxy::tap) fn begin(tap: &Arc<Tap>) {
    if tap.attribution.acceptance() != Acceptance::NotChecked {
        tap.tasks.spawn(run(Arc::clone(tap)));
    }
}

/// Runs each check when it is due, until the drain or until this tap is retired.
async fn run(tap: Arc<Tap>) {
    let (drain, retired) = (tap.drain.token(), &tap.attribution.retired);
    tokio::select! {
        biased;
        () = drain.cancelled() => {}
        () = retired.cancelled() => {}
        () = ask_in_time(&tap) => {}
    }
}

async fn ask_in_time(tap: &Tap) {
    let attribution = &tap.attribution;
    loop {
        let due = attribution.lock().plan.due();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = attribution.changed.notified() => continue,
            () = wait => {}
        }
        let answer = check(tap).await;
        let outcome = answer
            .as_ref()
            .map_or(Outcome::NoAnswer, |found| found.outcome);
        let mut known = attribution.lock();
        let was = known.plan;
        let changed = known.plan.checked(outcome, Instant::now());
        if let Some(found) = &answer {
            known.our_ip = found.facts.our_ip();
            // Without an outcome the check has learned nothing.
            if outcome != Outcome::NoAnswer {
                known.forwarded_to_loopback = found.forwarded_to_loopback;
            }
        }
        drop(known);
        if let (true, Some(found)) = (changed, answer) {
            log_change(tap, was, &found);
        }
    }
}

/// The client that a check's request names.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// [`CHECK_CLIENT`], in the headers that we write for clients.
    Client,
    /// [`NOBODY`].
    Nobody,
    /// None: no attribution headers.
    Nothing,
}

/// Runs one check; `None` without an answer. If the gateway answers, a second request names no
/// client: only a gateway that refuses it checks attribution at all. If a refusal means that
/// requests go on without headers, a further request finds out how the gateway treats those;
/// without an answer to it nothing changes.
async fn check(tap: &Tap) -> Option<Found> {
    let dialect = tap.dialect().profile().attribution.as_ref()?;
    let (status, body, facts) = ask(tap, dialect, Says::Client).await?;
    let named = Answer::of(dialect, status.as_u16(), &body);
    let nobody = if named == Answer::Taken {
        let (status, body, _) = ask(tap, dialect, Says::Nobody).await?;
        Some(Answer::of(dialect, status.as_u16(), &body))
    } else {
        None
    };
    let outcome = Outcome::of(named, nobody);
    let falls_back = outcome == Outcome::Refused
        && tap.config.gateway().forwarded() == Mode::Auto
        && !facts.is_local();
    let forwarded_to_loopback = if falls_back {
        let (status, body, _) = ask(tap, dialect, Says::Nothing).await?;
        (dialect.takes_us_for_local)(status.as_u16(), &body)
    } else {
        false
    };
    Some(Found {
        outcome,
        facts,
        forwarded_to_loopback,
    })
}

async fn ask(tap: &Tap, dialect: &Dialect, says: Says) -> Option<(StatusCode, Vec<u8>, DialFacts)> {
    let (stream, facts) = tap.dialler.dial().await.ok()?;
    let request = request(&tap.config.gateway().authority(), dialect.path, says)?;
    let asked = tokio::time::timeout(ANSWER_LIMIT, exchange(stream, request));
    let (status, body) = asked.await.ok()??;
    Some((status, body, facts))
}

async fn exchange(stream: Stream, request: Request<Empty<Bytes>>) -> Option<(StatusCode, Vec<u8>)> {
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let exchange = async move {
        let answer = sender.send_request(request).await.ok()?;
        let status = answer.status();
        let mut incoming = answer.into_body();
        let mut body = Vec::new();
        while let Some(Ok(frame)) = incoming.frame().await
            && body.len() < LOOK
        {
            if let Some(data) = frame.data_ref() {
                body.extend(data.iter().take(LOOK - body.len()));
            }
        }
        Some((status, body))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection may end with the answer's last byte, which must still be read.
        _ = driver => exchange.await,
    }
}

/// Builds a check's request, in the shape of a client's request.
fn request(host: &str, path: &str, says: Says) -> Option<Request<Empty<Bytes>>> {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::HOST, host.parse().ok()?);
    let keep = Keep {
        place: false,
        identity: false,
    };
    let action = match says {
        Says::Client => Action::Overwrite(CHECK_CLIENT),
        Says::Nobody | Says::Nothing => Action::Strip,
    };
    write(&mut headers, action, false, keep);
    if let Says::Nobody = says {
        headers.insert("x-forwarded-for", HeaderValue::from_static(NOBODY));
    }
    headers.insert(http::header::CONNECTION, "close".parse().ok()?);
    let agent = concat!("wstap/", env!("CARGO_PKG_VERSION"), " (attribution check)");
    headers.insert(http::header::USER_AGENT, agent.parse().ok()?);
    let mut request = Request::get(path).body(Empty::new()).ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

fn log_change(tap: &Tap, was: Plan, found: &Found) {
    let mode = tap.config.gateway().forwarded();
    let facts = &found.facts;
    match found.outcome {
        Outcome::Refused => {
            let follows = match mode {
                Mode::Auto if found.forwarded_to_loopback => {
                    "something between us ends at its loopback address, so that it would take \
                     every client without forwarded headers for local; it answers 403 to clients \
                     that are not on this host"
                }
                Mode::Auto if !facts.is_local() => {
                    "requests go on without forwarded headers, and to the gateway all clients \
                     share our address: its limits and lock-outs hit all of them together"
                }
                Mode::Auto => "it answers 403 to clients that are not on this host",
                _ => "it answers 403 to every client",
            };
            let sees = if found.forwarded_to_loopback {
                Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
            } else {
                facts.our_ip()
            };
            let line = trust_line(sees);
            tracing::warn!(
                "the gateway does not believe who we say a client is: {follows}; {line}"
            );
        }
        Outcome::Accepted if was.acceptance() == Acceptance::Refused || was.is_unproven() => {
            tracing::warn!("the gateway now believes who we say a client is");
        }
        Outcome::Unproven => {
            let local = if facts.is_local() {
                "; 2026.3 then takes clients of its own host for remote as well"
            } else {
                ""
            };
            tracing::warn!(
                "it is unknown whether the gateway believes who we say a client is: it answers \
                 requests that name a client and requests that name nobody alike, as OpenClaw before \
                 2026.8 does, which silently ignores the headers of a proxy that it does not \
                 trust; if it does so, its limits and lock-outs hit all clients together; {} (the \
                 bare address: 2026.1 knows no networks such as /32{local})",
                trust_line_of_any_version(facts.our_ip())
            );
        }
        Outcome::Accepted | Outcome::NoAnswer => {}
    }
}
