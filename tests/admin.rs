//! The admin listener of the running tap, and the commands that ask it.

mod flood;
mod guard;
mod health;
mod metrics;
mod sessions;

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::client::connect;
use crate::support::head::Head;
use crate::support::tap::Tap;

/// An answer of the admin listener.
pub struct Answer {
    pub head: Head,
    pub body: String,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Sends these bytes and reads to the end of the connection, which comes after one answer.
pub async fn raw(addr: SocketAddr, request: &[u8]) -> Answer {
    let mut conn = connect(addr).await;
    conn.send(request).await.unwrap();
    let head = conn.head().await.unwrap();
    let (body, _) = conn.rest().await;
    let body = String::from_utf8(body).unwrap();
    Answer { head, body }
}

/// A GET with these header lines besides Host.
pub async fn get_with(tap: &Tap, path: &str, headers: &str) -> Answer {
    let addr = tap.admin();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n{headers}\r\n");
    raw(addr, request.as_bytes()).await
}

pub async fn get(tap: &Tap, path: &str) -> Answer {
    get_with(tap, path, "").await
}

/// Runs a command of the program: exit code, stdout and stderr.
pub async fn wstap(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSTAP_")) {
        command.env_remove(name);
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}
