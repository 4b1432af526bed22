//! Proxies that lose the headers of the upgrade.

use super::proxy::{Software, Way};
use super::{Cell, Judged, Place};
use crate::peers::openclaw::TOKEN;

/// The status that the client got, and the verdict.
async fn refused(software: Software, place: Place, way: Way) -> Option<(u16, Judged)> {
    let cell = Cell::new(software, place, way).await?;
    let (head, _) = cell.refused(&[]).await;
    Some((head.status(), cell.judged(1).await))
}

/// Without one of them it is a page request to the gateway: its page comes back.
#[tokio::test]
async fn stripped_in_front() {
    let ways = [
        (Way::NoUpgrade, "stripped Upgrade from"),
        (Way::NoConnection, "stripped Connection: Upgrade from"),
        (Way::Neither, "stripped Upgrade and Connection from"),
    ];
    for (way, words) in ways {
        for software in Software::ALL {
            let Some((status, judged)) = refused(software, Place::Front, way).await else {
                continue;
            };
            assert_eq!(status, 200, "{}", judged.cell);
            // Nothing shows which proxy it was, so the lines for both are there.
            judged
                .is("hop.fault.upgrade_stripped")
                .says(words)
                .next("proxy_set_header Upgrade $http_upgrade")
                .next("no `http-request del-header`");
        }
    }
}

#[tokio::test]
async fn upgrade_stripped_behind() {
    for way in [Way::NoUpgrade, Way::Neither] {
        for software in Software::ALL {
            let Some((status, judged)) = refused(software, Place::Behind, way).await else {
                continue;
            };
            assert_eq!(status, 200, "{}", judged.cell);
            judged.is("hop.fault.upgrade_stripped_behind");
            match software {
                Software::Nginx => judged
                    .says("nginx/1.")
                    .next("in nginx's location for this path set proxy_http_version 1.1;"),
                Software::Haproxy => judged.next("no `http-request del-header` for them"),
            };
        }
    }
}

/// The gateway's 400 bears the marks of nginx, and none of `HAProxy`.
#[tokio::test]
async fn connection_stripped_behind() {
    for software in Software::ALL {
        let Some((status, judged)) = refused(software, Place::Behind, Way::NoConnection).await
        else {
            continue;
        };
        assert_eq!(status, 400, "{}", judged.cell);
        match software {
            Software::Nginx => judged
                .is("hop.fault.handshake_mangled")
                .says("between us and the gateway dropped Connection: Upgrade")
                .says("nginx/1.")
                .next("proxy_set_header Connection \"upgrade\";"),
            Software::Haproxy => judged
                .is("gateway.refused.bad_handshake")
                .next("HAProxy: no `set-header` or `del-header`"),
        };
        assert_eq!(
            judged.verdict.act_on,
            wstap::session::record::verdict::ActOn::Hop
        );
    }
}

/// nginx speaks HTTP/1.0 to what is behind it unless it is told otherwise, and strips both.
#[tokio::test]
async fn nginx_as_it_is_installed() {
    if let Some((_, judged)) = refused(Software::Nginx, Place::Front, Way::Untouched).await {
        judged
            .is("hop.fault.upgrade_stripped")
            .says("most likely nginx, stripped Upgrade and Connection")
            .says("it came in HTTP/1.0")
            .next("in nginx's location for this path set proxy_http_version 1.1;");
    }
    if let Some((_, judged)) = refused(Software::Nginx, Place::Behind, Way::Untouched).await {
        judged
            .is("hop.fault.upgrade_stripped_behind")
            .says("nginx/1.")
            .next("in nginx's location for this path set proxy_http_version 1.1;");
    }
}

/// The line for HTTP/1.1 forgotten. The tap refuses that; the gateway's WebSocket library does not
/// look at the version.
#[tokio::test]
async fn nginx_without_its_http_version() {
    if let Some((status, judged)) = refused(Software::Nginx, Place::Front, Way::Http10).await {
        assert_eq!(status, 400);
        judged
            .is("client.fault.upgrade_http10")
            .says("most likely by nginx in front of us")
            .next("proxy_http_version 1.1;");
    }
    let Some(cell) = Cell::new(Software::Nginx, Place::Behind, Way::Http10).await else {
        return;
    };
    cell.visit(TOKEN).await;
    cell.judged(1).await.is("ok.client_closed");
}

/// `HAProxy` passes upgrades by itself.
#[tokio::test]
async fn haproxy_as_it_is_installed() {
    for place in Place::BOTH {
        let Some(cell) = Cell::new(Software::Haproxy, place, Way::Untouched).await else {
            continue;
        };
        cell.visit(TOKEN).await;
        cell.judged(1).await.is("ok.client_closed");
    }
}
