//! The tap's own allow list: origins in normalised form, each once.

use super::Origin;

/// The allow list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OriginList {
    any: bool,
    origins: Vec<Origin>,
}

impl OriginList {
    /// Adds `"*"`.
    pub fn add_any(&mut self) {
        self.any = true;
    }

    /// Adds an origin, unless it is already listed.
    pub fn add(&mut self, origin: Origin) {
        if !self.origins.contains(&origin) {
            self.origins.push(origin);
        }
    }

    /// Whether the list holds `"*"`.
    #[must_use]
    pub fn allows_any(&self) -> bool {
        self.any
    }

    /// The entries other than `"*"`, in the order of the file.
    #[must_use]
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// Whether nothing is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any && self.origins.is_empty()
    }

    /// The entry that allows this origin.
    #[must_use]
    pub fn entry(&self, origin: &Origin) -> Option<&str> {
        let exact = self.origins.iter().find(|entry| *entry == origin);
        exact.map(Origin::as_str).or(self.any.then_some("*"))
    }
}
