//! tower-http's CORS and trace around the layers of this crate, in the right order, for an MCP
//! server that pages in a browser may use.
//!
//! ```sh
//! cargo run --example cors_and_trace -- http://127.0.0.1:3000/mcp
//! ```
//!
//! Without an upstream it shows a preflight and refusals as a browser would see them.

use std::{error::Error, net::Ipv4Addr};

use axum::{Router, body::Body};
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use shadowcat::{
    body::RequestBody,
    header::{LAST_EVENT_ID, MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION, MCP_SESSION_ID},
    message::MessageLayer,
    origin::OriginLayer,
    proxy::ReverseProxy,
};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::{cors::CorsLayer, trace::TraceLayer};

/// The page's own origin: an exact list, because a wildcard would let any page use the server.
const ORIGIN: &str = "https://app.example";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn app(upstream: &Uri) -> Result<Router> {
    let proxy = ReverseProxy::builder(upstream)?.build::<RequestBody<Body>>();
    let stack = ServiceBuilder::new()
        // Outermost, so that it also sees what the layers below refuse. It logs the end of a
        // stream too, not only its head.
        .layer(TraceLayer::new_for_http())
        // Before anything that could refuse: a preflight carries no credentials (ORG-6), and a
        // refusal without CORS fields is unreadable for the page.
        .layer(cors())
        // Inside of CORS, which only tells a browser what a page may read: this keeps the request of
        // any other page from being carried out at all. Both have the same list.
        .layer(OriginLayer::loopback().add_origin(ORIGIN)?)
        // Reads the body for the layers inside of it.
        .layer(MessageLayer::new())
        .service(proxy);
    Ok(Router::new().route_service("/mcp", stack))
}

fn cors() -> CorsLayer {
    const REQUEST: [HeaderName; 8] = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::ACCEPT,
        MCP_SESSION_ID,
        MCP_PROTOCOL_VERSION,
        LAST_EVENT_ID,
        MCP_METHOD,
        MCP_NAME,
    ];
    CorsLayer::new()
        .allow_origin(HeaderValue::from_static(ORIGIN))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(REQUEST)
        // Without it a page cannot read its own session id, and every later request fails.
        .expose_headers([MCP_SESSION_ID, header::WWW_AUTHENTICATE])
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .init();
    if let Some(upstream) = std::env::args().nth(1) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080)).await?;
        println!("listening on http://{}/mcp", listener.local_addr()?);
        axum::serve(listener, app(&upstream.parse()?)?).await?;
        return Ok(());
    }

    // Nobody listens at port 9 of this address: what the page would see of a dead upstream.
    let app = app(&Uri::from_static("http://127.0.0.1:9/mcp"))?;
    let preflight = Request::options("/mcp")
        .header(header::HOST, "localhost:8080")
        .header(header::ORIGIN, ORIGIN)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "mcp-session-id")
        .body(Body::empty())?;
    let response = app.clone().oneshot(preflight).await?;
    println!("preflight: {} {:#?}", response.status(), response.headers());
    assert_eq!(response.headers()["access-control-allow-origin"], ORIGIN);

    let call = |origin| {
        Request::post("/mcp")
            .header(header::HOST, "localhost:8080")
            .header(header::ORIGIN, origin)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#))
    };
    let response = app.clone().oneshot(call(ORIGIN)?).await?;
    println!("call: {} {:#?}", response.status(), response.headers());
    assert_eq!(response.status(), 502);
    let exposed = &response.headers()["access-control-expose-headers"];
    assert_eq!(exposed, "mcp-session-id,www-authenticate");

    let response = app.oneshot(call("https://evil.example")?).await?;
    println!("elsewhere: {}", response.status());
    assert_eq!(response.status(), 403);
    Ok(())
}
