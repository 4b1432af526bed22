//! HAProxy in HTTP mode; `timeout tunnel` is what its manual has for web sockets.

use super::{Kind, Place};

pub(super) const KIND: Kind = Kind {
    name: "HAProxy",
    program: "haproxy",
    version: "-v",
    config: "haproxy.cfg",
    write,
    args: |command, _| {
        command.args(["-db", "-f", "haproxy.cfg"]);
    },
};

fn write(place: &Place<'_>) -> String {
    let Place {
        certificate,
        gateway,
        addr,
        files,
        ..
    } = place;
    let both = certificate.both.display();
    // A session has two files, and it keeps some for itself.
    let most = files.saturating_sub(100) / 2;
    // It has no log files of its own: what it prints goes into one.
    format!(
        "global
    nbthread 1
    maxconn {most}
    log stdout format raw local0
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode http
    log global
    option httplog
    option forwardfor
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend clients
    bind {addr} ssl crt {both} alpn http/1.1
    default_backend gateway
backend gateway
    server gateway {gateway}
"
    )
}
