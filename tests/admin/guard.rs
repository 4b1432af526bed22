//! Which clients are answered, and what the others can do to the listener.

use std::fs;

use super::{get, get_with, raw, wstap};
use crate::peers::{Via, echo};
use crate::support::client::connect;
use crate::support::deadline::{STEP, poll};
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup};

const TOKEN: &str = "an-admin-token-0123456789";

#[tokio::test]
async fn a_page_whose_name_was_made_to_point_here_learns_nothing() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .admin()
        .set("admin.hosts", vec!["tap.internal"])
        .start()
        .await;
    let addr = tap.admin();
    let with_host = |host: String| async move {
        let request = format!("GET /healthz HTTP/1.1\r\n{host}\r\n");
        raw(addr, request.as_bytes()).await
    };
    let port = addr.port();
    for known in [
        format!("{addr}"),
        format!("localhost:{port}"),
        format!("tap.internal:{port}"),
        "[::1]".to_owned(),
    ] {
        let answer = with_host(format!("Host: {known}\r\n")).await;
        assert_eq!(answer.status(), 200, "{known}");
        assert_eq!(answer.head.value("access-control-allow-origin"), None);
    }
    for (status, unknown) in [
        (421, format!("Host: evil.example:{port}\r\n")),
        (421, format!("Host: 127.0.0.1.evil.example:{port}\r\n")),
        (421, "Host: 192.0.2.1\r\n".to_owned()),
        (400, String::new()),
        (400, format!("Host: {addr}\r\nHost: {addr}\r\n")),
    ] {
        let answer = with_host(unknown.clone()).await;
        assert_eq!(answer.status(), status, "{unknown:?}");
        assert!(!answer.body.contains("version"), "{}", answer.body);
    }
    // A target with its own host would make the header meaningless.
    let absolute = format!("GET http://evil.example/healthz HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    assert_eq!(raw(addr, absolute.as_bytes()).await.status(), 400);
    // No page may read an answer, whatever it asks for.
    let origin = "Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n";
    let answer = get_with(&tap, "/healthz", origin).await;
    assert_eq!(answer.head.value("access-control-allow-origin"), None);
    assert_eq!(
        answer.head.value("cross-origin-resource-policy").as_deref(),
        Some("same-origin")
    );
}

#[tokio::test]
async fn the_token_is_asked_for_and_never_told() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer).admin().trace();
    let (file, wrong) = (setup.path("token"), setup.path("wrong"));
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    fs::write(&wrong, "another-admin-token-0123").unwrap();
    let tap = setup
        .set("admin.token_file", file.to_string_lossy().into_owned())
        .start()
        .await;
    for (status, header) in [
        (401, String::new()),
        (401, format!("Authorization: Bearer {TOKEN}x\r\n")),
        (401, format!("Authorization: Bearer {}\r\n", &TOKEN[1..])),
        (401, format!("Authorization: Basic {TOKEN}\r\n")),
        (401, "Authorization: Bearer\r\n".to_owned()),
        (200, format!("Authorization: Bearer {TOKEN}\r\n")),
        (200, format!("authorization: bearer {TOKEN}\r\n")),
    ] {
        for path in ["/healthz", "/readyz"] {
            let answer = get_with(&tap, path, &header).await;
            assert_eq!(answer.status(), status, "{path} {header:?}");
            assert!(!answer.body.contains(TOKEN));
            if status == 401 {
                let asks = answer.head.value("www-authenticate");
                assert_eq!(asks.as_deref(), Some("Bearer"));
            }
        }
    }
    // Not in a URL, where it would be written down.
    let in_url = get(&tap, &format!("/healthz?token={TOKEN}")).await;
    assert_eq!(in_url.status(), 401);
    let admin = tap.admin().to_string();
    let health = |file: std::path::PathBuf| {
        let admin = admin.clone();
        async move {
            let file = file.to_string_lossy().into_owned();
            wstap(&["health", "--admin", &admin, "--token-file", &file]).await
        }
    };
    let (code, out, _) = health(file).await;
    assert_eq!(code, 0, "{out}");
    let (code, out, err) = health(wrong).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("401"), "{out}");
    for text in [&out, &err, &tap.stderr(), &tap.stdout()] {
        assert!(!text.contains(TOKEN) && !text.contains("another-admin-token"));
    }
}

