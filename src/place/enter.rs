//! Enters namespaces.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::stat;

use super::Place;
use super::engine::{self, Container, EngineError};

/// The namespace could not be entered.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed")]
pub enum EnterError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("failed to open the namespace {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error(
        "failed to enter the namespace {path}: {source}\n  to do: run it as root (entering a \
         namespace needs CAP_SYS_ADMIN), or start wstap inside: `docker run --network container:NAME`"
    )]
    Enter { path: PathBuf, source: io::Error },
    #[error("failed to put the files of {path} over those in /etc: {source}")]
    Cover { path: PathBuf, source: io::Error },
}

/// Moves this thread into the network namespace. Threads that it starts later are in it as well.
pub fn enter(place: &Place) -> Result<(), EnterError> {
    let path = match process(place)? {
        Ok(pid) => format!("/proc/{pid}/ns/net").into(),
        Err(path) => path,
    };
    join(&open(path)?, CloneFlags::CLONE_NEWNET)
}

/// What was read of a place on the way in; from inside it cannot be seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The network namespace, as `/proc/self/ns/net` shows it.
    pub namespace: String,
    /// Of its process, as in `/proc/PID/environ`: `NAME=value` with a NUL behind each.
    pub environment: Option<Vec<u8>>,
    /// Of its process, as in `/proc/PID/mountinfo`.
    pub mounts: String,
    /// What the engine tells of the container.
    pub container: Option<Container>,
}

/// Moves this process into the network namespace and to the files that its programs see, above all to their
/// `hosts` and `resolv.conf`. It must have one thread only, because threads share their view of files.
///
/// For a file as `ip netns` makes them, those are this host's files, with the ones in `/etc/netns/NAME` over those in
/// `/etc` (ip-netns(8)).
pub fn enter_with_files(place: &Place) -> Result<Seen, EnterError> {
    let pid = match process(place)? {
        Ok(pid) => pid,
        Err(path) => {
            let network = open(path.clone())?;
            join(&network, CloneFlags::CLONE_NEWNET)?;
            cover(&path)?;
            return Ok(Seen {
                namespace: network.name(),
                ..Seen::default()
            });
        }
    };
    // All is opened and read first: the other's `/proc` shows nothing of this process.
    let network = open(format!("/proc/{pid}/ns/net").into())?;
    let files = open(format!("/proc/{pid}/ns/mnt").into())?;
    let seen = Seen {
        namespace: network.name(),
        environment: std::fs::read(format!("/proc/{pid}/environ")).ok(),
        mounts: std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default(),
        container: match place {
            Place::Container(name) => Some(engine::container(name)?),
            Place::Compose(service) => Some(engine::container_of_service(service)?),
            Place::Pid(_) | Place::Netns(_) => None,
        },
    };
    join(&network, CloneFlags::CLONE_NEWNET)?;
    join(&files, CloneFlags::CLONE_NEWNS)?;
    Ok(seen)
}

/// A process of the place, or the file that it is.
fn process(place: &Place) -> Result<Result<u32, PathBuf>, EnterError> {
    Ok(match place {
        Place::Container(name) => Ok(engine::pid_of_container(name)?),
        Place::Compose(service) => Ok(engine::pid_of_service(service)?),
        Place::Pid(pid) => Ok(*pid),
        Place::Netns(path) => Err(path.clone()),
    })
}

/// An open namespace.
struct Namespace {
    file: File,
    path: PathBuf,
}

impl Namespace {
    fn name(&self) -> String {
        let inode = self.file.metadata().map(|metadata| metadata.ino());
        name_of(inode.ok())
    }
}

fn name_of(inode: Option<u64>) -> String {
    inode.map_or_else(|| "unknown".to_owned(), |inode| format!("net:[{inode}]"))
}

fn open(path: PathBuf) -> Result<Namespace, EnterError> {
    match File::open(&path) {
        Ok(file) => Ok(Namespace { file, path }),
        Err(source) => Err(EnterError::Open { path, source }),
    }
}

fn join(namespace: &Namespace, kind: CloneFlags) -> Result<(), EnterError> {
    setns(&namespace.file, kind).map_err(|source| EnterError::Enter {
        path: namespace.path.clone(),
        source: source.into(),
    })
}

/// Puts the files of `/etc/netns/NAME`, if there are any, over those in `/etc`, for this process alone.
fn cover(namespace: &Path) -> Result<(), EnterError> {
    let Some(name) = namespace.file_name() else {
        return Ok(());
    };
    let folder = Path::new("/etc/netns").join(name);
    let Ok(files) = std::fs::read_dir(&folder) else {
        return Ok(());
    };
    let failed = |source: Errno| EnterError::Cover {
        path: folder.clone(),
        source: source.into(),
    };
    let none = None::<&Path>;
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed)?;
    // Nothing of it reaches the mounts of others.
    mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none).map_err(failed)?;
    for file in files.flatten() {
        let over = Path::new("/etc").join(file.file_name());
        if over.exists() {
            mount(Some(&file.path()), &over, none, MsFlags::MS_BIND, none).map_err(failed)?;
        }
    }
    Ok(())
}

/// The network namespace that this process is in, as `/proc/self/ns/net` shows it: `net:[4026531840]`.
#[must_use]
pub fn current() -> String {
    let inode = stat("/proc/self/ns/net").map(|stat| stat.st_ino);
    name_of(inode.ok())
}

/// Interfaces that the kernel makes in every network namespace, by its modules.
const EVERYWHERE: [&str; 10] = [
    "lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0",
    "ip6gre0",
];

/// Whether this network namespace has an interface that leads out of it. Without a descriptor to look, it has.
#[must_use]
pub fn has_interface() -> bool {
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
}
