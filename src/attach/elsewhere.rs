//! `wstap attach` on systems without nftables.

#[expect(dead_code, reason = "the answer needs the port alone")]
mod options;

pub use self::options::Options;
use crate::exit;

/// Prints what to do instead.
#[must_use]
pub fn run(options: &Options) -> u8 {
    eprintln!(
        "wstap: attach works on Linux only\n  to do: put the tap on a spare port: `wstap serve --listen \
         http://127.0.0.1:18790 --gateway http://127.0.0.1:{}`, and point one client at it; for a gateway in \
         a container (Docker Desktop), attach inside: `docker run --rm -it --network container:NAME --user \
         0 --cap-add NET_ADMIN IMAGE attach --port {} --for 15m`",
        options.port(),
        options.port()
    );
    exit::FAILED
}
