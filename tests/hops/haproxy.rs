//! `HAProxy` as people configure it, right and wrong.

use std::net::SocketAddr;

use super::proxy::Way;

pub fn configuration(way: Way, listen: SocketAddr, upstream: SocketAddr) -> String {
    let set = |what: &str| format!("http-request {what}");
    let rules = match way {
        Way::Right | Way::Untouched | Way::Impatient | Way::Http10 => String::new(),
        Way::Buffering => "option http-buffer-request".to_owned(),
        Way::NoUpgrade => set("del-header Upgrade"),
        Way::NoConnection => set("del-header Connection"),
        Way::Neither => format!(
            "{}\n{}",
            set("del-header Upgrade"),
            set("del-header Connection")
        ),
        Way::OtherKey => set("set-header Sec-WebSocket-Key AAAAAAAAAAAAAAAAAAAAAA=="),
        Way::BadKey => set("set-header Sec-WebSocket-Key none"),
        Way::OtherVersion => set("set-header Sec-WebSocket-Version 7"),
        Way::NoAccept => "http-response del-header Sec-WebSocket-Accept".to_owned(),
        Way::OtherOrigin => set("set-header Origin http://internal"),
        Way::OtherHost => set("set-header Host internal"),
        Way::Attributes => "option forwardfor".to_owned(),
        Way::Redirects => set("redirect scheme https"),
        Way::Login => set("auth realm gate unless { http_auth(users) }"),
        Way::Closed => set("deny deny_status 503"),
    };
    let (tunnel, server) = match way {
        Way::Impatient => ("2s", "2s"),
        _ => ("1h", "1m"),
    };
    format!(
        "userlist users
    user ann insecure-password secret
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 1m
    timeout server {server}
    timeout tunnel {tunnel}
frontend in
    bind {listen}
    {rules}
    default_backend out
backend out
    server up {upstream}
"
    )
}
