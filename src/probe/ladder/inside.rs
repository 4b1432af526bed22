//! The rungs of the session: upgrade, challenge, authentication, scopes and channels.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::super::channels;
use super::super::report::{Rung, Status};
use super::super::session::{Heard, OwnTap};
use super::climber::Climber;
use crate::session::SessionRecord;
use crate::session::moment::millis;
use crate::session::record::Class;
use crate::session::text::PeerText;
use crate::verdict::words::human_ms;

/// Gateways refuse device signatures whose time is off by more than this, in milliseconds (2026.9.6).
const SKEW: f64 = 120_000.0;

impl Climber<'_> {
    pub(super) async fn session(
        &mut self,
        tap: &mut OwnTap,
        record: &SessionRecord,
        heard: &Heard,
    ) {
        if !self.upgrade(record, heard.again) {
            return;
        }
        self.size(tap).await;
        let Some(ms) = heard.challenge_ms else {
            if self.is_late() {
                self.late("L1.challenge");
                return;
            }
            let because = "the WebSocket opened, but no OpenClaw challenge arrived";
            // The probe has sent nothing, so no client can be at fault.
            let verdict = record.verdict.as_ref();
            let blamed = verdict.is_some_and(|verdict| verdict.class == Class::ClientFault);
            let record = Some(record).filter(|_| !blamed);
            self.add(Rung::new("L1.challenge", Status::Fail, because).judged(record));
            return;
        };
        self.challenge(ms, heard.skew_ms);
        self.versions(record);
        if let Some(because) = self.withheld {
            self.add(Rung::new("L2.auth", Status::Skip, because));
            for id in ["L2.scopes", "L3.channels"] {
                self.add(Rung::new(id, Status::Skip, "no connect request was sent"));
            }
            return;
        }
        self.auth(record, heard);
    }

    /// Whether a large request passes where a small one did.
    async fn size(&mut self, tap: &mut OwnTap) {
        let began = Instant::now();
        let padded = tap.pad(self.target, true).await;
        let Some(record) = padded.filter(|_| !self.is_late()) else {
            let because = "it could not be tested in time";
            return self.add(Rung::new("L1.size", Status::Skip, because));
        };
        let gateway = record.gateway.as_ref();
        let status = gateway.and_then(|gateway| gateway.status);
        let tcp = gateway.and_then(|gateway| gateway.tcp);
        let facts = json!({
            "status": status,
            "path_mtu": tcp.map(|tcp| tcp.pmtu),
            "retransmits": tcp.map(|tcp| tcp.retransmits),
        });
        let verdict = record.verdict.as_ref();
        let is_lost = verdict.is_some_and(|verdict| verdict.class == Class::NetworkCut);
        let (status, because) = match status {
            Some(101) => (Status::Pass, "a request of 8 KB passes as well".to_owned()),
            // RFC 9110 and RFC 6585; 494 is nginx's.
            Some(status @ (400 | 413 | 414 | 431 | 494)) => (
                Status::Warn,
                format!(
                    "a request of 8 KB is answered with {status}: something limits the size of request headers"
                ),
            ),
            Some(status) => (
                Status::Warn,
                format!("a second upgrade, with a request of 8 KB, is answered with {status}"),
            ),
            None if is_lost => (
                Status::Fail,
                "a request of 8 KB is lost on the way, where a small one passes".to_owned(),
            ),
            None => (
                Status::Warn,
                "a request of 8 KB got no answer, where a small one did".to_owned(),
            ),
        };
        let rung = Rung::new("L1.size", status, because);
        let rung = rung.facts(facts.as_object().cloned().unwrap_or_default());
        if !is_lost {
            return self.add(rung.took(millis(began.elapsed())));
        }
        // The path may have lost everything at that moment.
        let small = tap.pad(self.target, false).await;
        let small = small.filter(|_| !self.is_late());
        let status = small
            .as_ref()
            .map(|small| small.gateway.as_ref().and_then(|it| it.status));
        let mut rung = rung.took(millis(began.elapsed()));
        rung = match status {
            Some(Some(_)) => rung.judged(&record),
            Some(None) => {
                "a request of 8 KB is lost on the way, and now a small one has no answer either"
                    .clone_into(&mut rung.because);
                rung.judged(small.as_ref())
            }
            None => {
                "a request of 8 KB got no answer, and no time was left to see whether a small one passes"
                    .clone_into(&mut rung.because);
                rung.status = Status::Warn;
                rung
            }
        };
        self.add(rung);
    }

    fn challenge(&mut self, ms: f64, skew_ms: Option<f64>) {
        self.skew_ms = skew_ms;
        let clock = match skew_ms {
            None => "the challenge has no time".to_owned(),
            Some(skew) if skew.abs() < 1000.0 => "clocks agree within a second".to_owned(),
            Some(skew) if skew > 0.0 => {
                format!("its clock is {} ahead of this one", human_ms(skew))
            }
            Some(skew) => format!("its clock is {} behind this one", human_ms(-skew)),
        };
        let is_off = skew_ms.is_some_and(|skew| skew.abs() > SKEW);
        let (status, advice) = if is_off {
            let advice = ": it refuses device signatures that are more than 2 min off";
            (Status::Warn, advice)
        } else {
            (Status::Pass, "")
        };
        let because = format!("after {}; {clock}{advice}", human_ms(ms));
        self.add(Rung::new("L1.challenge", status, because).took(ms));
    }

    fn auth(&mut self, record: &SessionRecord, heard: &Heard) {
        let secret = self.target.secret.as_ref();
        if let Some(ms) = heard.hello_ms {
            let method = heard.method.as_deref().unwrap_or("unknown");
            let device = self.target.device.as_ref();
            let device = device.map_or_else(String::new, |device| {
                format!(
                    ", and the device {}",
                    device.id().get(..12).unwrap_or_default()
                )
            });
            let because = match secret {
                // A gateway without authentication takes any.
                Some(secret) => format!(
                    "accepted with the secret of {} (method {method}){device}",
                    secret.from()
                ),
                None => format!("accepted without a secret (method {method}){device}"),
            };
            let skew = self.versions.skew();
            let skew = skew.map_or_else(String::new, |skew| format!("; {skew}"));
            let because = format!("{because}{skew}");
            self.add(Rung::new("L2.auth", Status::Pass, because).took(ms));
            self.scopes(record, heard);
            return;
        }
        if !heard.refused && self.is_late() {
            self.late("L2.auth");
            return;
        }
        let because = match (heard.refused, secret) {
            (false, _) if heard.strange => "the answer to connect is not hello-ok".to_owned(),
            (false, _) => "the gateway did not answer connect".to_owned(),
            (true, Some(secret)) => format!("refused, with the secret of {}", secret.from()),
            (true, None) => "refused: no secret was sent (--token-env, --token-file)".to_owned(),
        };
        let because = format!("{because}{}", self.one_of_several(record));
        self.add(Rung::new("L2.auth", Status::Fail, because).judged(record));
    }

    /// One name may lead to several gateways, each with its own secret.
    fn one_of_several(&self, record: &SessionRecord) -> String {
        let gateway = record.gateway.as_ref();
        match gateway.and_then(|gateway| gateway.addr.as_ref()) {
            Some(addr) if self.addresses > 1 => format!(
                ", by {addr}, which is one of {} addresses of the name: another may be another gateway",
                self.addresses
            ),
            _ => String::new(),
        }
    }

    /// Whether the gateway itself agreed to a WebSocket, and not something in its place.
    fn upgrade(&mut self, record: &SessionRecord, again: bool) -> bool {
        let gateway = record.gateway.as_ref();
        let status = gateway.and_then(|gateway| gateway.status);
        let headers = gateway.map(|gateway| {
            let lines = gateway.response_headers.iter();
            lines
                .map(|line| json!({ "name": line.name, "value": line.value }))
                .collect::<Vec<_>>()
        });
        let mut facts = Map::new();
        facts.insert("status".to_owned(), json!(status));
        facts.insert("headers".to_owned(), json!(headers));
        facts.insert(
            "server".to_owned(),
            json!(gateway.and_then(|gateway| gateway.server.clone())),
        );
        let ms = gateway.and_then(|gateway| gateway.upgrade_ms);
        let rung = |status, because: String| {
            let rung = Rung::new("L1.upgrade", status, because).facts(facts);
            ms.into_iter().fold(rung, Rung::took)
        };
        if record.had_tunnel() {
            let (status, because) = if again {
                let because = "101 Switching Protocols at the second attempt: the first connection was refused or \
                               cut, as by a limit on new connections";
                (Status::Warn, because)
            } else {
                (Status::Pass, "101 Switching Protocols")
            };
            self.add(rung(status, because.to_owned()));
            return true;
        }
        if status.is_none() && self.is_late() {
            self.late("L1.upgrade");
            return false;
        }
        let because = match status {
            Some(101) => "answered with a 101 that is not a valid WebSocket handshake".to_owned(),
            Some(status) => format!("answered with {status}, not 101"),
            None => "no answer to the upgrade request".to_owned(),
        };
        self.add(rung(Status::Fail, because).judged(record));
        false
    }

    fn versions(&mut self, record: &SessionRecord) {
        if record.dialect.is_none() {
            return;
        }
        let said = record.application();
        let version = said.gateway.and_then(|gateway| gateway.version.cloned());
        self.versions.gateway = version.map(Into::into);
        self.versions.protocol = said.protocol;
    }

    fn scopes(&mut self, record: &SessionRecord, heard: &Heard) {
        let scopes = heard.scopes.as_deref().unwrap_or_default();
        let mut facts = Map::new();
        facts.insert("granted".to_owned(), json!(scopes));
        if !heard.asked {
            if self.target.device.is_some() {
                let because =
                    "the gateway granted this device neither operator.read nor operator.admin";
                let rung = Rung::new("L2.scopes", Status::Fail, because).facts(facts);
                self.add(rung.judged(record));
                return;
            }
            let because = match (scopes, self.target.secret.is_some()) {
                ([], true) => "no device; the secret is accepted (a healthy gateway gives no scopes to a probe \
                               without a device)"
                    .to_owned(),
                ([], false) => "no scopes granted, as expected without a device".to_owned(),
                (scopes, _) => format!("granted {}, but not operator.read", scopes.join(", ")),
            };
            self.add(Rung::new("L2.scopes", Status::Skip, because).facts(facts));
            let because = "it needs the scope operator.read, which was not granted";
            self.add(Rung::new("L3.channels", Status::Skip, because));
            return;
        }
        self.add(Rung::new("L2.scopes", Status::Pass, scopes.join(", ")).facts(facts));
        let Some((answer, ms)) = &heard.channels else {
            if self.is_late() {
                self.late("L3.channels");
                return;
            }
            let because = "the gateway did not answer channels.status";
            self.add(Rung::new("L3.channels", Status::Fail, because).judged(record));
            return;
        };
        if answer.ok != Some(true) {
            let message = answer.error.get("message").and_then(Value::as_str);
            let because = PeerText::new(message.unwrap_or("no reason"), 200);
            let because = format!("channels.status failed: {}", because.as_str());
            self.add(
                Rung::new("L3.channels", Status::Fail, because)
                    .took(*ms)
                    .judged(record),
            );
            return;
        }
        let (status, because, facts) = channels::accounts(&answer.payload);
        self.add(
            Rung::new("L3.channels", status, because)
                .took(*ms)
                .facts(facts),
        );
    }
}
