//! Many WebSocket clients at once, on one thread.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::client::Door;
use super::frames::{self, CLOSE, Counter, TEXT};
use super::head::{self, Path};
use super::numbers::float;
use super::talk::{self, Messages};
use super::{Fallible, order};

/// Handshakes under way at the same time while a crowd gathers.
const AT_ONCE: usize = 32;
/// Time allowed beyond the intended duration of a step.
const PATIENCE: Duration = Duration::from_secs(30);
const TLS_BUFFER: usize = 16 * 1024;
const READ_BUFFER: usize = 16 * 1024;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Open sessions through one door.
pub struct Crowd {
    runtime: Runtime,
    sessions: Vec<Session>,
}

struct Session {
    stream: Box<dyn Duplex>,
    counter: Counter,
    resumed: bool,
    /// Messages that came with the answer to the upgrade.
    early: usize,
}

/// What each session of a crowd does.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// `window` messages under way until the end.
    Full { window: usize },
    /// One message each period, the first after a share of the period.
    Every(Duration),
    /// One message.
    Once,
    /// A number of messages from the gateway, which get no answer.
    Events(usize),
}

impl Crowd {
    /// Opens `count` sessions, each through the handshake of the dialect.
    pub fn gather(door: &Door, count: usize) -> Fallible<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let all = async {
            stream::iter(0..count)
                .map(|_| Session::greet(door))
                .buffer_unordered(AT_ONCE)
                .collect::<Vec<_>>()
                .await
        };
        let limit = PATIENCE + Duration::from_millis(count as u64 * 5);
        let sessions = runtime
            .block_on(async { timeout(limit, all).await })
            .map_err(|_| format!("{count} sessions did not open within {limit:?}"))?;
        let opened = sessions.iter().filter(|session| session.is_ok()).count();
        let sessions: Fallible<Vec<Session>> = sessions.into_iter().collect();
        let sessions =
            sessions.map_err(|error| format!("{opened} of {count} sessions opened: {error}"))?;
        Ok(Self { runtime, sessions })
    }

    /// Echoes messages of `size` bytes at full speed for `time`, with `window` under way in each
    /// session; returns how many there were.
    pub fn storm(&mut self, size: usize, window: usize, time: Duration) -> Fallible<usize> {
        self.talk(size, Pace::Full { window }, time)
    }

    /// Echoes `a_second` messages a second, spread over all sessions.
    pub fn pace(&mut self, size: usize, a_second: usize, time: Duration) -> Fallible<usize> {
        let period = float(self.sessions.len()) / float(a_second);
        self.talk(size, Pace::Every(Duration::from_secs_f64(period)), time)
    }

    /// Sends one message each way in every session.
    pub fn once(&mut self, size: usize) -> Fallible<usize> {
        self.talk(size, Pace::Once, Duration::ZERO)
    }

    /// Ends every session as the protocol requires.
    pub fn close(self) -> Fallible<()> {
        let all = async {
            let mut closing = stream::iter(self.sessions)
                .map(Session::close)
                .buffer_unordered(AT_ONCE);
            while let Some(closed) = closing.next().await {
                closed?;
            }
            Ok(())
        };
        self.runtime
            .block_on(async { timeout(PATIENCE, all).await })
            .map_err(|_| "not all sessions closed in time")?
    }

    /// Makes the gateway send `events` events of `size` bytes in every session.
    pub fn listen(&mut self, size: usize, events: usize) -> Fallible<usize> {
        self.talk(size, Pace::Events(events), Duration::ZERO)
    }

    fn talk(&mut self, size: usize, pace: Pace, time: Duration) -> Fallible<usize> {
        let sessions = std::mem::take(&mut self.sessions);
        let count = sessions.len();
        let all = async {
            let until = Instant::now() + time;
            let mut set = JoinSet::new();
            for (index, mut session) in sessions.into_iter().enumerate() {
                let share = float(index) / float(count);
                set.spawn(async move {
                    let said = session.talk(size, pace, share, until).await;
                    (session, said)
                });
            }
            set.join_all().await
        };
        let done = self
            .runtime
            .block_on(async { timeout(time + PATIENCE, all).await })
            .map_err(|_| "not all messages were answered in time")?;
        let mut messages = 0;
        for (session, said) in done {
            messages += said?;
            self.sessions.push(session);
        }
        Ok(messages)
    }
}

impl Session {
    async fn open(door: &Door, path: Path) -> Fallible<Self> {
        let tcp = TcpStream::connect(door.addr).await?;
        tcp.set_nodelay(true)?;
        let Some(config) = &door.tls else {
            return Self::upgrade(Box::new(tcp), path, false).await;
        };
        let connector = TlsConnector::from(Arc::clone(config));
        // rustls by itself would read 4 KiB at a time.
        let tcp = BufReader::with_capacity(TLS_BUFFER, tcp);
        let stream = connector.connect("localhost".try_into()?, tcp).await?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        Self::upgrade(Box::new(stream), path, resumed).await
    }

