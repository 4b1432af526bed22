//! Lists every text of a record that a peer wrote or that may quote one.
//!
//! The structs are destructured down to their last field: a new field does not compile until
//! somebody decides here whether a peer's words can be in it.

use serde_json::Value;

use super::client::{ClientCert, ClientFacts, ClientTls, TlsFailure, Via};
use super::close::{CloseFacts, CloseSeen, TransportEnds};
use super::dialect::openclaw::{
    ClientIdentity, DeviceFacts, DialectError, OpenClawFacts, ServerIdentity,
};
use super::dialect::{
    DialectFacts, MethodFacts, OtherError, OtherFacts, PlainFacts, RpcFacts, RpcFailure,
    ShutdownFacts, UnansweredRequest,
};
use super::gateway::{ForwardedFacts, GatewayFacts, SentHeader};
use super::proxy_protocol::{ProxyProtocolFacts, ProxyTls};
use super::request::{HeaderFact, NearestEntry, OriginFacts, RequestFacts};
use super::{AnswerFacts, PassedFacts, PassthroughFacts, SessionRecord, TapFacts};
use crate::session::credential::Credential;
use crate::session::text::PeerText;

/// A text that can be replaced.
pub trait Quoting {
    /// Returns the text.
    fn text(&self) -> &str;
    /// Replaces the text.
    fn rewrite(&mut self, text: String);
}

impl Quoting for PeerText {
    fn text(&self) -> &str {
        self.as_str()
    }
    fn rewrite(&mut self, text: String) {
        *self = Self::new(&text, usize::MAX);
    }
}

impl Quoting for String {
    fn text(&self) -> &str {
        self
    }
    fn rewrite(&mut self, text: String) {
        *self = text;
    }
}

/// Visits the texts one by one.
type Visit<'a> = &'a mut dyn FnMut(&mut dyn Quoting);

fn all<'a, T: Quoting + 'a>(texts: impl IntoIterator<Item = &'a mut T>, visit: Visit<'_>) {
    for text in texts {
        visit(text);
    }
}

impl SessionRecord {
    /// Visits every text that a peer may have written. The context and the verdict are built later,
    /// from finished records.
    pub fn each_text(&mut self, visit: Visit<'_>) {
        let Self {
            schema: _,
            id: _,
            kind: _,
            tap:
                TapFacts {
                    name: _,
                    version: _,
                    started_at: _,
                    listener: _,
                    listener_key: _,
                    mode: _,
                },
            opened_at: _,
            closed_at: _,
            duration_ms: _,
            phase: _,
            phases: _,
            client,
            request,
            auth,
            auth_dropped: _,
            origin,
            gateway,
            answer,
            frames: _,
            latency: _,
            passthrough,
            close,
            dialect,
            context: _,
            repeats: _,
            verdict: _,
        } = self;
        of_client(client, visit);
        if let Some(request) = request {
            of_request(request, visit);
        }
        of_credentials(auth, visit);
        if let Some(origin) = origin {
            of_origin(origin, visit);
        }
        if let Some(gateway) = gateway {
            of_gateway(gateway, visit);
        }
        if let Some(AnswerFacts {
            by: _,
            status: _,
            error: _,
            body_bytes: _,
            request_body_bytes: _,
            complete: _,
        }) = answer
        {}
        if let Some(passthrough) = passthrough {
            of_passthrough(passthrough, visit);
        }
        of_close(close, visit);
        if let Some(dialect) = dialect {
            of_dialect(dialect, visit);
        }
    }
}

fn of_passthrough(passthrough: &mut PassthroughFacts, visit: Visit<'_>) {
    let PassthroughFacts {
        client_hello: _,
        sni,
        alpn_offered,
        to_gateway,
        to_client,
    } = passthrough;
    all(sni, visit);
    all(alpn_offered, visit);
    for direction in [to_gateway, to_client] {
        let PassedFacts {
            bytes: _,
            plain_http: _,
            protected: _,
            first_at: _,
            last_at: _,
            alert: _,
            last_record: _,
        } = direction;
    }
}

/// The texts of a request's head.
pub fn of_request(request: &mut RequestFacts, visit: Visit<'_>) {
    let RequestFacts {
        method,
        http_version: _,
        host,
        path,
        origin,
        subprotocols,
        extensions,
        user_agent,
        headers,
        dropped,
        wants_upgrade: _,
        has_websocket_key: _,
    } = request;
    visit(method);
    visit(path);
    let single = [host, origin, extensions, user_agent];
    all(single.into_iter().flatten(), visit);
    all(subprotocols, visit);
    all(dropped, visit);
    of_headers(headers, visit);
}

