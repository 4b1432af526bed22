//! The gateway's limits for each address are each client's own, and the same with and without the tap.

use std::time::Duration;

use serde_json::json;

use super::clients::{Brings, Way};
use super::evidence::Visit;
use super::{Bound, LONG, bound};
use crate::live::gateway::{Gateway, Options};
use crate::live::guest::Guest;
use crate::live::visitor::Answer;
use crate::support::attached::Attached;
use crate::support::deadline::within;
use crate::support::netns::Net;
use crate::support::records::rule;

/// Wrong tokens of one address within a minute, before it is locked out.
const ATTEMPTS: usize = 10;

/// Sockets of one address that have not said hello: what these tests have the gateway allow.
const PREAUTH: usize = 6;

/// Clients that are locked out; each has its own bucket.
const LOCKED: [Way; 2] = [Way::REMOTE, Way::REMOTE_V6];

/// The gateway's own number of attempts, and more time for them than a busy machine takes.
pub fn options() -> Options {
    let mut options = bound(Bound::All);
    let time = Duration::from_mins(10).as_millis();
    let limit = json!({ "maxAttempts": ATTEMPTS, "windowMs": time, "lockoutMs": time });
    options.more["gateway"]["auth"] = json!({ "rateLimit": limit });
    options.env.extend([
        ("OPENCLAW_MAX_PREAUTH_CONNECTIONS_PER_IP", "6"),
        ("OPENCLAW_HANDSHAKE_TIMEOUT_MS", "120000"),
    ]);
    options
}

pub async fn are_each_clients_own(net: &Net, gateway: &Gateway) {
    let port = gateway.addr().port();
    // Half of it without the tap.
    for way in LOCKED {
        for _ in 0..ATTEMPTS / 2 {
            let visit = Visit::make(net, port, way, Brings::WrongToken).await;
            assert_eq!(details(&visit.answer), "AUTH_TOKEN_MISMATCH", "{visit:?}");
        }
    }
    let mut waiting = Vec::new();
    for _ in 0..PREAUTH / 2 {
        let conn = Way::REMOTE.connect(net, port).await.expect("connect");
        let session = Guest::cli().knock(conn).await;
        assert_eq!(session.status, Some(101));
        waiting.push(session);
    }

    let attached = Attached::start(port, LONG).await;
    for _ in PREAUTH / 2..PREAUTH {
        let conn = Way::REMOTE.connect(net, port).await.expect("connect");
        let session = Guest::cli().knock(conn).await;
        assert_eq!(session.status, Some(101));
        waiting.push(session);
    }
    let one_more = Visit::make(net, port, Way::REMOTE, Brings::Token).await;
    let refused = matches!(one_more.answer, Answer::Http { status: 503, .. });
    assert!(refused, "{one_more:?}");
    assert_judged(&attached, &one_more, "gateway.limit.preauth_sockets").await;
    others_are_served(net, port, &attached).await;
    drop(waiting);

    for way in LOCKED {
        for _ in ATTEMPTS / 2..ATTEMPTS {
            let visit = until_a_socket_is_free(net, port, way).await;
            assert_eq!(details(&visit.answer), "AUTH_TOKEN_MISMATCH", "{visit:?}");
        }
        let right = Visit::make(net, port, way, Brings::Token).await;
        assert_eq!(details(&right.answer), "AUTH_RATE_LIMITED", "{right:?}");
        assert_judged(&attached, &right, "gateway.auth.rate_limited").await;
        others_are_served(net, port, &attached).await;
    }
    attached.detach().await;

    // The lock is the client's: it is there without the tap as well.
    for way in LOCKED {
        let right = Visit::make(net, port, way, Brings::Token).await;
        assert_eq!(details(&right.answer), "AUTH_RATE_LIMITED", "{right:?}");
    }
}

/// From another address of the same host, and from the gateway's own host.
async fn others_are_served(net: &Net, port: u16, attached: &Attached) {
    for way in [Way::REMOTE_PRIVATE, Way::OWN, Way::LOOPBACK] {
        let visit = Visit::make(net, port, way, Brings::Token).await;
        let accepted = matches!(visit.answer, Answer::Accepted { .. });
        assert!(accepted, "{visit:?}");
        assert_judged(attached, &visit, "ok.client_closed").await;
    }
}

/// A wrong token. The gateway notices a moment later that sockets were closed.
async fn until_a_socket_is_free(net: &Net, port: u16, way: Way) -> Visit {
    within("a socket that is free again", async {
        loop {
            let visit = Visit::make(net, port, way, Brings::WrongToken).await;
            if !matches!(visit.answer, Answer::Http { status: 503, .. }) {
                break visit;
            }
        }
    })
    .await
}

async fn assert_judged(attached: &Attached, visit: &Visit, by: &str) {
    let record = attached.record_of(&visit.visitor.agent).await;
    assert_eq!(rule(&record), by, "{visit:?}");
}

fn details(answer: &Answer) -> &str {
    match answer {
        Answer::Refused { details, .. } => details,
        _ => "",
    }
}
