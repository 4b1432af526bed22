//! Events on the gateway's side.

use std::time::Duration;

use super::Recorder;
use crate::session::dial::DialFacts;
use crate::session::moment::millis;
use crate::session::party::Phase;
use crate::session::record::frames::TcpFacts;
use crate::session::record::gateway::{ForwardedFacts, PageBy, RetriedFacts, TlsWords};
use crate::session::record::request::HeaderFact;
use crate::session::record::{BodyKind, GatewayError, GatewayFacts};
use crate::session::text::PeerText;

/// The head of the gateway's answer.
#[derive(Debug)]
pub struct AnswerHead {
    /// Its status.
    pub status: u16,
    /// Its headers, masked.
    pub headers: Vec<HeaderFact>,
    /// How long after the request it came.
    pub waited: Duration,
    /// Its `Server` header.
    pub server: Option<PeerText>,
}

/// What the beginning of an answer's body shows about its author.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyLook {
    /// Kind of the body.
    pub kind: Option<BodyKind>,
    /// Server whose error page it is.
    pub page_by: Option<PageBy>,
    /// Text about a mix-up of plain HTTP and TLS.
    pub tls_words: Option<TlsWords>,
}

impl Recorder {
    fn gateway(&mut self) -> &mut GatewayFacts {
        self.facts.gateway.get_or_insert_default()
    }

    /// The gateway at `url`, which is expected to speak this dialect, is about to be dialled.
    pub fn dialling(&mut self, url: String, expects: String) {
        let gateway = self.gateway();
        gateway.url = url;
        gateway.expects = expects;
        self.reach(Phase::Dial);
    }

    /// The gateway was connected, or the dial failed. Records the facts of the dial.
    pub fn dialled(&mut self, dial: &DialFacts) {
        let gateway = self.gateway();
        gateway.addr.clone_from(&dial.addr);
        gateway.local_addr.clone_from(&dial.local_addr);
        gateway.dns.clone_from(&dial.dns);
        gateway.connect_ms = dial.connect_ms;
        // If there was only one address, the other fields show everything.
        gateway.attempts = if dial.attempts.len() < 2 {
            Vec::new()
        } else {
            dial.attempts.clone()
        };
        gateway.tls.clone_from(&dial.tls);
    }

    /// The connection to the gateway failed.
    pub fn dial_failed(&mut self, dial: &DialFacts, error: GatewayError) {
        self.dialled(dial);
        self.gateway().error = Some(Box::new(error));
    }

    /// The request is on its way to the gateway.
    pub fn request_sent(&mut self) {
        self.reach(Phase::Upgrade);
    }

    /// The request goes out on a connection that had been kept for this long, or on a new one
    /// (`None`).
    pub fn connection_chosen(&mut self, kept: Option<Duration>) {
        let gateway = self.gateway();
        gateway.reused = kept.is_some();
        gateway.kept_ms = kept.map(millis);
    }

    /// The kept connection had ended: the request is sent again, on a new one.
    pub fn retried(&mut self, retried: RetriedFacts) {
        self.connection_chosen(None);
        self.gateway().retried = Some(Box::new(retried));
    }

    /// The attribution headers that the request carries to the gateway.
    pub fn forwarded(&mut self, forwarded: ForwardedFacts) {
        self.gateway().forwarded = Some(forwarded);
    }

    /// The head of the gateway's answer came.
    pub fn answered(&mut self, head: AnswerHead) {
        let gateway = self.gateway();
        gateway.status = Some(head.status);
        gateway.response_headers = head.headers;
        gateway.upgrade_ms = Some(millis(head.waited));
        gateway.server = head.server;
        self.reach(Phase::Upgrade);
    }

    /// The subprotocol that the gateway chose.
    pub fn subprotocol_chosen(&mut self, subprotocol: Option<PeerText>) {
        if let Some(gateway) = &mut self.facts.gateway {
            gateway.subprotocol = subprotocol;
        }
    }

    /// The gateway failed; the first failure counts.
    pub fn gateway_failed(&mut self, error: GatewayError) {
        self.gateway().error.get_or_insert_with(|| Box::new(error));
    }

    /// The gateway's answer ended before its body did; the first failure counts.
    pub fn body_failed(&mut self, error: GatewayError) {
        if let Some(gateway) = &mut self.facts.gateway {
            gateway.error.get_or_insert_with(|| Box::new(error));
        }
    }

    /// What the beginning of the gateway's body shows about its author.
    pub fn body_looked_at(&mut self, look: BodyLook) {
        if let Some(gateway) = &mut self.facts.gateway {
            gateway.body_kind = look.kind;
            gateway.page_by = look.page_by;
            gateway.tls_words = look.tls_words;
        }
    }

    /// The kernel's counters for the gateway's connection.
    pub fn gateway_tcp(&mut self, tcp: Option<TcpFacts>) {
        if tcp.is_some() {
            self.gateway().tcp = tcp;
        }
    }
}
