//! Listeners.

use super::Resolver;
use crate::config::Override;
use crate::config::error::{Complaint, ConfigError};
use crate::config::listener::{self, Listener, ListenerTls};
use crate::config::schema::{At, ListenerSchema};

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
                && listener.listen.port != 0
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
                    self.accept(given, parsed).map(|listener| Listener {
                        place: ConfigError::given(given.source, place),
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
        let listen = self.required(&spot, "listen", "an address to listen on", value.listen)?;
        Some(Listener {
            place: ConfigError::at(&listen.spot, listener::EXPECTED, ""),
            listen: listen.value.0,
            tls: tls?,
        })
    }
}
