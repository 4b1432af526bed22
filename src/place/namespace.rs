//! The network namespace to enter: the value of `--in`.

use std::path::PathBuf;
use std::str::FromStr;

/// The network namespace to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamespaceOwner {
    /// The namespace of a container, by name or id.
    Container(String),
    /// The namespace of the only container of a Compose service.
    Compose(String),
    /// The namespace of a process.
    Pid(u32),
    /// A namespace file, such as those that `ip netns` creates.
    Netns(PathBuf),
}

/// The value of `--in` has none of the expected forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected container:NAME, compose:SERVICE, pid:N or netns:PATH")]
pub(crate) struct NamespaceOwnerError;

impl FromStr for NamespaceOwner {
    type Err = NamespaceOwnerError;

    fn from_str(text: &str) -> Result<Self, NamespaceOwnerError> {
        let (kind, rest) = text.split_once(':').ok_or(NamespaceOwnerError)?;
        match kind {
            _ if rest.is_empty() => Err(NamespaceOwnerError),
            "container" => Ok(Self::Container(rest.to_owned())),
            "compose" => Ok(Self::Compose(rest.to_owned())),
            "pid" => rest.parse().map(Self::Pid).map_err(|_| NamespaceOwnerError),
            "netns" => Ok(Self::Netns(rest.into())),
            _ => Err(NamespaceOwnerError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_others_are_refused() {
        let container = NamespaceOwner::Container("openclaw-gateway".to_owned());
        assert_eq!("container:openclaw-gateway".parse(), Ok(container));
        let service = NamespaceOwner::Compose("gateway".to_owned());
        assert_eq!("compose:gateway".parse(), Ok(service));
        assert_eq!("pid:12".parse(), Ok(NamespaceOwner::Pid(12)));
        let file = NamespaceOwner::Netns("/run/netns/a:b".into());
        assert_eq!("netns:/run/netns/a:b".parse(), Ok(file));
        for wrong in ["", "gateway", "container:", "pid:x", "pid:-1", "docker:x"] {
            assert_eq!(
                wrong.parse::<NamespaceOwner>(),
                Err(NamespaceOwnerError),
                "{wrong}"
            );
        }
    }
}
