//! A bounded queue in front of a consumer's own thread.
//!
//! Waking a thread costs whoever wakes it more than writing a record does. So where one record follows
//! the other the thread rests a moment between two looks, and takes what has come meanwhile at once.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::session::SessionRecord;

/// How long the thread rests while records come one after the other: waking it for each would cost
/// more than writing it. A process that is killed loses what came in that time, so it is short.
const REST: Duration = Duration::from_millis(2);

/// Records that are no further apart do.
const BUSY: Duration = Duration::from_millis(20);

/// Takes records, one at a time, on a thread of its own.
pub trait Consumer: Send + 'static {
    /// Takes one record.
    fn consume(&mut self, record: &SessionRecord) -> io::Result<()>;

    /// Whether it has taken so much that it should be flushed before it takes more.
    fn has_much(&self) -> bool {
        false
    }

    /// The queue is empty for now, or much was taken.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Queue {
    name: String,
    sender: Mutex<Option<SyncSender<Arc<SessionRecord>>>>,
    done: Mutex<Receiver<()>>,
    lost: Arc<AtomicU64>,
    /// Records that wait.
    waiting: Arc<AtomicUsize>,
    /// So many end the thread's rest.
    many: usize,
    thread: thread::Thread,
}

impl Queue {
    /// Starts the consumer's thread. `capacity` is in records.
    pub fn start(name: &str, capacity: usize, consumer: impl Consumer) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(capacity);
        let (done_sender, done) = channel();
        let lost = Arc::new(AtomicU64::new(0));
        let waiting = Arc::<AtomicUsize>::default();
        let thread = Thread {
            name: name.to_owned(),
            lost: Arc::clone(&lost),
            waiting: Arc::clone(&waiting),
            unflushed: 0,
            failing: false,
            told: 0,
        };
        let running = thread::Builder::new()
            .name(format!("wstap-{name}"))
            .spawn(move || {
                thread.run(&receiver, consumer);
                let _ = done_sender.send(());
            })?;
        Ok(Self {
            name: name.to_owned(),
            sender: Mutex::new(Some(sender)),
            done: Mutex::new(done),
            lost,
            waiting,
            many: capacity.div_ceil(2),
            thread: running.thread().clone(),
        })
    }

    /// Queues a record, or counts it as lost when the queue is full.
    pub fn offer(&self, record: Arc<SessionRecord>) {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = match &*sender {
            Some(sender) => sender.try_send(record),
            None => Err(TrySendError::Disconnected(record)),
        };
        if sent.is_err() {
            // Counted only: whoever writes a line here could be made to wait. The thread tells.
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        } else if waiting == self.many {
            self.thread.unpark();
        }
    }

    /// The consumer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records that were not taken: the queue was full, or the consumer failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Takes no more records and waits for the queued ones, at most so long.
    pub fn close(&self, limit: Duration) {
        drop(
            self.sender
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        self.thread.unpark();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = done.recv_timeout(limit);
    }
}

struct Thread {
    name: String,
    lost: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
    /// Taken since the last flush that went well.
    unflushed: u64,
    failing: bool,
    /// How many losses have been told of.
    told: u64,
}

impl Thread {
    fn run(mut self, receiver: &Receiver<Arc<SessionRecord>>, mut consumer: impl Consumer) {
        let (mut busy, mut woken) = (false, None::<Instant>);
        loop {
            let record = match receiver.try_recv() {
                Ok(record) => {
                    busy = true;
                    record
                }
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    self.flush(&mut consumer);
                    if std::mem::take(&mut busy) {
                        thread::park_timeout(REST);
                        continue;
                    }
                    let Ok(record) = receiver.recv() else { break };
                    let now = Instant::now();
                    busy = woken.is_some_and(|last| now.saturating_duration_since(last) < BUSY);
                    woken = Some(now);
                    record
                }
            };
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            match consumer.consume(&record) {
                Ok(()) => {
                    self.unflushed += 1;
                    if consumer.has_much() {
                        self.flush(&mut consumer);
                    }
                }
                Err(error) => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    self.failed(&error);
                }
            }
        }
        self.flush(&mut consumer);
    }

    fn flush(&mut self, consumer: &mut impl Consumer) {
        match consumer.flush() {
            Ok(()) if self.unflushed > 0 => {
                self.unflushed = 0;
                self.recovered();
            }
            Ok(()) => {}
            Err(error) => {
                self.lost
                    .fetch_add(std::mem::take(&mut self.unflushed), Ordering::Relaxed);
                self.failed(&error);
            }
        }
    }

    /// Tells of the first failure, not of each record that is lost after it.
    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(sink = %self.name, %error, "failed to write a record; traffic goes on");
        }
    }

    /// Records have been written: says so after a failure, and how many were lost by then.
    fn recovered(&mut self) {
        let lost = self.lost.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.failing, false) || lost > self.told {
            tracing::warn!(sink = %self.name, lost, "records are written again; some were lost");
        }
        self.told = lost;
    }
}

#[cfg(test)]
mod tests {
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
        queue.close(Duration::from_secs(5));
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
        queue.close(Duration::from_secs(5));
        assert_eq!((*taken.lock().unwrap(), queue.dropped()), (40, 0));
        assert_eq!(queue.waiting.load(Ordering::Relaxed), 0);
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
        queue.close(Duration::from_secs(5));
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
        queue.close(Duration::from_secs(5));
        assert_eq!(queue.dropped(), 3);
    }

    /// Takes everything and fails to flush it.
    struct Buffering;

    impl Consumer for Buffering {
        fn consume(&mut self, _: &SessionRecord) -> io::Result<()> {
            Ok(())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn what_a_failed_flush_loses_is_counted() {
        let queue = Queue::start("test", 100, Buffering).unwrap();
        for _ in 0..7 {
            queue.offer(record());
        }
        queue.close(Duration::from_secs(5));
        assert_eq!(queue.dropped(), 7);
    }
}
