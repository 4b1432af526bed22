//! Proxies behind the tap that answer in the gateway's place. In front of it they answer before the
//! tap sees anything.

use wstap::session::SessionRecord;
use wstap::session::record::{Confidence, Kind};

use super::proxy::{Software, Way};
use super::{Cell, Judged, Place};
use crate::peers::{Via, never_answers};
use crate::support::packages::free_port;

/// An upgrade that this status comes back for.
async fn refused(
    software: Software,
    way: Way,
    more: &[(&str, &str)],
    status: u16,
) -> Option<Judged> {
    let cell = Cell::new(software, Place::Behind, way).await?;
    let (head, _) = cell.refused(more).await;
    assert_eq!(head.status(), status, "{}", cell.name);
    Some(cell.judged(1).await)
}

fn certain(judged: &Judged, software: Software) {
    assert_eq!(judged.verdict.confidence, Confidence::Certain);
    judged.says(software.title());
}

#[tokio::test]
async fn the_gateway_is_down() {
    for software in Software::ALL {
        let cell = Cell::before(software, Place::Behind, Way::Right, free_port()).await;
        let Some(cell) = cell else { continue };
        let (head, _) = cell.refused(&[]).await;
        let (status, line) = match software {
            Software::Nginx => (502, "check its proxy_pass"),
            Software::Haproxy => (503, "check the `server` line of its backend"),
        };
        assert_eq!(head.status(), status, "{}", cell.name);
        let judged = cell.judged(1).await;
        certain(judged.is("hop.fault.bad_gateway").next(line), software);

        // A request for a page.
        let mut conn = cell.connect().await;
        let (head, _) = conn.get("/page").await.expect("an answer");
        assert_eq!(head.status(), status, "{}", cell.name);
        let judged = plain(&cell, "/page").await;
        certain(judged.is("hop.fault.http_answer").next(line), software);
    }
}

/// The other way round the tap is the one that says so, and the proxy in front passes it on.
#[tokio::test]
async fn the_gateway_is_down_behind_the_tap() {
    for software in Software::ALL {
        let cell = Cell::before(software, Place::Front, Way::Right, free_port()).await;
        let Some(cell) = cell else { continue };
        let (head, _) = cell.refused(&[]).await;
        assert_eq!(head.status(), 502, "{}", cell.name);
        assert!(head.value("proxy-status").is_some(), "{}", head.text());
        cell.judged(1).await.is("gateway.unreachable.refused");
    }
}

#[tokio::test]
async fn the_gateway_never_answers() {
    for software in Software::ALL {
        let silent = never_answers::start(&Via::Plain).await;
        let cell = Cell::before(software, Place::Behind, Way::Impatient, silent.addr()).await;
        let Some(cell) = cell else { continue };
        let (head, _) = cell.refused(&[]).await;
        assert_eq!(head.status(), 504, "{}", cell.name);
        let judged = cell.judged(1).await;
        judged
            .is("hop.fault.bad_gateway")
            .says("did not answer it in time")
            .next(match software {
                Software::Nginx => "proxy_read_timeout",
                Software::Haproxy => "`timeout server`",
            });
        certain(&judged, software);
    }
}

#[tokio::test]
async fn maintenance() {
    for software in Software::ALL {
        if let Some(judged) = refused(software, Way::Closed, &[], 503).await {
            certain(judged.is("hop.fault.bad_gateway"), software);
        }
    }
}

#[tokio::test]
async fn a_redirect() {
    for (software, status) in [(Software::Nginx, 301), (Software::Haproxy, 302)] {
        let Some(judged) = refused(software, Way::Redirects, &[], status).await else {
            continue;
        };
        judged
            .is("hop.fault.redirect")
            .says("its Location is \"https://127.0.0.1");
        // HAProxy's has no body, and no mark of it.
        judged.says(match software {
            Software::Nginx => "nginx/1.",
            Software::Haproxy => "another server redirected",
        });
    }
}

#[tokio::test]
async fn a_login() {
    for software in Software::ALL {
        if let Some(judged) = refused(software, Way::Login, &[], 401).await {
            certain(judged.is("hop.fault.login"), software);
        }
        // With what it asks for, all is well.
        let Some(cell) = Cell::new(software, Place::Behind, Way::Login).await else {
            continue;
        };
        let mut conn = cell.connect().await;
        let basic = [("Authorization", "Basic YW5uOnNlY3JldA==")];
        let head = conn.upgrade("/", &basic).await.expect("an answer");
        assert_eq!(head.status(), 101, "{}", cell.name);
    }
}

#[tokio::test]
async fn a_head_that_is_too_large() {
    let cookie = "x".repeat(20_000);
    for software in Software::ALL {
        let more = [("Cookie", cookie.as_str())];
        let Some(judged) = refused(software, Way::Right, &more, 400).await else {
            continue;
        };
        judged
            .is("hop.fault.too_large")
            .says(software.title())
            .says("its head has about")
            .next(match software {
                Software::Nginx => "large_client_header_buffers",
                Software::Haproxy => "tune.bufsize",
            });
    }
}

#[tokio::test]
async fn a_target_that_is_too_long_for_nginx() {
    let Some(cell) = Cell::new(Software::Nginx, Place::Behind, Way::Right).await else {
        return;
    };
    let mut conn = cell.connect().await;
    let target = format!("/{}", "x".repeat(20_000));
    let head = conn.upgrade(&target, &[]).await.expect("an answer");
    assert_eq!(head.status(), 414);
    drop(conn);
    let judged = cell.judged(1).await;
    certain(judged.is("hop.fault.too_large"), Software::Nginx);
}

#[tokio::test]
async fn a_body_that_is_too_large_for_nginx() {
    let Some(cell) = Cell::new(Software::Nginx, Place::Behind, Way::Right).await else {
        return;
    };
    let mut conn = cell.connect().await;
    let body = "x".repeat(2000);
    let request = format!(
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    conn.send(request.as_bytes()).await.expect("send it");
    let head = conn.head().await.expect("an answer");
    assert_eq!(head.status(), 413);
    drop(conn);
    let judged = plain(&cell, "/upload").await;
    judged.next("client_max_body_size for a 413");
    certain(judged.is("hop.fault.too_large"), Software::Nginx);
}

/// The verdict on a request for a page.
async fn plain(cell: &Cell, target: &str) -> Judged {
    let is_it = |record: &SessionRecord| {
        let request = record.request.as_ref();
        record.kind == Kind::Http && request.is_some_and(|it| it.path.as_str() == target)
    };
    let record = cell.tap.wait_for(target, is_it).await;
    cell.told(&record)
}
