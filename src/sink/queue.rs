//! A bounded queue in front of a consumer's own thread.
//!
//! Waking a thread costs the caller more than writing a record does. So while records come in quick succession the
//! thread sleeps briefly between checks, and then takes everything that has arrived.
//!
//! Every record that is offered is written or counted as lost, also at the end of the process:
//! records that still wait when [`Queue::close`] reaches its limit are lost.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, channel, sync_channel,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::session::{Moment, SessionRecord};

/// How long the thread rests while records come one after the other: waking it for each would cost
/// more than writing it. A process that is killed loses what came in that time, so it is short.
const REST: Duration = Duration::from_millis(2);

/// Maximum time between records that come in quick succession.
const BUSY: Duration = Duration::from_millis(20);

/// Takes records, one at a time, on its own thread.
pub trait Consumer: Send + 'static {
    /// Takes one record.
    fn consume(&mut self, record: &SessionRecord) -> io::Result<()>;

    /// Whether the consumer has taken so much that it should be flushed before it takes more.
    fn has_much(&self) -> bool {
        false
    }

    /// Called when the queue is empty for now, or when much was taken.
    fn flush(&mut self) -> Result<Flushed, Unwritten> {
        Ok(Flushed::All)
    }

    /// Interval of [`Consumer::look`], even while no record comes; `None` means never.
    fn looks_every(&self) -> Option<Duration> {
        None
    }

    /// Checks whether the destination of its writes is still in place.
    fn look(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Takes an event outside any session. Only lines for people show it.
    fn notice(&mut self, _text: &str, _at: Moment) -> io::Result<()> {
        Ok(())
    }

    /// Called when no more records will come and all have been flushed.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Result of [`Consumer::flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Everything that was taken is written.
    All,
    /// This many more records are written, and others remain: call it again.
    Some(u64),
}

/// Failure of [`Consumer::flush`].
#[derive(Debug)]
pub struct Unwritten {
    /// Number of records that were taken since the last flush and not written.
    pub records: u64,
    /// Error that stopped the write.
    pub error: io::Error,
}

enum Message {
    Record(Arc<SessionRecord>),
    Look,
    Notice(String, Moment),
}

/// The sending end.
#[derive(Debug)]
pub struct Queue {
    name: String,
    sender: Mutex<Option<SyncSender<Message>>>,
    done: Mutex<Receiver<()>>,
    counts: Arc<Counts>,
    /// Number of waiting records that wakes the thread early.
    many: u64,
    thread: thread::Thread,
}

#[derive(Debug, Default)]
struct Counts {
    lost: AtomicU64,
    /// Number of records that were taken and are neither written nor lost yet.
    waiting: AtomicU64,
    /// The waiting records were counted as lost, so the thread writes no more.
    given_up: AtomicBool,
}

impl Counts {
    fn lost(&self, records: u64) {
        self.lost.fetch_add(records, Ordering::Relaxed);
    }

    /// Removes this many records from the waiting count.
    fn settled(&self, records: u64) {
        self.waiting.fetch_sub(records, Ordering::Relaxed);
    }
}

