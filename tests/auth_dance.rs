//! An rmcp client that knows nothing but the gateway's URL gets itself a token, and uses it.

mod support;

#[path = "support/authorization.rs"]
mod authorization;

use authorization::AuthorizationServer;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use rmcp::model::{CallToolRequestParams, ClientConfig};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{AuthClient, AuthorizationRequest, OAuthState};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt, service::RunningService};
use shadowcat::auth::jwt::{Issuer, JwksUrl, JwtAuthorizer};
use shadowcat::auth::{AuthLayer, MetadataService, ScopeLayer, Scopes};
use support::endpoint::{Endpoint, Guard, demo_server, guarded};
use support::within_limit;

/// Where a browser would be sent back to; nobody listens there.
const REDIRECT: &str = "http://127.0.0.1:1/callback";

fn guard(url: &str, login: &AuthorizationServer) -> Guard<JwtAuthorizer> {
    let keys = JwksUrl::loopback(&login.keys_url()).expect("of this machine");
    let issuer = Issuer::new(&*login.issuer, url, keys).expect("valid");
    let scopes = Scopes::new(["mcp:tools"]).expect("valid");
    let metadata = MetadataService::builder(url)
        .allow_loopback()
        .add_authorization_server(&*login.issuer)
        .with_scopes(scopes.clone())
        .build()
        .expect("valid");
    let authorizer = JwtAuthorizer::new([issuer]).expect("valid");
    Guard {
        auth: AuthLayer::new(authorizer).with_metadata(&metadata),
        scopes: ScopeLayer::new()
            .with_metadata(&metadata)
            .add_method("tools/call", scopes),
        metadata,
    }
}

/// What the browser would be shown, which is nothing: it is sent back at once.
async fn follow(url: &str) -> String {
    let client = HttpClient::builder(TokioExecutor::new()).build_http();
    let request = Request::get(url).body(Full::<bytes::Bytes>::default());
    let response = client.request(request.expect("a URL")).await;
    let response = response.expect("a response");
    assert_eq!(response.status(), StatusCode::FOUND);
    let location = response.headers()["location"].to_str();
    location.expect("a URL").to_owned()
}

/// Goes through it all, by what rmcp finds out from a 401.
async fn authorize(endpoint: &Endpoint) -> OAuthState {
    let mut state = OAuthState::new(&*endpoint.url, None).await.expect("a URL");
    let request = AuthorizationRequest::new(REDIRECT).with_preregistered_client("editor");
    state
        .start_authorization(request)
        .await
        .expect("it is told where");
    let url = state.get_authorization_url().await.expect("a URL");
    let back = follow(&url).await;
    assert!(back.starts_with(REDIRECT), "{back}");
    state.handle_callback_url(&back).await.expect("a token");
    state
}

async fn connect(
    endpoint: &Endpoint,
    state: OAuthState,
) -> RunningService<RoleClient, ClientConfig> {
    let manager = state.into_authorization_manager().expect("a token");
    let client = AuthClient::new(reqwest::Client::new(), manager);
    let config = StreamableHttpClientTransportConfig::with_uri(&*endpoint.url);
    let transport = StreamableHttpClientTransport::with_client(client, config);
    let connected = ClientConfig::default().serve(transport).await;
    connected.expect("it is let in")
}

async fn post(endpoint: &Endpoint, token: &str) -> (StatusCode, HeaderMap) {
    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;

    let client = HttpClient::builder(TokioExecutor::new()).build_http();
    let request = Request::post(&endpoint.url)
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2025-11-25")
        .header("authorization", format!("Bearer {token}"))
        .body(Full::<bytes::Bytes>::from(CALL));
    let response = client.request(request.expect("valid")).await;
    let (parts, _) = response.expect("a response").into_parts();
    (parts.status, parts.headers)
}

#[tokio::test]
async fn client_gets_a_token_and_calls_a_tool() {
    within_limit(async {
        let login = AuthorizationServer::start().await;
        let demo = demo_server().await;
        let endpoint = guarded(&demo.url, |url| guard(url, &login)).await;
        assert_eq!(login.fetches(), 0, "no keys before the first token");

        let state = authorize(&endpoint).await;
        let client = connect(&endpoint, state).await;
        let tools = client.list_all_tools().await.expect("tools");
        assert!(!tools.is_empty());
        let arguments = serde_json::json!({"steps": 2});
        let call = CallToolRequestParams::new("count")
            .with_arguments(arguments.as_object().expect("an object").clone());
        let answer = client.call_tool(call).await.expect("an answer");
        assert_eq!(answer.is_error, Some(false), "{answer:?}");
        client.cancel().await.expect("it ends");
        assert_eq!(login.fetches(), 1, "the keys were fetched once");
    })
    .await;
}

#[tokio::test]
async fn tokens_for_another_server_or_with_too_few_scopes_are_refused() {
    within_limit(async {
        let login = AuthorizationServer::start().await;
        let demo = demo_server().await;
        let endpoint = guarded(&demo.url, |url| guard(url, &login)).await;

        let elsewhere = login.token_for(&demo.url, "mcp:tools");
        let (status, headers) = post(&endpoint, &elsewhere).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let challenge = headers["www-authenticate"].to_str().expect("ASCII");
        assert!(
            challenge.contains(r#"error="invalid_token""#),
            "{challenge}"
        );
        assert!(
            challenge.contains("the token is for another server"),
            "{challenge}"
        );

        let weak = login.token_for(&endpoint.url, "mcp:read");
        let (status, headers) = post(&endpoint, &weak).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        let challenge = headers["www-authenticate"].to_str().expect("ASCII");
        assert!(
            challenge.contains(r#"error="insufficient_scope""#),
            "{challenge}"
        );
        assert!(challenge.contains(r#"scope="mcp:tools""#), "{challenge}");
    })
    .await;
}
