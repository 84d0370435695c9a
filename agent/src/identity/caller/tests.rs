//! Tokens signed for real, and a provider on the loopback that counts what it is asked.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

const AUDIENCE: &str = "https://mcp.test/mcp";

/// A signer with its public half.
struct Signer {
    id: &'static str,
    key: EncodingKey,
    public: Value,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let key = EncodingKey::from_ec_der(der.as_ref());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        Self { id, key, public: serde_json::to_value(jwk).unwrap() }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.into()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.key).unwrap()
    }
}

/// A provider that serves what it is told to.
struct Peer {
    issuer: String,
    documents: Arc<Mutex<HashMap<String, Value>>>,
    key_fetches: Arc<AtomicUsize>,
    is_up: Arc<AtomicBool>,
    /// The token that must be shown to it, if any.
    wants: Arc<Mutex<Option<String>>>,
    /// Whoever holds it holds back the keys.
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Peer {
    async fn start(keys: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
        let documents = HashMap::from([("/.well-known/openid-configuration".to_owned(), metadata)]);
        let peer = Self {
            issuer,
            documents: Arc::new(Mutex::new(documents)),
            key_fetches: Arc::default(),
            is_up: Arc::new(AtomicBool::new(true)),
            wants: Arc::default(),
            gate: Arc::default(),
        };
        peer.publish(keys);
        let (documents, fetches) = (Arc::clone(&peer.documents), Arc::clone(&peer.key_fetches));
        let (is_up, gate, wants) = (Arc::clone(&peer.is_up), Arc::clone(&peer.gate), Arc::clone(&peer.wants));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if !is_up.load(Ordering::SeqCst) {
                    continue;
                }
                let (documents, fetches, gate) = (Arc::clone(&documents), Arc::clone(&fetches), Arc::clone(&gate));
                let wants = wants.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    let length = stream.read(&mut head).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&head[..length]).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    if path == "/keys" {
                        fetches.fetch_add(1, Ordering::SeqCst);
                        drop(gate.lock().await);
                    }
                    let shows = |token: String| head.contains(&format!("authorization: Bearer {token}\r\n"));
                    let document =
                        documents.lock().unwrap().get(path).filter(|_| wants.is_none_or(shows)).map(Value::to_string);
                    let status = if document.is_some() { "200 OK" } else { "404 Not Found" };
                    let body = document.unwrap_or_default();
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        peer
    }

    fn publish(&self, keys: &[&Signer]) {
        let keys: Vec<_> = keys.iter().map(|signer| signer.public.clone()).collect();
        self.documents.lock().unwrap().insert("/keys".into(), json!({ "keys": keys }));
    }

    fn callers(&self, keys: &str) -> Callers {
        let text = format!(
            "[[endpoint]]\nname = \"mcp\"\nhosts = [\"mcp.test\"]\ncaller = {{ issuer = \"{}\", audience = \"{AUDIENCE}\" {keys} }}",
            self.issuer
        );
        Callers::new(&toml::from_str(&text).unwrap()).unwrap()
    }

    fn claims(&self, change: &Value) -> Value {
        let now = get_current_timestamp();
        let mut claims = json!({
            "iss": self.issuer, "aud": AUDIENCE, "sub": "jane", "exp": now + 600, "groups": ["developers", "on-call"],
        });
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }
}

async fn verify(callers: &Callers, token: &str) -> Result<Caller, TokenError> {
    callers.gate("mcp").unwrap().verify(token).await
}

#[tokio::test]
async fn a_good_token_names_its_caller_and_others_are_told_apart() {
    let (signer, stranger) = (Signer::new("one"), Signer::new("one"));
    let peer = Peer::start(&[&signer]).await;
    let callers = peer.callers("");
    let now = get_current_timestamp();
    let token = |change: Value| signer.sign(&peer.claims(&change));
    let expected =
        Caller { sub: "jane".into(), issuer: peer.issuer.clone(), groups: vec!["developers".into(), "on-call".into()] };
    for good in [json!({}), json!({ "aud": ["x", AUDIENCE] }), json!({ "exp": now - 30 }), json!({ "nbf": now + 30 })] {
        assert_eq!(verify(&callers, &token(good.clone())).await, Ok(expected.clone()), "{good}");
    }
    for (change, why) in [
        (json!({ "exp": now - 90 }), TokenError::Expired),
        (json!({ "exp": null }), TokenError::MissingClaim),
        (json!({ "exp": "tomorrow" }), TokenError::MissingClaim),
        (json!({ "nbf": now + 90 }), TokenError::NotYet),
        (json!({ "aud": "https://other.test" }), TokenError::Audience),
        (json!({ "aud": null }), TokenError::MissingClaim),
        (json!({ "iss": "https://other.test" }), TokenError::Issuer),
        (json!({ "sub": "" }), TokenError::MissingClaim),
        (json!({ "sub": "x".repeat(256) }), TokenError::MissingClaim),
    ] {
        assert_eq!(verify(&callers, &token(change.clone())).await, Err(why), "{change}");
    }
    let of_stranger = stranger.sign(&peer.claims(&json!({})));
    assert_eq!(verify(&callers, &of_stranger).await, Err(TokenError::Signature));
    assert_eq!(verify(&callers, &"a".repeat(20_000)).await, Err(TokenError::TooLong));
    assert_eq!(verify(&callers, "opaque").await, Err(TokenError::Malformed));
    assert_eq!(peer.key_fetches.load(Ordering::SeqCst), 1, "one fetch for all of these");
}

