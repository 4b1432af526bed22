//! A gateway with TLS of its own: its tool works as without the tap, unread and read.

use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use wstap::session::record::Kind;

use super::LONG;
use super::clients::WRONG;
use crate::live::Install;
use crate::live::gateway::{Gateway, Options};
use crate::live::signatures::tls;
use crate::live::visitor::{Answer, Visitor};
use crate::support::attached::{Attached, status};
use crate::support::certs::Ca;
use crate::support::conn::Conn;
use crate::support::netns::{HERE_V4, Net};
use crate::support::records::rule;
use crate::support::wire::Wire;

const CALL: [&str; 3] = ["gateway", "call", "health"];

/// Tries often enough for a gateway to start: the tool itself takes seconds.
async fn poll_async(mut is_up: impl AsyncFnMut() -> Option<()>) -> bool {
    for _ in 0..20 {
        if is_up().await.is_some() {
            return true;
        }
    }
    false
}

/// A visitor from another host.
async fn conn(net: &Net, gateway: &Gateway, ca: &Ca) -> Conn {
    let tcp = net.connect_from_there((HERE_V4, gateway.addr().port()).into());
    let tcp = tcp.expect("connect");
    tcp.set_nonblocking(true).expect("a socket");
    let tcp = tokio::net::TcpStream::from_std(tcp).expect("a socket");
    let name = "localhost".try_into().expect("a name");
    let connecting = TlsConnector::from(ca.client()).connect(name, tcp);
    let tls = connecting.await.expect("TLS");
    Conn::bounded(Wire::Tls(Box::new(tls.into())))
}

/// A gateway that answers.
async fn restarted(install: &Install, options: &Options) -> Gateway {
    let gateway = Gateway::launch(install, options);
    let is_up = async || {
        let output = gateway.command_line(install, &CALL).await;
        output.status.success().then_some(())
    };
    assert!(poll_async(is_up).await, "the gateway does not start");
    gateway
}

/// An orderly ending by the gateway is no loss: a kept connection, and a session when it stops.
async fn in_order(net: &Net, gateway: &mut Gateway, ca: &Ca) {
    let attached = Attached::start(gateway.addr().port(), LONG).await;
    let mut kept = conn(net, gateway, ca).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    kept.send(request).await.expect("ask");
    assert_eq!(kept.head().await.expect("an answer").status(), 200);
    // Its timer for kept connections.
    kept.rest().await;
    drop(kept);
    let record = attached.records_once(1).await.remove(0);
    assert_eq!(rule(&record), "ok.passed", "{record:#?}");

    let mut session = conn(net, gateway, ca).await;
    let answer = Visitor::command_line().greet(&mut session).await;
    assert!(matches!(answer, Ok(Answer::Accepted { .. })), "{answer:?}");
    gateway.terminate().await;
    session.frames_to_end().await;
    drop(session);
    let record = attached.records_once(2).await.remove(1);
    assert_eq!(rule(&record), "ok.passed", "{record:#?}");
    attached.detach().await;
}

/// A session that its gateway does not end cleanly.
async fn killed(net: &Net, gateway: &mut Gateway, ca: &Ca) {
    let attached = Attached::start(gateway.addr().port(), LONG).await;
    let mut conn = conn(net, gateway, ca).await;
    let answer = Visitor::command_line().greet(&mut conn).await;
    assert!(matches!(answer, Ok(Answer::Accepted { .. })), "{answer:?}");
    gateway.kill().await;
    conn.frames_to_end().await;
    drop(conn);
    let records = attached.records_once(1).await;
    let rule = rule(&records[0]);
    // FIN alone does not say so; a reset does, if something was unread.
    let told = ["ok.passed", "gateway.left.passed"];
    assert!(told.contains(&rule), "{:#?}", records[0]);
    let summary = &records[0].verdict.as_ref().expect("a verdict").summary;
    assert!(!summary.contains("in order"), "{summary}");
    attached.detach().await;
}

/// What the tool and two visitors from another host get.
async fn everybody(net: &Net, install: &Install, gateway: &Gateway, ca: &Ca) -> [String; 3] {
    let output = gateway.command_line(install, &CALL).await;
    let words = String::from_utf8_lossy(&output.stderr);
    let tool = format!("{:?} {words}", output.status.code());
    let mut answers = Vec::new();
    for token in [None, Some(WRONG)] {
        let visitor = Visitor::command_line();
        let visitor = token.map_or(visitor.clone(), |token| visitor.with_token(token));
        let conn = conn(net, gateway, ca).await;
        let answer = visitor.visit(conn).await;
        answers.push(match answer {
            Answer::Accepted { .. } => "accepted".to_owned(),
            other => format!("{other:?}"),
        });
    }
    let [right, wrong] = answers.try_into().expect("two answers");
    [tool, right, wrong]
}

pub async fn passes_unread_and_is_read_with_its_key(net: &Net, install: &Install) {
    let (ca, folder) = (Ca::new(), TempDir::new().expect("a folder"));
    let mut options: Options = tls::options(&ca, &folder);
    options.more["gateway"]["bind"] = "lan".into();
    let mut gateway = restarted(install, &options).await;
    let port = gateway.addr().port();
    let direct = everybody(net, install, &gateway, &ca).await;
    eprintln!("{direct:#?}");
    assert!(direct[1] == "accepted" && direct[2] != "accepted");

    let attached = Attached::start(port, LONG).await;
    assert_eq!(status().expect("a status")["tls"], "unread");
    assert_eq!(everybody(net, install, &gateway, &ca).await, direct);
    let records = attached.records_once(3).await;
    for record in &records {
        assert_eq!(rule(record), "ok.passed", "{record:#?}");
        let passed = record.passthrough.as_deref().expect("what passed");
        assert!(passed.to_client.bytes > 1000, "{passed:?}");
    }
    attached.detach().await;

    in_order(net, &mut gateway, &ca).await;
    gateway = restarted(install, &options).await;
    killed(net, &mut gateway, &ca).await;
    gateway = restarted(install, &options).await;
    let port = gateway.addr().port();
    let direct = everybody(net, install, &gateway, &ca).await;

    let file = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (file("leaf.pem"), file("leaf-key.pem"));
    let mut arguments = LONG.to_vec();
    arguments.extend(["--cert", &cert, "--key", &key]);
    let attached = Attached::start(port, &arguments).await;
    assert_eq!(everybody(net, install, &gateway, &ca).await, direct);
    let records = attached.records_once(3).await;
    let rules: Vec<&str> = records
        .iter()
        .filter(|it| it.kind == Kind::Websocket)
        .map(rule)
        .collect();
    eprintln!("{rules:?}");
    let refused = |rule: &&str| rule.starts_with("gateway.auth.token");
    assert!(rules.iter().any(refused), "{rules:?}");
    assert!(
        rules.iter().filter(|it| it.starts_with("ok.")).count() >= 2,
        "{rules:?}"
    );
    attached.detach().await;
}
