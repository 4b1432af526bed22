//! Answers as the gateway does to attribution headers from a proxy that it does not trust: 403.
//! Exercises: a refusal that is mended in the gateway's configuration.

use super::{Peer, Via, ok_instead_of_101};

pub const BODY: &str = concat!(
    r#"{"error":{"message":"Proxy client attribution is required. Configure "#,
    "gateway.trustedProxies narrowly and make the proxy overwrite or safely rebuild forwarded ",
    r#"client headers.","type":"proxy_attribution_required"}}"#,
);

pub async fn start(via: &Via) -> Peer {
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    ok_instead_of_101::answer(via, "403 Forbidden", &headers, BODY).await
}
