//! `wstap map` and the real gateway: it is found behind a proxy, and the map leaves nothing there.

use serde_json::Value;

use super::gateway::{Gateway, TOKEN};
use super::{Install, turn};
use crate::map::{is_fine, kinds, mapped, node};
use crate::support::tap::{Face, Setup};

/// The gateway's devices and pairing requests.
async fn devices(gateway: &Gateway, install: &Install) -> Value {
    let url = gateway.url().replace("http", "ws");
    let args = ["devices", "list", "--json", "--url", &url, "--token", TOKEN];
    let output = gateway.command_line(install, &args).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn real_gateway_behind_a_tap() {
    let Some((_turn, install)) = turn("live: map").await else {
        return;
    };
    let gateway = Gateway::start(&install).await;
    // The command line tool pairs itself first.
    let _ = devices(&gateway, &install).await;
    let before = devices(&gateway, &install).await;
    let url = gateway.url().replace("http", "ws");
    let direct = mapped(&[&url], None).await;
    is_fine(&direct);
    let expected = ["client", "address", "listener", "process"];
    assert_eq!(kinds(&direct), expected, "{direct}");

    let tap = Setup::before_url(&gateway.url()).start().await;
    let map = mapped(&[&format!("ws://{}", tap.addr(Face::Plain))], None).await;
    is_fine(&map);
    let expected = [
        "client", "address", "listener", "proxy", "address", "listener", "process",
    ];
    assert_eq!(kinds(&map), expected, "{map}");
    assert_eq!(
        node(&map, "process")["pid"],
        node(&direct, "process")["pid"]
    );
    assert_eq!(
        devices(&gateway, &install).await,
        before,
        "the gateway keeps something"
    );
}
