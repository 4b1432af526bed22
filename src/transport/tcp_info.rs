//! What the kernel knows of a TCP connection (Linux `TCP_INFO`, tcp(7)).
//!
//! The only place with `unsafe`: no maintained crate offers this option behind a safe function,
//! and without it a lost network cannot be told from a peer that left.

use crate::session::record::frames::TcpFacts;

/// Room for `struct tcp_info` (linux/tcp.h). Kernels append to it; what an older one does not write
/// stays zero.
const ROOM: usize = 256;

/// Where its fields stand.
mod at {
    pub(super) const UNACKED: usize = 24;
    pub(super) const PMTU: usize = 60;
    pub(super) const RTT: usize = 68;
    pub(super) const TOTAL_RETRANS: usize = 100;
    pub(super) const BYTES_ACKED: usize = 120;
    pub(super) const BYTES_SENT: usize = 200;
    pub(super) const BYTES_RETRANS: usize = 208;
}

/// Asks the kernel about a socket that is or was connected; `None` where it has no answer.
#[cfg(target_os = "linux")]
#[must_use]
pub fn read(socket: &impl std::os::fd::AsRawFd) -> Option<TcpFacts> {
    let mut info = [0u8; ROOM];
    let mut length = libc::socklen_t::try_from(ROOM).ok()?;
    // SAFETY: the pointer and the length describe one writable array of bytes, for which any
    // content is valid; the kernel writes at most `length` of them.
    #[expect(
        unsafe_code,
        reason = "getsockopt(TCP_INFO) has no safe wrapper; see the module"
    )]
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return None;
    }
    let word = |at: usize| {
        let bytes = info.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(bytes))
    };
    let long = |at: usize| {
        let bytes = info.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_ne_bytes(bytes))
    };
    let sent_once = long(at::BYTES_SENT)?.saturating_sub(long(at::BYTES_RETRANS)?);
    Some(TcpFacts {
        rtt_us: word(at::RTT)?,
        retransmits: word(at::TOTAL_RETRANS)?,
        unacked: word(at::UNACKED)?,
        unacked_bytes: sent_once.saturating_sub(long(at::BYTES_ACKED)?),
        pmtu: word(at::PMTU)?,
    })
}

/// Other systems have no such option.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn read<T>(_: &T) -> Option<TcpFacts> {
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
        assert!(!facts.waits(), "{facts:?}");
    }

    #[test]
    fn fields_stand_where_the_c_library_has_them() {
        use std::mem::offset_of;
        assert_eq!(offset_of!(libc::tcp_info, tcpi_unacked), super::at::UNACKED);
        assert_eq!(offset_of!(libc::tcp_info, tcpi_pmtu), super::at::PMTU);
        assert_eq!(offset_of!(libc::tcp_info, tcpi_rtt), super::at::RTT);
        let total = offset_of!(libc::tcp_info, tcpi_total_retrans);
        assert_eq!(total, super::at::TOTAL_RETRANS);
    }

    #[test]
    fn a_file_has_no_answer() {
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        assert_eq!(super::read(&file), None);
    }
}
