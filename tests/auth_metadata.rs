//! The document that sends clients to an authorization server.

mod auth_support;

use auth_support::{ask, scopes};
use axum::Router;
use http::{Method, Request};
use serde_json::{Value, json};
use shadowcat::auth::{ConfigErrorKind, MetadataBuilder, MetadataService};
use tower::{Service, ServiceExt};

const AS: &str = "https://login.example.com/tenant";

fn of(resource: &str) -> MetadataBuilder {
    MetadataService::builder(resource).add_authorization_server(AS)
}

fn request(method: Method, path: &str) -> Request<String> {
    let request = Request::builder().method(method).uri(path);
    request.body(String::new()).expect("a valid request")
}

async fn document(metadata: &MetadataService) -> Value {
    let had = ask(metadata, request(Method::GET, "/")).await;
    assert_eq!(had.status, 200);
    serde_json::from_str(&had.body).expect("JSON")
}

#[tokio::test]
async fn aut_3_document_says_what_it_was_told() {
    let metadata = of("https://mcp.example.com/mcp")
        .add_authorization_server("https://other.example.com")
        .with_scopes(scopes(&["tools", "read"]))
        .with_name("The \"server\"")
        .with_documentation("https://docs.example.com/?a=b")
        .build()
        .expect("valid");
    assert_eq!(
        document(&metadata).await,
        json!({
            "resource": "https://mcp.example.com/mcp",
            "authorization_servers": [AS, "https://other.example.com"],
            "scopes_supported": ["tools", "read"],
            "bearer_methods_supported": ["header"],
            "resource_name": "The \"server\"",
            "resource_documentation": "https://docs.example.com/?a=b",
        })
    );
    // What is not there is not named (RFC 9728 §2).
    let least = of("https://mcp.example.com").build().expect("valid");
    assert_eq!(
        document(&least).await,
        json!({
            "resource": "https://mcp.example.com",
            "authorization_servers": [AS],
            "bearer_methods_supported": ["header"],
        })
    );
}

#[tokio::test]
async fn aut_4_aut_11_place_and_resource_go_together() {
    const ROOT: &str = "/.well-known/oauth-protected-resource";
    for (resource, canonical, url, path) in [
        (
            "https://h/public/mcp",
            "https://h/public/mcp",
            "https://h/.well-known/oauth-protected-resource/public/mcp",
            "/.well-known/oauth-protected-resource/public/mcp",
        ),
        (
            "HTTPS://H:8443/MCP",
            "https://h:8443/MCP",
            "https://h:8443/.well-known/oauth-protected-resource/MCP",
            "/.well-known/oauth-protected-resource/MCP",
        ),
        (
            "https://h/",
            "https://h",
            "https://h/.well-known/oauth-protected-resource",
            ROOT,
        ),
    ] {
        let metadata = of(resource).build().expect("valid");
        assert_eq!(document(&metadata).await["resource"], canonical);
        assert_eq!(metadata.resource(), canonical);
        assert_eq!(metadata.url(), url);
        assert_eq!(metadata.paths(), [path, ROOT]);
    }
}

#[tokio::test]
async fn get_head_and_preflight_are_answered_to_any_page_and_nothing_else() {
    let metadata = of("https://h/mcp").build().expect("valid");
    let get = ask(&metadata, request(Method::GET, "/x")).await;
    assert_eq!(get.status, 200);
    assert_eq!(get.headers["content-type"], "application/json");
    assert_eq!(get.headers["access-control-allow-origin"], "*");
    assert_eq!(get.headers["content-length"], get.body.len().to_string());

    let head = ask(&metadata, request(Method::HEAD, "/x")).await;
    assert_eq!((head.status, &*head.body), (get.status, ""));
    assert_eq!(head.headers, get.headers);

    let preflight = ask(&metadata, request(Method::OPTIONS, "/x")).await;
    assert_eq!((preflight.status.as_u16(), &*preflight.body), (204, ""));
    assert_eq!(preflight.headers["access-control-allow-origin"], "*");
    assert_eq!(preflight.headers["access-control-allow-headers"], "*");
    let methods = "GET, HEAD, OPTIONS";
    assert_eq!(preflight.headers["access-control-allow-methods"], methods);

    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let had = ask(&metadata, request(method, "/x")).await;
        assert_eq!(had.status, 405);
        assert_eq!(had.headers["allow"], methods);
    }
}

#[test]
fn aut_13_what_clients_must_not_be_told_is_refused_at_construction() {
    use ConfigErrorKind::{AuthorizationServer, Documentation, NoAuthorizationServer, Resource};

    let h = "https://h/mcp";
    for (builder, kind) in [
        (of("http://h/mcp"), Resource),
        (of("http://localhost/mcp"), Resource),
        (of("https://h/mcp?x=y"), Resource),
        (of("https://h/mcp#x"), Resource),
        (of("https://u@h/mcp"), Resource),
        (of("/mcp"), Resource),
        (of(""), Resource),
        (MetadataService::builder(h), NoAuthorizationServer),
        (
            of(h).add_authorization_server("http://login"),
            AuthorizationServer,
        ),
        (
            of(h).add_authorization_server("https://login?x"),
            AuthorizationServer,
        ),
        (of(h).add_authorization_server(""), AuthorizationServer),
        (
            of(h).with_documentation("javascript:alert(1)"),
            Documentation,
        ),
    ] {
        let error = builder.clone().build().expect_err("refused");
        assert_eq!(error.kind(), kind, "{builder:?}");
    }
    let local = of("http://127.0.0.1:8080/mcp").allow_loopback();
    let local = local.add_authorization_server("http://localhost:1/as");
    assert!(local.build().is_ok());
    let alone = MetadataService::builder(h).allow_no_authorization_server();
    assert!(alone.build().is_ok());
    assert!(of("http://h/mcp").allow_loopback().build().is_err());
}

#[tokio::test]
async fn is_a_route_of_axum() {
    let metadata = of("https://h/mcp").build().expect("valid");
    let [path, root] = metadata.paths().map(str::to_owned);
    let router = Router::<()>::new()
        .route_service(&path, metadata.clone())
        .route_service(&root, metadata.clone());
    for (path, status) in [(&*path, 200), (&*root, 200), ("/mcp", 404)] {
        let request = Request::get(path).body(axum::body::Body::empty());
        let response = router.clone().oneshot(request.expect("valid")).await;
        assert_eq!(response.expect("infallible").status(), status);
    }

    fn assert_static<T: Send + Sync + Clone + 'static>(_: &T) {}
    fn assert_send<T: Send + 'static>(_: &T) {}
    assert_static(&metadata);
    assert_send(&metadata.clone().call(request(Method::GET, "/")));
    assert!(format!("{metadata:?}").contains("https://h/.well-known"));
}