/// The peer's words in the credential facts.
pub fn of_credentials(credentials: &mut [Credential], visit: Visit<'_>) {
    for credential in credentials {
        let Credential {
            place,
            scheme,
            user,
            length: _,
            fingerprint: _,
            inner: _,
            shape: _,
            effective: _,
        } = credential;
        visit(place);
        all([scheme, user].into_iter().flatten(), visit);
    }
}

fn of_headers(headers: &mut [HeaderFact], visit: Visit<'_>) {
    for HeaderFact {
        name,
        value,
        length: _,
    } in headers
    {
        visit(name);
        all(value, visit);
    }
}

fn of_origin(origin: &mut OriginFacts, visit: Visit<'_>) {
    let OriginFacts {
        value,
        normalised,
        decision: _,
        // Both come from the configuration.
        rule: _,
        nearest,
        error_kind: _,
        error: _,
    } = origin;
    all(value, visit);
    all(normalised, visit);
    if let Some(NearestEntry {
        entry: _,
        why: _,
        text,
    }) = nearest
    {
        visit(text);
    }
}

fn of_client(client: &mut ClientFacts, visit: Visit<'_>) {
    let ClientFacts {
        addr: _,
        via,
        proxy_protocol,
        process: _,
        tls,
        first_bytes: _,
        bytes_read: _,
        tcp: _,
        http2: _,
    } = client;
    if let Some(Via {
        kind: _,
        peer: _,
        header: _,
        chain,
        resolved: _,
    }) = via
    {
        all(chain, visit);
    }
    if let Some(header) = proxy_protocol.as_deref_mut() {
        of_proxy_header(header, visit);
    }
    if let Some(tls) = tls {
        of_tls(tls, visit);
    }
}

fn of_proxy_header(header: &mut ProxyProtocolFacts, visit: Visit<'_>) {
    let ProxyProtocolFacts {
        version: _,
        command: _,
        source: _,
        destination: _,
        authority,
        alpn,
        unique_id,
        tls,
        checked: _,
        fault: _,
    } = header;
    all([authority, alpn, unique_id].into_iter().flatten(), visit);
    if let Some(ProxyTls {
        version,
        cipher,
        client_cn,
        client_verified: _,
    }) = tls
    {
        all([version, cipher, client_cn].into_iter().flatten(), visit);
    }
}

fn of_tls(tls: &mut ClientTls, visit: Visit<'_>) {
    let ClientTls {
        version: _,
        cipher: _,
        alpn,
        alpn_offered,
        sni,
        sni_match: _,
        host_differs: _,
        certificate: _,
        self_made: _,
        our_names: _,
        resumed: _,
        client_cert,
        handshake_ms: _,
        failure,
    } = tls;
    all([alpn, sni].into_iter().flatten(), visit);
    all(alpn_offered, visit);
    if let Some(ClientCert {
        subject,
        issuer,
        names,
        sha256: _,
        not_before: _,
        not_after: _,
    }) = client_cert.as_deref_mut()
    {
        all([subject, issuer], visit);
        all(names, visit);
    }
    if let Some(TlsFailure {
        alert: _,
        kind: _,
        detail,
    }) = failure
    {
        visit(detail);
    }
}

fn of_gateway(gateway: &mut GatewayFacts, visit: Visit<'_>) {
    let GatewayFacts {
        url: _,
        expects: _,
        addr: _,
        local_addr: _,
        dns: _,
        connect_ms: _,
        attempts: _,
        tls: _,
        reused: _,
        kept_ms: _,
        // Our own address, times and an enum: no peer's words.
        retried: _,
        status: _,
        response_headers,
        upgrade_ms: _,
        body_kind: _,
        page_by: _,
        tls_words: _,
        server,
        subprotocol,
        forwarded,
        error,
        tcp: _,
    } = gateway;
    of_headers(response_headers, visit);
    all([server, subprotocol].into_iter().flatten(), visit);
    if let Some(ForwardedFacts {
        mode: _,
        why: _,
        brought,
        sent,
        acceptance: _,
    }) = forwarded
    {
        all(brought, visit);
        for SentHeader { name: _, value } in sent {
            visit(value);
        }
    }
    if let Some(error) = error {
        visit(&mut error.detail);
    }
}

fn of_close(close: &mut CloseFacts, visit: Visit<'_>) {
    let CloseFacts {
        first: _,
        first_act: _,
        client,
        gateway,
        tap,
        transport,
        client_saw: _,
        gateway_saw: _,
        timer: _,
        cap: _,
        drained: _,
        fault,
        denied,
        refused,
    } = close;
    for CloseSeen {
        code: _,
        reason,
        at: _,
        breaks: _,
    } in [client, gateway, tap].into_iter().flatten()
    {
        visit(reason);
    }
    let TransportEnds {
        client: _,
        gateway: _,
        client_at: _,
        gateway_at: _,
        client_cause,
        gateway_cause,
        client_fault: _,
        gateway_fault: _,
        client_refused_at: _,
        client_reset: _,
        client_reset_code: _,
    } = transport;
    all(
        [client_cause, gateway_cause, fault].into_iter().flatten(),
        visit,
    );
    if let Some(denied) = denied {
        visit(&mut denied.detail);
    }
    if let Some(refused) = refused {
        visit(&mut refused.detail);
    }
}

