//! `--in`: into the network namespace of a container, a Compose service, a process or a file.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::fs::stat;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd as _;

use super::engine::{self, EngineError};

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

/// The namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnterError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("failed to open the network namespace {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error(
        "failed to enter the network namespace {path}: {source}\n  to do: run it as root (entering a \
         namespace needs CAP_SYS_ADMIN), or start wstap inside: `docker run --network container:NAME`"
    )]
    Enter { path: PathBuf, source: io::Error },
}

/// Moves this thread into the network namespace. Threads that it starts later are in it as well.
pub(super) fn enter(place: &Place) -> Result<(), EnterError> {
    let path = match place {
        Place::Container(name) => of_process(engine::pid_of_container(name)?),
        Place::Compose(service) => of_process(engine::pid_of_service(service)?),
        Place::Pid(pid) => of_process(*pid),
        Place::Netns(path) => path.clone(),
    };
    let file = File::open(&path).map_err(|source| EnterError::Open {
        path: path.clone(),
        source,
    })?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|source| {
        EnterError::Enter {
            path,
            source: source.into(),
        }
    })
}

fn of_process(pid: u32) -> PathBuf {
    format!("/proc/{pid}/ns/net").into()
}

/// The network namespace that this process is in, as `/proc/self/ns/net` shows it: `net:[4026531840]`.
pub(super) fn current() -> String {
    let inode = stat("/proc/self/ns/net").map(|stat| stat.st_ino);
    inode.map_or_else(|_| "unknown".to_owned(), |inode| format!("net:[{inode}]"))
}

/// Interfaces that the kernel makes in every network namespace, by its modules.
const EVERYWHERE: [&str; 10] = [
    "lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0",
    "ip6gre0",
];

/// Whether this network namespace has an interface that leads out of it. Without a descriptor to look, it has.
pub(super) fn has_interface() -> bool {
    std::fs::read_to_string("/proc/net/dev").map_or(true, |interfaces| leads_out(&interfaces))
}

/// By the text of `/proc/net/dev`: two lines of headings, then a line for each interface.
fn leads_out(interfaces: &str) -> bool {
    let lines = interfaces.lines().skip(2);
    let mut names = lines.filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names.any(|name| !EVERYWHERE.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_modules_interfaces_do_not_lead_out() {
        let heading = "Inter-|   Receive\n face |bytes\n";
        let of = |name: &str| leads_out(&format!("{heading}    lo: 1 2\n{name}: 0 0\n"));
        assert!(of("  eth0"));
        assert!(!of(" tunl0"));
        assert!(!leads_out(heading));
        assert!(!leads_out(""));
    }

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
