//! A device's key as `OpenClaw` clients have one: it signs what its owner says of itself.
//!
//! Payload (v3) and encoding are those of gateway 2026.9.6.

use std::fmt;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A key and the name that the gateway knows it by.
#[derive(Clone)]
pub struct Device {
    pkcs8: Vec<u8>,
    public: Vec<u8>,
    id: String,
}

impl Device {
    /// One that no gateway has seen.
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("the key");
        let public = key.public_key().as_ref().to_vec();
        Self {
            pkcs8: pkcs8.as_ref().to_vec(),
            id: HEXLOWER.encode(&Sha256::digest(&public)),
            public,
        }
    }

    /// As the command line tool of 2026.3 kept it in `identity/device.json`: a key without its public half.
    pub fn file(&self) -> Value {
        // RFC 8410 section 7: the seed is at the same place in both forms.
        let seed = self.pkcs8.get(16..48).expect("a seed");
        let prefix = HEXLOWER
            .decode(b"302e020100300506032b657004220420")
            .expect("a prefix");
        let der = BASE64.encode(&[prefix.as_slice(), seed].concat());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        json!({ "version": 1, "deviceId": self.id, "privateKeyPem": pem })
    }

    /// The hash of its public key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `params.device` for these `params` of a connect request, signed over the challenge that
    /// came on the same connection.
    pub fn sign(&self, params: &Value, challenge: &Value) -> Value {
        let nonce = challenge["nonce"].as_str().expect("a nonce");
        let signed_at = challenge["ts"].as_i64().expect("a time");
        let payload = payload(&self.id, params, signed_at, nonce);
        let key = Ed25519KeyPair::from_pkcs8(&self.pkcs8).expect("the key");
        json!({
            "id": self.id, "publicKey": BASE64URL_NOPAD.encode(&self.public),
            "signature": BASE64URL_NOPAD.encode(key.sign(payload.as_bytes()).as_ref()),
            "signedAt": signed_at, "nonce": nonce,
        })
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.id)
    }
}

/// What is signed.
fn payload(device: &str, params: &Value, signed_at: i64, nonce: &str) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let client = &params["client"];
    let scopes = params["scopes"].as_array().into_iter().flatten();
    let scopes: Vec<&str> = scopes.filter_map(Value::as_str).collect();
    let auth = &params["auth"];
    let tokens = ["token", "deviceToken", "bootstrapToken"];
    let token = tokens.iter().find_map(|name| auth[name].as_str());
    let fields = [
        "v3".to_owned(),
        device.to_owned(),
        text(&client["id"]),
        text(&client["mode"]),
        text(&params["role"]),
        scopes.join(","),
        signed_at.to_string(),
        token.unwrap_or_default().to_owned(),
        nonce.to_owned(),
        text(&client["platform"]).to_ascii_lowercase(),
        text(&client["deviceFamily"]).to_ascii_lowercase(),
    ];
    fields.join("|")
}

#[test]
fn what_is_signed() {
    let params = json!({
        "client": { "id": "cli", "mode": "cli", "platform": "linux", "deviceFamily": "Linux" },
        "role": "operator", "scopes": ["a", "b"], "auth": { "deviceToken": "t" },
    });
    assert_eq!(
        payload("d", &params, 7, "n"),
        "v3|d|cli|cli|operator|a,b|7|t|n|linux|linux"
    );
}
