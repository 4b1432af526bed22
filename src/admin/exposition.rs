//! `/metrics` in the text format of Prometheus (version 0.0.4).
//!
//! Written by hand: it is a few lines per family, and `prometheus-client` writes `OpenMetrics`,
//! where a counter's family and its samples have different names, which `promtool check metrics`
//! rejects.

use std::fmt::{Display, Write as _};

use super::ready::Expiry;
use super::reloads::Reloads;
use crate::session::added::{Added, BOUNDS_US};
use crate::session::party::Phase;
use crate::session::record::Class;
use crate::sink::live::Traffic;
use crate::sink::metrics::{BUCKETS, Counts};

/// The media type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All values of one scrape.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) counts: Counts,
    pub(super) traffic: Traffic,
    pub(super) added: Added,
    pub(super) phases: Vec<(Phase, usize)>,
    pub(super) connections: usize,
    pub(super) handshakes: usize,
    /// Lost records by sink.
    pub(super) dropped: Vec<(String, u64)>,
    /// Listeners with the end of their certificate's validity, in seconds since 1970.
    pub(super) certificates: Vec<Expiry>,
    /// Whether the last connection to the gateway succeeded; `None` if none was tried recently.
    pub(super) gateway: Option<bool>,
    pub(super) reloads: Reloads,
    pub(super) draining: bool,
    /// Seconds since 1970.
    pub(super) started: i64,
}

/// The whole text.
pub(super) fn text(facts: &Facts) -> String {
    let mut page = Page::default();
    let Facts {
        counts, traffic, ..
    } = facts;
    page.family("wstap_build_info", "gauge", "The running version.");
    page.sample(
        "wstap_build_info",
        &[("version", &env!("CARGO_PKG_VERSION"))],
        &1,
    );
    page.one(
        "wstap_start_time_seconds",
        "gauge",
        "When the tap started to serve.",
        &facts.started,
    );
    let draining = u8::from(facts.draining);
    page.one(
        "wstap_draining",
        "gauge",
        "1 while the tap is shutting down.",
        &draining,
    );
    if let Some(up) = facts.gateway {
        let help = "Whether the last connection to the gateway succeeded, if one was tried in the last minute.";
        page.one("wstap_gateway_up", "gauge", help, &u8::from(up));
    }
    page.one(
        "wstap_connections",
        "gauge",
        "Open client connections and HTTP/2 streams.",
        &facts.connections,
    );
    let help =
        "Connections in TLS, before their first request, or waiting for the answer to an upgrade.";
    page.one("wstap_handshakes", "gauge", help, &facts.handshakes);

    sessions(&mut page, facts);
    endings(&mut page, counts);
    flows(&mut page, counts, traffic);
    added(&mut page, &facts.added);
    steps(&mut page, counts);

    let name = "wstap_records_dropped_total";
    page.family(
        name,
        "counter",
        "Records lost because a sink was too slow, full or broken.",
    );
    for (sink, count) in &facts.dropped {
        page.sample(name, &[("sink", sink)], count);
    }
    let name = "wstap_records_left_out_total";
    page.family(
        name,
        "counter",
        "Sessions without a record because of records.http or records.connections.",
    );
    for kind in ["http", "connection"] {
        let count = counts.left_out.get(kind).copied().unwrap_or_default();
        page.sample(name, &[("kind", &kind)], &count);
    }
    page.one(
        "wstap_records_joined_total",
        "counter",
        "Sessions that share the record of a later one (its repeats).",
        &counts.joined,
    );
    let name = "wstap_certificate_expiry_timestamp_seconds";
    page.family(name, "gauge", "When a listener's certificate expires.");
    for Expiry {
        listener,
        position,
        at,
    } in &facts.certificates
    {
        page.sample(
            name,
            &[("listener", listener), ("certificate", position)],
            at,
        );
    }
    reloads(&mut page, &facts.reloads);
    page.0
}

fn reloads(page: &mut Page, reloads: &Reloads) {
    let name = "wstap_config_reloads_total";
    page.family(name, "counter", "Reloads of the configuration.");
    for (result, count) in [("applied", reloads.applied), ("refused", reloads.refused)] {
        page.sample(name, &[("result", &result)], &count);
    }
    page.one(
        "wstap_config_last_reload_successful",
        "gauge",
        "0 if the last reload was refused: the running configuration is not the one in the files.",
        &u8::from(!reloads.last_failed),
    );
    if let Some(at) = reloads.applied_at {
        let name = "wstap_config_last_reload_success_timestamp_seconds";
        page.one(
            name,
            "gauge",
            "When the last reload was applied.",
            &at.as_second(),
        );
    }
}

