//! Two network namespaces joined by a cable: the gateway's host and a client's host. Deleted when
//! dropped.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::Fallible;

/// The gateway's host (RFC 5737).
pub const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// On the gateway's host.
    Here,
    /// On the client's host.
    There,
}

pub struct Net {
    /// Names of the namespaces, and the namespace of this process.
    here: String,
    there: String,
    outside: File,
}

impl Net {
    pub fn build() -> Fallible<Self> {
        let id = std::process::id();
        let net = Self {
            here: format!("wstap-bench-{id}-here"),
            there: format!("wstap-bench-{id}-there"),
            outside: File::open("/proc/thread-self/ns/net")?,
        };
        let (here, there) = (&net.here, &net.there);
        ip(&format!("netns add {here}"))?;
        ip(&format!("netns add {there}"))?;
        ip(&format!(
            "link add cable netns {here} type veth peer name cable netns {there}"
        ))?;
        for (name, addr) in [(here, HERE), (there, THERE)] {
            ip(&format!("-n {name} addr add {addr}/24 dev cable"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set cable up"))?;
        }
        Ok(net)
    }

    /// Moves this thread, and all that it starts from now on, into a namespace; open sockets stay
    /// where they are.
    pub fn enter(&self, side: Side) -> Fallible<()> {
        let name = match side {
            Side::Here => &self.here,
            Side::There => &self.there,
        };
        let namespace = File::open(format!("/run/netns/{name}"))?;
        enter(&namespace)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(enter(&self.outside));
        for name in [&self.here, &self.there] {
            drop(ip(&format!("netns del {name}")));
        }
    }
}

fn enter(namespace: &File) -> Fallible<()> {
    Ok(move_into_link_name_space(
        namespace.as_fd(),
        Some(LinkNameSpaceType::Network),
    )?)
}

fn ip(arguments: &str) -> Fallible<()> {
    let done = Command::new("ip").args(arguments.split(' ')).output()?;
    if done.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&done.stderr);
    Err(format!("ip {arguments}: {}", complaint.trim()).into())
}
