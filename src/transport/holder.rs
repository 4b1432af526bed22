//! Which process listens on an address: for the error of a port that is in use.
//!
//! The kernel's tables name the socket, `/proc/PID/fd` the process that has it. Other users' processes
//! are seen by root alone, and those of other PID namespaces by nobody; then this says so.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::session::text::PeerText;

/// What `/proc/net/tcp` calls a socket that listens.
const LISTEN: &str = "0A";

/// The kernel's own limit of a process's name.
const NAME: usize = 16;

/// First port that every process may use, unless the system says otherwise.
const UNPRIVILEGED: u16 = 1024;

/// Who listens on an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This process.
    Ourselves,
    /// Another one.
    Process {
        /// As it calls itself, escaped.
        name: PeerText,
        /// Its id.
        pid: u32,
    },
    /// A process that we may not look into, or that is not in this namespace.
    Unseen,
}

/// Who listens where `addr` was to be bound.
#[must_use]
pub fn of(addr: SocketAddr) -> Holder {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        inodes.extend(listening(&text, addr));
    }
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

/// The addresses on which processes of this network namespace listen at a port; an unspecified one
/// stands for all.
#[must_use]
pub fn addresses(port: u16) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        let bound = text.lines().skip(1).filter_map(listener);
        found.extend(
            bound
                .map(|(bound, _)| bound)
                .filter(|bound| bound.port() == port),
        );
    }
    let mut ips: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}

/// First port that needs no capability.
#[must_use]
pub fn first_unprivileged_port() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(UNPRIVILEGED)
}

/// Inodes of the listening sockets of a table that are in the way of `addr`.
fn listening(table: &str, addr: SocketAddr) -> Vec<u64> {
    let listeners = table.lines().skip(1).filter_map(listener);
    let in_the_way = listeners.filter(|(bound, _)| are_in_each_others_way(*bound, addr));
    in_the_way.map(|(_, inode)| inode).collect()
}

/// The address and inode of a line's socket, if it listens.
fn listener(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let bound = local(fields.get(1)?)?;
    let listens = *fields.get(3)? == LISTEN;
    let inode = fields.get(9)?.parse().ok()?;
    listens.then_some((bound, inode))
}

/// `0100007F:1F90`: each 32 bits of the address as a number of this machine.
fn local(field: &str) -> Option<SocketAddr> {
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

fn are_in_each_others_way(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let any = a.is_unspecified() || b.is_unspecified();
    // `[::]` takes IPv4 too, unless it was told not to.
    let family = a.is_ipv4() == b.is_ipv4()
        || (a.is_ipv6() && a.is_unspecified())
        || (b.is_ipv6() && b.is_unspecified());
    one.port() == other.port() && family && (any || a == b)
}

/// A process with a descriptor that is one of these.
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
        assert_eq!(listening(&table, "127.0.0.1:8080".parse().unwrap()), [8]);
    }
}