fn sessions(page: &mut Page, facts: &Facts) {
    let counts = &facts.counts;
    let name = "wstap_open_sessions";
    page.family(name, "gauge", "Open sessions, by their current phase.");
    for (phase, count) in &facts.phases {
        page.sample(name, &[("phase", &phase.as_str())], count);
    }
    let name = "wstap_sessions_total";
    page.family(
        name,
        "counter",
        "Sessions that ended, by kind and verdict class.",
    );
    for kind in ["connection", "http", "websocket"] {
        for class in Class::ALL {
            let class = class.as_str();
            let count = counts.sessions.get(&(kind, class)).copied().unwrap_or(0);
            page.sample(name, &[("kind", &kind), ("class", &class)], &count);
        }
    }
    let name = "wstap_upgrade_attempts_total";
    page.family(
        name,
        "counter",
        "Upgrade attempts that ended, by the phase that they reached.",
    );
    for (phase, count) in &counts.attempts {
        page.sample(name, &[("phase", phase)], count);
    }
}

fn endings(page: &mut Page, counts: &Counts) {
    let name = "wstap_close_frames_total";
    page.family(
        name,
        "counter",
        "Close frames, by code and sender; none: without a code.",
    );
    for ((code, from), count) in &counts.close_frames {
        page.sample(name, &[("from", from), ("code", code)], count);
    }
    let name = "wstap_close_observed_total";
    page.family(
        name,
        "counter",
        "Close codes that ends observed; 1005: no code, 1006: no Close.",
    );
    for ((code, leg), count) in &counts.close_observed {
        page.sample(name, &[("leg", leg), ("code", code)], count);
    }
    let name = "wstap_transport_ends_total";
    page.family(name, "counter", "How the legs of tunnels ended.");
    for ((how, leg), count) in &counts.transport_ends {
        page.sample(name, &[("leg", leg), ("how", how)], count);
    }
}

fn flows(page: &mut Page, counts: &Counts, traffic: &Traffic) {
    let both = [
        ("to_client", traffic.to_client),
        ("to_gateway", traffic.to_gateway),
    ];
    let name = "wstap_messages_total";
    page.family(
        name,
        "counter",
        "WebSocket messages that were completely relayed.",
    );
    for (direction, flow) in &both {
        page.sample(name, &[("direction", direction)], &flow.messages);
    }
    let name = "wstap_relayed_bytes_total";
    page.family(
        name,
        "counter",
        "Bytes that were relayed after the upgrade.",
    );
    for (direction, flow) in &both {
        page.sample(name, &[("direction", direction)], &flow.bytes);
    }
    let name = "wstap_buffered_bytes";
    page.family(
        name,
        "gauge",
        "Bytes waiting because their receiver does not read.",
    );
    for (direction, flow) in &both {
        page.sample(name, &[("direction", direction)], &flow.waiting);
    }
    let name = "wstap_blocked_seconds_total";
    let help = "Time that bytes waited for their receiver, in sessions that ended.";
    page.family(name, "counter", help);
    for (direction, _) in &both {
        let seconds = counts
            .blocked_seconds
            .get(direction)
            .copied()
            .unwrap_or(0.0);
        page.sample(name, &[("direction", direction)], &seconds);
    }
}

/// Bucket bounds in microseconds; each is also a bound of [`Added`].
const SHOWN_US: [u32; 12] = [
    5, 10, 25, 50, 100, 250, 500, 1000, 5000, 25_000, 100_000, 1_000_000,
];

fn added(page: &mut Page, added: &Added) {
    let name = "wstap_added_latency_seconds";
    let help =
        "Time in the tap from the wake-up in which bytes became readable until they were written.";
    page.family(name, "histogram", help);
    let bucket = format!("{name}_bucket");
    let (mut so_far, mut shown) = (0, SHOWN_US.into_iter().peekable());
    for (bound, count) in BOUNDS_US.into_iter().zip(added.counts) {
        so_far += count;
        if shown.next_if_eq(&bound).is_some() {
            let seconds = f64::from(bound) / 1e6;
            page.sample(&bucket, &[("le", &seconds)], &so_far);
        }
    }
    page.sample(&bucket, &[("le", &"+Inf")], &added.count());
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 nanoseconds are a hundred days"
    )]
    let sum = added.sum_ns as f64 / 1e9;
    page.sample(&format!("{name}_sum"), &[], &sum);
    page.sample(&format!("{name}_count"), &[], &added.count());
}

fn steps(page: &mut Page, counts: &Counts) {
    let name = "wstap_handshake_seconds";
    let help = "How long the steps to an open session took, in sessions that ended.";
    page.family(name, "histogram", help);
    for (step, histogram) in &counts.handshakes {
        let bucket = format!("{name}_bucket");
        let mut so_far = 0;
        for (bound, count) in BUCKETS.iter().zip(histogram.buckets) {
            so_far += count;
            page.sample(&bucket, &[("step", step), ("le", bound)], &so_far);
        }
        page.sample(
            &bucket,
            &[("step", step), ("le", &"+Inf")],
            &histogram.count,
        );
        page.sample(&format!("{name}_sum"), &[("step", step)], &histogram.sum);
        page.sample(
            &format!("{name}_count"),
            &[("step", step)],
            &histogram.count,
        );
    }
}

/// The text under construction. Writing to a String cannot fail.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: &dyn Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// Label values are our own words and addresses, so nothing in them needs escaping.
    fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: &dyn Display) {
        self.0.push_str(name);
        for (at, (label, of)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{of}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}
