//! A minimal authorization server (RFC 8414, RFC 7636), which lets in whoever asks, as alice.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use shadowcat::auth::jwt::Algorithm;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[path = "../jwt_support/signer.rs"]
#[allow(dead_code)]
mod signer;

use signer::{Signer, encode};

/// Stops when it is dropped.
pub(crate) struct AuthorizationServer {
    pub(crate) issuer: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    issuer: String,
    signer: Signer,
    /// What was asked for under each code.
    grants: Mutex<HashMap<String, Grant>>,
    /// How often it was asked for its keys.
    fetches: Mutex<usize>,
}

struct Grant {
    challenge: String,
    redirect: String,
    client: String,
    resource: String,
    scope: String,
}

impl AuthorizationServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let issuer = format!("http://{address}");
        let shared = Arc::new(Shared {
            issuer: issuer.clone(),
            signer: Signer::new(Algorithm::Es256, "first"),
            grants: Mutex::default(),
            fetches: Mutex::default(),
        });
        let app = Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/keys", get(keys))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("it serves");
        });
        Self {
            issuer,
            shared,
            task,
        }
    }

    pub(crate) fn keys_url(&self) -> String {
        format!("{}/keys", self.issuer)
    }

    pub(crate) fn fetches(&self) -> usize {
        *self.shared.fetches.lock().expect("no panic")
    }

    /// A token that nobody asked for.
    pub(crate) fn token_for(&self, audience: &str, scope: &str) -> String {
        self.shared.token("alice", "test", audience, scope)
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn token(&self, subject: &str, client: &str, audience: &str, scope: &str) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.expect("a clock that goes").as_secs();
        self.signer.token(&json!({
            "iss": self.issuer,
            "aud": audience,
            "sub": subject,
            "client_id": client,
            "scope": scope,
            "iat": now,
            "exp": now + 600,
        }))
    }
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let issuer = &shared.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    *shared.fetches.lock().expect("no panic") += 1;
    Json(json!({"keys": [shared.signer.jwk()]}))
}

/// Sends the browser back with a code.
async fn authorize(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let asked = parameters(&query.unwrap_or_default());
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["code_challenge_method"], "S256");
    let code = encode(digest(&SHA256, asked["state"].as_bytes()));
    let redirect = asked["redirect_uri"].clone();
    let issuer = encoded(&shared.issuer);
    let location = format!(
        "{redirect}?code={code}&state={}&iss={issuer}",
        asked["state"]
    );
    let grant = Grant {
        challenge: asked["code_challenge"].clone(),
        redirect,
        client: asked["client_id"].clone(),
        resource: asked["resource"].clone(),
        scope: asked.get("scope").cloned().unwrap_or_default(),
    };
    let mut grants = shared.grants.lock().expect("no panic");
    grants.insert(code, grant);
    (StatusCode::FOUND, [(LOCATION, location)]).into_response()
}

/// Gives a token for a code, once, to whoever knows what its challenge is the digest of.
async fn token(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let asked = parameters(&body);
    assert_eq!(asked["grant_type"], "authorization_code");
    let grant = shared
        .grants
        .lock()
        .expect("no panic")
        .remove(&asked["code"]);
    let Some(grant) = grant else {
        return refused("invalid_grant");
    };
    let proof = encode(digest(&SHA256, asked["code_verifier"].as_bytes()));
    let is_theirs = proof == grant.challenge
        && asked["redirect_uri"] == grant.redirect
        && asked["client_id"] == grant.client
        && asked["resource"] == grant.resource;
    if !is_theirs {
        return refused("invalid_grant");
    }
    let token = shared.token("alice", &grant.client, &grant.resource, &grant.scope);
    Json(json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": grant.scope,
    }))
    .into_response()
}

fn refused(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
}

/// The parameters of a query or a form.
fn parameters(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&digits, 16).expect("hexadecimal"));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
