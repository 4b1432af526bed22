//! One scan of `/proc`: processes, their network namespaces, and the owners of sockets.
//!
//! The map is made from such scans alone, so that a host with thousands of processes is scanned
//! three times in all and not once per question.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Read as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use nix::sched::{CloneFlags, setns};

use crate::place::netns_of;
use crate::session::text::PeerText;
use crate::transport::holder::{TcpSocket, TcpState, tcp_sockets};

/// Maximum number of processes that are read.
const PROCESSES: usize = 20_000;

/// Maximum number of descriptors that are read of a process.
const DESCRIPTORS: usize = 20_000;

/// Maximum number of network namespaces whose tables are read.
const NAMESPACES: usize = 512;

/// Advice if processes are not visible.
const UNSEEN: &str =
    "no process that is seen here has it: run it on the host as root, or with --pid host";

/// The kernel's own limit for a process's name.
const NAME: usize = 16;

/// Maximum number of bytes that are read from one file.
const MOST: u64 = 4 << 20;

/// The inode of a network namespace: the number in `net:[4026531840]`.
pub(super) type Netns = u64;

/// A process.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    /// The name that it gives itself, inert.
    pub(super) name: String,
    /// `None` if we lack the permission.
    pub(super) netns: Option<Netns>,
    /// Inodes of its sockets.
    pub(super) sockets: BTreeSet<u64>,
    /// Text of its `cgroup`, in which engines write the container's id.
    pub(super) groups: String,
}

/// A network namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Network {
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) tcp: Vec<TcpSocket>,
    /// The listening ones, by their ports.
    listening: HashMap<u16, Vec<TcpSocket>>,
    pub(super) unix: Vec<UnixSocket>,
}

/// A line of `/proc/net/unix` with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnixSocket {
    pub(super) path: String,
    pub(super) inode: u64,
    pub(super) listens: bool,
}

/// The scan.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    pub(super) processes: BTreeMap<u32, Process>,
    pub(super) networks: BTreeMap<Netns, Network>,
    /// Processes by the inodes of their sockets.
    holders: HashMap<u64, Vec<u32>>,
    /// Number of processes that we have no permission to read.
    hidden: usize,
    /// The time was over before all processes were read.
    pub(super) cut: bool,
}

impl Scan {
    /// Scans now, until `end` at most. `home` is the network namespace of this process.
    pub(super) fn take(home: Netns, end: Instant) -> Self {
        let mut scan = Self::default();
        // A namespace that was entered by its file may have no process.
        let own = Path::new("/proc/self/net");
        scan.networks.insert(home, Network::read(own));
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for pid in pids.take(PROCESSES) {
            if Instant::now() >= end {
                scan.cut = true;
                return scan;
            }
            let folder = PathBuf::from(format!("/proc/{pid}"));
            let Some(process) = read_process(pid, &folder) else {
                continue;
            };
            scan.hidden += usize::from(process.netns.is_none());
            if let Some(netns) = process.netns
                && scan.networks.len() < NAMESPACES
            {
                let network = scan.networks.entry(netns);
                network.or_insert_with(|| Network::read(&folder.join("net")));
            }
            scan.add(process);
        }
        for (netns, path) in mounted(&text(Path::new("/proc/self/mountinfo"))) {
            if !scan.networks.contains_key(&netns)
                && scan.networks.len() < NAMESPACES
                && let Some(network) = Network::inside(&path)
            {
                scan.networks.insert(netns, network);
            }
        }
        scan
    }

    /// Why a process is not visible, and what to do.
    pub(super) fn why_unseen(&self) -> String {
        match self.hidden {
            _ if self.cut => {
                "the time of --budget was over before all processes were looked at".to_owned()
            }
            0 => UNSEEN.to_owned(),
            1 => format!("{UNSEEN} (1 process is not visible)"),
            hidden => format!("{UNSEEN} ({hidden} processes are not visible)"),
        }
    }

    fn add(&mut self, process: Process) {
        for inode in &process.sockets {
            self.holders.entry(*inode).or_default().push(process.pid);
        }
        self.processes.insert(process.pid, process);
    }

    /// Processes with this socket, lowest id first.
    pub(super) fn holders(&self, inode: u64) -> Vec<&Process> {
        // All connections that have not been accepted yet have this number.
        let pids = Some(inode)
            .filter(|it| *it != 0)
            .and_then(|it| self.holders.get(&it));
        let mut pids: Vec<u32> = pids.cloned().unwrap_or_default();
        pids.sort_unstable();
        pids.iter()
            .filter_map(|pid| self.processes.get(pid))
            .collect()
    }

    /// The sockets of a network that listen at this port.
    pub(super) fn listeners(&self, netns: Netns, port: u16) -> Vec<TcpSocket> {
        let network = self.networks.get(&netns);
        let sockets = network.and_then(|it| it.listening.get(&port));
        sockets.cloned().unwrap_or_default()
    }

