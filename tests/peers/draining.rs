//! Answers as the gateway does while it shuts down: 503 before the upgrade. Exercises: a refusal
//! that is known by its body.

use super::{Peer, Via, ok_instead_of_101};

pub const BODY: &str = "Gateway websocket admission closed";

pub async fn start(via: &Via) -> Peer {
    let headers = [("Content-Type", "text/plain; charset=utf-8")];
    ok_instead_of_101::answer(via, "503 Service Unavailable", &headers, BODY).await
}
