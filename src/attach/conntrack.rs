//! Removes the kernel's connection tracking entries of tapped connections.
//!
//! They outlive the table, some for days: a client that reuses one of its ports would be sent to
//! the port of a tap that is gone. Their marks distinguish them from all other entries.

use std::io;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recv, sendto, socket_with, sockopt};

use super::rules::CLIENT;
use crate::transport::redirected::MARK;

/// `IPCTNL_MSG_CT_DELETE` of the subsystem `NFNL_SUBSYS_CTNETLINK` (`linux/netfilter/nfnetlink_conntrack.h`). Without
/// a tuple it removes whatever matches its filter.
const DELETE: u16 = (1 << 8) | 2;

/// `NLM_F_REQUEST | NLM_F_ACK`
const FLAGS: u16 = 0x1 | 0x4;

/// `CTA_MARK` and `CTA_MARK_MASK`
const ATTRIBUTES: (u16, u16) = (8, 21);

/// Time limit for the kernel's answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Removes the entries of all tapped connections of this network namespace.
///
/// # Errors
/// Fails with an error of the netlink socket, or with the kernel's answer.
pub(super) fn sweep() -> io::Result<()> {
    let kind = (AddressFamily::NETLINK, SocketType::RAW);
    let socket = socket_with(
        kind.0,
        kind.1,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(LIMIT))?;
    let kernel = SocketAddrNetlink::new(0, 0);
    for mark in [CLIENT, MARK] {
        sendto(&socket, &request(mark), SendFlags::empty(), &kernel)?;
        let mut answer = [0; 256];
        recv(&socket, &mut answer[..], RecvFlags::empty())?;
        // After the header of 16 bytes: a negated errno; 0 for success (netlink(7)).
        let errno = answer.get(16..20).and_then(|it| it.try_into().ok());
        let errno = errno.map_or(0, i32::from_ne_bytes);
        // ENOENT: there are no entries.
        if errno != 0 && errno != -libc::ENOENT {
            return Err(io::Error::from_raw_os_error(-errno));
        }
    }
    Ok(())
}

/// Header, `nfgenmsg`, and two attributes of a big-endian number each.
fn request(mark: u32) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0];
    for (kind, value) in [(ATTRIBUTES.0, mark), (ATTRIBUTES.1, u32::MAX)] {
        body.extend(8_u16.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value.to_be_bytes());
    }
    let length = u32::try_from(16 + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(DELETE.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}
