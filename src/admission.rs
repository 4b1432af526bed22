//! Who may pass: what a request shows about its sender.
