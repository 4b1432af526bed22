//! Caddy: its `reverse_proxy` upgrades by itself; `flush_interval -1` is its manual's word for streams.

use super::{Kind, Place};

pub(super) const KIND: Kind = Kind {
    name: "Caddy",
    program: "caddy",
    version: "version",
    config: "Caddyfile",
    write,
    args: |command, place| {
        command.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]);
        command.env("GOMAXPROCS", "1");
        for folder in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(folder, place.folder);
        }
    },
};

fn write(place: &Place<'_>) -> String {
    let Place {
        folder,
        certificate,
        gateway,
        addr,
        ..
    } = place;
    let (folder, cert, key) = (
        folder.display(),
        certificate.cert.display(),
        certificate.key.display(),
    );
    let port = addr.port();
    format!(
        "{{
    admin off
    auto_https off
    log {{
        level WARN
    }}
    servers {{
        protocols h1
    }}
}}
https://localhost:{port} {{
    bind 127.0.0.1
    tls {cert} {key} {{
        protocols tls1.3
    }}
    log {{
        output file {folder}/access.log
        level INFO
    }}
    reverse_proxy {gateway} {{
        flush_interval -1
    }}
}}
"
    )
}