#[tokio::test]
async fn beyond_loopback_nothing_starts_without_a_token() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer).set("admin.listen", "0.0.0.0:0");
    let (code, said) = setup.start_in_vain().await;
    assert_eq!(code, Some(2));
    assert!(said.contains("admin.listen: expected a loopback"), "{said}");
    assert!(said.contains("token_file:"), "the line to add: {said}");
    let setup = Setup::before(&peer).set("admin.listen", "0.0.0.0:0");
    let file = setup.path("token");
    fs::write(&file, TOKEN).unwrap();
    let tap = setup
        .set("admin.token_file", file.to_string_lossy().into_owned())
        .start()
        .await;
    let mut addr = tap.admin();
    addr.set_ip([127, 0, 0, 1].into());
    let head = format!("GET /healthz HTTP/1.1\r\nHost: {addr}\r\n");
    assert_eq!(
        raw(addr, format!("{head}\r\n").as_bytes()).await.status(),
        401
    );
    let request = format!("{head}Authorization: Bearer {TOKEN}\r\n\r\n");
    assert_eq!(raw(addr, request.as_bytes()).await.status(), 200);
}

#[tokio::test]
async fn it_only_reads() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    let addr = tap.admin();
    for method in [
        "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE",
    ] {
        let target = if method == "CONNECT" {
            "a:1"
        } else {
            "/healthz"
        };
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: {addr}\r\nContent-Length: 0\r\n\r\n");
        let answer = raw(addr, request.as_bytes()).await;
        let wanted = if method == "CONNECT" { 400 } else { 405 };
        assert_eq!(answer.status(), wanted, "{method}");
    }
    let request = format!("HEAD /healthz HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let answer = raw(addr, request.as_bytes()).await;
    assert_eq!((answer.status(), answer.body.as_str()), (200, ""));
    assert_eq!(get(&tap, "/").await.status(), 404);
    assert_eq!(get(&tap, "/healthz/../sessions").await.status(), 404);
}

#[tokio::test]
async fn heads_are_bounded_and_slow_ones_end() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    let large = format!("X-Large: {}\r\n", "x".repeat(64 * 1024));
    let mut conn = connect(tap.admin()).await;
    // It may be cut off before it is written whole.
    let _ = conn
        .send(format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{large}\r\n").as_bytes())
        .await;
    let refused = conn.head().await.map(|head| head.status());
    assert!(matches!(refused, Ok(431) | Err(_)), "{refused:?}");
    let many = "X-Many: 1\r\n".repeat(200);
    assert_eq!(get_with(&tap, "/healthz", &many).await.status(), 431);
    // Half a head, and then nothing: the listener ends it.
    let mut slow = connect(tap.admin()).await;
    slow.send(b"GET /healthz HTTP/1.1\r\nHost: local")
        .await
        .unwrap();
    let (_, _) = slow.rest().await;
    assert_eq!(get(&tap, "/healthz").await.status(), 200);
}

#[tokio::test]
async fn two_hundred_silent_connections_keep_nobody_out() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).admin().start().await;
    let mut client = tap.connect(Face::Plain).await;
    client.open("/").await;
    let before = tap.open_descriptors();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(connect(tap.admin()).await);
    }
    // Served although all are open; and sessions go on.
    assert_eq!(get(&tap, "/healthz").await.status(), 200);
    client.send_masked(Frame::text("still here")).await.unwrap();
    assert_eq!(client.frame().await.unwrap().as_text(), "still here");
    let bounded = || (tap.open_descriptors() <= before + 70).then_some(());
    let bounded = poll(STEP, bounded).await;
    assert!(bounded.is_some(), "{} descriptors", tap.open_descriptors());
    drop(silent);
}
