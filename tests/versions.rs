//! The example of a list of versions, as its `curl` line shows it.

#[path = "../examples/versions.rs"]
#[allow(dead_code)]
mod versions;

use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

/// The request of the example's documentation, of another version.
async fn ask(version: &str) -> (StatusCode, String) {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"_meta":{{
        "io.modelcontextprotocol/protocolVersion":"{version}",
        "io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    let request = Request::post("/mcp")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", version)
        .header("mcp-method", "ping")
        .body(Body::from(body))
        .expect("a valid request");
    let response: Response<Body> = versions::app().oneshot(request).await.expect("infallible");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a whole body");
    let body = String::from_utf8(body.to_bytes().to_vec()).expect("text");
    (status, body)
}

#[tokio::test]
async fn ver_5_a_version_that_is_not_listed_is_told_the_list() {
    let told = concat!(
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"#,
        r#""message":"the protocol version is not supported","data":{"source":"shadowcat","#,
        r#""supported":["2026-07-28","2025-11-25"],"requested":"2027-01-01"}}}"#
    );
    assert_eq!(
        ask("2027-01-01").await,
        (StatusCode::BAD_REQUEST, told.to_owned())
    );
    let served = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert_eq!(ask("2026-07-28").await, (StatusCode::OK, served.to_owned()));
}
