//! A session's record while the session lives, and the guarantee that it is written exactly once.
//!
//! hyper drops a service's future when the client goes away, a task can panic, the drain can run
//! out: in every case the last handle is dropped, and dropping it finishes the record.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use uuid::Uuid;

use crate::proxy::connection::heads::GaveUp;
use crate::proxy::connection::state::{AwaitsEnd, ConnectionState};
use crate::proxy::tap::clients::ClientSlot;
use crate::proxy::tap::open_connections::ConnectionGuard;
use crate::proxy::tap::origins::Origins;
use crate::session::Recorder;
use crate::session::memory;
use crate::session::party::{Leg, Phase};
use crate::session::record::context::GoingDown;
use crate::session::record::{Kind, TimerKey};
use crate::session::text::PeerText;
use crate::sink::RecordPipeline;
use crate::sink::live::{Entry, Live};
use crate::transport::sensed::End;

/// A handle on one session's record. The record is finished when the last handle is dropped.
#[derive(Clone, Debug)]
pub(crate) struct SessionHandle(Arc<Mutex<Session>>);

#[derive(Debug)]
struct Session {
    recorder: Recorder,
    /// The entry in the list of open sessions, removed when the record is written.
    entry: Entry,
    connection: Held,
    pipeline: Arc<RecordPipeline>,
    origins: Arc<Origins>,
    /// The request was answered, or the tunnel took over: the end of the client's connection is not
    /// part of this session.
    settled: bool,
    /// The session is about a request, whose turn on the connection ends with the session.
    serves: bool,
    /// The record waits for the end of the connection, or has waited for it.
    parts: bool,
    /// A slot among its client's sessions, if the connection itself has none.
    place: Option<ClientSlot>,
}

/// The connection that a session is on.
#[derive(Debug)]
enum Held {
    /// The whole state, as long as the connection serves requests.
    Whole(Arc<ConnectionState>),
    /// Only the count, which is all that a tunnel needs. The rest of the state would needlessly
    /// keep memory, and through its wakers that of the task that served HTTP.
    Counted(Arc<ConnectionGuard>),
}

impl SessionHandle {
    /// Takes charge of a record.
    #[must_use]
    pub(crate) fn new(
        recorder: Recorder,
        connection: Arc<ConnectionState>,
        pipeline: Arc<RecordPipeline>,
        origins: Arc<Origins>,
    ) -> Self {
        let (facts, opened) = (recorder.facts(), *recorder.anchor());
        let entry = pipeline.live().open(facts.id, opened, &facts.client.addr);
        let session = Session {
            recorder,
            entry,
            connection: Held::Whole(connection),
            pipeline,
            origins,
            settled: false,
            serves: false,
            parts: false,
            place: None,
        };
        Self(Arc::new(Mutex::new(session)))
    }

    /// Locks the record, to write facts into it or to read them. Hold it for one statement only: a
    /// second lock in the same statement would deadlock.
    pub(crate) fn record(&self) -> Recording<'_> {
        let session = self.lock();
        let phase = session.recorder.facts().phase;
        Recording { session, phase }
    }

    /// The tracing span of this session.
    pub(crate) fn span(&self) -> tracing::Span {
        // Format the id only if the span is enabled.
        tracing::debug_span!("session", id = %self.record().facts().id)
    }

    /// A text of ours that may quote the request, with the session's known secrets masked.
    pub(crate) fn masked(&self, text: String) -> String {
        self.lock().recorder.masked(text)
    }

    /// Reports to other sessions that the gateway announced its shutdown. It explains clients that
    /// the gateway leaves unanswered before this session's record is written. `boot` identifies the
    /// gateway's process.
    pub(crate) fn announce(&self, boot: Option<PeerText>, down: GoingDown) {
        let session = self.lock();
        if let Some(gateway) = &session.recorder.facts().gateway {
            tracing::debug!(at = %down.at, stops = down.stops, "the gateway announced that it goes down");
            session.pipeline.announce(&gateway.url, boot, down);
        }
    }

    /// Records that the head of the gateway's answer came.
    pub(crate) fn answered(&self) {
        let session = self.lock();
        if let Some(gateway) = &session.recorder.facts().gateway {
            let waited = memory::answered_after_ms(gateway);
            session.entry.live().answered(waited, Instant::now());
        }
    }

    /// Records that the answer has gone out completely, or that the tunnel has begun.
    pub(crate) fn settle(&self) {
        self.lock().settled = true;
    }

    /// The tunnel has begun.
    pub(crate) fn settle_as_tunnel(&self) {
        let mut session = self.lock();
        session.settled = true;
        if let Held::Whole(connection) = &session.connection {
            session.connection = Held::Counted(connection.counted());
        }
    }

    /// Holds a slot of its client until the session is over.
    pub(crate) fn keep(&self, place: ClientSlot) {
        self.lock().place = Some(place);
    }

    /// Marks the session as one about a request: the next request of the connection waits until it
    /// is over.
    pub(crate) fn serves(&self) {
        self.lock().serves = true;
    }

    /// Makes the record wait for the end of its connection: the answer ends the connection, or the
    /// client had closed its sending side.
    pub(crate) fn part_with(&self, connection: &ConnectionState) {
        self.lock().parts = true;
        connection.keep(Box::new(self.clone()));
    }

    /// The session's place, 0 to 1, among all: from the random part of its id.
    #[must_use]
    pub(crate) fn spread(&self) -> f64 {
        let id = self.record().facts().id;
        let low = id.as_u128() & u128::from(u32::MAX);
        f64::from(u32::try_from(low).unwrap_or(0)) / f64::from(u32::MAX)
    }

    /// The public view of the session while it is open.
    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(self.lock().entry.live())
    }

    /// The session's id, as text.
    #[must_use]
    pub(crate) fn id(&self) -> String {
        self.record().facts().id.to_string()
    }

    fn lock(&self) -> MutexGuard<'_, Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AwaitsEnd for SessionHandle {
    fn ended(&self, end: End) {
        client_ended(&mut self.record(), end);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let now = Instant::now();
        let anchor = *self.recorder.anchor();
        let mut recorder =
            std::mem::replace(&mut self.recorder, Recorder::new(Uuid::nil(), anchor));
        if std::thread::panicking() {
            recorder.faulted("a task of wstap panicked".to_owned(), now);
        } else if let Held::Whole(connection) = &self.connection
            && !self.settled
        {
            cut_short(connection, &mut recorder, now);
        } else if let Held::Counted(connection) = &self.connection
            && connection.is_draining()
            && recorder.ending().is_nobodys()
        {
            // The session's task was dropped with the runtime.
            recorder.drained(now);
        }
        self.place = None;
        if let Held::Whole(connection) = &self.connection
            && self.waits_for_delivery(connection)
        {
            let connection = Arc::clone(connection);
            self.part(recorder, &connection);
            return connection.heads.request_ended();
        }
        // A session that ended without an outcome shows nothing about its origin.
        if let Some(record) = self.pipeline.publish(recorder.finish(now), now) {
            self.origins.observe(&record);
        }
        if let Held::Whole(connection) = &self.connection
            && self.serves
        {
            connection.heads.request_ended();
        }
    }
}

