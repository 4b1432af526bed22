//! Listeners.

use super::Resolver;
use crate::admission::forwarded::Trusted;
use crate::config::error::{Complaint, ConfigError};
use crate::config::listen::Listen;
use crate::config::listener::{self, Listener, ListenerTls};
use crate::config::overrides::Override;
use crate::config::schema::{At, ListenerSchema, ProxyProtocolSchema};
use crate::config::settings::FileMode;
use crate::config::{paths, trusted};

impl Resolver<'_> {
    pub(super) fn listeners(
        &mut self,
        sections: Option<Vec<At<ListenerSchema>>>,
        overrides: &[Override],
    ) -> Vec<Listener> {
        let mut listeners: Vec<Listener> = Vec::new();
        for section in sections.unwrap_or_default() {
            let spot = section
                .value
                .listen
                .as_ref()
                .map(|listen| listen.spot.clone());
            let Some(listener) = self.listener(section) else {
                continue;
            };
            let taken = |other: &Listener| other.listen == listener.listen;
            if let (Some(spot), true) = (&spot, listeners.iter().any(taken))
                && listener.listen.is_exclusive()
            {
                let expected = "an address that no other listener has";
                self.errors.push(ConfigError::at(
                    spot,
                    expected,
                    format!("`{}` again", listener.listen),
                ));
            }
            listeners.push(listener);
        }
        let given: Vec<_> = overrides.iter().filter(|given| given.is_given()).collect();
        if !given.is_empty() {
            listeners = given
                .into_iter()
                .filter_map(|given| {
                    let parsed = Listener::from_override(given.value.trim());
                    let place = Complaint::new(listener::EXPECTED, "");
                    let listener = self.accept(given, parsed)?;
                    let listen = listener.listen.with_socket(paths::absolute);
                    Some(Listener {
                        place: ConfigError::given(given.source, place),
                        listen: self.accept(given, listen)?,
                        ..listener
                    })
                })
                .collect();
        }
        if listeners.is_empty() {
            listeners.push(Listener::fallback());
        }
        listeners
    }

    fn listener(&mut self, section: At<ListenerSchema>) -> Option<Listener> {
        let At { spot, value } = section;
        let tls = match value.tls {
            Some(tls) => self.listener_tls(tls),
            None => Some(ListenerTls::Plain),
        };
        let proxy_protocol = match value.proxy_protocol {
            Some(section) => self.proxy_protocol(section),
            None => Some(Trusted::default()),
        };
        let listen = self.required(&spot, "listen", "an address to listen on", value.listen)?;
        let At {
            spot,
            value: listen_value,
        } = listen;
        let folder = &self.folder;
        let listen = match listen_value.0.with_socket(|path| folder.join(path)) {
            Ok(value) => At { spot, value },
            Err(complaint) => {
                self.errors.push(complaint.at(&spot));
                return None;
            }
        };
        let mode = match value.mode {
            Some(mode) if !matches!(listen.value, Listen::Unix(_)) => {
                let expected = "no `mode` without `listen: unix:/path`";
                let found = format!("it beside `{}`", listen.value);
                self.errors
                    .push(ConfigError::at(&mode.spot, expected, found));
                None
            }
            mode => mode,
        };
        Some(Listener {
            place: ConfigError::at(&listen.spot, listener::EXPECTED, ""),
            listen: listen.value,
            mode: mode.map_or(FileMode::SOCKET, |mode| mode.value.0),
            proxy_protocol: proxy_protocol?,
            tls: tls?,
        })
    }

    /// With an empty list the section would do nothing: a mistake.
    fn proxy_protocol(&mut self, section: At<ProxyProtocolSchema>) -> Option<Trusted> {
        let At { spot, value } = section;
        let expected = "the addresses or networks of the proxies that send it";
        let from = self.required(&spot, "from", expected, value.from)?;
        if from.value.is_empty() && !self.lost.contains(&format!("{}[0]", from.spot.key_path)) {
            self.errors
                .push(ConfigError::at(&from.spot, expected, "an empty list"));
            return None;
        }
        Some(trusted::list(
            from.value.into_iter().map(|entry| entry.value.0),
        ))
    }
}