fn of_dialect(dialect: &mut DialectFacts, visit: Visit<'_>) {
    match dialect {
        DialectFacts::OpenClaw(facts) => of_openclaw(facts, visit),
        DialectFacts::Plain(PlainFacts) => {}
        DialectFacts::Other(facts) => of_other(facts, visit),
    }
}

fn of_other(facts: &mut OtherFacts, visit: Visit<'_>) {
    let OtherFacts {
        name: _,
        asked_at: _,
        answered_at: _,
        result: _,
        error,
        shutdown,
        inflate: _,
        rest,
    } = facts;
    if let Some(OtherError {
        code,
        message,
        retry_after_ms: _,
    }) = error
    {
        all([code, message].into_iter().flatten(), visit);
    }
    if let Some(ShutdownFacts {
        reason,
        restart_expected_ms: _,
        at: _,
    }) = shutdown
    {
        all(reason, visit);
    }
    for value in rest.values_mut() {
        of_json(value, visit);
    }
}

/// Every text in JSON whose form is not known.
fn of_json(value: &mut Value, visit: Visit<'_>) {
    match value {
        Value::String(text) => {
            let mut peers = PeerText::new(text, usize::MAX);
            visit(&mut peers);
            *text = peers.into();
        }
        Value::Array(items) => items.iter_mut().for_each(|item| of_json(item, visit)),
        Value::Object(fields) => fields.values_mut().for_each(|item| of_json(item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn of_openclaw(facts: &mut OpenClawFacts, visit: Visit<'_>) {
    let OpenClawFacts {
        endpoint: _,
        first_of_gateway: _,
        challenge_at: _,
        connect_at: _,
        answered_at: _,
        first_message: _,
        client,
        device: DeviceFacts { present: _, id },
        role,
        scopes_asked,
        scopes_granted,
        protocol: _,
        conn_id,
        server,
        result: _,
        error,
        issued_token: _,
        max_payload: _,
        max_buffered: _,
        tick_interval_ms: _,
        shutdown,
        rpc,
        inflate: _,
    } = facts;
    all([id, role, conn_id].into_iter().flatten(), visit);
    let scopes = [scopes_asked, scopes_granted].into_iter().flatten();
    all(scopes.flatten(), visit);
    if let Some(ClientIdentity { id, mode, version }) = client {
        all([id, mode, version].into_iter().flatten(), visit);
    }
    if let Some(ServerIdentity {
        version,
        build_id,
        boot_id,
        uptime_ms: _,
    }) = server
    {
        all([version, build_id, boot_id].into_iter().flatten(), visit);
    }
    if let Some(DialectError {
        code,
        details_code,
        details_reason,
        message,
        request_id,
        next_step,
        retry_after_ms: _,
        expected_protocol: _,
    }) = error
    {
        let texts = [
            code,
            details_code,
            details_reason,
            message,
            request_id,
            next_step,
        ];
        all(texts.into_iter().flatten(), visit);
    }
    if let Some(ShutdownFacts {
        reason,
        restart_expected_ms: _,
        at: _,
    }) = shutdown
    {
        all(reason, visit);
    }
    if let Some(rpc) = rpc {
        of_requests(rpc, visit);
    }
}

fn of_requests(rpc: &mut RpcFacts, visit: Visit<'_>) {
    let RpcFacts {
        requests: _,
        responses: _,
        errors: _,
        unmatched: _,
        duplicate_ids: _,
        untracked: _,
        unseen_to_gateway: _,
        unseen_to_client: _,
        unanswered_count: _,
        unanswered,
        unfinished_count: _,
        unfinished,
        methods,
        failures,
    } = rpc;
    for UnansweredRequest {
        method,
        at: _,
        age_ms: _,
        written: _,
    } in unanswered.iter_mut().chain(unfinished)
    {
        visit(method);
    }
    for MethodFacts {
        method,
        requests: _,
        responses: _,
        errors: _,
        latency_ms: _,
    } in methods
    {
        all(method, visit);
    }
    for RpcFailure {
        method,
        code,
        details_code,
        message,
        missing_scope,
        count: _,
        first_at: _,
    } in failures
    {
        visit(method);
        let texts = [code, details_code, message, missing_scope];
        all(texts.into_iter().flatten(), visit);
    }
}
