//! Envoy: `upgrade_configs` for web sockets, no time limit on routes and streams, and its limits raised to
//! what this machine allows.

use super::{Kind, Place};

pub(super) const KIND: Kind = Kind {
    name: "Envoy",
    program: "envoy",
    version: "--version",
    config: "envoy.yaml",
    write,
    args: |command, _| {
        command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warn"]);
        command.args(["-c", "envoy.yaml"]);
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
    let (port, gateway_port) = (addr.port(), gateway.port());
    format!(
        "static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
            alpn_protocols: [http/1.1]
            tls_certificates:
            - certificate_chain: {{ filename: {cert} }}
              private_key: {{ filename: {key} }}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          stream_idle_timeout: 0s
          upgrade_configs:
          - upgrade_type: websocket
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {folder}/access.log
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: gateway
              domains: ['*']
              routes:
              - match: {{ prefix: / }}
                route: {{ cluster: gateway, timeout: 0s }}
  clusters:
  - name: gateway
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {{ max_connections: {files}, max_pending_requests: {files}, max_requests: {files} }}
    load_assignment:
      cluster_name: gateway
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{ socket_address: {{ address: 127.0.0.1, port_value: {gateway_port} }} }}
"
    )
}