    /// The listener that a connection to `addr` reaches: the most specific one.
    pub(super) fn listener(&self, netns: Netns, addr: SocketAddr) -> Option<TcpSocket> {
        let ip = addr.ip().to_canonical();
        let all = self.listeners(netns, addr.port());
        let find = |wanted: &dyn Fn(IpAddr) -> bool| {
            all.iter().find(|it| wanted(it.local.ip().to_canonical()))
        };
        let exact = find(&|bound| bound == ip);
        let any = || find(&|bound| bound.is_unspecified() && bound.is_ipv4() == ip.is_ipv4());
        // `[::]` takes IPv4 too, unless IPV6_V6ONLY is set.
        let dual = || find(&|bound| bound.is_unspecified() && bound.is_ipv6());
        exact.or_else(any).or_else(dual).copied()
    }

    /// The networks that have an address.
    pub(super) fn owners(&self, ip: IpAddr) -> Vec<Netns> {
        let ip = ip.to_canonical();
        let has = self
            .networks
            .iter()
            .filter(|(_, it)| it.addresses.contains(&ip));
        has.map(|(netns, _)| *netns).collect()
    }

    /// Every TCP socket, and its network.
    pub(super) fn tcp(&self) -> impl Iterator<Item = (Netns, &TcpSocket)> {
        self.networks
            .iter()
            .flat_map(|(netns, network)| network.tcp.iter().map(|socket| (*netns, socket)))
    }

    /// The process and its ancestors, itself first.
    pub(super) fn line(&self, pid: u32) -> Vec<&Process> {
        let mut line = Vec::new();
        let mut next = self.processes.get(&pid);
        while let Some(process) = next {
            line.push(process);
            // Process ids are reused, so a cycle is possible: it must end.
            next = Some(process.parent)
                .filter(|_| line.len() < 64)
                .and_then(|parent| self.processes.get(&parent));
        }
        line
    }
}

impl Network {
    /// Reads a namespace that has no process: a thread enters it, if permitted.
    fn inside(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let look = move || {
            setns(file, CloneFlags::CLONE_NEWNET).ok()?;
            Some(Self::read(Path::new("/proc/thread-self/net")))
        };
        thread::spawn(look).join().ok().flatten()
    }

    fn read(net: &Path) -> Self {
        let tcp = tcp_sockets(net);
        let mut listening: HashMap<u16, Vec<TcpSocket>> = HashMap::new();
        for socket in tcp.iter().filter(|it| it.state == TcpState::Listen) {
            let port = socket.local.port();
            listening.entry(port).or_default().push(*socket);
        }
        Self {
            addresses: local_v4(&text(&net.join("fib_trie")))
                .chain(local_v6(&text(&net.join("if_inet6"))))
                .collect(),
            tcp,
            listening,
            unix: unix_sockets(&text(&net.join("unix"))),
        }
    }
}

/// The sockets of a process now: the only part of an earlier scan that is read again.
pub(super) fn sockets_of(pid: u32) -> Option<BTreeSet<u64>> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let links = descriptors
        .take(DESCRIPTORS)
        .filter_map(|it| fs::read_link(it.path()).ok());
    let inodes = links.filter_map(|link| {
        let inode = link.to_str()?.strip_prefix("socket:[")?;
        inode.strip_suffix(']')?.parse().ok()
    });
    Some(inodes.collect())
}

/// Inodes of the connections that are open in both directions now, in the network of a process.
pub(super) fn open_connections(pid: u32) -> BTreeSet<u64> {
    let sockets = tcp_sockets(Path::new(&format!("/proc/{pid}/net")));
    let open = sockets
        .iter()
        .filter(|it| it.state == TcpState::Established);
    open.map(|it| it.inode).collect()
}

/// The arguments of a process, as text. Only for docker-proxy, whose arguments have no secret.
pub(super) fn arguments_of_proxy(pid: u32) -> Vec<String> {
    let line = text(Path::new(&format!("/proc/{pid}/cmdline")));
    line.split('\0').map(str::to_owned).take(64).collect()
}

fn read_process(pid: u32, folder: &Path) -> Option<Process> {
    let stat = text(&folder.join("stat"));
    let (name, parent) = name_and_parent(&stat)?;
    Some(Process {
        pid,
        parent,
        name,
        netns: netns_of(pid),
        sockets: sockets_of(pid).unwrap_or_default(),
        groups: text(&folder.join("cgroup")),
    })
}

/// Parses `proc_pid_stat(5)`: the name may contain spaces and parentheses.
fn name_and_parent(stat: &str) -> Option<(String, u32)> {
    let (before, fields) = stat.rsplit_once(") ")?;
    let (_, name) = before.split_once(" (")?;
    let parent = fields.split(' ').nth(1)?.parse().ok()?;
    Some((PeerText::new(name, NAME).into(), parent))
}

