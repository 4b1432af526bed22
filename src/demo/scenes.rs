//! The script: the client's part in each session, and the verdict that the session must get.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Error;

use super::client::{Client, Trust};
use super::gateway::TOKEN;
use crate::session::record::Class;

/// The configuration of the tap that a scene goes through.
#[derive(Clone, Copy, Debug)]
pub(super) enum TapSetup {
    /// With the defaults, in front of the stand-in gateway.
    Usual,
    /// With `timeouts.idle` of one second.
    Impatient,
    /// In front of a port where nothing listens.
    Orphan,
    /// With its own list of origins.
    Guarded,
}

/// One session of the script.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) title: &'static str,
    pub(super) way: TapSetup,
    pub(super) expected: Class,
    path: &'static str,
    play: Play,
}

/// The client's part.
#[derive(Clone, Copy, Debug)]
enum Play {
    /// Handshake, one request, empty Close.
    Good,
    /// Handshake with this token, then reads to the end.
    Token(&'static str),
    /// Handshake with a device not yet approved.
    NewDevice,
    /// Handshake from a page of this origin.
    Origin(&'static str),
    /// Handshake, then reads to the end.
    Watch,
    /// Handshake, then vanishes.
    Vanish,
    /// Handshake, then one frame larger than the gateway accepts.
    Oversized,
    /// Handshake, reads the large frame, then closes.
    ReadLarge,
    /// Asks for the upgrade and gets no 101.
    Refused,
}

pub(super) const SCENES: &[Scene] = &[
    Scene::new("a good session", "/", Play::Good, Class::Ok),
    Scene::new(
        "a wrong token",
        "/",
        Play::Token("not-the-token-not-the-token-not-it"),
        Class::GatewayAuth,
    ),
    Scene::new(
        "a device not yet approved",
        "/",
        Play::NewDevice,
        Class::GatewayPairing,
    ),
    Scene::new(
        "an origin the gateway refuses",
        "/",
        Play::Origin("https://elsewhere.example"),
        Class::GatewayOrigin,
    ),
    Scene {
        way: TapSetup::Guarded,
        ..Scene::new(
            "an origin the tap refuses",
            "/",
            Play::Origin("https://elsewhere.example"),
            Class::TapDenied,
        )
    },
    Scene::new(
        "the gateway resets mid-frame",
        "/demo/reset",
        Play::Watch,
        Class::GatewayLeft,
    ),
    Scene::new(
        "the gateway ends without Close",
        "/demo/fin",
        Play::Watch,
        Class::GatewayLeft,
    ),
    Scene::new("the client vanishes", "/", Play::Vanish, Class::ClientLeft),
    Scene {
        way: TapSetup::Impatient,
        ..Scene::new(
            "nobody speaks: idle timeout",
            "/",
            Play::Watch,
            Class::TapTimeout,
        )
    },
    Scene {
        way: TapSetup::Orphan,
        ..Scene::new(
            "nobody listens at the gateway",
            "/",
            Play::Refused,
            Class::GatewayUnreachable,
        )
    },
    Scene::new(
        "a web page instead of a 101",
        "/demo/page",
        Play::Refused,
        Class::HopFault,
    ),
    Scene::new(
        "a 101 with a wrong accept key",
        "/demo/accept-key",
        Play::Refused,
        Class::GatewayRefused,
    ),
    Scene::new(
        "the gateway restarts (1012)",
        "/demo/restart",
        Play::Watch,
        Class::GatewayLifecycle,
    ),
    Scene::new(
        "a frame too large (1009)",
        "/demo/small",
        Play::Oversized,
        Class::GatewayLimit,
    ),
    Scene::new(
        "a large frame comes slowly",
        "/demo/slow",
        Play::ReadLarge,
        Class::Ok,
    ),
];

impl Scene {
    const fn new(title: &'static str, path: &'static str, play: Play, expected: Class) -> Self {
        Self {
            title,
            way: TapSetup::Usual,
            expected,
            path,
            play,
        }
    }

    /// Plays the client's part. Some of these sessions end with an error by design.
    pub(super) async fn act(&self, addr: SocketAddr, trust: &Trust) -> Result<(), Error> {
        let origin = match self.play {
            Play::Origin(origin) => Some(origin),
            _ => None,
        };
        let mut client = Client::open(addr, trust, self.path, origin).await?;
        let token = match self.play {
            Play::Token(token) => token,
            _ => TOKEN,
        };
        client
            .handshake(token, matches!(self.play, Play::NewDevice))
            .await?;
        match self.play {
            Play::Good => {
                client
                    .send(r#"{"type":"req","id":"2","method":"health"}"#.to_owned())
                    .await?;
                client.next().await?;
                client.close().await?;
            }
            Play::ReadLarge => {
                client.next().await?;
                client.close().await?;
            }
            Play::Oversized => {
                client
                    .send("x".repeat(super::gateway::SMALL_LIMIT * 2))
                    .await?;
                client.until_the_end().await;
            }
            Play::Vanish => client.vanish(),
            _ => client.until_the_end().await,
        }
        Ok(())
    }
}

/// An address that refuses connections: its port was free a moment ago.
pub(super) async fn refusing_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0").await?.local_addr()
}
