//! A gateway that asks for a password (catalogue section 4).

use serde_json::json;

use super::book::{Book, refused, rule};
use super::{WRONG, tap};
use crate::live::gateway::{Gateway, TOKEN};
use crate::live::guest::Guest;
use crate::support::device::Device;

pub async fn cases(gateway: &Gateway, book: &mut Book) {
    let tap = tap(gateway).await;
    let ours = || Guest::cli().device(&Device::new());
    let visit = ours().auth(json!({})).visit(&tap).await;
    let expect = refused("gateway.auth.password_missing", "AUTH_PASSWORD_MISSING")
        .act_on("client")
        .next("--password");
    book.check("password missing", &tap, &visit, expect).await;

    let visit = ours().auth(json!({ "password": WRONG })).visit(&tap).await;
    let expect = refused("gateway.auth.password_mismatch", "AUTH_PASSWORD_MISMATCH")
        .act_on("client")
        .fact("/auth/0/place", "frame:connect.params.auth.password")
        .next("gateway.auth.password");
    book.check("password wrong", &tap, &visit, expect).await;

    // Each is good in the place of the other.
    for (case, key) in [
        ("password right", "password"),
        ("password right, sent as a token", "token"),
    ] {
        let visit = Guest::cli().auth(json!({ key: TOKEN })).visit(&tap).await;
        let expect = rule("ok.client_closed").fact("/auth/0/effective", true);
        book.check(case, &tap, &visit, expect).await;
    }
}