impl Queue {
    /// Starts the consumer's thread. `capacity` is in records.
    pub fn start(name: &str, capacity: usize, consumer: impl Consumer) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(capacity);
        let (done_sender, done) = channel();
        let counts = Arc::<Counts>::default();
        let thread = Thread {
            name: name.to_owned(),
            counts: Arc::clone(&counts),
            unflushed: 0,
            failing: false,
            logged_losses: 0,
            next_look: consumer.looks_every().map(|every| Instant::now() + every),
            consumer,
        };
        let running = thread::Builder::new()
            .name(format!("wstap-{name}"))
            .spawn(move || {
                thread.run(&receiver);
                let _ = done_sender.send(());
            })?;
        Ok(Self {
            name: name.to_owned(),
            sender: Mutex::new(Some(sender)),
            done: Mutex::new(done),
            counts,
            many: capacity.div_ceil(2) as u64,
            thread: running.thread().clone(),
        })
    }

    /// Queues a record, or counts it as lost when the queue is full or closed.
    pub fn offer(&self, record: Arc<SessionRecord>) {
        let waiting = self.counts.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = match &*sender {
            Some(sender) => sender.try_send(Message::Record(record)),
            None => Err(TrySendError::Disconnected(Message::Record(record))),
        };
        if sent.is_err() {
            // Only count: writing a log line here could block the caller. The thread logs it.
            self.counts.lost(1);
            self.counts.settled(1);
        } else if waiting == self.many {
            self.thread.unpark();
        }
    }

    /// Asks the consumer to check now whether the destination of its writes is still in place. If
    /// the queue is full, the consumer does so anyway.
    pub fn look(&self) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*sender {
            let _ = sender.try_send(Message::Look);
        }
    }

    /// Queues an event outside any session; a full queue drops it.
    pub fn notice(&self, text: &str, at: Moment) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*sender {
            let _ = sender.try_send(Message::Notice(text.to_owned(), at));
        }
    }

    /// The consumer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of records that were not written because the queue was full, the consumer failed, or
    /// they were still waiting when it was closed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// Stops taking records.
    pub fn end(&self) {
        drop(
            self.sender
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        self.thread.unpark();
    }

    /// Stops taking records and waits for the queued ones, at most until the deadline. Records that
    /// are not written by then are lost.
    pub fn close(&self, until: Instant) {
        self.end();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.saturating_duration_since(Instant::now());
        if let Err(RecvTimeoutError::Timeout) = done.recv_timeout(left)
            && !self.counts.given_up.swap(true, Ordering::SeqCst)
        {
            let waiting = self.counts.waiting.swap(0, Ordering::SeqCst);
            self.counts.lost(waiting);
        }
    }
}

struct Thread<C> {
    name: String,
    consumer: C,
    counts: Arc<Counts>,
    /// Number of records taken since the last flush.
    unflushed: u64,
    failing: bool,
    /// Number of losses that have been logged.
    logged_losses: u64,
    next_look: Option<Instant>,
}

