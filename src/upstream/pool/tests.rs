use std::path::Path;

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::config::{self, Overrides};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A pool in front of a gateway that sends these answers on each connection, one per request,
/// accepts one more request, and closes. It reports each request: the connection and the request
/// line.
async fn pool(
    plan: &'static [&'static [&'static str]],
) -> (Pool<Full<Bytes>>, mpsc::UnboundedReceiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (report, reports) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for (number, answers) in plan.iter().enumerate() {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let report = report.clone();
            tokio::spawn(async move {
                for answer in answers.iter().map(Some).chain([None]) {
                    let mut head = vec![0; 1024];
                    let length = tcp.read(&mut head).await.unwrap_or_default();
                    let head = String::from_utf8_lossy(&head[..length]);
                    let line = head.lines().next().unwrap_or_default().to_owned();
                    if line.is_empty() {
                        return;
                    }
                    report.send((number, line)).unwrap();
                    let Some(answer) = answer else { return };
                    tcp.write_all(answer.as_bytes()).await.unwrap();
                    if !answer.contains("\r\n\r\n") {
                        return;
                    }
                }
            });
        }
    });
    let text = format!("gateway: {{ url: '{url}' }}");
    let config = config::parse(&text, Path::new("test"), &Overrides::default()).unwrap();
    let limit = Duration::from_secs(5);
    let dialler = Dialler::new(config.gateway(), limit, config.tcp(), None).unwrap();
    (Pool::new(dialler), reports)
}

fn request(method: Method, body: &'static str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = "/".parse().unwrap();
    request
}

/// Result of a request, and the connections that it went out on: `k` for a kept one, `n` for a new
/// one, `r` for a retry in between. When this returns, the connection is back in the pool if it is
/// to be kept.
async fn ask(
    pool: &Pool<Full<Bytes>>,
    method: Method,
    body: &'static str,
) -> (Result<u16, SendError>, String) {
    let mut steps = String::new();
    let sent = pool.send(request(method, body), Reach::Any, |step| {
        steps.push(match step {
            Step::Connected { kept: Some(_), .. } => 'k',
            Step::Connected { kept: None, .. } => 'n',
            Step::Repeated { .. } => 'r',
        });
    });
    let answer = sent.await;
    let answer = match answer {
        Ok(answer) => {
            let (head, body) = answer.into_parts();
            body.collect().await.unwrap();
            if kept_for(&head.headers).is_some() {
                until_kept(pool).await;
            }
            Ok(head.status.as_u16())
        }
        Err(error) => Err(error),
    };
    (answer, steps)
}

async fn until_kept(pool: &Pool<Full<Bytes>>) {
    let kept = async {
        while pool.shared.idle().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), kept)
        .await
        .expect("it is kept");
}

#[tokio::test]
async fn what_a_kept_connection_did_not_answer_goes_out_once_more() {
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE] {
        let (pool, mut reports) = pool(&[&[OK], &["HTTP/1.1 204 No Content\r\n\r\n"]]).await;
        assert!(matches!(ask(&pool, Method::GET, "").await, (Ok(200), steps) if steps == "n"));
        let (answer, steps) = ask(&pool, method.clone(), "").await;
        assert_eq!((answer.unwrap(), steps.as_str()), (204, "krn"), "{method}");
        let line = format!("{method} / HTTP/1.1");
        assert_eq!(reports.recv().await.unwrap().0, 0);
        assert_eq!(reports.recv().await.unwrap(), (0, line.clone()));
        assert_eq!(reports.recv().await.unwrap(), (1, line));
    }
}

#[tokio::test]
async fn what_may_have_done_something_does_not() {
    for (method, body) in [
        (Method::POST, ""),
        (Method::PATCH, ""),
        (Method::PUT, "body"),
    ] {
        let (pool, mut reports) = pool(&[&[OK], &[OK]]).await;
        ask(&pool, Method::GET, "").await.0.unwrap();
        let (answer, steps) = ask(&pool, method.clone(), body).await;
        let error = answer.unwrap_err();
        assert!(
            matches!(
                error,
                SendError::NoAnswer {
                    came_before: 1..,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(steps, "k", "{method}");
        reports.recv().await.unwrap();
        assert_eq!(reports.recv().await.unwrap().0, 0);
        assert!(reports.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_new_connection_and_half_an_answer_are_final() {
    let (pool, _told) = pool(&[&[]]).await;
    let (answer, steps) = ask(&pool, Method::GET, "").await;
    assert!(matches!(
        answer,
        Err(SendError::NoAnswer { came_before: 0, .. })
    ));
    assert_eq!(steps, "n");

    let (pool, _told) = self::pool(&[&[OK, "HTTP/1.1 2"], &[OK]]).await;
    ask(&pool, Method::GET, "").await.0.unwrap();
    let (answer, steps) = ask(&pool, Method::GET, "").await;
    assert!(answer.is_err());
    assert_eq!(steps, "k");
}

#[tokio::test]
async fn the_second_connection_is_the_last_one() {
    let (pool, _told) = pool(&[&[OK], &[], &[OK]]).await;
    ask(&pool, Method::GET, "").await.0.unwrap();
    let (answer, steps) = ask(&pool, Method::GET, "").await;
    assert!(matches!(
        answer,
        Err(SendError::NoAnswer { came_before: 0, .. })
    ));
    assert_eq!(steps, "krn");
}

#[tokio::test]
async fn a_connection_is_used_again_within_its_time_only() {
    let (pool, _told) = pool(&[&[OK, OK, OK], &[OK]]).await;
    for steps in ["n", "k", "k"] {
        let (answer, found) = ask(&pool, Method::POST, "").await;
        assert_eq!((answer.unwrap(), found.as_str()), (200, steps));
    }
    for it in pool.shared.idle().iter_mut() {
        it.until = Instant::now();
    }
    assert_eq!(ask(&pool, Method::POST, "").await.1, "n");
}

#[tokio::test]
async fn a_connection_whose_gateway_announces_its_end_is_not_kept() {
    const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=1\r\n\r\n";
    const CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (pool, _told) = pool(&[&[LAST], &[CLOSE], &[OK]]).await;
    for _ in 0..2 {
        let mut steps = 0;
        let sent = pool.send(request(Method::GET, ""), Reach::Any, |step| {
            assert!(matches!(step, Step::Connected { kept: None, .. }));
            steps += 1;
        });
        let answer = sent.await.unwrap();
        answer.into_body().collect().await.unwrap();
        assert_eq!(steps, 1);
    }
    assert_eq!(ask(&pool, Method::GET, "").await.1, "n");
}

#[tokio::test]
async fn a_local_connection_is_never_used_where_it_must_not_be() {
    let (pool, _told) = pool(&[&[OK, OK], &[OK], &[OK]]).await;
    ask(&pool, Method::GET, "").await.0.unwrap();
    // Neither the kept connection nor a new one.
    for _ in 0..2 {
        let sent = pool.send(request(Method::GET, ""), Reach::NotLocal, |_| {
            panic!("connected")
        });
        let SendError::SeenAsLocal(facts) = sent.await.unwrap_err() else {
            panic!("not seen as local");
        };
        assert_eq!(facts.our_ip().unwrap().to_string(), "127.0.0.1");
    }
}
