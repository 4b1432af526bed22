//! Token, password and setup code: the secrets that a client shares with the gateway.
//!
//! The gateway reads only `connect.params.auth` in the first frame.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, Evidence};
use crate::verdict::credential::mark;
use crate::verdict::finding::Finding;
use crate::verdict::openclaw::credential::{
    client_recipe, comparable, compare, gateway_recipe, inner_that_works, odd_form,
};
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, human_ms};

pub(super) const fn auth(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule::of(id, Class::GatewayAuth, Party::Gateway, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The credential came where the gateway does not look",
        explanation: "The client sent a credential in the request (an Authorization header, a query \
                      value, a cookie, a subprotocol) and none in its connect request. On the \
                      WebSocket the gateway reads connect.params.auth only, so for it there was \
                      none.",
        evidence: "a refusal for a missing credential, and a credential in a header, query, cookie or subprotocol of the request",
        versions: Versions::Seen,
        action: "put the token into connect.params.auth.token of the first frame (OpenClaw's own clients do: set it with --token or in their configuration)",
        ..auth("gateway.auth.ignored_place", ActOn::Client, ignored_place)
    },
    Rule {
        title: "The password does not match",
        explanation: "The gateway compared the client's password with gateway.auth.password and \
                      they differ.",
        evidence: "details.code AUTH_PASSWORD_MISMATCH",
        versions: Versions::Seen,
        action: "give the client the value of gateway.auth.password",
        ..auth(
            "gateway.auth.password_mismatch",
            ActOn::Client,
            password_mismatch,
        )
    },
    Rule {
        title: "The password is missing",
        explanation: "The gateway asks for a password and the client's connect request has none.",
        evidence: "details.code AUTH_PASSWORD_MISSING",
        versions: Versions::Seen,
        action: "give the client the gateway's password (--password, or OPENCLAW_GATEWAY_PASSWORD)",
        ..auth(
            "gateway.auth.password_missing",
            ActOn::Client,
            password_missing,
        )
    },
    Rule {
        title: "The gateway has no password configured",
        explanation: "The gateway's auth mode asks for a password and gateway.auth.password is not \
                      set, so that no client can get in.",
        evidence: "details.code AUTH_PASSWORD_NOT_CONFIGURED",
        versions: Versions::Read,
        action: "set gateway.auth.password in openclaw.json on the gateway host",
        ..auth(
            "gateway.auth.password_not_configured",
            ActOn::Gateway,
            password_not_configured,
        )
    },
    Rule {
        title: "Too many failed attempts",
        explanation: "The gateway has locked this client's address out: ten wrong attempts within a \
                      minute cost five minutes, in which the right token is refused too. Clients \
                      that all appear under the tap's or a proxy's address share one lock.",
        evidence: "details.code AUTH_RATE_LIMITED",
        versions: Versions::Seen,
        action: "stop the client that has the wrong token, wait five minutes, then connect with the right one",
        ..auth("gateway.auth.rate_limited", ActOn::Client, rate_limited)
    },
    Rule {
        title: "The setup code is not valid",
        explanation: "The bootstrap token of a setup code is invalid, expired, revoked or used \
                      already.",
        evidence: "details.code AUTH_BOOTSTRAP_TOKEN_INVALID",
        versions: Versions::Read,
        action: "make a new code on the gateway host with `openclaw qr`",
        ..auth("gateway.auth.setup_code", ActOn::Client, setup_code)
    },
    Rule {
        title: "The token does not match",
        explanation: "The gateway compared the client's token with gateway.auth.token and they \
                      differ. Common causes: two places that set a token (since 2026.9 the \
                      configuration wins over OPENCLAW_GATEWAY_TOKEN; older guides say the \
                      reverse), a value that was copied with something around it (`Bearer `, \
                      `OPENCLAW_GATEWAY_TOKEN=`, quotes, a whole URL), a placeholder or \
                      `__OPENCLAW_REDACTED__` in its place, a device token in place of the shared \
                      one. OpenClaw 2026.2 reports a device token whenever the client has a \
                      device; the client's own message shows that it was the shared one.",
        evidence: "details.code AUTH_TOKEN_MISMATCH; or, without a code, the words \"device token mismatch\" to a client that sent auth.token and no auth.deviceToken",
        versions: Versions::Seen,
        action: "give the client the value of gateway.auth.token; compare fingerprints (`wstap fingerprint`, or sha256sum as the verdict shows)",
        ..auth("gateway.auth.token_mismatch", ActOn::Client, token_mismatch)
    },
    Rule {
        title: "The client has two tokens",
        explanation: "The gateway compared the token and it is another one, and the same client \
                      address was let in recently with a different value. So there are two sources of \
                      truth at the client: a flag, an environment variable and a file that \
                      disagree, or a copy that was not renewed.",
        evidence: "details.code AUTH_TOKEN_MISMATCH, and in the context another token of the same client address that was accepted",
        versions: Versions::Seen,
        action: "find the client's source of the value that is refused and replace it by the one that works; compare fingerprints (`wstap fingerprint`, or sha256sum as the verdict shows)",
        ..auth(
            "gateway.auth.token_two_sources",
            ActOn::Client,
            token_two_sources,
        )
    },
    Rule {
        title: "The token is missing",
        explanation: "The gateway asks for a token and the client's connect request has none. With \
                      OPENCLAW_GATEWAY_URL or --url the CLI does not use the token of the \
                      configuration.",
        evidence: "details.code AUTH_TOKEN_MISSING",
        versions: Versions::Seen,
        action: "give the client the gateway's token (--token, or OPENCLAW_GATEWAY_TOKEN)",
        ..auth("gateway.auth.token_missing", ActOn::Client, token_missing)
    },
    Rule {
        title: "The gateway has no token configured",
        explanation: "The gateway's auth mode asks for a token and gateway.auth.token is not set, so \
                      that no client can get in.",
        evidence: "details.code AUTH_TOKEN_NOT_CONFIGURED",
        versions: Versions::Read,
        action: "set gateway.auth.token in openclaw.json on the gateway host",
        ..auth(
            "gateway.auth.token_not_configured",
            ActOn::Gateway,
            token_not_configured,
        )
    },
];

