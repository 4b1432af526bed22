//! Caps on open sessions.

use super::Resolver;
use crate::config::error::{ConfigError, Spot};
use crate::config::scalar::Scalar;
use crate::config::schema::SessionCapsSchema;
use crate::session::caps::{Caps, Rate};

/// Default burst: what the rate allows in this many seconds.
const BURST_S: u64 = 10;

impl Resolver<'_> {
    pub(super) fn caps(&mut self, section: SessionCapsSchema) -> Caps {
        let messages = section
            .messages_per_second
            .map(|Scalar(count)| u64::from(count.0));
        let messages_burst = section
            .messages_burst
            .map(|at| (at.spot, u64::from(at.value.0.0)));
        let bytes = section.bytes_per_second.map(|Scalar(size)| size.0);
        let bytes_burst = section.bytes_burst.map(|at| (at.spot, at.value.0.0));
        Caps {
            bytes: section.bytes.map(|Scalar(size)| size.0),
            message_bytes: section.message_bytes.map(|Scalar(size)| size.0),
            messages: self.rate("messages_per_second", messages, messages_burst),
            byte_rate: self.rate("bytes_per_second", bytes, bytes_burst),
        }
    }

    fn rate(
        &mut self,
        key: &str,
        per_second: Option<u64>,
        burst: Option<(Spot, u64)>,
    ) -> Option<Rate> {
        let Some(per_second) = per_second else {
            let lost = self.lost.contains(&format!("limits.session.{key}"));
            if let Some((spot, _)) = burst.filter(|_| !lost) {
                let expected = format!("`{key}` beside it");
                self.errors
                    .push(ConfigError::at(&spot, expected, "a burst without a rate"));
            }
            return None;
        };
        let burst = burst.map_or(per_second.saturating_mul(BURST_S), |(_, burst)| burst);
        Some(Rate { per_second, burst })
    }
}
