//! Recognises the gateway's own page, the Control UI, by the beginning of its HTML.

/// Texts that some version of the page has in its first 400 bytes and no other page has.
const MARKS: [&str; 4] = [
    // 2026.8 and later.
    "data-openclaw-control-ui",
    // 2026.7.
    "data-openclaw-terminal-enabled",
    // 2026.2 to 2026.7.
    "<title>OpenClaw Control",
    // 2026.1, under the project's former name.
    "<title>Clawdbot Control",
];

/// Whether HTML that begins like this is the Control UI's page.
#[must_use]
pub(super) fn is_control_ui(front: &[u8]) -> bool {
    let has = |mark: &str| {
        front
            .windows(mark.len())
            .any(|window| window == mark.as_bytes())
    };
    // A text that quotes the page is not the page.
    front.trim_ascii_start().first() == Some(&b'<') && MARKS.into_iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beginnings of the page, as gateways of these versions send them.
    const PAGES: [&str; 6] = [
        // 2026.1.24-3
        "<!doctype html>\n<html lang=\"en\">\n  <head>\n    <meta charset=\"UTF-8\" />\n    <meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1.0\" />\n    \
         <title>Clawdbot Control</title>\n",
        // 2026.3.7
        "<!doctype html>\n<html lang=\"en\">\n  <head>\n    <meta charset=\"UTF-8\" />\n    <meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1.0\" />\n    \
         <title>OpenClaw Control</title>\n",
        // 2026.5.7
        "<!doctype html>\n<html lang=\"en\">\n  <head>\n    <meta charset=\"UTF-8\" />\n    <meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1.0, viewport-fit=cover\" \
         />\n    <title>OpenClaw Control</title>\n",
        // 2026.7.35, whole and cut before its title
        "<!doctype html>\n<html data-openclaw-terminal-enabled=\"false\" lang=\"en\">\n  <head>\n    \
         <meta charset=\"UTF-8\" />\n    <title>OpenClaw Control</title>\n",
        "<!doctype html>\n<html data-openclaw-terminal-enabled=\"false\" lang=\"en\">\n",
        // 2026.9.6
        "<!doctype html>\n<html data-openclaw-control-ui-base-path=\"\" \
         data-openclaw-terminal-enabled=\"true\"",
    ];

    #[test]
    fn the_page_of_every_version_is_known() {
        for page in PAGES {
            assert!(is_control_ui(page.as_bytes()), "{page}");
        }
    }

    #[test]
    fn other_pages_and_quotes_are_not_it() {
        for other in [
            "<!doctype html><html><head><title>Control</title>",
            "<!doctype html><html><head><title>My OpenClaw Control</title>",
            "<html><head><title>503 Service Unavailable</title>",
            "{\"page\":\"<title>OpenClaw Control</title>\"}",
            "see data-openclaw-control-ui",
            "",
        ] {
            assert!(!is_control_ui(other.as_bytes()), "{other}");
        }
    }
}
