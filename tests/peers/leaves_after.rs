//! Opens every tunnel and ends each after its own time, by FIN or RST without a Close. Exercises:
//! ends at random ages, and ends by a timer.

use std::time::Duration;

use super::{Peer, Via, serve};

/// The first tunnel has the first age, and so on; the last age repeats.
pub async fn start(via: &Via, ages: Vec<Duration>, by_reset: bool) -> Peer {
    serve(via, move |mut conn, seat| {
        let age = ages.get(seat.connection).or(ages.last()).copied();
        async move {
            if seat.upgrade(&mut conn).await.is_none() {
                return;
            }
            tokio::time::sleep(age.unwrap_or_default()).await;
            if by_reset {
                conn.abort();
            } else {
                conn.finish().await;
                seat.frames(&mut conn).await;
            }
        }
    })
    .await
}
