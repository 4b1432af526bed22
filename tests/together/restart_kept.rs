//! A request that goes out on a kept connection to a gateway which has announced its restart.

use wstap::session::SessionRecord;
use wstap::session::record::{Class, GatewayErrorKind as ErrorKind, TransportEnd};

use super::auth::verdict;
use crate::peers::Via;
use crate::peers::openclaw::{Gateway, Order, Script, TOKEN};
use crate::support::conn::Conn;
use crate::support::frame;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};

/// What the gateway had said before the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Restart,
    Stop,
    Nothing,
}

/// A gateway behind a tap, with a session on it, that has sent this announcement and keeps a
/// connection.
struct Scene {
    gateway: Gateway,
    tap: Tap,
    _session: Conn,
}

impl Scene {
    async fn set(said: Said) -> Self {
        let script = Script {
            keeps: true,
            ..Script::default()
        };
        let gateway = Gateway::start(&Via::Plain, script.clone()).await;
        let tap = Setup::before(&gateway.peer).openclaw().start().await;
        let mut session = tap.connect(Face::Plain).await;
        session.open("/").await;
        session.log_in(TOKEN).await;
        for number in 0.. {
            assert!(number < 50, "no connection is kept");
            let record = ask(&tap, "GET", &format!("/ok/{number}")).await;
            assert_eq!(class(&record), Class::Ok);
            if record.gateway.is_some_and(|gateway| gateway.reused) {
                break;
            }
        }
        let reason = match said {
            Said::Restart => "gateway restarting",
            Said::Stop => "gateway stopping",
            Said::Nothing => "",
        };
        if said != Said::Nothing {
            gateway.tell(Order::Shutdown {
                reason: reason.to_owned(),
            });
            while session.frame().await.expect("the Close").opcode != frame::CLOSE {}
        }
        // A new connection gets no answer, as from a process that exits.
        gateway.becomes(Script { most: 0, ..script });
        Self {
            gateway,
            tap,
            _session: session,
        }
    }

    /// The record of a request that the gateway cuts on the kept connection. The connection returns to
    /// the pool a moment after its answer; a request that comes before that goes out on a new one.
    async fn cut(&self, method: &str, path: &str) -> SessionRecord {
        for number in 0..50 {
            let before = self.gateway.peer.log.connections();
            let record = ask(&self.tap, method, &format!("{path}/{number}")).await;
            let facts = record.gateway.as_ref().expect("a gateway");
            if !facts.reused && facts.retried.is_none() {
                continue;
            }
            let repeated = usize::from(method == "GET");
            assert_eq!(self.gateway.peer.log.connections(), before + repeated);
            assert_eq!(facts.reused, method != "GET", "{method} {path}");
            assert_eq!(facts.retried.is_some(), method == "GET", "{method} {path}");
            assert_eq!(record.answer.as_ref().map(|it| it.status), Some(502));
            return record;
        }
        panic!("no connection is kept");
    }
}

/// Sends a request without a body; returns its record.
async fn ask(tap: &Tap, method: &str, path: &str) -> SessionRecord {
    let mut conn = tap.connect(Face::Plain).await;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    conn.send(request.as_bytes()).await.expect("send a request");
    conn.head().await.expect("an answer");
    let is_it = |record: &SessionRecord| {
        let request = record.request.as_ref();
        request.is_some_and(|it| it.path.as_str() == path && it.method == method)
    };
    tap.wait_for("its record", is_it).await
}

/// The verdict mentions neither a proxy nor TLS.
fn blames_nobody_else(record: &SessionRecord) {
    let verdict = verdict(record);
    let text = format!(
        "{} {} {:?}",
        verdict.summary, verdict.next, verdict.evidence
    );
    for word in ["TLS", "https", "proxy"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

fn evidence(record: &SessionRecord, words: &str) -> bool {
    let all = &verdict(record).evidence;
    all.iter().any(|it| it.fact.contains(words))
}

const CUTS: [(&str, ErrorKind, TransportEnd); 2] = [
    ("/rst", ErrorKind::ResetBeforeStatus, TransportEnd::Rst),
    ("/fin", ErrorKind::ClosedBeforeStatus, TransportEnd::Fin),
];

#[tokio::test]
async fn an_announced_restart_explains_a_kept_connection_that_is_cut() {
    for (path, kind, end) in CUTS {
        for (said, rule) in [
            (Said::Restart, "gateway.lifecycle.restarting"),
            (Said::Stop, "gateway.lifecycle.stopping"),
        ] {
            let scene = Scene::set(said).await;
            let record = scene.cut("POST", path).await;
            let error = record.gateway.as_ref().and_then(|it| it.error.as_ref());
            assert_eq!(error.map(|error| error.kind), Some(kind), "{said:?}");
            assert_eq!(record.close.transport.gateway, end, "{said:?}");
            assert_eq!(verdict(&record).rule, rule, "{path}");
            assert_eq!(class(&record), Class::GatewayLifecycle);
            assert!(
                evidence(&record, "was a kept one"),
                "{:?}",
                verdict(&record)
            );
            blames_nobody_else(&record);
        }
    }
}

/// The tap sends what can be repeated once more, and nobody answers that either.
#[tokio::test]
async fn and_the_repetition_that_gets_no_answer_either() {
    for (path, _, end) in CUTS {
        let scene = Scene::set(Said::Restart).await;
        let record = scene.cut("GET", path).await;
        let retried = record.gateway.as_ref().and_then(|it| it.retried.as_ref());
        assert_eq!(retried.map(|retried| retried.end), Some(end), "{path}");
        assert_eq!(
            verdict(&record).rule,
            "gateway.lifecycle.restarting",
            "{path}"
        );
        assert!(
            evidence(&record, "went out once more"),
            "{:?}",
            verdict(&record)
        );
        blames_nobody_else(&record);
    }
}

#[tokio::test]
async fn without_an_announcement_the_same_is_no_restart() {
    for (path, ..) in CUTS {
        let scene = Scene::set(Said::Nothing).await;
        let record = scene.cut("POST", path).await;
        assert_eq!(verdict(&record).rule, "gateway.silent.kept", "{path}");
        let scene = Scene::set(Said::Nothing).await;
        let record = scene.cut("GET", path).await;
        assert_eq!(class(&record), Class::GatewaySilent, "{path}");
    }
}