#[tokio::test]
async fn the_algorithm_is_the_configurations_and_the_keys_never_the_tokens() {
    let signer = Signer::new("one");
    let peer = Peer::start(&[&signer]).await;
    let claims = peer.claims(&json!({}));
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());

    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none", "kid": "one" })), part(&claims));
    assert_eq!(verify(&peer.callers(""), &unsigned).await, Err(TokenError::Algorithm));

    // What everybody can read as the secret of a symmetric signature.
    for secret in [signer.public.to_string(), signer.public["x"].as_str().unwrap().to_owned()] {
        let header = Header { kid: Some("one".into()), ..Header::new(Algorithm::HS256) };
        let confused = encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
        assert_eq!(verify(&peer.callers(""), &confused).await, Err(TokenError::Algorithm));
    }
    let rs_only = peer.callers(", algorithms = [\"RS256\"]");
    assert_eq!(verify(&rs_only, &signer.sign(&claims)).await, Err(TokenError::Algorithm));

    let (header, rest) = (json!({ "alg": "ES256", "kid": "one", "crit": ["b64"], "b64": false }), part(&claims));
    assert_eq!(verify(&peer.callers(""), &format!("{}.{rest}.AA", part(&header))).await, Err(TokenError::Kind));
    let header = json!({ "alg": "ES256", "kid": "one", "typ": "dpop+jwt" });
    assert_eq!(verify(&peer.callers(""), &format!("{}.{rest}.AA", part(&header))).await, Err(TokenError::Kind));
}

#[tokio::test]
async fn a_flood_of_unknown_keys_is_one_fetch_and_a_published_one_is_found() {
    let signer = Signer::new("one");
    let peer = Peer::start(&[&signer]).await;
    let callers = Arc::new(peer.callers(""));
    let flood = (0..200).map(|number| {
        let (callers, claims) = (Arc::clone(&callers), peer.claims(&json!({})));
        let header = Header { kid: Some(format!("invented-{number}")), ..Header::new(Algorithm::ES256) };
        let token = encode(&header, &claims, &signer.key).unwrap();
        tokio::spawn(async move { verify(&callers, &token).await })
    });
    for answer in flood.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap(), Err(TokenError::UnknownKey));
    }
    assert_eq!(peer.key_fetches.load(Ordering::SeqCst), 1);
    assert!(verify(&callers, &signer.sign(&peer.claims(&json!({})))).await.is_ok());
    assert_eq!(peer.key_fetches.load(Ordering::SeqCst), 1, "what the flood's fetch found is enough");
}

