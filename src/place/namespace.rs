//! Whose network namespace to enter: the value of `--in`.

use std::path::PathBuf;
use std::str::FromStr;

/// Whose network namespace to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// That of a container, by name or id.
    Container(String),
    /// That of the only container of a Compose service.
    Compose(String),
    /// That of a process.
    Pid(u32),
    /// A file, such as those that `ip netns` makes.
    Netns(PathBuf),
}

/// The value of `--in` has none of its forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected container:NAME, compose:SERVICE, pid:N or netns:PATH")]
pub struct PlaceError;

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (kind, rest) = text.split_once(':').ok_or(PlaceError)?;
        match kind {
            _ if rest.is_empty() => Err(PlaceError),
            "container" => Ok(Self::Container(rest.to_owned())),
            "compose" => Ok(Self::Compose(rest.to_owned())),
            "pid" => rest.parse().map(Self::Pid).map_err(|_| PlaceError),
            "netns" => Ok(Self::Netns(rest.into())),
            _ => Err(PlaceError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_others_are_refused() {
        let container = Place::Container("openclaw-gateway".to_owned());
        assert_eq!("container:openclaw-gateway".parse(), Ok(container));
        let service = Place::Compose("gateway".to_owned());
        assert_eq!("compose:gateway".parse(), Ok(service));
        assert_eq!("pid:12".parse(), Ok(Place::Pid(12)));
        let file = Place::Netns("/run/netns/a:b".into());
        assert_eq!("netns:/run/netns/a:b".parse(), Ok(file));
        for wrong in ["", "gateway", "container:", "pid:x", "pid:-1", "docker:x"] {
            assert_eq!(wrong.parse::<Place>(), Err(PlaceError), "{wrong}");
        }
    }
}