impl Session {
    /// Whether the answer is complete and the client had ended its sending side before that: then
    /// only the end of the connection shows whether the client was still there to read it.
    fn waits_for_delivery(&self, connection: &ConnectionState) -> bool {
        self.serves && self.settled && !self.parts && connection.heads.is_half_closed()
    }

    /// Hands the record to the connection, which finishes it at its end; the next request need not
    /// wait.
    fn part(&mut self, recorder: Recorder, connection: &Arc<ConnectionState>) {
        let session = Self {
            recorder,
            entry: self.entry.hand_over(),
            connection: Held::Whole(Arc::clone(connection)),
            pipeline: Arc::clone(&self.pipeline),
            origins: Arc::clone(&self.origins),
            settled: true,
            serves: false,
            parts: true,
            place: None,
        };
        connection.keep(Box::new(SessionHandle(Arc::new(Mutex::new(session)))));
    }
}

/// Records why a request was dropped before its answer was out: the client went away, or we shut
/// down.
fn cut_short(connection: &ConnectionState, recorder: &mut Recorder, now: Instant) {
    if let Some(refusal) = connection.heads.broken_body() {
        let detail = refusal.detail;
        recorder.head_refused(refusal.fault, refusal.http2_error, detail, now);
    }
    match connection.sensed.end() {
        Some(end) => {
            client_ended(recorder, end);
            if let Some(gave_up) = connection.heads.gave_up() {
                let GaveUp { limit, waited, at } = gave_up;
                let key = TimerKey::HalfClose;
                recorder.timer_fired(key, limit, waited, at);
            }
        }
        None if connection.is_draining() => {
            recorder.drained(now);
            recorder.leg_ended_by_tap(Leg::Client, now);
        }
        None => {
            recorder.leg_ended_by_tap(Leg::Client, now);
        }
    }
    recorder.client_sent(connection.sensed.bytes_read());
    let facts = recorder.facts();
    if facts.kind == Kind::Connection && facts.phase >= Phase::Request {
        recorder.client_began_with(connection.sensed.first_bytes());
    }
}

/// Records how a client's connection ended, and whether the client was gone and did not read what
/// was sent after its FIN.
pub(crate) fn client_ended(recorder: &mut Recorder, ended: End) {
    let End {
        kind: end,
        cause,
        at,
        refused,
        ..
    } = ended;
    recorder.leg_ended(Leg::Client, end, cause, at);
    if let Some(at) = refused {
        recorder.leg_refuses_to_read(Leg::Client, at);
    }
}

/// A locked record. Dropping it publishes the session's phase in the list of open sessions.
pub(crate) struct Recording<'a> {
    session: MutexGuard<'a, Session>,
    /// The phase at the time of locking.
    phase: Phase,
}

impl Deref for Recording<'_> {
    type Target = Recorder;

    fn deref(&self) -> &Recorder {
        &self.session.recorder
    }
}