#[tokio::test]
async fn who_hangs_up_neither_ends_a_fetch_nor_begins_another() {
    let signer = Signer::new("one");
    let peer = Peer::start(&[&signer]).await;
    let callers = Arc::new(peer.callers(""));
    let token = signer.sign(&peer.claims(&json!({})));
    let held_back = peer.gate.lock().await;
    let ask = || {
        let (callers, token) = (Arc::clone(&callers), token.clone());
        tokio::spawn(async move { verify(&callers, &token).await })
    };
    let first = ask();
    while peer.key_fetches.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    for _ in 0..5 {
        let next = ask();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        next.abort();
    }
    let last = ask();
    drop(held_back);
    assert!(last.await.unwrap().is_ok(), "what was begun for the first serves the last");
    assert_eq!(peer.key_fetches.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_provider_that_is_down_admits_nobody_new_and_its_known_keys_still_hold() {
    let signer = Signer::new("one");
    let peer = Peer::start(&[&signer]).await;
    let (warm, cold) = (peer.callers(""), peer.callers(""));
    let token = signer.sign(&peer.claims(&json!({})));
    assert!(verify(&warm, &token).await.is_ok());
    peer.is_up.store(false, Ordering::SeqCst);
    assert!(verify(&warm, &token).await.is_ok());
    assert_eq!(verify(&cold, &token).await, Err(TokenError::Unavailable));
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_believed_and_rfc_8414_is_tried() {
    let signer = Signer::new("one");
    let peer = Peer::start(&[&signer]).await;
    let token = signer.sign(&peer.claims(&json!({})));
    let documents = Arc::clone(&peer.documents);
    let metadata = documents.lock().unwrap().remove("/.well-known/openid-configuration").unwrap();
    documents.lock().unwrap().insert("/.well-known/oauth-authorization-server".into(), metadata.clone());
    assert!(verify(&peer.callers(""), &token).await.is_ok());

    let others = json!({ "issuer": "https://other.test", "jwks_uri": metadata["jwks_uri"] });
    documents.lock().unwrap().insert("/.well-known/openid-configuration".into(), others);
    assert_eq!(verify(&peer.callers(""), &token).await, Err(TokenError::Unavailable));
}

#[tokio::test]
async fn a_service_accounts_token_names_it_and_the_keys_are_asked_for_with_the_agents_own() {
    let signer = Signer::new("one");
    let peer = Peer::start(&[&signer]).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "of-yesterday\n").unwrap();
    *peer.wants.lock().unwrap() = Some("of-today".into());
    let callers = peer.callers(&format!(", token_file = {file:?}, groups_claim = \"/kubernetes.io/namespace\""));
    // As the API server projects one into a pod.
    let claims = json!({
        "aud": [AUDIENCE],
        "sub": "system:serviceaccount:payments:agent",
        "groups": null,
        "kubernetes.io": {
            "namespace": "payments",
            "node": { "name": "node-1", "uid": "a4e2f6f0-6c3e-4d0e-9d0e-0d4c8d7f7b1a" },
            "pod": { "name": "agent-7c9d8f6b54-x2v9k", "uid": "6a1c0b52-3f0e-4a53-9d57-8a1e5a3f2c11" },
            "serviceaccount": { "name": "agent", "uid": "5f1a5a3e-7a0b-4f43-8d0e-1f3a5b7c9d1e" },
            "warnafter": get_current_timestamp() + 300,
        },
    });
    let token = signer.sign(&peer.claims(&claims));
    assert_eq!(
        verify(&callers, &token).await,
        Err(TokenError::Unavailable),
        "the API server shows its keys to nobody else"
    );

    // The kubelet has put another one in its place. Without the cooldown, which is another test's:
    std::fs::write(&file, "of-today\n").unwrap();
    let callers = peer.callers(&format!(", token_file = {file:?}, groups_claim = \"/kubernetes.io/namespace\""));
    let caller = verify(&callers, &token).await.unwrap();
    assert_eq!(
        (caller.sub.as_str(), caller.groups),
        ("system:serviceaccount:payments:agent", vec!["payments".to_owned()])
    );
}

#[tokio::test]
async fn groups_decide_where_they_are_asked_for() {
    let signer = Signer::new("one");
    let peer = Peer::start(&[&signer]).await;
    let nested = json!({ "groups": null, "realm_access": { "roles": ["admin"] }, "team": "blue" });
    let token = signer.sign(&peer.claims(&nested));
    for (claim, groups) in [("/realm_access/roles", vec!["admin"]), ("team", vec!["blue"]), ("sub2", vec![])] {
        let callers =
            peer.callers(&format!(", groups_claim = \"{claim}\", required = true, allowed_groups = [\"admin\"]"));
        let caller = verify(&callers, &token).await.unwrap();
        assert_eq!(caller.groups, groups, "{claim}");
        let admitted = callers.gate("mcp").unwrap().admit(Some(&caller));
        assert_eq!(admitted.is_ok(), groups == ["admin"], "{claim}");
    }
    let callers = peer.callers(", required = true");
    let gate = callers.gate("mcp").unwrap();
    assert_eq!(gate.admit(None), Err(Barred::Unknown));
    let stranger = Caller { sub: "jane".into(), issuer: "https://other.test".into(), groups: vec![] };
    assert_eq!(gate.admit(Some(&stranger)), Err(Barred::Unknown), "another provider's caller is nobody here");
    assert_eq!(peer.callers("").gate("mcp").unwrap().admit(None), Ok(()));
}

#[test]
fn symmetric_and_foreign_keys_are_left_out_of_a_key_set() {
    let signer = Signer::new("one");
    let with = |name: &str, value: &str| {
        let mut key = signer.public.clone();
        key[name] = value.into();
        key
    };
    let symmetric = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256" });
    for left_out in [symmetric, with("use", "enc"), with("alg", "RS256"), with("crv", "P-521"), json!({ "kty": "AKP" })]
    {
        let text = json!({ "keys": [left_out] }).to_string();
        assert!(keys::KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
    let text = json!({ "keys": [signer.public, "no key", { "kty": "oct", "k": "c2VjcmV0" }] }).to_string();
    let keys = keys::KeySet::parse(text.as_bytes()).unwrap();
    assert!(keys.find(Some("one"), Algorithm::ES256).is_some() && keys.find(None, Algorithm::ES256).is_some());
    assert!(keys.find(Some("two"), Algorithm::ES256).is_none() && keys.find(Some("one"), Algorithm::HS256).is_none());
}