fn found(view: &View<'_>, summary: impl Into<String>) -> Finding {
    Finding::new(Confidence::Certain, summary)
        .because(view.refusal_evidence())
        .because(view.credential_evidence())
}

fn ignored_place(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &[
            "AUTH_TOKEN_MISSING",
            "AUTH_PASSWORD_MISSING",
            "DEVICE_IDENTITY_REQUIRED",
            "AUTH_REQUIRED",
        ],
        &[
            "unauthorized: gateway token missing",
            "unauthorized: gateway password missing",
            "device identity required",
        ],
    )?;
    if view.effective_credential().is_some() {
        return None;
    }
    let ignored = view.ignored_credentials().next()?;
    let summary = format!(
        "the client's credential {} came as {}, where the gateway does not look",
        ignored.fingerprint, ignored.place
    );
    Some(found(view, summary))
}

/// `it does not match gateway.auth.token` with the fingerprint, or the oddity of the value.
fn mismatch(view: &View<'_>, what: &str, key: &str) -> Finding {
    let credential = view.compared_secret(what);
    if let Some((form, mend)) = credential.and_then(odd_form) {
        let summary = format!("the client's {what} {form}; the gateway refused it as a mismatch");
        let works = credential.and_then(|credential| inner_that_works(view, credential));
        let inner = credential.and_then(|credential| comparable(credential.inner.as_deref()?));
        let next = match (works.is_some(), inner) {
            (false, Some(inner)) => format!(
                "at the client: {mend}. What remains is {inner}; if the gateway refuses that too, \
                 compare it there: {}",
                gateway_recipe(inner, key)
            ),
            _ => format!("at the client: {mend}"),
        };
        return found(view, summary).because(works).next(next);
    }
    let sent = credential.map_or_else(String::new, |credential| format!(": {}", mark(credential)));
    let summary = format!("the client's {what} does not match {key}{sent}");
    found(view, summary)
        .because(slowed(view))
        .because([fact(view.precedence())])
        .next(compare(credential, key))
}

/// A gateway never locks a local client out; it makes it wait, from 250 ms up to 5 s.
fn slowed(view: &View<'_>) -> Option<Evidence> {
    const NOTICED_MS: i64 = 200;
    let dialect = view.openclaw()?;
    let waited = dialect.answered_at?.millis_since(dialect.connect_at?);
    #[expect(clippy::cast_precision_loss, reason = "seconds at most")]
    (waited >= NOTICED_MS).then(|| {
        fact(format!(
            "the gateway took {} to refuse: it slows local clients down after wrong attempts",
            human_ms(waited as f64)
        ))
    })
}