impl DerefMut for Recording<'_> {
    fn deref_mut(&mut self) -> &mut Recorder {
        &mut self.session.recorder
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        let Session {
            recorder, entry, ..
        } = &mut *self.session;
        if recorder.facts().phase != self.phase {
            tracing::debug!(id = %recorder.facts().id, phase = ?recorder.facts().phase, "phase reached");
            let now = Instant::now();
            recorder.began(now);
            entry.live().reached(recorder.facts(), now);
        }
        if recorder.ending().has_begun() {
            entry.live().ends();
        }
    }
}

#[cfg(test)]
pub(in crate::proxy) mod tests {
    use std::path::Path;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use tower::ServiceExt as _;

    use super::*;
    use crate::config::{self, Overrides};
    use crate::proxy::request::{self, from_client::FromClient};
    use crate::proxy::tap::Tap;
    use crate::session::SessionRecord;
    use crate::session::credential::Fingerprinter;
    use crate::session::record::Class;
    use crate::sink::{Consumer, Queue, Wanted};
    use crate::transport::clock;

    struct Keep(Sender<SessionRecord>);

    impl Consumer for Keep {
        fn consume(&mut self, record: &SessionRecord) -> std::io::Result<()> {
            self.0.send(record.clone()).map_err(std::io::Error::other)
        }
    }

    fn open() -> (SessionHandle, Receiver<SessionRecord>) {
        let (tap, receiver) = tap();
        let connection = tap.connection_of("127.0.0.1:1".parse().unwrap());
        (tap.open_record(&connection, clock::anchor()), receiver)
    }

    /// A tap without listeners, and the records of its sessions.
    pub(in crate::proxy) fn tap() -> (Arc<Tap>, Receiver<SessionRecord>) {
        tap_before("127.0.0.1:1")
    }

    /// Like [`tap()`], with this gateway.
    pub(in crate::proxy) fn tap_before(gateway: &str) -> (Arc<Tap>, Receiver<SessionRecord>) {
        let (sender, receiver) = channel();
        let queue = Queue::start("test", 16, Keep(sender)).unwrap();
        let pipeline = Arc::new(RecordPipeline::new(vec![queue], Wanted::ALL));
        let text = format!("gateway: {{ url: 'http://{gateway}', dialect: plain }}");
        let config = config::parse(&text, Path::new("test"), &Overrides::default()).unwrap();
        let fingerprinter = Fingerprinter::with_key(b"a key for the tests");
        let tap =
            Arc::new(Tap::new(config, fingerprinter, pipeline, "test".to_owned(), None).unwrap());
        (tap, receiver)
    }

    fn records(receiver: &Receiver<SessionRecord>) -> Vec<SessionRecord> {
        let mut all = vec![receiver.recv_timeout(Duration::from_secs(5)).unwrap()];
        all.extend(receiver.recv_timeout(Duration::from_millis(1)));
        all
    }

    #[test]
    fn the_last_handle_writes_the_record_once() {
        let (session, receiver) = open();
        let other = session.clone();
        drop(session);
        assert!(receiver.try_recv().is_err(), "a handle is left");
        drop(other);
        assert_eq!(records(&receiver).len(), 1);
    }

    /// A reference to the connection's state would keep the memory of the task that served HTTP.
    #[test]
    fn a_tunnel_lets_go_of_its_connection_and_still_counts() {
        let (tap, receiver) = tap();
        let connection = tap.connection_of("127.0.0.1:1".parse().unwrap());
        let session = tap.open_record(&connection, clock::anchor());
        session.settle_as_tunnel();
        let gone = Arc::downgrade(&connection);
        drop(connection);
        assert!(gone.upgrade().is_none());
        assert_eq!(tap.connections(), 1);
        drop(session);
        assert_eq!(tap.connections(), 0);
        assert_eq!(records(&receiver).len(), 1);
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_session_grows_by_nobodys_oversight() {
        let session = size_of::<Session>();
        assert!(session <= 1568, "a session takes {session} bytes");
    }

    /// hyper only gets heads that the gate has checked, so this takes a bug.
    #[tokio::test]
    async fn a_request_whose_head_nobody_checked_is_a_fault() {
        let (tap, receiver) = tap();
        let connection = tap.connection_of("127.0.0.1:1".parse().unwrap());
        let request = http::Request::new(FromClient::None);
        let answer = request::stack(&tap, &connection).oneshot(request).await;
        assert_eq!(answer.unwrap().status(), 500);
        let all = records(&receiver);
        assert_eq!(all.len(), 1);
        assert!(all[0].close.fault.is_some());
        assert_eq!(all[0].answer.as_ref().unwrap().status, 500);
        assert_eq!(all[0].verdict.as_ref().unwrap().class, Class::TapFault);
    }

    #[test]
    fn a_panic_yields_the_record_too() {
        let (session, receiver) = open();
        let thread = std::thread::spawn(move || {
            session.record().dialling(String::new(), String::new());
            panic!("a bug, wanted by this test");
        });
        assert!(thread.join().is_err());
        let all = records(&receiver);
        assert_eq!(all.len(), 1);
        assert!(all[0].close.fault.is_some());
        assert_eq!(all[0].phase, Phase::Dial);
        assert_eq!(all[0].verdict.as_ref().unwrap().class, Class::TapFault);
    }
}
