//! nginx as people configure it, right and wrong.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::proxy::Way;

/// The lines that make upgrades pass.
const RIGHT: [&str; 5] = [
    "proxy_http_version 1.1;",
    "proxy_set_header Upgrade $http_upgrade;",
    "proxy_set_header Connection upgrade;",
    "proxy_set_header Host $http_host;",
    "proxy_read_timeout 1h;",
];

/// Its `server` block.
pub fn server(folder: &Path, way: Way, listen: SocketAddr, upstream: SocketAddr) -> String {
    // A user `ann` with the password `secret`.
    fs::write(folder.join("users"), "ann:{PLAIN}secret\n").expect("write the users");
    let folder = folder.display();
    let without = |names: &[&str]| {
        let lines = RIGHT
            .iter()
            .filter(|line| !names.iter().any(|name| line.contains(name)));
        lines.copied().collect::<Vec<_>>().join("\n")
    };
    let with = |line: &str| format!("{}\n{line}", without(&[]));
    let lines = match way {
        Way::Right => without(&[]),
        Way::Buffering => with("proxy_buffering on; proxy_request_buffering on;"),
        Way::Untouched => String::new(),
        Way::NoUpgrade => without(&["$http_upgrade"]),
        Way::NoConnection => without(&["Connection"]),
        Way::Neither => without(&["$http_upgrade", "Connection"]),
        Way::Http10 => without(&["proxy_http_version"]),
        Way::Impatient => format!("{}\nproxy_read_timeout 2s;", without(&["1h"])),
        Way::OtherKey => with("proxy_set_header Sec-WebSocket-Key AAAAAAAAAAAAAAAAAAAAAA==;"),
        Way::BadKey => with("proxy_set_header Sec-WebSocket-Key none;"),
        Way::OtherVersion => with("proxy_set_header Sec-WebSocket-Version 7;"),
        Way::NoAccept => with("proxy_hide_header Sec-WebSocket-Accept;"),
        Way::OtherOrigin => with("proxy_set_header Origin http://internal;"),
        Way::OtherHost => without(&["Host"]),
        Way::Attributes => with("proxy_set_header X-Forwarded-For $remote_addr;"),
        Way::Redirects => "return 301 https://$host$request_uri;".to_owned(),
        Way::Login => with(&format!(
            "auth_basic gate; auth_basic_user_file {folder}/users;"
        )),
        Way::Closed => "return 503;".to_owned(),
    };
    format!(
        "server {{
            listen {listen};
            client_max_body_size 1k;
            location / {{
                proxy_pass http://{upstream};
                {lines}
            }}
        }}"
    )
}
