//! Maps a system error of a dial to its meaning: our own limit, or the gateway.
//!
//! The kind is set here, by errno, where the error is made. A limit of this process or host says
//! nothing about the gateway.

use std::fs::File;
use std::io;
use std::net::IpAddr;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::session::record::GatewayErrorKind as Kind;
use crate::transport::own_address;

/// The limit of this process or host that the error reports, if it reports one.
fn own_limit(errno: Errno) -> Option<Kind> {
    Some(match errno {
        Errno::MFILE => Kind::OpenFiles,
        Errno::NFILE => Kind::SystemFiles,
        Errno::NOMEM | Errno::NOBUFS => Kind::Memory,
        // connect(2) has no such error; epoll_ctl(2) has, if fs.epoll.max_user_watches is reached.
        Errno::NOSPC => Kind::Watches,
        _ => return None,
    })
}

/// Why a TCP connection to `ip` failed.
#[must_use]
pub(crate) fn of_tcp(ip: IpAddr, error: &io::Error) -> Kind {
    let errno = Errno::from_io_error(error);
    if let Some(kind) = errno.and_then(own_limit) {
        return kind;
    }
    match errno {
        Some(Errno::ADDRNOTAVAIL) => of_no_address(own_address::source_for(ip)),
        // The kernel does not support this address family at all.
        Some(Errno::AFNOSUPPORT) => Kind::NoAddress,
        // A packet filter or a `prohibit` route on this host: nothing was sent.
        Some(Errno::ACCESS | Errno::PERM) => Kind::Forbidden,
        // A `blackhole` route.
        Some(Errno::INVAL) if !needs_scope(ip) => Kind::Unreachable,
        _ => match error.kind() {
            io::ErrorKind::ConnectionRefused => Kind::Refused,
            io::ErrorKind::TimedOut => Kind::ConnectTimeout,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Kind::Unreachable,
            _ => Kind::Connect,
        },
    }
}

/// EADDRNOTAVAIL means two things. If the kernel finds a source address for a UDP socket, the host
/// has an address, and TCP has run out of ports for it.
fn of_no_address(source: io::Result<IpAddr>) -> Kind {
    let errno = source.err().as_ref().and_then(Errno::from_io_error);
    match errno {
        Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT | Errno::NETUNREACH) => Kind::NoAddress,
        _ => Kind::Ports,
    }
}

/// A link-local address needs an interface, and `gateway.url` has no place for one.
fn needs_scope(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Why a connection to a unix socket failed.
pub(super) fn of_unix(error: &io::Error) -> Kind {
    let errno = Errno::from_io_error(error);
    if let Some(kind) = errno.and_then(own_limit) {
        return kind;
    }
    match error.kind() {
        io::ErrorKind::NotFound => Kind::SocketMissing,
        io::ErrorKind::PermissionDenied => Kind::SocketDenied,
        io::ErrorKind::ConnectionRefused => Kind::Refused,
        // unix(7): the queue of connections that wait to be accepted is full.
        io::ErrorKind::WouldBlock => Kind::Backlog,
        _ => Kind::Connect,
    }
}

/// Why a name lookup failed. Resolvers need descriptors, for sockets and for their files. Without
/// any they answer "temporary failure" or "not known", so we check here whether a descriptor can be
/// opened.
pub(super) fn of_lookup(error: &io::Error) -> Kind {
    let limit = Errno::from_io_error(error).and_then(own_limit);
    limit.or_else(no_descriptor).unwrap_or(Kind::Dns)
}

fn no_descriptor() -> Option<Kind> {
    let error = File::open("/dev/null").err()?;
    Errno::from_io_error(&error).and_then(own_limit)
}

/// Current value of the limit that a kind names, for evidence.
pub(super) fn limit(kind: Kind, ip: Option<IpAddr>) -> Option<String> {
    let setting = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.split_whitespace().collect::<Vec<_>>().join("-"))
    };
    match kind {
        Kind::OpenFiles => {
            let files = getrlimit(Resource::Nofile).current?;
            Some(format!("this process may open {files} files"))
        }
        Kind::Ports => {
            let range = setting("/proc/sys/net/ipv4/ip_local_port_range")?;
            let to = ip.map_or_else(String::new, |ip| format!(" to {ip}"));
            Some(format!(
                "net.ipv4.ip_local_port_range gives ports {range} for connections{to}"
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn raw(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn our_own_limits_are_not_the_gateways() {
        for (errno, kind) in [
            (Errno::MFILE, Kind::OpenFiles),
            (Errno::NFILE, Kind::SystemFiles),
            (Errno::NOMEM, Kind::Memory),
            (Errno::NOBUFS, Kind::Memory),
            (Errno::NOSPC, Kind::Watches),
        ] {
            assert_eq!(of_tcp(V4, &raw(errno)), kind);
            assert_eq!(of_unix(&raw(errno)), kind);
            assert_eq!(of_lookup(&raw(errno)), kind);
            assert!(kind.is_own_limit());
        }
        assert!(
            limit(Kind::OpenFiles, None)
                .unwrap()
                .starts_with("this process may open ")
        );
        assert_eq!(limit(Kind::Refused, None), None);
    }

    #[test]
    fn what_the_network_or_the_gateway_did_is_none_of_our_limits() {
        for (errno, kind) in [
            (Errno::CONNREFUSED, Kind::Refused),
            (Errno::TIMEDOUT, Kind::ConnectTimeout),
            (Errno::HOSTUNREACH, Kind::Unreachable),
            (Errno::NETUNREACH, Kind::Unreachable),
            (Errno::NETDOWN, Kind::Unreachable),
            (Errno::INVAL, Kind::Unreachable),
            (Errno::ACCESS, Kind::Forbidden),
            (Errno::PERM, Kind::Forbidden),
            (Errno::AFNOSUPPORT, Kind::NoAddress),
            (Errno::CONNRESET, Kind::Connect),
        ] {
            assert_eq!(of_tcp(V4, &raw(errno)), kind, "{errno:?}");
            assert!(!kind.is_own_limit(), "{errno:?}");
        }
        let link_local = "fe80::1".parse().unwrap();
        assert_eq!(of_tcp(link_local, &raw(Errno::INVAL)), Kind::Connect);
    }

    #[test]
    fn an_address_that_is_there_has_run_out_of_ports() {
        assert_eq!(of_tcp(V4, &raw(Errno::ADDRNOTAVAIL)), Kind::Ports);
        assert_eq!(of_no_address(Ok(V4)), Kind::Ports);
        // The check itself gets no descriptor either, which shows the limit.
        assert_eq!(of_no_address(Err(raw(Errno::MFILE))), Kind::Ports);
        for errno in [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT, Errno::NETUNREACH] {
            assert_eq!(of_no_address(Err(raw(errno))), Kind::NoAddress);
        }
    }

    #[test]
    fn a_unix_socket_that_nobody_serves_is_not_one_that_is_missing() {
        assert_eq!(of_unix(&raw(Errno::AGAIN)), Kind::Backlog);
        assert_eq!(of_unix(&raw(Errno::NOENT)), Kind::SocketMissing);
        assert_eq!(of_unix(&raw(Errno::ACCESS)), Kind::SocketDenied);
        assert_eq!(of_unix(&raw(Errno::CONNREFUSED)), Kind::Refused);
    }

    /// A resolver's own error is not a limit of ours while descriptors can be opened.
    #[test]
    fn a_name_that_does_not_exist_is_a_matter_of_names() {
        let unknown = io::Error::other("failed to look up address information");
        assert_eq!(of_lookup(&unknown), Kind::Dns);
    }
}
