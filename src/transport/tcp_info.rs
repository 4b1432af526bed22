//! The kernel's facts about a TCP connection (Linux `TCP_INFO`, tcp(7)).
//!
//! The only place with `unsafe`: no maintained crate offers this option behind a safe function,
//! and without it a lost network cannot be distinguished from a peer that left.

use crate::session::record::frames::TcpFacts;

/// Asks the kernel about a connected socket; `None` where it has no answer.
#[cfg(target_os = "linux")]
#[must_use]
pub(crate) fn read(socket: &impl std::os::fd::AsRawFd) -> Option<TcpFacts> {
    ask(socket).map(|info| facts(&info))
}

#[cfg(target_os = "linux")]
fn facts(info: &libc::tcp_info) -> TcpFacts {
    TcpFacts {
        rtt_us: info.tcpi_rtt,
        retransmits: info.tcpi_total_retrans,
        unacked: info.tcpi_unacked,
        retries: u32::from(info.tcpi_retransmits),
        probes: u32::from(info.tcpi_probes),
        pmtu: info.tcpi_pmtu,
    }
}

/// The kernel's facts about a connection, including some that a record does not keep.
#[derive(Clone, Copy, Debug)]
pub struct TcpLook {
    facts: TcpFacts,
    /// Packets that came, from the SYN-ACK on.
    pub came: u32,
    /// Packets of ours that were acknowledged while one before them was not (SACK, RFC 2018).
    pub acknowledged_ahead: u32,
}

impl From<TcpLook> for TcpFacts {
    fn from(look: TcpLook) -> Self {
        look.facts
    }
}

/// Like [`read`].
#[cfg(target_os = "linux")]
#[must_use]
pub(crate) fn look(socket: &impl std::os::fd::AsRawFd) -> Option<TcpLook> {
    let info = ask(socket)?;
    Some(TcpLook {
        facts: facts(&info),
        came: info.tcpi_segs_in,
        acknowledged_ahead: info.tcpi_sacked,
    })
}

/// How many bytes the far end has acknowledged, including our FIN.
#[cfg(target_os = "linux")]
#[must_use]
pub(crate) fn acknowledged(socket: &impl std::os::fd::AsRawFd) -> Option<u64> {
    ask(socket).map(|info| info.tcpi_bytes_acked)
}

#[cfg(target_os = "linux")]
fn ask(socket: &impl std::os::fd::AsRawFd) -> Option<libc::tcp_info> {
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    // SAFETY: the pointer and the length describe one writable `tcp_info`, a plain C struct for
    // which all-zero is valid; the kernel writes at most `length` bytes and no more.
    #[expect(
        unsafe_code,
        reason = "getsockopt(TCP_INFO) has no safe wrapper; see the module"
    )]
    let info = unsafe {
        let result = libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        );
        if result != 0 {
            return None;
        }
        info.assume_init()
    };
    Some(info)
}

/// Always `None`: other systems have no such option.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn read<T>(_: &T) -> Option<TcpFacts> {
    None
}

/// See [`read`].
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn look<T>(_: &T) -> Option<TcpLook> {
    None
}

/// See [`read`].
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn acknowledged<T>(_: &T) -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_loopback_connection_has_a_round_trip_and_an_mtu() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let facts = super::read(&stream).unwrap();
        assert!(facts.rtt_us > 0);
        assert!(facts.pmtu >= 1280, "{facts:?}");
        assert_eq!(facts.retransmits, 0);
    }

    #[test]
    fn a_file_has_no_answer() {
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        assert_eq!(super::read(&file), None);
    }
}
