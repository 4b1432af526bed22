//! Real shapes of paths and queries in one table: some contain a key, some do not.

use super::mask_target;

/// Request target, and what a record shows of it. The keys are made up; their shapes are real.
const EXAMPLES: &[(&str, &str)] = &[
    // The Control UI's own files (OpenClaw 2026.9.6) and its build id.
    ("/assets/app-sidebar-session-catalog-render-s2YVszJl.js", ""),
    ("/assets/agent-scope-control-uc-xRNrX.js.br", ""),
    ("/assets/__vite-browser-external-2447137e-Bt5J11Ku.js", ""),
    ("/assets/agent-select-registration-nedMHk1z.js.gz", ""),
    ("/assets/approval-page-registration-DVNMegyK.js", ""),
    ("/assets/control-ui-foundation-BN_yKX8J.js", ""),
    ("/assets/manuscript-light-BtjxM-_G.webp", ""),
    (
        "/fonts/atkinson-hyperlegible-next-italic-latin-ext.woff2",
        "",
    ),
    (
        "/sw.js?v=2026.9.6-release-eb377ac59e6c-2026-09-23T16-33-12.144Z",
        "",
    ),
    (
        "/?v=2026.9.6-release-eb377ac59e6c-2026-09-23T16-33-12.144Z",
        "",
    ),
    ("/avatar/main?v=1758645192144", ""),
    ("/manifest.webmanifest?v=2026.9.6", ""),
    ("/__openclaw__/control-ui-config.json", ""),
    ("/asset-manifest.json", ""),
    // Files of other bundlers.
    (
        "/static/js/main.5d41402abc4b2a76b9719d911017c592.js.map",
        "",
    ),
    ("/static/css/main.3b5d0e8f.chunk.css", ""),
    ("/_next/static/Xk29dLq8VbT0aPz4RmW7s/_buildManifest.js", ""),
    ("/_next/static/chunks/4bd1b696-0b6e5f8d2c1a9e37.js", ""),
    ("/_next/static/media/e4af272ccee01ff0-s.p.woff2", ""),
    (
        "/assets/application-2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae.css",
        "",
    ),
    ("/app.js?v=5d41402abc4b2a76b9719d911017c592", ""),
    ("/page.html?v=5d41402abc4b2a76b9719d911017c592", ""),
    // Documents and media: a short digest, or an id, and after a hook names of things.
    ("/assets/welcome-page-background-BtjxMa9G.png", ""),
    ("/assets/welcome-page-background-BtjxMa9GQ2xT.mp3", ""),
    ("/media/e4af272ccee01ff0-large.jpg", ""),
    ("/docs/getting-started-with-websockets-2026.md", ""),
    ("/docs/0190163d-8694-739b-aea5-966c26f8ad91.html", ""),
    ("/hooks/agent.txt", ""),
    ("/hooks/gmail-push-registration-s2YVszJl.js", ""),
    ("/webhooks/logo.png", ""),
    ("/lib.wasm?build=20260923", ""),
    // Ids and names, which join records with other logs.
    ("/sessions/0190163d-8694-739b-aea5-966c26f8ad91/history", ""),
    ("/v1/chat/completions", ""),
    ("/agents/507f1f77bcf86cd799439011", ""),
    ("/pods/openclaw-gateway-7d9f8b6c5d-x2x9z/log", ""),
    ("/node-desktop/attach", ""),
    ("/getUserProfileByIdentifierV2", ""),
    (
        "/a-page-with-a-long-name-about-nothing-in-particular-2026",
        "",
    ),
    ("/hooks/agent", ""),
    ("/hooks/gmail-push-2", ""),
    ("/?debug&noCache&v2", ""),
    // Webhooks: 24 mixed characters, and the forms of well-known services.
    ("/hooks/Xk29dLq8VbT0aPz4RmW7sYcE", "/hooks/[masked 24]"),
    ("/Xk29dLq8VbT0aPz4RmW7sYcE", "/[masked 24]"),
    ("/Xk29dLq8-bT0aPz4_mW7sYcE", "/[masked 24]"),
    ("/hooks/k3Jd82mLq0Wz7xPv", "/hooks/[masked 16]"),
    ("/hooks/5f1d2c8a9b3e4f60", "/hooks/[masked 16]"),
    (
        "/ping/0190163d-8694-439b-aea5-966c26f8ad91/start",
        "/ping/[masked 36]/start",
    ),
    (
        "/services/T024BE7LD/B0F7LQX2K/Xk29dLq8VbT0aPz4RmW7sYcE",
        "/services/T024BE7LD/B0F7LQX2K/[masked 24]",
    ),
    (
        "/bot123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/getMe",
        "/[masked 47]/getMe",
    ),
    (
        "/api/webhooks/1234567890123456789/aB3dE5gH7jK9mN1pQ3sT5vX7zA9cE1gI3kM5oQ7sU9wY1-bD3fH5jL7nP9rT",
        "/api/webhooks/1234567890123456789/[masked 60]",
    ),
    // Keys in paths.
    ("/d/0123456789abcdef0123456789abcdef/x", "/d/[masked 32]/x"),
    ("/x/MZXW6YTBOI5DQMRQ7YQ2KX3N5A", "/x/[masked 26]"),
    ("/sk-proj-aB3dE5gH7jK9mN1pQ3sT5vX7/x", "/[masked 32]/x"),
    (
        "/x/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln.js",
        "/x/[masked 44]",
    ),
    ("/Xk29dLq8VbT0aPz4RmW7sYcE1uN6hG3fD.js", "/[masked 36]"),
    // Keys that look like files: after a hook any file, elsewhere documents and media.
    ("/hooks/Xk29dLq8VbT0aPz4RmW7sYcE.txt", "/hooks/[masked 28]"),
    ("/hooks/Xk29dLq8VbT0aPz4RmW7sYcE.js", "/hooks/[masked 27]"),
    ("/hooks/k3Jd82mLq0Wz7xPv.js.gz", "/hooks/[masked 22]"),
    (
        "/webhooks/7/5f1d2c8a9b3e4f60.png",
        "/webhooks/7/[masked 20]",
    ),
    ("/Xk29dLq8VbT0aPz4RmW7sYcE.txt", "/[masked 28]"),
    ("/share/Xk29dLq8VbT0aPz4RmW7sYcE.html", "/share/[masked 29]"),
    ("/share/Xk29dLq8VbT0-aPz4RmW7sYcE.md", "/share/[masked 28]"),
    ("/Xk29dLq8VbT0aPz4RmW7sYcE.mp3", "/[masked 28]"),
    ("/Xk29dLq8VbT0aPz4RmW7sYcE.png.gz", "/[masked 31]"),
    (
        "/share/5d41402abc4b2a76b9719d911017c592.jpg",
        "/share/[masked 36]",
    ),
    (
        "/__openclaw__/cap/s3cret/index.js",
        "/__openclaw__/cap/[masked 6]/index.js",
    ),
    ("/hooks/Xk29dLq8VbT0aPz4RmW7sYcE;v=1", "/hooks/[masked 28]"),
    // Keys used as parameter names, and keys in parameters that do not hold a build id.
    ("/x?Xk29dLq8VbT0aPz4RmW7sYcE", "/x?[masked 24]"),
    ("/x?Xk29dLq8VbT0aPz4RmW7sYcE=", "/x?[masked 24]="),
    ("/x?Xk29dLq8VbT0aPz4RmW7sYcE=1", "/x?[masked 24]=[masked 1]"),
    ("/x?SECRETVALUE=", "/x?[masked 11]="),
    ("/x?hunter2hunter2", "/x?[masked 14]"),
    (
        "/app.js?v=Xk29dLq8VbT0aPz4RmW7sYcE",
        "/app.js?v=[masked 24]",
    ),
    (
        "/ws?v=5d41402abc4b2a76b9719d911017c592",
        "/ws?v=[masked 32]",
    ),
    ("/ws?token=2026.9.6", "/ws?token=[masked 8]"),
];

#[test]
fn keys_are_masked_and_names_are_not() {
    for (target, shown) in EXAMPLES {
        let shown = if shown.is_empty() { target } else { shown };
        assert_eq!(mask_target(target), *shown);
    }
}
