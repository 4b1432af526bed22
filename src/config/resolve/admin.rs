//! The admin listener.

use super::Resolver;
use crate::config::address::ListenAddr;
use crate::config::admin::{self, Admin};
use crate::config::error::{Complaint, ConfigError};
use crate::config::files::Named;
use crate::config::overrides::Override;
use crate::config::scalar::{FromScalar, Scalar};
use crate::config::schema::{AdminSchema, At};
use crate::config::secret::AdminToken;

impl Resolver<'_> {
    pub(super) fn admin(
        &mut self,
        section: Option<At<AdminSchema>>,
        given: Option<&Override>,
    ) -> Option<Admin> {
        let given = given.filter(|given| given.is_given());
        if section.is_none() && given.is_none() {
            return None;
        }
        let spot = section.as_ref().map(|section| section.spot.clone());
        let section = section.map(|section| section.value).unwrap_or_default();
        let wants_token = section.token_file.is_some();
        let token = section.token_file.and_then(|path| {
            let At { spot, value } = self.path(path)?;
            self.named.push(Named::now(&value));
            let read = AdminToken::read(&value);
            read.map_err(|complaint| self.errors.push(complaint.at(&spot)))
                .ok()
        });
        // The error has the same position, wherever the address was set.
        let place: Box<dyn Fn(Complaint) -> ConfigError>;
        let listen = if let Some(given) = given {
            let source = given.source;
            place = Box::new(move |complaint| ConfigError::given(source, complaint));
            self.accept(given, ListenAddr::from_text(given.value.trim()))?
        } else if let Some(At { spot, value }) = section.listen {
            place = Box::new(move |complaint| complaint.at(&spot));
            value.0
        } else {
            place = Box::new(
                move |Complaint {
                          expected, found, ..
                      }| match &spot {
                    Some(spot) => ConfigError::at(spot, expected, found),
                    None => ConfigError::somewhere("admin", expected, found),
                },
            );
            Admin::default_listen()
        };
        if !listen.host.is_loopback() && !wants_token && !self.lost.contains("admin.token_file") {
            let error = place(Admin::open_to_others(&listen));
            self.errors.push(error);
        }
        let hosts = section.hosts.unwrap_or_default();
        Some(Admin {
            listen,
            token,
            hosts: hosts.into_iter().map(|Scalar(host)| host.0).collect(),
            place: place(Complaint::new(admin::EXPECTED, "")),
        })
    }
}
