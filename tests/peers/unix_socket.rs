//! The echo peer on a unix socket, where there are no addresses, no ports and no RST.

use super::{Peer, Via, echo};

pub async fn start() -> Peer {
    echo::start(&Via::Unix).await
}
