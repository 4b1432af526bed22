//! Enters namespaces.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2, stat};

use super::engine::{self, Container, EngineError};
use super::namespace::NamespaceOwner;

/// The namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnterError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("failed to open {path}: {source}\n  to do: run it as root")]
    Open { path: PathBuf, source: io::Error },
    #[error(
        "failed to enter the namespace {path}: {source}\n  to do: run it as root (entering a \
         namespace needs CAP_SYS_ADMIN), or start wstap inside: `docker run --network container:NAME`"
    )]
    Enter { path: PathBuf, source: io::Error },
    #[error("failed to mount the files of {path} over those in /etc: {source}")]
    Cover { path: PathBuf, source: io::Error },
}

/// Moves this thread into the network namespace. Threads that it starts later are in it as well.
pub(crate) fn enter(place: &NamespaceOwner) -> Result<(), EnterError> {
    let path = match find(place, engine::LIMIT)? {
        Found::Process(pid, _) => format!("/proc/{pid}/ns/net").into(),
        Found::File(path) => path.to_owned(),
    };
    join(&open(path)?, CloneFlags::CLONE_NEWNET)
}

/// Facts about a namespace and its process, read before it is entered.
#[derive(Clone, Default)]
pub(crate) struct NamespaceFacts {
    /// Its process; `None` for a file.
    pub pid: Option<u32>,
    /// Environment of its process, as in `/proc/PID/environ`: `NAME=value` with a NUL after each.
    pub environment: Vec<u8>,
    /// Mounts of its process, as in `/proc/PID/mountinfo`.
    pub mounts: String,
    /// The container, according to the engine.
    pub container: Option<Container>,
}

/// Hides the environment, which may contain secrets.
impl fmt::Debug for NamespaceFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceFacts")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// Moves this process into the network namespace, and makes it look up names with the hosts file
/// and the `resolv.conf` of that place. The process must have only one thread, because threads
/// share their mount namespace.
///
/// No other file of the process is used: the C library loads code that its `nsswitch.conf` names, and in a
/// container that would be the container's code with our rights. For a namespace file of `ip
/// netns`, the files in `/etc/netns/NAME` are mounted over those in `/etc` (ip-netns(8)). `limit`
/// is an engine's time to answer.
pub(crate) fn enter_with_names(
    place: &NamespaceOwner,
    limit: Duration,
) -> Result<NamespaceFacts, EnterError> {
    // At most two requests.
    let (pid, container) = match find(place, engine::LIMIT.min(limit / 3))? {
        Found::Process(pid, container) => (pid, container),
        Found::File(path) => {
            join(&open(path.to_owned())?, CloneFlags::CLONE_NEWNET)?;
            cover(path)?;
            return Ok(NamespaceFacts::default());
        }
    };
    let of = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
    let network = open(of("ns/net"))?;
    let read = |name: &str| {
        std::fs::read(of(name)).map_err(|source| {
            let path = of(name);
            EnterError::Open { path, source }
        })
    };
    let seen = NamespaceFacts {
        pid: Some(pid),
        environment: read("environ")?,
        mounts: String::from_utf8_lossy(&read("mountinfo")?).into_owned(),
        container: container.map(|container| *container),
    };
    let root = of("root");
    let files = NAMES.map(|name| (name, read_in(&root, name)));
    join(&network, CloneFlags::CLONE_NEWNET)?;
    cover_with(&root, &files)?;
    Ok(seen)
}

/// The files with which the C library looks up names.
const NAMES: [&str; 2] = ["etc/hosts", "etc/resolv.conf"];

/// Maximum size of such a file; they are far smaller.
const LARGEST: u64 = 1 << 20;

/// Reads a regular file below another root, up to 1 MiB: symbolic links are resolved inside that
/// root. A missing file counts as empty.
#[must_use]
pub(crate) fn read_in(root: &Path, name: &str) -> Vec<u8> {
    let folder = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    // Without O_NONBLOCK, opening a FIFO would block.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = folder
        .and_then(|folder| openat2(folder, name, flags, Mode::empty(), ResolveFlags::IN_ROOT));
    let mut bytes = Vec::new();
    if let Ok(file) = file.map(File::from)
        && file.metadata().is_ok_and(|metadata| metadata.is_file())
    {
        let _ = file.take(LARGEST).read_to_end(&mut bytes);
    }
    bytes
}

/// Creates a separate mount namespace, whose changes are not visible outside.
fn own_mounts() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&Path>;
    mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)
}

/// Mounts these contents over our own files of that name, for this process only.
fn cover_with(root: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), EnterError> {
    // A tmpfs until the files are bind-mounted.
    let folder = Path::new("/tmp");
    let failed = |source: io::Error| EnterError::Cover {
        path: root.join("etc"),
        source,
    };
    let none = None::<&Path>;
    let covered = || -> io::Result<()> {
        own_mounts()?;
        mount(none, folder, Some("tmpfs"), MsFlags::empty(), none)?;
        for (nth, (name, content)) in files.iter().enumerate() {
            let (file, over) = (folder.join(nth.to_string()), Path::new("/").join(name));
            std::fs::write(&file, content)?;
            mount(Some(&file), &over, none, MsFlags::MS_BIND, none)?;
        }
        umount2(folder, MntFlags::MNT_DETACH)?;
        Ok(())
    };
    covered().map_err(failed)
}

/// What was found at a place.
enum Found<'a> {
    /// A process of it, and its container.
    Process(u32, Option<Box<Container>>),
    File(&'a Path),
}

fn find(place: &NamespaceOwner, limit: Duration) -> Result<Found<'_>, EnterError> {
    let container = match place {
        NamespaceOwner::Container(name) => engine::container(name, limit)?,
        NamespaceOwner::Compose(service) => engine::container_of_service(service, limit)?,
        NamespaceOwner::Pid(pid) => return Ok(Found::Process(*pid, None)),
        NamespaceOwner::Netns(path) => return Ok(Found::File(path)),
    };
    let pid = engine::main_process(&container)?;
    Ok(Found::Process(pid, Some(Box::new(container))))
}

/// An open namespace.
struct Namespace {
    file: File,
    path: PathBuf,
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

/// Mounts the files of `/etc/netns/NAME`, if there are any, over those in `/etc`, for this process
/// only.
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
    own_mounts().map_err(failed)?;
    for file in files.flatten() {
        let over = Path::new("/etc").join(file.file_name());
        if over.exists() {
            mount(Some(&file.path()), &over, none, MsFlags::MS_BIND, none).map_err(failed)?;
        }
    }
    Ok(())
}

/// The inode of a process's network namespace: its number, or `self`.
#[must_use]
pub(crate) fn netns_of(process: impl fmt::Display) -> Option<u64> {
    let found = stat(format!("/proc/{process}/ns/net"));
    found.ok().map(|found| found.st_ino)
}

/// The network namespace that this process is in, as `/proc/self/ns/net` shows it: `net:[4026531840]`.
#[must_use]
pub(crate) fn current() -> String {
    netns_of("self").map_or_else(|| "unknown".to_owned(), |inode| format!("net:[{inode}]"))
}

/// Interfaces that kernel modules create in every network namespace.
const EVERYWHERE: [&str; 10] = [
    "lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0",
    "ip6gre0",
];

/// Whether this network namespace has an interface that leads out of it. Assumed if that cannot be
/// read.
#[must_use]
pub(crate) fn has_interface() -> bool {
    std::fs::read_to_string("/proc/net/dev").map_or(true, |interfaces| leads_out(&interfaces))
}

/// The same for the text of `/proc/net/dev`: two lines of headings, then a line for each interface.
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