/// Mounted network namespaces, as `ip netns` and engines create them: `… net:[4026532323]
/// /run/netns/NAME …`.
fn mounted(mounts: &str) -> Vec<(Netns, PathBuf)> {
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let inode = fields.next()?.strip_prefix("net:[")?.strip_suffix(']')?;
        Some((inode.parse().ok()?, PathBuf::from(fields.next()?)))
    });
    lines.take(NAMESPACES).collect()
}

/// The first [`MOST`] bytes of a file; empty if it cannot be read.
fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(MOST).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Addresses of this network, from `fib_trie`: a leaf, and in the next line `/32 host LOCAL`.
fn local_v4(trie: &str) -> impl Iterator<Item = IpAddr> {
    let mut leaf = None;
    trie.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<IpAddr>().ok();
            return None;
        }
        (line == "/32 host LOCAL").then_some(leaf).flatten()
    })
}

/// Addresses of this network, from `if_inet6`: 32 digits, then fields that do not matter here.
fn local_v6(table: &str) -> impl Iterator<Item = IpAddr> {
    table.lines().filter_map(|line| {
        let digits = line.split(' ').next().filter(|it| it.len() == 32)?;
        let bits = u128::from_str_radix(digits, 16).ok()?;
        Some(Ipv6Addr::from_bits(bits).into())
    })
}

/// `Num RefCount Protocol Flags Type St Inode Path`. The flag 0x10000 marks a listening socket.
fn unix_sockets(table: &str) -> Vec<UnixSocket> {
    let sockets = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let flags = fields.nth(3)?;
        let inode = fields.nth(2)?.parse().ok()?;
        let (_, path) = line.split_once(" /")?;
        Some(UnixSocket {
            path: format!("/{path}"),
            inode,
            listens: flags == "00010000",
        })
    });
    sockets.collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn addresses_of_a_network_are_read() {
        let trie = "Local:\n  +-- 0.0.0.0/0 2 0 2\n     |-- 10.87.0.0\n        /24 link UNICAST\n     |-- 10.87.0.1\n        /32 host LOCAL\n     |-- 10.87.0.255\n        /32 link BROADCAST\n     |-- nonsense\n        /32 host LOCAL\n";
        let found: Vec<IpAddr> = local_v4(trie).collect();
        assert_eq!(found, ["10.87.0.1".parse::<IpAddr>().unwrap()]);
        let table = "20010db8000000000000000000000001 02 40 00 80    cable\ngarbage\n";
        let found: Vec<IpAddr> = local_v6(table).collect();
        assert_eq!(found, ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn namespaces_without_a_process_are_found_by_their_mounts() {
        let mounts = "30 22 0:4 net:[4026532323] /run/netns/a rw shared:1 - nsfs nsfs rw\n31 22 0:4 mnt:[1] /x rw\n32 22 8:1 / / rw\n";
        assert_eq!(
            mounted(mounts),
            [(4_026_532_323, PathBuf::from("/run/netns/a"))]
        );
    }

    #[test]
    fn processes_are_known_by_any_name() {
        let stat = "7 (a) (b) S 1 7 7 0 -1";
        assert_eq!(name_and_parent(stat), Some(("a) (b".to_owned(), 1)));
        assert_eq!(name_and_parent("7 (a"), None);
        let (name, _) = name_and_parent("7 (\u{1b}[2J) S 1 7").unwrap();
        assert!(!name.contains('\u{1b}'), "{name}");
    }

    #[test]
    fn unix_sockets_are_read_with_their_paths() {
        let table = "Num\n0000: 00000002 00000000 00010000 0001 01 12 /run/a b.sock\n0000: 00000003 00000000 00000000 0001 03 13 /run/a b.sock\n0000: 3 0 0 0001 03 14\n0000: 3 0 0 0001 01 15 @abstract\nx\n";
        let found = unix_sockets(table);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].path.as_str(), found[0].inode),
            ("/run/a b.sock", 12)
        );
        assert!(found[0].listens && !found[1].listens);
    }

    #[test]
    fn our_own_listener_is_found_by_one_look() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let home = netns_of("self").unwrap();
        let scan = Scan::take(home, Instant::now() + Duration::from_mins(1));
        let socket = scan.listener(home, addr).unwrap();
        let holders = scan.holders(socket.inode);
        assert!(holders.iter().any(|it| it.pid == std::process::id()));
        let elsewhere = SocketAddr::new("127.0.0.9".parse().unwrap(), addr.port());
        assert_eq!(scan.listener(home, elsewhere), None);
        assert!(scan.owners(addr.ip()).contains(&home));
        assert!(scan.holders(0).is_empty());
        assert!(!scan.cut && !scan.why_unseen().contains("--budget"));
    }

    #[test]
    fn a_look_ends_with_its_time() {
        let home = netns_of("self").unwrap();
        let scan = Scan::take(home, Instant::now());
        assert!(scan.cut && scan.processes.is_empty());
        assert!(scan.why_unseen().contains("--budget"));
    }
}
