//! Answers as the gateway does to attribution headers from a proxy that it does not trust: 403.
//! Exercises: a refusal that is mended in the gateway's configuration.
//!
//! [`judge`] decides by peer and headers like the gateway. Exercises: every header with which the
//! tap names clients to it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Peer, Seat, Via, ok_instead_of_101, serve};
use crate::support::conn::Conn;
use crate::support::head::{self, Head};

pub const BODY: &str = concat!(
    r#"{"error":{"message":"Proxy client attribution is required. Configure "#,
    "gateway.trustedProxies narrowly and make the proxy overwrite or safely rebuild forwarded ",
    r#"client headers.","type":"proxy_attribution_required"}}"#,
);

/// The Control UI's page of 2026.1, which answers every path that is not known.
const OLD_PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n  <head>\n    <meta charset=\"UTF-8\" />\n    ",
    "<title>Clawdbot Control</title>\n",
);

pub async fn start(via: &Via) -> Peer {
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    ok_instead_of_101::answer(via, "403 Forbidden", &headers, BODY).await
}

/// Whom a [`judge`] believes, whether it is up, and which version it is like; tests may change all of
/// that while it runs.
#[derive(Clone, Default)]
pub struct Rules(Arc<Mutex<State>>);

#[derive(Clone, Default)]
pub struct State {
    proxies: Vec<IpAddr>,
    starting: bool,
    age: Age,
}

/// How a gateway deals with attribution headers of a proxy that it does not trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Age {
    /// Since 2026.8: 403.
    #[default]
    Checks,
    /// 2026.3 to 2026.7: ignored without a word; such a client is remote.
    Ignores,
    /// Before 2026.3: the same, and `/readyz` is a page.
    AnswersPages,
}

impl Rules {
    /// `gateway.trustedProxies`.
    pub fn trusting(proxies: &[IpAddr]) -> Self {
        let rules = Self::default();
        rules.trust(proxies);
        rules
    }

    pub fn trust(&self, proxies: &[IpAddr]) {
        self.lock().proxies = proxies.to_vec();
    }

    /// While it starts it answers everything with 503.
    pub fn starting(&self, starting: bool) {
        self.lock().starting = starting;
    }

    pub fn age(&self, age: Age) {
        self.lock().age = age;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom the gateway takes the sender of a request for, as its `ingress-attribution` does
    /// (2026.9.6): `None` for a 403.
    fn locality(&self, peer: IpAddr, head: &Head) -> Option<String> {
        let text = head.text().to_ascii_lowercase();
        let named = ["forwarded:", "x-real-ip:", "x-forwarded-", "tailscale-"];
        let brought = text
            .lines()
            .skip(1)
            .any(|line| named.iter().any(|name| line.starts_with(name)));
        let State { proxies, age, .. } = self.lock().clone();
        if !brought {
            let local = peer.is_loopback();
            return Some(
                if local {
                    "direct-local"
                } else {
                    "direct-remote"
                }
                .to_owned(),
            );
        }
        let chain = head.values("x-forwarded-for").join(",");
        let mut hops = chain.rsplit(',').filter_map(|hop| hop.trim().parse().ok());
        let client = hops.find(|hop: &IpAddr| !hop.is_loopback() && !proxies.contains(hop));
        let client = client.filter(|_| proxies.contains(&peer));
        match (client, age) {
            (Some(client), _) => Some(format!("trusted-proxy {client}")),
            (None, Age::Checks) => None,
            (None, Age::Ignores | Age::AnswersPages) => Some("direct-remote".to_owned()),
        }
    }
}

/// Answers by the sender's locality: 403 without a credible client, otherwise a 101 or a
/// page, with `X-Locality`. `/healthz` is exempt, `/readyz` says that it is ready.
pub async fn judge(via: &Via, rules: &Rules) -> Peer {
    let rules = rules.clone();
    serve(via, move |mut conn, seat| {
        let rules = rules.clone();
        async move {
            while let Some(head) = seat.head(&mut conn).await {
                if verdict(&mut conn, &seat, &head, &rules).await.is_none() {
                    return;
                }
                if head.says_close() {
                    conn.finish().await;
                    return;
                }
            }
        }
    })
    .await
}

async fn verdict(conn: &mut Conn, seat: &Seat, head: &Head, rules: &Rules) -> Option<()> {
    let peer = conn.wire.tcp()?.peer_addr().ok()?.ip();
    let upgrade = head.values("upgrade").iter().any(|to| to == "websocket");
    let locality = rules.locality(peer, head);
    let State { starting, age, .. } = rules.lock().clone();
    let (status, locality, body) = match (starting, head.target().as_str(), locality) {
        (true, ..) => ("503 Service Unavailable", None, r#"{"ready":false}"#),
        (_, "/healthz", locality) => ("200 OK", locality, r#"{"ok":true,"status":"live"}"#),
        (.., None) => ("403 Forbidden", None, BODY),
        (_, "/readyz", locality) if age == Age::AnswersPages => ("200 OK", locality, OLD_PAGE),
        // Only local clients are shown which check fails.
        (_, "/readyz", Some(locality)) if locality == "direct-local" => {
            let details = r#"{"ready":true,"failing":[],"uptimeMs":1}"#;
            ("200 OK", Some(locality), details)
        }
        (_, "/readyz", locality) => ("200 OK", locality, r#"{"ready":true}"#),
        (.., Some(locality)) if upgrade => {
            seat.send(conn, &switching(head, &locality)).await?;
            seat.frames(conn).await;
            return None;
        }
        (_, _, locality) => ("200 OK", locality, "{}"),
    };
    let length = body.len().to_string();
    let mut headers = vec![
        ("Content-Type", "application/json"),
        ("Content-Length", &length),
    ];
    headers.extend(locality.as_deref().map(|locality| ("X-Locality", locality)));
    let mut bytes = head::response(status, &headers);
    bytes.extend_from_slice(body.as_bytes());
    seat.send(conn, &bytes).await
}

fn switching(request: &Head, locality: &str) -> Vec<u8> {
    let accept = request.accept_key();
    let headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept.as_str()),
        ("X-Locality", locality),
    ];
    head::response("101 Switching Protocols", &headers)
}
