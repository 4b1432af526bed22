//! The kernel's tables of TCP sockets, and which process listens on an address: for the error of a port that is in use,
//! and for the map.
//!
//! The kernel's tables name the socket, `/proc/PID/fd` the process that has it. Only root sees the
//! processes of other users, and processes of other PID namespaces are not visible at all; the
//! result is then [`Holder::Unseen`].

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::session::text::PeerText;

/// Maximum number of bytes read of a table, enough for a hundred thousand sockets.
const MOST: u64 = 16 << 20;

/// The kernel's limit for the length of a process's name.
const NAME: usize = 16;

/// First port that every process may use, unless the system says otherwise.
const UNPRIVILEGED: u16 = 1024;

/// A line of `/proc/net/tcp` or `tcp6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TcpSocket {
    /// The local address. An IPv4-mapped address of an IPv6 socket is given as IPv4.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The connection's state.
    pub state: TcpState,
    /// The socket's inode; 0 for a connection that was not accepted yet, or that no process holds
    /// any more.
    pub inode: u64,
}

/// States of a TCP socket that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TcpState {
    /// Connected, both ways.
    Established,
    /// A connect that has no answer yet.
    SynSent,
    /// The peer has ended its side.
    CloseWait,
    /// Waiting for connections.
    Listen,
    /// Any other state.
    Other,
}

/// The TCP sockets of a network namespace, from its folder `net` in `/proc/PID`.
#[must_use]
pub(crate) fn tcp_sockets(net: &Path) -> Vec<TcpSocket> {
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(net.join(table)) {
            let _ = file.take(MOST).read_to_end(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        found.extend(text.lines().skip(1).filter_map(tcp_socket));
    }
    found
}

/// Who listens on an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// This process.
    Ourselves,
    /// Another process.
    Process {
        /// The process's name, escaped.
        name: PeerText,
        /// The process id.
        pid: u32,
    },
    /// A process that we may not look into, or that is not in this namespace.
    Unseen,
}

/// Who listens on the address that could not be bound.
#[must_use]
pub(crate) fn of(addr: SocketAddr) -> Holder {
    let sockets = tcp_sockets(Path::new("/proc/net"));
    let inodes = listening(&sockets, addr);
    let links: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    match with_descriptor(&links) {
        None => Holder::Unseen,
        Some(pid) if pid == std::process::id() => Holder::Ourselves,
        Some(pid) => {
            let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
            let name = PeerText::from_bytes(name.trim_ascii_end(), NAME);
            Holder::Process { name, pid }
        }
    }
}

/// The addresses on which processes of this network namespace listen at a port; an unspecified
/// address means all addresses.
#[must_use]
pub(crate) fn addresses(port: u16) -> Vec<IpAddr> {
    let sockets = tcp_sockets(Path::new("/proc/net"));
    let bound = sockets
        .iter()
        .filter(|it| it.state == TcpState::Listen && it.local.port() == port);
    let mut ips: Vec<IpAddr> = bound.map(|it| it.local.ip()).collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}

/// First port that needs no capability.
#[must_use]
pub(crate) fn first_unprivileged_port() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(UNPRIVILEGED)
}

/// Inodes of the listening sockets that conflict with `addr`.
fn listening(sockets: &[TcpSocket], addr: SocketAddr) -> Vec<u64> {
    let listeners = sockets.iter().filter(|it| it.state == TcpState::Listen);
    let in_the_way = listeners.filter(|it| are_in_each_others_way(it.local, addr));
    in_the_way.map(|it| it.inode).collect()
}

/// The socket of a line.
fn tcp_socket(line: &str) -> Option<TcpSocket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let state = match *fields.get(3)? {
        "01" => TcpState::Established,
        "02" => TcpState::SynSent,
        "08" => TcpState::CloseWait,
        "0A" => TcpState::Listen,
        _ => TcpState::Other,
    };
    Some(TcpSocket {
        local: address(fields.get(1)?)?,
        remote: address(fields.get(2)?)?,
        state,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Parses `0100007F:1F90`: each 32 bits of the address are a number in this machine's byte order.
fn address(field: &str) -> Option<SocketAddr> {
    let (address, port) = field.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at..at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: Vec<u8> = words.into_iter().flatten().collect();
            Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// Whether two sockets cannot listen on these two addresses at the same time.
fn are_in_each_others_way(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let any = a.is_unspecified() || b.is_unspecified();
    // `[::]` takes IPv4 too, unless the socket is IPv6-only.
    let family = a.is_ipv4() == b.is_ipv4()
        || (a.is_ipv6() && a.is_unspecified())
        || (b.is_ipv6() && b.is_unspecified());
    one.port() == other.port() && family && (any || a == b)
}

/// A process that has a descriptor with one of these links.
fn with_descriptor(links: &[String]) -> Option<u32> {
    if links.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let descriptors = fs::read_dir(process.path().join("fd")).ok()?;
        let mut descriptors = descriptors.flatten();
        let has = descriptors.any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|link| links.iter().any(|one| link.as_os_str() == one.as_str()))
        });
        has.then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn our_own_listener_is_ours_and_a_free_port_is_nobodys() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(at) else {
                continue;
            };
            let addr = listener.local_addr().unwrap();
            assert_eq!(of(addr), Holder::Ourselves);
            let any = if addr.is_ipv4() { "0.0.0.0" } else { "::" };
            let any = SocketAddr::new(any.parse().unwrap(), addr.port());
            assert_eq!(of(any), Holder::Ourselves);
            drop(listener);
            assert_eq!(of(addr), Holder::Unseen);
        }
    }

    #[test]
    fn sockets_are_in_the_way_by_port_and_address() {
        for (one, other, way) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.2:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::1]:1", "127.0.0.1:1", false),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(are_in_each_others_way(one, other), way, "{one} {other}");
            assert_eq!(are_in_each_others_way(other, one), way, "{other} {one}");
        }
    }

    #[test]
    fn only_sockets_that_listen_count() {
        let word = u32::from_ne_bytes([127, 0, 0, 1]);
        let line = |state: &str, inode: u64| {
            format!(
                "   0: {word:08X}:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 {inode} 1\n"
            )
        };
        let table = format!(
            "  sl  local_address\n{}{}garbage\n",
            line("01", 7),
            line("0A", 8)
        );
        let sockets: Vec<TcpSocket> = table.lines().skip(1).filter_map(tcp_socket).collect();
        assert_eq!(sockets.len(), 2);
        assert_eq!(listening(&sockets, "127.0.0.1:8080".parse().unwrap()), [8]);
    }
}