    async fn upgrade(mut stream: Box<dyn Duplex>, path: Path, resumed: bool) -> Fallible<Self> {
        stream.write_all(head::request(path).as_bytes()).await?;
        stream.flush().await?;
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err("the connection ended in the handshake".into());
            }
            if let Some(end) = head::length(&bytes) {
                head::check(&bytes[..end])?;
                let mut counter = Counter::default();
                let early = counter.feed(&bytes[end..]).messages;
                return Ok(Self {
                    stream,
                    counter,
                    resumed,
                    early,
                });
            }
        }
    }

    async fn greet(door: &Door) -> Fallible<Self> {
        let mut session = Self::open(door, Path::Session).await?;
        let mut buffer = vec![0; READ_BUFFER];
        let mut heard = session.early;
        while heard < 1 {
            heard += session.hear(&mut buffer).await?;
        }
        let connect = frames::of_client(TEXT, talk::CONNECT.as_bytes());
        session.stream.write_all(&connect).await?;
        session.stream.flush().await?;
        while heard < 2 {
            heard += session.hear(&mut buffer).await?;
        }
        Ok(session)
    }

    /// Returns how many messages the next bytes complete.
    async fn hear(&mut self, buffer: &mut [u8]) -> Fallible<usize> {
        let count = self.stream.read(buffer).await?;
        let heard = self.counter.feed(&buffer[..count]);
        if count == 0 || heard.closes > 0 {
            return Err("a session ended while it was used".into());
        }
        Ok(heard.messages)
    }

    async fn talk(
        &mut self,
        size: usize,
        pace: Pace,
        share: f64,
        until: Instant,
    ) -> Fallible<usize> {
        let mut messages = Messages::new(size);
        let mut buffer = vec![0; READ_BUFFER];
        match pace {
            Pace::Once => {
                self.say(&mut messages, 1).await?;
                while self.hear(&mut buffer).await? == 0 {}
                Ok(1)
            }
            Pace::Events(count) => {
                let order = frames::of_client(TEXT, &order::order(count, size));
                self.stream.write_all(&order).await?;
                self.stream.flush().await?;
                let mut heard = 0;
                while heard < count {
                    heard += self.hear(&mut buffer).await?;
                }
                Ok(heard)
            }
            Pace::Every(period) => {
                let mut ticks = interval_at(Instant::now() + period.mul_f64(share), period);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut said = 0;
                while timeout_at(until, ticks.tick()).await.is_ok() {
                    self.say(&mut messages, 1).await?;
                    while self.hear(&mut buffer).await? == 0 {}
                    said += 1;
                }
                Ok(said)
            }
            Pace::Full { window } => {
                self.say(&mut messages, window).await?;
                let (mut said, mut heard) = (window, 0);
                while heard < said {
                    let more = self.hear(&mut buffer).await?;
                    heard += more;
                    if Instant::now() < until {
                        self.say(&mut messages, more).await?;
                        said += more;
                    }
                }
                Ok(heard)
            }
        }
    }

    /// Sends `count` messages in one write.
    async fn say(&mut self, messages: &mut Messages, count: usize) -> io::Result<()> {
        match count {
            0 => return Ok(()),
            1 => self.stream.write_all(messages.next()).await?,
            _ => {
                let mut all = Vec::new();
                for _ in 0..count {
                    all.extend_from_slice(messages.next());
                }
                self.stream.write_all(&all).await?;
            }
        }
        self.stream.flush().await
    }

    /// Ends the session as the protocol requires.
    async fn close(mut self) -> Fallible<()> {
        let close = frames::of_client(CLOSE, &1000_u16.to_be_bytes());
        self.stream.write_all(&close).await?;
        let mut buffer = [0; 1024];
        loop {
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                return Err("a session ended without an answer to its Close".into());
            }
            if self.counter.feed(&buffer[..count]).closes > 0 {
                break;
            }
        }
        Ok(self.stream.shutdown().await?)
    }
}

/// The result of opening sessions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opened {
    pub sessions: usize,
    pub resumed: usize,
}

/// Opens and closes sessions for `time`, in one lane per door. Each lane has its own client, so
/// that it has a ticket for its next handshake if clients resume. With [`Path::Session`] each also
/// goes through the dialect's handshake.
pub fn come_and_go(doors: Vec<Door>, path: Path, time: Duration) -> Fallible<Opened> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let all = async {
        let until = Instant::now() + time;
        let mut set = JoinSet::new();
        for door in doors {
            set.spawn(async move { lane(&door, path, until).await });
        }
        set.join_all().await
    };
    let lanes = runtime
        .block_on(async { timeout(time + PATIENCE, all).await })
        .map_err(|_| "not all sessions opened and closed in time")?;
    let mut opened = Opened::default();
    for lane in lanes {
        let lane = lane?;
        opened.sessions += lane.sessions;
        opened.resumed += lane.resumed;
    }
    Ok(opened)
}

async fn lane(door: &Door, path: Path, until: Instant) -> Fallible<Opened> {
    let mut opened = Opened::default();
    while Instant::now() < until {
        let session = match path {
            Path::Session => Session::greet(door).await?,
            Path::Bare => Session::open(door, path).await?,
        };
        opened.sessions += 1;
        opened.resumed += usize::from(session.resumed);
        session.close().await?;
    }
    Ok(opened)
}

/// One door for each lane, each with its own client.
pub fn doors(
    door: &Door,
    lanes: usize,
    client: impl Fn() -> Fallible<Arc<ClientConfig>>,
) -> Fallible<Vec<Door>> {
    (0..lanes)
        .map(|_| {
            let tls = door.tls.is_some().then(&client).transpose()?;
            Ok(Door {
                addr: door.addr,
                tls,
            })
        })
        .collect()
}