fn password_mismatch(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &["AUTH_PASSWORD_MISMATCH"],
        &["unauthorized: gateway password mismatch"],
    )?;
    Some(mismatch(view, "password", "gateway.auth.password"))
}

fn token_mismatch(view: &View<'_>) -> Option<Finding> {
    let said = view.token_refused()?;
    let finding = mismatch(view, "token", "gateway.auth.token");
    if !view.calls_it_device_token(&said) {
        return Some(finding);
    }
    let words = fact(
        "the gateway's message is about a device token, but the client sent none: OpenClaw 2026.2 \
         says so for every wrong token of a client with a device, also for a stale token of that \
         device in place of the shared one",
    );
    let finding = Finding {
        confidence: Confidence::Likely,
        ..finding
    };
    Some(finding.because([words]))
}

fn token_two_sources(view: &View<'_>) -> Option<Finding> {
    view.token_refused()?;
    let others = &view.record().context.as_ref()?.other_credentials;
    let works = others.iter().find(|other| other.accepted)?;
    let sent = view.compared_secret("token")?;
    // A value with an odd form explains more: see `mismatch`.
    if odd_form(sent).is_some() {
        return None;
    }
    let summary = format!(
        "the client's token {} is refused, and with {} its address was let in recently",
        sent.fingerprint, works.fingerprint
    );
    let finding = found(view, summary).because([fact(view.precedence())]);
    let finding = Finding {
        // Several clients may share one address.
        confidence: Confidence::Likely,
        ..finding
    };
    let (refused, right) = (
        comparable(&sent.fingerprint),
        comparable(&works.fingerprint),
    );
    Some(match (refused, right) {
        (Some(refused), Some(right)) => finding.next(format!(
            "at the client find where {refused} comes from ({}) and replace it by the value with \
             {right}",
            client_recipe(refused)
        )),
        (None, Some(right)) => finding.next(format!(
            "at the client find the source whose value has not {right} ({}), and replace it by the \
             one that has",
            client_recipe(right)
        )),
        _ => finding,
    })
}

fn missing(view: &View<'_>, what: &str) -> Finding {
    let empty = view
        .compared_secret(what)
        .and_then(odd_form)
        .map(|(form, mend)| (format!("the client's {what} {form}"), mend));
    match empty {
        Some((summary, mend)) => found(view, summary).next(format!("at the client: {mend}")),
        None => found(
            view,
            format!("the client sent no {what}, and the gateway wants one"),
        ),
    }
}

fn password_missing(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &["AUTH_PASSWORD_MISSING"],
        &["unauthorized: gateway password missing"],
    )?;
    Some(missing(view, "password"))
}

fn token_missing(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &["AUTH_TOKEN_MISSING", "AUTH_REQUIRED"],
        &["unauthorized: gateway token missing"],
    )?;
    Some(missing(view, "token"))
}

fn password_not_configured(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &["AUTH_PASSWORD_NOT_CONFIGURED"],
        &["unauthorized: gateway password not configured"],
    )?;
    let summary = "the gateway wants a password and has none configured";
    Some(found(view, summary))
}

fn token_not_configured(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &["AUTH_TOKEN_NOT_CONFIGURED"],
        &["unauthorized: gateway token not configured"],
    )?;
    let summary = "the gateway wants a token and has none configured";
    Some(found(view, summary))
}

fn rate_limited(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(
        &["AUTH_RATE_LIMITED"],
        &["unauthorized: too many failed authentication attempts"],
    )?;
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let wait = said
        .error()
        .and_then(|error| error.retry_after_ms)
        .map(|ms| human_ms(ms as f64));
    let summary = match &wait {
        Some(wait) => {
            format!("too many failed attempts: the gateway locked the client out for {wait}")
        }
        None => "too many failed attempts: the gateway has locked the client out".to_owned(),
    };
    let next = format!(
        "stop the client that has the wrong token, wait {}, then connect with the right one",
        wait.as_deref().unwrap_or("five minutes")
    );
    let bucket = fact(
        "the lock holds for the address that the gateway sees; the right token is refused too",
    );
    Some(
        found(view, summary)
            .because(view.attribution_evidence())
            .because([bucket])
            .next(next),
    )
}

fn setup_code(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &["AUTH_BOOTSTRAP_TOKEN_INVALID"],
        &[
            "unauthorized: setup code invalid",
            "unauthorized: bootstrap token invalid",
        ],
    )?;
    Some(found(
        view,
        "the client's setup code is invalid, expired or used already",
    ))
}
