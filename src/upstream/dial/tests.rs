use std::net::IpAddr;
use std::sync::Mutex;

use tokio::net::TcpListener;

use super::*;
use crate::config::{self, Config, Overrides};
use crate::upstream::Pool;
use crate::upstream::pool::{Reach, SendError};

fn config(url: &str) -> Config {
    let text = format!("gateway: {{ url: '{url}' }}");
    config::parse(&text, Path::new("test"), &Overrides::default()).unwrap()
}

/// A dialler of `http://gateway.test:PORT` whose name resolves to the addresses in the list.
fn dialler(port: u16, answers: &Arc<Mutex<Vec<IpAddr>>>) -> Dialler {
    let config = config(&format!("http://gateway.test:{port}"));
    let limit = Duration::from_secs(5);
    let mut dialler = Dialler::new(config.gateway(), limit, config.tcp(), None).unwrap();
    let answers = Arc::clone(answers);
    dialler.lookup = Arc::new(move |name, port| {
        assert_eq!(name, "gateway.test");
        let found = answers.lock().unwrap().clone();
        let found = found.into_iter().map(|ip| SocketAddr::new(ip, port));
        let found = found.collect();
        Box::pin(async move { Ok(found) })
    });
    dialler
}

fn list(hosts: &[&str]) -> Vec<IpAddr> {
    hosts.iter().map(|host| host.parse().unwrap()).collect()
}

/// A gateway that was restarted may have another address: the next dial finds it.
#[tokio::test]
async fn every_dial_asks_for_the_name_anew() {
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let answers = Arc::new(Mutex::new(list(&["127.0.0.1"])));
    let dialler = dialler(port, &answers);
    let (_, facts) = dialler.dial().await.unwrap();
    assert_eq!(facts.addr, Some(first.local_addr().unwrap().to_string()));
    drop(first);
    *answers.lock().unwrap() = list(&["127.0.0.2"]);
    let (_, facts) = dialler.dial().await.unwrap();
    assert_eq!(facts.addr, Some(second.local_addr().unwrap().to_string()));
    assert_eq!(facts.dns.unwrap().addresses, 1);
}

#[tokio::test]
async fn an_address_that_refuses_does_not_count_and_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let answers = Arc::new(Mutex::new(list(&["127.0.0.2", "127.0.0.1"])));
    let (stream, facts) = dialler(addr.port(), &answers).dial().await.unwrap();
    assert_eq!(facts.addr, Some(addr.to_string()));
    let attempts: Vec<_> = facts.attempts.iter().map(|it| it.error).collect();
    assert_eq!(attempts, [Some(Kind::Refused), None]);
    assert!(facts.attempts.iter().all(|attempt| attempt.ms.is_some()));
    let Stream::Tcp(tcp) = stream else {
        panic!("plain TCP");
    };
    let socket = socket2::SockRef::from(&tcp);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
}

#[tokio::test]
async fn when_all_refuse_the_error_names_all() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let answers = Arc::new(Mutex::new(list(&["127.0.0.2", "127.0.0.3"])));
    let failed = dialler(port, &answers).dial().await.unwrap_err();
    assert_eq!(failed.error.kind, Kind::Refused);
    for host in ["127.0.0.2", "127.0.0.3"] {
        assert!(
            failed.error.detail.contains(host),
            "{}",
            failed.error.detail
        );
    }
    assert_eq!(failed.facts.attempts.len(), 2);
    assert_eq!(failed.facts.addr, Some(format!("127.0.0.2:{port}")));
    let none = Arc::new(Mutex::new(Vec::new()));
    let failed = dialler(port, &none).dial().await.unwrap_err();
    assert_eq!(failed.error.kind, Kind::Dns);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_told_as_such() {
    let mut dialler = dialler(1, &Arc::default());
    dialler.lookup = Arc::new(|_, _| Box::pin(std::future::pending()));
    let failed = dialler.dial().await.unwrap_err();
    assert_eq!(failed.error.kind, Kind::Dns);
    assert!(
        failed
            .error
            .detail
            .contains("gateway.test does not resolve")
    );
    assert!(failed.timed_out.is_some());
    assert_eq!(failed.facts.dns.unwrap().name, "gateway.test");
}

/// Requests over the pool follow the name too, once the old connection has ended.
#[tokio::test]
async fn the_pool_does_not_stay_with_an_address_that_is_gone() {
    use http_body_util::{BodyExt as _, Full};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn serve(listener: TcpListener, name: &'static str) {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            while matches!(tcp.read(&mut head).await, Ok(1..)) {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}");
                tcp.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }

    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let answers = Arc::new(Mutex::new(list(&["127.0.0.1"])));
    let pool: Pool<Full<bytes::Bytes>> = Pool::new(dialler(port, &answers));
    let ask = async || {
        let request = http::Request::get("/").body(Full::default()).unwrap();
        let answer = pool.send(request, Reach::Any, |_| {}).await?;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Ok::<_, SendError>(body)
    };
    let running = tokio::spawn(serve(first, "1"));
    for _ in 0..2 {
        assert_eq!(ask().await.unwrap(), "1");
    }
    tokio::spawn(serve(second, "2"));
    *answers.lock().unwrap() = list(&["127.0.0.2"]);
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    // The kept connection ended too, before or after a request went out on it.
    assert_eq!(ask().await.unwrap(), "2");
}
