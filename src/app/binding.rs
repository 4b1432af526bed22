//! Opens the sockets of a configuration: either all of them, or it returns every error with its
//! remedy.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::start_error::StartError;
use crate::admin;
use crate::config::{Admin, Config, Listen, ListenAddr, Listener};
use crate::transport::activation::Passed;
use crate::transport::listening::Listening;
use crate::transport::{holder, listener, unix};

/// Why a socket cannot be opened.
#[derive(Debug, PartialEq, Eq)]
struct Unbound {
    failed: String,
    /// The remedy; empty if `failed` is enough.
    to_do: String,
}

impl From<String> for Unbound {
    fn from(failed: String) -> Self {
        let to_do = String::new();
        Self { failed, to_do }
    }
}

/// The sockets of each listener and of the admin listener, or every error.
pub(super) async fn bind_all(
    config: &Config,
    mut passed: Passed,
) -> Result<(Vec<Vec<Listening>>, Vec<admin::Socket>), StartError> {
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for wanted in config.listeners() {
        match bind_listener(wanted, &mut passed).await {
            Ok(bound) => all.push(bound),
            Err(why) => errors.push(wanted.cannot_listen(why.failed, why.to_do)),
        }
    }
    errors.extend(
        passed
            .left_over()
            .map(|names| Listener::missing_for(&names)),
    );
    let mut admin = Vec::new();
    if let Some(wanted) = config.admin() {
        match bind_admin(wanted).await {
            Ok(bound) => admin = bound,
            Err(why) => errors.push(wanted.cannot_listen(why.failed, why.to_do)),
        }
    }
    if errors.is_empty() {
        Ok((all, admin))
    } else {
        Err(StartError::Listen(errors))
    }
}

async fn bind_admin(wanted: &Admin) -> Result<Vec<admin::Socket>, Unbound> {
    let mut sockets = Vec::new();
    for listener in bind_one(&wanted.listen).await? {
        let addr = listener.local_addr().map_err(|error| error.to_string())?;
        // The hosts file decides what `localhost` resolves to.
        if wanted.token.is_none() && !addr.ip().to_canonical().is_loopback() {
            let name = &wanted.listen.host;
            return Err(format!(
                "`{name}`, which resolves to {addr}: without a token only loopback may be listened on"
            )
            .into());
        }
        sockets.push(admin::Socket { addr, listener });
    }
    Ok(sockets)
}

async fn bind_listener(wanted: &Listener, passed: &mut Passed) -> Result<Vec<Listening>, Unbound> {
    match &wanted.listen {
        Listen::Tcp(addr) => {
            let bound = bind_one(addr).await?;
            Ok(bound.into_iter().map(Listening::Tcp).collect())
        }
        Listen::Unix(path) => {
            let (listener, file) = unix::bind(path, wanted.mode.0)?;
            Ok(vec![Listening::Unix {
                listener,
                path: path.clone(),
                file: Some(file),
            }])
        }
        Listen::Systemd(name) => Ok(passed.listeners(name.as_deref())?),
    }
}

async fn bind_one(listen: &ListenAddr) -> Result<Vec<TcpListener>, Unbound> {
    let (host, port) = (listen.host.to_unbracketed(), listen.port);
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let found = found.map_err(|error| format!("`{host}`, which does not resolve: {error}"))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.dedup();
    if port == 0 {
        // With port 0, each address would get a different port.
        addresses.truncate(1);
    }
    if addresses.is_empty() {
        return Err(format!("`{host}`, which has no address").into());
    }
    let bind = |addr| listener::bind(addr).map_err(|error| unbound(addr, &error));
    addresses.into_iter().map(bind).collect()
}

/// The error in words. Only a failed bind looks up who holds the port and what this process may do.
fn unbound(addr: SocketAddr, error: &io::Error) -> Unbound {
    let (why, to_do) = match error.kind() {
        io::ErrorKind::AddrInUse => match holder::of(addr) {
            holder::Holder::Ourselves => (
                "another listener of this wstap has it".to_owned(),
                "give each listener an address of its own".to_owned(),
            ),
            holder::Holder::Process { name, pid } => (
                format!("address in use by {name} (pid {pid})"),
                format!("end pid {pid}, or choose another port"),
            ),
            holder::Holder::Unseen => (
                "address in use, by a process that uid ".to_owned()
                    + &format!("{} cannot see", rustix::process::geteuid().as_raw()),
                format!(
                    "find it by `sudo ss -ltnp 'sport = :{}'`, or choose another port",
                    addr.port()
                ),
            ),
        },
        io::ErrorKind::PermissionDenied if addr.port() < holder::first_unprivileged_port() => (
            format!(
                "{error}; ports below {} need the capability CAP_NET_BIND_SERVICE, which uid {} does \
                 not have here",
                holder::first_unprivileged_port(),
                rustix::process::geteuid().as_raw()
            ),
            format!(
                "choose a higher port such as {}, or give the capability (systemd: \
                 AmbientCapabilities=CAP_NET_BIND_SERVICE; else `setcap \
                 cap_net_bind_service=+ep` on the program)",
                SocketAddr::new(addr.ip(), higher(addr.port()))
            ),
        ),
        io::ErrorKind::AddrNotAvailable => (
            format!("{error}; this host has no such address"),
            "choose an address of this host (`ip addr` lists them), or [::] for all".to_owned(),
        ),
        _ => (error.to_string(), String::new()),
    };
    let failed = format!("failed to listen on {addr}: {why}");
    Unbound { failed, to_do }
}

/// The usual substitute for a port that only root may open: 8443 for 443, 8080 for 80.
fn higher(port: u16) -> u16 {
    match port {
        80 => 8080,
        port => 8000 + port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(addr: &str, errno: i32) -> Unbound {
        unbound(addr.parse().unwrap(), &io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn a_port_for_root_names_the_capability_and_a_higher_port() {
        let first = holder::first_unprivileged_port();
        if first > 443 {
            let Unbound { failed, to_do } = why("192.0.2.1:443", libc::EACCES);
            assert!(failed.contains("CAP_NET_BIND_SERVICE"), "{failed}");
            assert!(to_do.contains("192.0.2.1:8443"), "{to_do}");
        }
        // Opening a high port is forbidden by something else.
        let Unbound { failed, to_do } = why("192.0.2.1:50443", libc::EACCES);
        assert!(!failed.contains("CAP_NET") && to_do.is_empty(), "{failed}");
    }

    #[test]
    fn an_address_of_another_host_is_named() {
        let Unbound { failed, to_do } = why("192.0.2.1:1", libc::EADDRNOTAVAIL);
        assert!(failed.contains("this host has no such address"), "{failed}");
        assert!(to_do.contains("[::]"), "{to_do}");
    }
}
