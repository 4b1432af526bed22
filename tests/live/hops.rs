//! nginx and `HAProxy` before the tap and behind it, with the real gateway at the end: it answers a
//! changed handshake as the stand-in of `crate::hops` does.

use super::gateway::{Gateway, TOKEN};
use super::turn;
use crate::hops::proxy::{Software, Way};
use crate::hops::{Cell, Place};

#[tokio::test]
async fn the_gateway_behind_proxies_is_as_the_stand_in() {
    let Some((_turn, install)) = turn("live: hops").await else {
        return;
    };
    let gateway = Gateway::start(&install).await;
    for software in Software::ALL {
        for place in Place::BOTH {
            let Some(cell) = Cell::before(software, place, Way::Right, gateway.addr()).await else {
                continue;
            };
            cell.visit(TOKEN).await;
            cell.judged(1).await.is("ok.client_closed");
        }
        let mangled = match software {
            Software::Nginx => "hop.fault.handshake_mangled",
            Software::Haproxy => "gateway.refused.bad_handshake",
        };
        let behind = [
            (Way::NoUpgrade, 200, "hop.fault.upgrade_stripped_behind"),
            (Way::Neither, 200, "hop.fault.upgrade_stripped_behind"),
            (Way::NoConnection, 400, mangled),
            (Way::BadKey, 400, mangled),
            (Way::OtherVersion, 400, mangled),
            (Way::Attributes, 403, "gateway.refused.attribution_behind"),
        ];
        for (way, status, rule) in behind {
            let cell = Cell::before(software, Place::Behind, way, gateway.addr()).await;
            let Some(cell) = cell else { continue };
            let (head, _) = cell.refused(&[]).await;
            assert_eq!(head.status(), status, "{}", head.text());
            cell.judged(1).await.is(rule);
        }
    }
}
