//! Any peer behind TLS: with a certificate that is right, for another name, expired, or not yet
//! valid. Exercises the tap's own TLS towards the gateway.

use super::Via;
use crate::support::certs::{Ca, Validity};

/// A CA of its own, and what a peer listens on under it.
pub fn via(names: &[&str], validity: Validity) -> (Ca, Via) {
    let ca = Ca::new();
    let via = Via::Tls(ca.server(names, validity));
    (ca, via)
}
