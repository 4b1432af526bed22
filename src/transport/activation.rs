//! Sockets that systemd opened before it started us (`LISTEN_FDS`, `sd_listen_fds(3)`). Connections
//! that come before the start or during a restart wait in them.
//!
//! [`Passed::take`] is called once, before anything else runs: it takes the sockets and the
//! variables out of the process, so that no child inherits either. Each socket must belong to a
//! listener and each such listener must find its socket: a socket that is left over would swallow
//! connections.

use std::env;
use std::io;
use std::net::TcpListener as StdTcp;
use std::os::unix::net::UnixListener as StdUnix;
use std::path::PathBuf;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use tokio::net::{TcpListener, UnixListener};

use super::listening::Listening;

/// The sockets that were passed, in their order, with their names.
#[derive(Debug, Default)]
pub struct Passed {
    sockets: Vec<(String, Socket)>,
    /// Descriptions of the sockets that cannot be used for listening.
    unusable: Vec<String>,
}

#[derive(Debug)]
enum Socket {
    Tcp(StdTcp),
    Unix(StdUnix),
}

impl Passed {
    /// Takes the sockets that were passed to this process: none, if `LISTEN_PID` names another
    /// process.
    #[must_use]
    pub fn take() -> Self {
        let for_us = env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        // Removes the variables too.
        let mut passed = ListenFd::from_env();
        if !for_us {
            return Self::default();
        }
        let mut names = names.split(':');
        let mut all = Self::default();
        for index in 0..passed.len() {
            // systemd's own name for a socket without a name.
            let name = names.next().filter(|name| !name.is_empty());
            let name = name.unwrap_or("unknown").to_owned();
            match socket(&mut passed, index) {
                Ok(socket) => all.sockets.push((name, socket)),
                Err(error) => all.unusable.push(format!("`{name}` ({error})")),
            }
        }
        all
    }

    /// The sockets of this name; without a name, the only socket that was passed. The error is text
    /// for people.
    pub fn listeners(&mut self, name: Option<&str>) -> Result<Vec<Listening>, String> {
        let Some(name) = name else {
            return match self.sockets.len() {
                1 => self
                    .sockets
                    .drain(..)
                    .map(|(_, it)| it.listening())
                    .collect(),
                0 => Err(format!("no socket from systemd{}", self.hint())),
                count => Err(format!("{count} sockets from systemd: {}", self.names())),
            };
        };
        let mut found = Vec::new();
        let mut index = 0;
        while let Some((its, _)) = self.sockets.get(index) {
            if its == name {
                found.push(self.sockets.remove(index).1.listening()?);
            } else {
                index += 1;
            }
        }
        if found.is_empty() {
            return Err(format!("no socket `{name}` from systemd{}", self.hint()));
        }
        Ok(found)
    }

    /// A description of the sockets that no listener took.
    #[must_use]
    pub fn left_over(&self) -> Option<String> {
        let left = self.names();
        (!left.is_empty()).then_some(left)
    }

    fn names(&self) -> String {
        let names = self.sockets.iter().map(|(name, _)| format!("`{name}`"));
        let all: Vec<String> = names.chain(self.unusable.iter().cloned()).collect();
        all.join(", ")
    }

    fn hint(&self) -> String {
        let names = self.names();
        if names.is_empty() {
            "; it passes them only to the service of a socket unit".to_owned()
        } else {
            format!("; it passed {names}")
        }
    }
}

fn socket(passed: &mut ListenFd, index: usize) -> io::Result<Socket> {
    let stream = match passed.take_tcp_listener(index) {
        Ok(Some(tcp)) => Socket::Tcp(tcp),
        Ok(None) => return Err(io::Error::other("it was not passed")),
        Err(_) => match passed.take_unix_listener(index)? {
            Some(unix) => Socket::Unix(unix),
            None => return Err(io::Error::other("it was not passed")),
        },
    };
    let (listens, flags) = match &stream {
        Socket::Tcp(tcp) => (socket_acceptconn(tcp), tcp.set_nonblocking(true)),
        Socket::Unix(unix) => (socket_acceptconn(unix), unix.set_nonblocking(true)),
    };
    flags?;
    if listens? {
        Ok(stream)
    } else {
        // With `Accept=yes` systemd passes a connection instead of a listener.
        Err(io::Error::other("it does not listen: set `Accept=no`"))
    }
}

impl Socket {
    fn listening(self) -> Result<Listening, String> {
        let made = match self {
            Self::Tcp(tcp) => TcpListener::from_std(tcp).map(Listening::Tcp),
            Self::Unix(unix) => {
                let path = unix.local_addr().ok();
                let path = path.and_then(|addr| addr.as_pathname().map(PathBuf::from));
                UnixListener::from_std(unix).map(|listener| Listening::Unix {
                    listener,
                    path: path.unwrap_or_default(),
                    // systemd made the file, and removes it if configured to.
                    file: None,
                })
            }
        };
        made.map_err(|error| format!("a socket from systemd that cannot be used: {error}"))
    }
}