impl<C: Consumer> Thread<C> {
    fn run(mut self, receiver: &Receiver<Message>) {
        let (mut busy, mut woken) = (false, None::<Instant>);
        loop {
            let message = match receiver.try_recv() {
                Ok(message) => {
                    busy = true;
                    message
                }
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    self.flush();
                    self.look_if_due();
                    if std::mem::take(&mut busy) {
                        thread::park_timeout(REST);
                        continue;
                    }
                    let message = match self.wait(receiver) {
                        Ok(message) => message,
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => break,
                    };
                    let now = Instant::now();
                    busy = woken.is_some_and(|last| now.saturating_duration_since(last) < BUSY);
                    woken = Some(now);
                    message
                }
            };
            if self.counts.given_up.load(Ordering::Relaxed) {
                return;
            }
            match message {
                Message::Record(record) => self.consume(&record),
                Message::Look => self.look(),
                Message::Notice(text, at) => {
                    self.flush();
                    let written = self.consumer.notice(&text, at);
                    self.tried(written);
                }
            }
        }
        self.flush();
        if !self.counts.given_up.load(Ordering::Relaxed) {
            let written = self.consumer.finish();
            self.tried(written);
        }
    }

    /// The next message, or the time of the consumer's next check.
    fn wait(&self, receiver: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        match self.next_look {
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => receiver.recv_timeout(at.saturating_duration_since(Instant::now())),
        }
    }

    fn consume(&mut self, record: &SessionRecord) {
        match self.consumer.consume(record) {
            Ok(()) => {
                self.unflushed += 1;
                if self.next_look.is_none() {
                    let every = self.consumer.looks_every();
                    self.next_look = every.map(|every| Instant::now() + every);
                }
                if self.consumer.has_much() {
                    self.flush();
                    self.look_if_due();
                }
            }
            Err(error) => self.failed(1, &error),
        }
    }

    fn flush(&mut self) {
        let mut taken = std::mem::take(&mut self.unflushed);
        while !self.counts.given_up.load(Ordering::Relaxed) {
            match self.consumer.flush() {
                Ok(Flushed::Some(records)) => {
                    self.counts.settled(records);
                    taken = taken.saturating_sub(records);
                }
                Ok(Flushed::All) => {
                    if taken > 0 {
                        self.counts.settled(taken);
                        self.recovered();
                    }
                    return;
                }
                Err(Unwritten { records, error }) => {
                    self.counts.settled(taken.saturating_sub(records));
                    return self.failed(records.min(taken), &error);
                }
            }
        }
    }

    fn look_if_due(&mut self) {
        if self.next_look.is_some_and(|at| at <= Instant::now()) {
            self.look();
        }
    }

    fn look(&mut self) {
        self.flush();
        let looked = self.consumer.look();
        self.tried(looked);
        let every = self.consumer.looks_every();
        self.next_look = every.map(|every| Instant::now() + every);
    }

    /// Handles the result of a write that belongs to no record.
    fn tried(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.failed(0, &error);
        }
    }

    /// Counts records as lost. Logs only the first failure, not each record that is lost after it.
    fn failed(&mut self, records: u64, error: &io::Error) {
        if self.counts.given_up.load(Ordering::Relaxed) {
            // They were already counted.
            return;
        }
        self.counts.lost(records);
        self.counts.settled(records);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(sink = %self.name, %error, "failed to write records; traffic goes on");
        }
    }

    /// Records have been written. After a failure, logs that and how many were lost.
    fn recovered(&mut self) {
        let lost = self.counts.lost.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.failing, false) || lost > self.logged_losses {
            tracing::warn!(sink = %self.name, lost, "records are written again; some were lost");
        }
        self.logged_losses = lost;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use super::*;

    struct Collect {
        taken: Arc<Mutex<usize>>,
        gate: Option<Receiver<()>>,
        fail: bool,
    }

    impl Consumer for Collect {
        fn consume(&mut self, _: &SessionRecord) -> io::Result<()> {
            if let Some(gate) = &self.gate {
                let _ = gate.recv();
            }
            *self.taken.lock().unwrap() += 1;
            if self.fail {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        }
    }

    fn record() -> Arc<SessionRecord> {
        Arc::new(SessionRecord::default())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn everything_queued_is_written_before_close_returns() {
        let taken = Arc::new(Mutex::new(0));
        let consumer = Collect {
            taken: Arc::clone(&taken),
            gate: None,
            fail: false,
        };
        let queue = Queue::start("test", 100, consumer).unwrap();
        for _ in 0..50 {
            queue.offer(record());
        }
        queue.close(soon());
        assert_eq!((*taken.lock().unwrap(), queue.dropped()), (50, 0));
    }

    #[test]
    fn a_rest_loses_nothing() {
        let taken = Arc::new(Mutex::new(0));
        let consumer = Collect {
            taken: Arc::clone(&taken),
            gate: None,
            fail: false,
        };
        let queue = Queue::start("test", 4, consumer).unwrap();
        for nth in 1..=40 {
            queue.offer(record());
            // Two at once now and then, so that it is busy.
            while nth % 2 == 0 && *taken.lock().unwrap() < nth {
                thread::yield_now();
            }
        }
        queue.close(soon());
        assert_eq!((*taken.lock().unwrap(), queue.dropped()), (40, 0));
        assert_eq!(queue.counts.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_stuck_consumer_costs_records_and_no_time() {
        let (open, gate) = channel();
        let taken = Arc::new(Mutex::new(0));
        let consumer = Collect {
            taken: Arc::clone(&taken),
            gate: Some(gate),
            fail: false,
        };
        let queue = Queue::start("test", 4, consumer).unwrap();
        for _ in 0..20 {
            queue.offer(record());
        }
        assert!(
            queue.dropped() >= 15,
            "4 wait and at most one is being written"
        );
        drop(open);
        queue.close(soon());
        assert_eq!(*taken.lock().unwrap() as u64 + queue.dropped(), 20);
    }

    #[test]
    fn a_full_disk_is_counted() {
        let consumer = Collect {
            taken: Arc::default(),
            gate: None,
            fail: true,
        };
        let queue = Queue::start("test", 100, consumer).unwrap();
        for _ in 0..3 {
            queue.offer(record());
        }
        queue.close(soon());
        assert_eq!(queue.dropped(), 3);
    }

    /// Takes everything and fails to flush it.
    struct Buffering(u64);

    impl Consumer for Buffering {
        fn consume(&mut self, _: &SessionRecord) -> io::Result<()> {
            self.0 += 1;
            Ok(())
        }
        fn flush(&mut self) -> Result<Flushed, Unwritten> {
            let error = io::ErrorKind::StorageFull.into();
            Err(Unwritten {
                records: std::mem::take(&mut self.0),
                error,
            })
        }
    }

    #[test]
    fn what_a_failed_flush_loses_is_counted() {
        let queue = Queue::start("test", 100, Buffering(0)).unwrap();
        for _ in 0..7 {
            queue.offer(record());
        }
        queue.close(soon());
        assert_eq!(queue.dropped(), 7);
    }

    #[test]
    fn what_still_waits_at_the_end_is_lost_and_counted_once() {
        let (open, gate) = channel();
        let taken = Arc::new(Mutex::new(0));
        let consumer = Collect {
            taken: Arc::clone(&taken),
            gate: Some(gate),
            fail: false,
        };
        let queue = Queue::start("test", 100, consumer).unwrap();
        for _ in 0..10 {
            queue.offer(record());
        }
        open.send(()).unwrap();
        while *taken.lock().unwrap() < 1 {
            thread::yield_now();
        }
        queue.close(Instant::now());
        // The first one was taken and not flushed, so it may be lost.
        assert_eq!(queue.dropped(), 10);
        drop(open);
        let done = queue.done.lock().unwrap();
        done.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(*taken.lock().unwrap() <= 2, "it goes on writing");
        assert_eq!(queue.dropped(), 10, "counted once");
        queue.offer(record());
        assert_eq!(queue.dropped(), 11, "what comes later is lost, too");
    }

    /// Counts its checks.
    struct Looking(Sender<()>);

    impl Consumer for Looking {
        fn consume(&mut self, _: &SessionRecord) -> io::Result<()> {
            Ok(())
        }
        fn looks_every(&self) -> Option<Duration> {
            Some(Duration::from_millis(5))
        }
        fn look(&mut self) -> io::Result<()> {
            let _ = self.0.send(());
            Ok(())
        }
    }

    #[test]
    fn a_consumer_looks_again_and_again_while_nothing_comes() {
        let (sender, looks) = channel();
        let queue = Queue::start("test", 4, Looking(sender)).unwrap();
        for _ in 0..3 {
            looks.recv_timeout(Duration::from_secs(5)).unwrap();
        }
        queue.close(soon());
    }

    struct Asked(Sender<()>);

    impl Consumer for Asked {
        fn consume(&mut self, _: &SessionRecord) -> io::Result<()> {
            Ok(())
        }
        fn look(&mut self) -> io::Result<()> {
            let _ = self.0.send(());
            Ok(())
        }
    }

    #[test]
    fn a_consumer_looks_when_it_is_asked() {
        let (sender, looks) = channel();
        let queue = Queue::start("test", 4, Asked(sender)).unwrap();
        queue.look();
        looks.recv_timeout(Duration::from_secs(5)).unwrap();
        queue.close(soon());
    }
}
