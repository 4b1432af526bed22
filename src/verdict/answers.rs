//! The demands in the head of an answer (a redirect's target, a time to wait, a login), and the
//! credential that had been sent.

use url::Url;

use super::credential::mark;
use super::view::{View, fact, human_bytes, human_ms, quoted, short};
use crate::session::credential::Credential;
use crate::session::record::Evidence;
use crate::session::text::PeerText;

/// Purpose of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// Same host, by https.
    Https,
    /// Same path with a trailing slash.
    Slash,
    /// A login page.
    Login,
    /// Another host.
    OtherHost,
    /// Another path on the same host, or a target that cannot be parsed.
    Elsewhere,
}

/// Parts of paths and host names that indicate a login page.
const LOGIN: [&str; 12] = [
    "login",
    "signin",
    "sign_in",
    "sign-in",
    "oauth",
    "oauth2",
    "openid-connect",
    "sso",
    "saml",
    "saml2",
    "auth",
    "authorize",
];

impl<'a> View<'a> {
    /// The value of a header of the answer, as it was recorded: masked.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<&'a PeerText> {
        let headers = &self.record().gateway.as_ref()?.response_headers;
        let mut lines = headers.iter();
        let line = lines.find(|line| line.name.as_str().eq_ignore_ascii_case(name))?;
        line.value.as_ref()
    }

    /// Where the answer redirects to.
    #[must_use]
    pub fn location(&self) -> Option<&'a PeerText> {
        self.response_header("location")
    }

    /// Purpose of that redirect.
    #[must_use]
    pub fn redirect(&self) -> Option<Redirect> {
        let location = self.location()?;
        let request = self.record().request.as_ref()?;
        let host = request.host.as_ref().map_or("", PeerText::as_str);
        Some(redirect(location.as_str(), host, request.path.as_str()))
    }

    /// Time to wait (RFC 9110 section 10.2.3): `30 s`, or the date that the answer names.
    #[must_use]
    pub fn retry_after(&self) -> Option<String> {
        let value = self.response_header("retry-after")?;
        let seconds: Option<u32> = value.as_str().trim().parse().ok();
        Some(match seconds {
            Some(seconds) => human_ms(f64::from(seconds) * 1000.0),
            None => format!("until {}", quoted(value)),
        })
    }

    /// `its Retry-After says 30 s`, as evidence.
    #[must_use]
    pub fn retry_after_evidence(&self) -> Evidence {
        fact(match self.retry_after() {
            Some(wait) => format!("its Retry-After says {wait}"),
            None => "it does not say how long to wait (no Retry-After)".to_owned(),
        })
    }

    /// Approximate size of the request's head on the wire.
    #[must_use]
    pub fn head_bytes(&self) -> usize {
        let request = self.record().request.as_ref();
        request.map_or(0, |request| {
            let lines = request.headers.iter();
            lines
                .map(|header| header.length.saturating_add(header.name.as_str().len()))
                .fold(request.path.as_str().len(), usize::saturating_add)
        })
    }

    /// The size as evidence, with the largest header.
    #[must_use]
    pub fn head_size_evidence(&self) -> Vec<Evidence> {
        // A smaller header did not make the head large.
        const LARGE: usize = 1024;
        let size = |bytes: usize| human_bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
        let request = self.record().request.as_ref();
        let headers = request.map_or(&[][..], |request| &request.headers);
        let largest = headers.iter().max_by_key(|header| header.length);
        let largest = largest
            .filter(|header| header.length >= LARGE)
            .map(|header| {
                let (name, length) = (short(&header.name), size(header.length));
                fact(format!("its largest header is {name} with {length}"))
            });
        let all = fact(format!("its head has about {}", size(self.head_bytes())));
        [Some(all), largest].into_iter().flatten().collect()
    }

    /// The answer's challenge: `Basic realm="x"`.
    #[must_use]
    pub fn challenge(&self) -> Option<&'a PeerText> {
        self.response_header("www-authenticate")
            .or_else(|| self.response_header("proxy-authenticate"))
    }

    /// Credentials in the request's head, which any server in the path could read. Credentials in
    /// frames come later.
    pub fn head_credentials(&self) -> impl Iterator<Item = &'a Credential> + use<'a> {
        let all = self.record().auth.iter();
        all.filter(|credential| !credential.place.starts_with("frame:"))
    }

    /// The credential that a 401 or 403 is about: the one in Authorization, else the first one in
    /// the request's head.
    #[must_use]
    pub fn refused_credential(&self) -> Option<&'a Credential> {
        let authorization = |one: &&Credential| one.place == "header:authorization";
        self.head_credentials()
            .find(authorization)
            .or_else(|| self.head_credentials().next())
    }

    /// The challenge and the credential that had been sent, as evidence.
    #[must_use]
    pub fn login_evidence(&self) -> Vec<Evidence> {
        const MOST: usize = 4;
        let challenge = self.challenge();
        let mut all: Vec<Evidence> = challenge
            .map(|challenge| fact(format!("it asks for {}", short(challenge))))
            .into_iter()
            .collect();
        let sent = self.head_credentials().take(MOST).map(|credential| {
            let scheme = credential.scheme.as_deref();
            let scheme = scheme.map_or_else(String::new, |scheme| format!(" ({scheme})"));
            fact(format!(
                "the request carried {} at {}{scheme}",
                mark(credential),
                credential.place
            ))
        });
        all.extend(sent);
        if self.head_credentials().next().is_none() {
            all.push(fact(
                "the request carried no credential in its headers, query or cookies",
            ));
        }
        all
    }
}

