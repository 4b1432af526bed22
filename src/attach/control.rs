//! Lets another shell reach an attached tap: an abstract socket, named in the network namespace.
//!
//! Every process in the namespace can find an abstract unix socket, even one in another container,
//! and it disappears with the tap. As with signals, only root and the tap's own user may use it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net as blocking;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::time::timeout;

/// Its name.
const NAME: &str = "wstap-attach";

/// Time limit for a question and its answer. A tap that is stopped or stuck does not answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Maximum length of an answer.
const MOST: u64 = 32 << 20;

/// A question of another shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Question {
    /// Asks for the status.
    Status,
    /// Asks the tap to end.
    Detach,
}

/// The result of a question.
#[derive(Debug)]
pub(super) enum Asked {
    /// Nobody is attached in this network namespace.
    Nobody,
    /// The answer.
    Answer(String),
    /// Somebody is attached and does not answer. `None`: its process is in another PID namespace.
    Silent(Option<u32>),
    /// A process of this user, which is neither root nor ours, has the name.
    Stranger(u32),
    /// Only root and its own user may ask it.
    Denied,
}

/// Asks the tap that is attached in this network namespace.
pub(super) fn ask(question: Question) -> io::Result<Asked> {
    let address = blocking::SocketAddr::from_abstract_name(NAME)?;
    let mut stream = match blocking::UnixStream::connect_addr(&address) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(Asked::Nobody),
        Err(error) => return Err(error),
    };
    // The peer credentials of a listening socket are those of the process that called listen(2).
    let (uid, pid) = listener_of(&stream)?;
    // The two handles share the mode.
    stream.set_nonblocking(false)?;
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        // Anybody can take the name. Such a process is not believed, and not signalled.
        return Ok(Asked::Stranger(uid));
    }
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut text = serde_json::to_string(&question)?;
    text.push('\n');
    let mut answer = String::new();
    let read = stream
        .write_all(text.as_bytes())
        .and_then(|()| BufReader::new(stream.take(MOST)).read_line(&mut answer));
    match read {
        // Closed before or after the question was read.
        Ok(0) => Ok(Asked::Denied),
        Err(error) if is_closed(&error) => Ok(Asked::Denied),
        Ok(_) => Ok(Asked::Answer(answer)),
        Err(error) if is_timeout(&error) => Ok(Asked::Silent(pid)),
        Err(error) => Err(error),
    }
}

/// User and process that called listen(2); no process if it is in another PID namespace.
fn listener_of(stream: &blocking::UnixStream) -> io::Result<(u32, Option<u32>)> {
    let stream = stream.try_clone()?;
    stream.set_nonblocking(true)?;
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    let credentials = UnixStream::from_std(stream)?.peer_cred()?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
    Ok((credentials.uid(), pid.filter(|pid| *pid > 0)))
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// The socket's name, which only one process in a network namespace can have.
#[derive(Debug)]
pub(super) struct Name(blocking::UnixListener);

/// The socket of an attached tap.
#[derive(Debug)]
pub(super) struct Control(UnixListener);

impl Name {
    /// Takes the name; an error of the kind `AddrInUse` means that a tap is attached already.
    pub(super) fn take() -> io::Result<Self> {
        let address = blocking::SocketAddr::from_abstract_name(NAME)?;
        blocking::UnixListener::bind_addr(&address).map(Self)
    }
}

impl Control {
    /// Takes the name.
    pub(super) fn bind() -> io::Result<Self> {
        let Name(listener) = Name::take()?;
        listener.set_nonblocking(true)?;
        Ok(Self(UnixListener::from_std(listener)?))
    }

    /// Answers one question after the other with `answer`.
    pub(super) async fn serve(self, answer: impl Fn(Question) -> String) {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let answered = timeout(LIMIT, converse(stream, &answer)).await;
                    if let Ok(Err(error)) = answered {
                        tracing::debug!(%error, "failed to answer a question about the tap");
                    }
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

async fn converse(stream: UnixStream, answer: &impl Fn(Question) -> String) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        tracing::warn!(uid, "refused a question about the tap from another user");
        return Ok(());
    }
    let mut stream = tokio::io::BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let question = serde_json::from_str(&line)?;
    let mut text = answer(question);
    text.push('\n');
    stream.get_mut().write_all(text.as_bytes()).await
}
