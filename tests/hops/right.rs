//! Proxies that do what they should: nothing is said against them.

use super::proxy::{Software, Way};
use super::{Cell, Place};
use crate::peers::openclaw::TOKEN;

async fn works(way: Way) {
    for software in Software::ALL {
        for place in Place::BOTH {
            let Some(cell) = Cell::new(software, place, way).await else {
                continue;
            };
            cell.visit(TOKEN).await;
            cell.judged(1).await.is("ok.client_closed");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_passes_upgrades_is_not_noticed() {
    works(Way::Right).await;
}

/// Both stop buffering with the 101, whatever they are told: it does no harm to frames.
#[tokio::test]
async fn buffering_of_bodies_does_no_harm() {
    works(Way::Buffering).await;
}

#[tokio::test]
async fn another_host_does_no_harm_to_a_client_that_is_no_page() {
    works(Way::OtherHost).await;
}