/// See [`View::redirect`]; `host` and `path` are those of the request.
fn redirect(location: &str, host: &str, path: &str) -> Redirect {
    let base = Url::parse(&format!("http://{host}")).and_then(|base| base.join(path));
    let Ok(base) = base else {
        return Redirect::Elsewhere;
    };
    let Ok(target) = base.join(location) else {
        return Redirect::Elsewhere;
    };
    let same_host = target.host_str() == base.host_str();
    let login = |text: &str| {
        let mut parts = text.split(['/', '.']);
        parts.any(|part| LOGIN.contains(&part.to_ascii_lowercase().as_str()))
    };
    let access = target.path().starts_with("/cdn-cgi/access");
    if access || login(target.path()) || !same_host && target.host_str().is_some_and(login) {
        Redirect::Login
    } else if !same_host {
        Redirect::OtherHost
    } else if target.scheme() == "https" && target.path() == base.path() {
        Redirect::Https
    } else if target.path().strip_suffix('/') == Some(base.path()) {
        Redirect::Slash
    } else {
        Redirect::Elsewhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_redirect_wants() {
        for (location, expected) in [
            ("https://gw.test/", Redirect::Https),
            ("https://gw.test:8443/ws", Redirect::Https),
            ("/ws/", Redirect::Slash),
            ("http://gw.test:18789/ws/", Redirect::Slash),
            ("https://gw.test/ws/", Redirect::Slash),
            ("/login?next=[masked 4]", Redirect::Login),
            ("/oauth2/start?rd=[masked 8]", Redirect::Login),
            ("https://login.example.com/x", Redirect::Login),
            (
                "https://team.cloudflareaccess.com/cdn-cgi/access/login/x",
                Redirect::Login,
            ),
            ("https://www.example.com/ws", Redirect::OtherHost),
            ("//other.test/ws", Redirect::OtherHost),
            ("/app", Redirect::Elsewhere),
            ("/authors", Redirect::Elsewhere),
            ("", Redirect::Elsewhere),
            ("http://[", Redirect::Elsewhere),
        ] {
            let path = if location == "https://gw.test/" {
                "/"
            } else {
                "/ws"
            };
            assert_eq!(
                redirect(location, "gw.test:18789", path),
                expected,
                "{location}"
            );
        }
        assert_eq!(redirect("/login", "", "/"), Redirect::Elsewhere);
        assert_eq!(redirect("/login", "not a host", "/"), Redirect::Elsewhere);
    }
}
