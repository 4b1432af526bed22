//! nginx: <https://nginx.org/en/docs/http/websocket.html>.

use super::{Kind, Place};

pub(super) const KIND: Kind = Kind {
    name: "nginx",
    program: "nginx",
    version: "-v",
    config: "nginx.conf",
    write,
    args: |command, place| {
        command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]);
        command.arg(place.folder);
    },
};

fn write(place: &Place<'_>) -> String {
    let Place {
        folder,
        certificate,
        gateway,
        addr,
        files,
    } = place;
    let (folder, cert, key) = (
        folder.display(),
        certificate.cert.display(),
        certificate.key.display(),
    );
    format!(
        "daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/pid;
events {{ worker_connections {files}; }}
http {{
    access_log {folder}/access.log combined;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        '' close;
    }}
    server {{
        listen {addr} ssl;
        server_name localhost;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        location / {{
            proxy_pass http://{gateway};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
            proxy_buffering off;
        }}
    }}
}}
"
    )
}
