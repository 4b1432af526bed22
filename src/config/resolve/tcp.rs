//! Options of TCP connections.

use super::Resolver;
use crate::config::error::ConfigError;
use crate::config::scalar::duration_text;
use crate::config::schema::TcpSchema;
use crate::config::settings::Tcp;

impl Resolver<'_> {
    pub(super) fn tcp(&mut self, section: TcpSchema) -> Tcp {
        let default = Tcp::default();
        let spot = section.user_timeout.as_ref().map(|at| at.spot.clone());
        let tcp = Tcp {
            keepalive: section
                .keepalive
                .as_ref()
                .map_or(default.keepalive, |at| at.value.0.0),
            keepalive_interval: section
                .keepalive_interval
                .as_ref()
                .map_or(default.keepalive_interval, |at| at.value.0.0),
            user_timeout: section
                .user_timeout
                .map_or(default.user_timeout, |at| at.value.0.0),
        };
        let least = tcp.keepalive + 2 * tcp.keepalive_interval;
        let spot = spot
            .or_else(|| section.keepalive_interval.map(|at| at.spot))
            .or_else(|| section.keepalive.map(|at| at.spot));
        if let Some(spot) = spot.filter(|_| tcp.user_timeout < least) {
            let least = duration_text(least);
            let expected = format!(
                "`tcp.user_timeout` to be at least {least}, which is `keepalive` and two of \
                 `keepalive_interval`: with less, one lost packet ends a quiet connection"
            );
            let found = duration_text(tcp.user_timeout);
            self.errors.push(ConfigError::at(&spot, expected, found));
        }
        tcp
    }
}
