//! Recognises which server made an error page, by text that its built-in pages always contain.

use crate::session::record::{PageBy, TlsWords};

/// Texts below the headings of the built-in pages of `HAProxy` 2.x and 3.x, which name no server.
const HAPROXY: [&str; 10] = [
    "No server is available to handle this request.",
    "The server returned an invalid or incomplete response.",
    "The server didn't respond in time.",
    "Your browser sent an invalid request.",
    "Your browser didn't send a complete request in time.",
    "You need a valid user and password to access this content.",
    "Request forbidden by administrative rules.",
    "You have sent too many requests in a given amount of time.",
    "The request entity exceeds the maximum allowed.",
    "An internal server error occurred.",
];

/// Other servers, and a text that their pages have even with version numbers turned off.
const OTHERS: [(&str, PageBy); 4] = [
    ("<hr><center>nginx", PageBy::Nginx),
    ("<hr><center>openresty", PageBy::Openresty),
    ("<hr><center>cloudflare", PageBy::Cloudflare),
    ("<address>Apache", PageBy::Apache),
];

/// How Envoy's answers begin, which are plain text.
const ENVOY: [&str; 3] = [
    "upstream connect error or disconnect/reset before headers",
    "no healthy upstream",
    "upstream request timeout",
];

/// What servers answer when plain HTTP comes to their TLS port.
const PLAIN_TO_TLS: [&str; 6] = [
    // nginx, OpenResty, AWS load balancers, Cloudflare.
    "The plain HTTP request was sent to HTTPS port",
    // Apache, with the apostrophe as it is or escaped.
    "speaking plain HTTP to an SSL-enabled server port",
    // Go: Caddy, Traefik and others.
    "Client sent an HTTP request to an HTTPS server.",
    // Tomcat.
    "This combination of host and port requires TLS.",
    // Jetty.
    "Insecure scheme, please use https",
    // Another wstap.
    "wstap: this port speaks TLS",
];

/// What Envoy adds to its 503 when it speaks TLS to a plain upstream (error names of `BoringSSL`).
const TLS_TO_PLAIN: [&str; 2] = ["WRONG_VERSION_NUMBER", "HTTP_REQUEST"];

/// Whether a body reports TLS to a plain port, or plain HTTP to a TLS port.
pub(crate) fn tls_words(front: &[u8]) -> Option<TlsWords> {
    let has = |words: &str| {
        front
            .windows(words.len())
            .any(|window| window == words.as_bytes())
    };
    if PLAIN_TO_TLS.into_iter().any(has) {
        return Some(TlsWords::PlainToTls);
    }
    let envoy = made_by(front) == Some(PageBy::Envoy) && has("TLS");
    (envoy && TLS_TO_PLAIN.into_iter().any(has)).then_some(TlsWords::TlsToPlain)
}

/// The server that made the page which begins with `front`.
pub(crate) fn made_by(front: &[u8]) -> Option<PageBy> {
    let has = |words: &str| {
        front
            .windows(words.len())
            .any(|window| window == words.as_bytes())
    };
    let text = front.trim_ascii_start();
    if text.first() != Some(&b'<') {
        // Envoy's answers begin with these words. A gateway that reports a failure of its own
        // upstream may quote them elsewhere in its answer.
        let envoy = ENVOY.iter().any(|words| text.starts_with(words.as_bytes()));
        return envoy.then_some(PageBy::Envoy);
    }
    // HAProxy's pages end their headings this way; the words alone may occur in any text.
    if has("</h1>\n") && HAPROXY.into_iter().any(has) {
        return Some(PageBy::Haproxy);
    }
    let mut others = OTHERS.into_iter();
    others.find(|(words, _)| has(words)).map(|(_, by)| by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_name_their_makers() {
        let nginx = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center>\
                     <h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n";
        let haproxy = "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to \
                       handle this request.\n</body></html>\n";
        assert_eq!(made_by(nginx.as_bytes()), Some(PageBy::Nginx));
        assert_eq!(made_by(haproxy.as_bytes()), Some(PageBy::Haproxy));
        assert_eq!(made_by(b"no healthy upstream"), Some(PageBy::Envoy));
        let quoted = r#"{"error":{"message":"model provider: upstream request timeout"}}"#;
        for nobody in [quoted, "", "Bad Request", "<html><h1>nginx</h1></html>"] {
            assert_eq!(made_by(nobody.as_bytes()), None, "{nobody}");
        }
    }

    #[test]
    fn servers_say_that_the_scheme_is_wrong() {
        let nginx =
            "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title>";
        let apache = "<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />";
        let go = "Client sent an HTTP request to an HTTPS server.\n";
        let wstap = "wstap: this port speaks TLS; use https:// or wss://\nsession: 1\n";
        for page in [nginx, apache, go, wstap] {
            assert_eq!(
                tls_words(page.as_bytes()),
                Some(TlsWords::PlainToTls),
                "{page}"
            );
        }
        let envoy = "upstream connect error or disconnect/reset before headers. reset reason: \
                     connection failure, transport failure reason: TLS_error:|268435703:SSL routines:\
                     OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end";
        assert_eq!(tls_words(envoy.as_bytes()), Some(TlsWords::TlsToPlain));
        for page in [
            "<html>400 Bad Request",
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
            "a page about WRONG_VERSION_NUMBER and TLS",
            "",
        ] {
            assert_eq!(tls_words(page.as_bytes()), None, "{page}");
        }
    }
}
