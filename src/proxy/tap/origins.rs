//! The origin policy of a running tap: the configured list, the gateway's list as it is in the
//! gateway's file now, and the warnings already logged about their differences.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use tokio_util::sync::CancellationToken;

use crate::admission::origin::disagree;
use crate::admission::origin::gateway::Around;
use crate::admission::origin::policy::{Asked, Ruling};
use crate::config::{self, GatewayFile};
use crate::proxy::request::headers::values;
use crate::proxy::tap::logged_once::LoggedOnce;
use crate::session::SessionRecord;
use crate::session::record::OriginDecision;

mod watch;

use self::watch::{Change, Watch};

/// Logged at start: older gateways admit more origins than we do with their file.
const STRICTER: &str = "origins.from_gateway_config follows the rules of OpenClaw 2026.9, which are \
                        stricter than those before 2026.3: 2026.1 checks no origin, and 2026.2 only that \
                        of the Control UI, whose page passes wherever its host is the Host header; list \
                        such pages in origins.allowed";

/// How often the gateway's file is checked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The origin policy; see the module.
#[derive(Debug)]
pub(crate) struct Origins {
    settings: config::Origins,
    file: Option<RwLock<Arc<GatewayFile>>>,
    logged: LoggedOnce<String>,
    /// Cancelled when another configuration replaces this one.
    retired: CancellationToken,
}

impl Origins {
    pub(crate) fn new(settings: config::Origins) -> Self {
        let file = settings.gateway_file().cloned();
        Self {
            settings,
            file: file.map(|file| RwLock::new(Arc::new(file))),
            logged: LoggedOnce::default(),
            retired: CancellationToken::new(),
        }
    }

    /// The file is not looked at any more.
    pub(crate) fn retire(&self) {
        self.retired.cancel();
    }

    /// How a client is refused.
    pub(crate) fn deny_with(&self) -> config::DenyWith {
        self.settings.deny_with()
    }

    /// The gateway's file as it was last read in full.
    fn file(&self) -> Option<Arc<GatewayFile>> {
        let file = self.file.as_ref()?;
        Some(Arc::clone(
            &file.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    /// Decides about a request. `local_client`: the gateway sees the client as one on its own
    /// machine.
    pub(crate) fn decide(&self, headers: &HeaderMap, upgrade: bool, local_client: bool) -> Ruling {
        let file = self.file();
        let origins: Vec<&[u8]> = values(headers, &ORIGIN).collect();
        let asked = Asked {
            origins: &origins,
            around: Around {
                host: values(headers, &HOST).next(),
                local_client,
            },
            upgrade,
        };
        let policy = self.settings.policy(file.as_deref().map(GatewayFile::list));
        let ruling = policy.decide(asked);
        if ruling.gateway_refuses
            && let (Some(file), Ok(Some(origin))) = (&file, &ruling.origin)
        {
            let path = file.path().display().to_string();
            self.log_once(origin.as_str(), || {
                disagree::predicted(origin.as_str(), &path)
            });
        }
        ruling
    }

    /// Called when a session is over: warns if the gateway and our list disagree about its origin.
    pub(crate) fn observe(&self, record: &SessionRecord) {
        if record
            .origin
            .as_ref()
            .is_none_or(|facts| facts.normalised.is_none())
        {
            return;
        }
        let Some((origin, text)) = disagree::observed(record) else {
            return;
        };
        // Without a configured list or mode there is nothing to compare with.
        let would_deny = record
            .origin
            .as_ref()
            .is_some_and(|facts| facts.decision == OriginDecision::WouldDeny);
        if would_deny && !self.has_an_opinion() {
            return;
        }
        self.log_once(origin, || text);
    }

    fn has_an_opinion(&self) -> bool {
        self.settings.mode().is_some()
            || !self.settings.allowed().is_empty()
            || self.file().is_some_and(|file| !file.list().is_empty())
    }

    /// Warns, once for each origin: a client could make up any number.
    fn log_once(&self, origin: &str, text: impl FnOnce() -> String) {
        if self.logged.insert(origin.to_owned()) {
            tracing::warn!("{}", text());
        }
    }

    /// Reads the gateway's file again whenever it has changed, until `stop` or until it is retired.
    pub(crate) async fn watch(&self, stop: &CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.retired.cancelled() => {}
            () = self.look() => {}
        }
    }

    async fn look(&self) {
        let Some(file) = self.file() else { return };
        tracing::info!("{STRICTER}");
        let mut watch = Watch::new(&file);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(file) = self.file() else { return };
            // The file may be on a disk that hangs.
            let looking = tokio::task::spawn_blocking(move || {
                let change = watch.look(&file);
                (watch, change)
            });
            let (back, change) = match looking.await {
                Ok(looked) => looked,
                Err(error) => {
                    tracing::error!(%error, "stopped watching the gateway's file");
                    return;
                }
            };
            watch = back;
            match change {
                None => {}
                Some(Change::Broken(text)) => tracing::warn!(
                    "origins.from_gateway_config: {text}; the last list read stays in force"
                ),
                Some(Change::Read(file)) => self.replace(*file),
            }
        }
    }

    fn replace(&self, file: GatewayFile) {
        let before = self.file().map(|file| file.odd()).unwrap_or_default();
        for odd in file.odd().iter().filter(|odd| !before.contains(odd)) {
            tracing::warn!("origins.from_gateway_config: {odd}");
        }
        tracing::info!(
            "origins.from_gateway_config: read again, {} origins in {}",
            file.list().live().len(),
            file.path().display()
        );
        if let Some(current) = &self.file {
            *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(file);
        }
    }
}
