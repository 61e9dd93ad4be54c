//! An axum app whose event streams can be resumed, by one layer: no handler knows of it.
//!
//! ```sh
//! cargo run --release --example axum_app
//! cargo run --release --example resume_client      # loses its connection, and nothing else
//! curl -N http://127.0.0.1:8080/ticks              # then again, with -H 'Last-Event-ID: <id>'
//! ```

use std::{convert::Infallible, error::Error, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::{get, post},
};
use clap::Parser;
use serde_json::{Value, json};
use shadowcat::replay::ReplayLayer;
use tokio::{net::TcpListener, time::sleep};
use tokio_stream::{Stream, StreamExt};

pub(crate) fn app() -> Router {
    Router::new()
        .route("/mcp", post(mcp))
        .route("/ticks", get(ticks))
        // Gives each event an id, and keeps what was sent for a while. A client that comes back
        // with `Last-Event-ID` gets what it has missed and then what comes, from the same run of
        // the same handler, which went on without it; and it gets nothing of what others were sent.
        .layer(ReplayLayer::default())
}

/// A number each second, with no end: for `new EventSource("/ticks")`, which comes back by itself.
async fn ticks() -> impl IntoResponse {
    let ticks = tokio_stream::iter(1_u64..).then(|tick| async move {
        sleep(Duration::from_secs(1)).await;
        Ok::<_, Infallible>(Event::default().data(tick.to_string()))
    });
    Sse::new(ticks).keep_alive(KeepAlive::default())
}

/// As much of an MCP server as a client needs that calls the one tool there is.
async fn mcp(body: Bytes) -> Response {
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if message["id"].is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    let call = &message["params"];
    match (message["method"].as_str(), call["name"].as_str()) {
        (Some("initialize"), _) => initialize(&message),
        (Some("tools/call"), Some("count")) => Sse::new(count(&message))
            .keep_alive(KeepAlive::default())
            .into_response(),
        _ => json_response(&json!({
            "jsonrpc": "2.0", "id": message["id"],
            "error": { "code": -32601, "message": "there is one tool, count" },
        })),
    }
}

fn initialize(message: &Value) -> Response {
    let answer = json_response(&json!({
        "jsonrpc": "2.0", "id": message["id"], "result": {
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "axum_app", "version": "1" },
        },
    }));
    // All that a session is in here is a name, so it has to be one that cannot be guessed.
    ([("mcp-session-id", session_id())], answer).into_response()
}

/// Counts to `steps`, with a progress notification for each, and then answers.
fn count(message: &Value) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
    let arguments = &message["params"]["arguments"];
    let steps = arguments["steps"].as_u64().unwrap_or(3);
    let delay = Duration::from_millis(arguments["delay_ms"].as_u64().unwrap_or(500));
    let token = message["params"]["_meta"]["progressToken"].clone();
    let progress = tokio_stream::iter(1..=steps).then(move |step| {
        let notification = json!({
            "jsonrpc": "2.0", "method": "notifications/progress",
            "params": { "progressToken": token, "progress": step, "total": steps },
        });
        async move {
            sleep(delay).await;
            notification
        }
    });
    let answer = json!({
        "jsonrpc": "2.0", "id": message["id"], "result": {
            "content": [{ "type": "text", "text": format!("counted to {steps}") }],
            "isError": false,
        },
    });
    progress
        .chain(tokio_stream::once(answer))
        .map(|message| Ok(Event::default().data(message.to_string())))
}

fn json_response(message: &Value) -> Response {
    let fields = [(header::CONTENT_TYPE, "application/json")];
    (fields, message.to_string()).into_response()
}

fn session_id() -> String {
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("the system has randomness");
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The app above, on a port.
#[derive(Debug, Parser)]
#[command(name = "axum_app", disable_version_flag = true)]
struct Args {
    /// Where to serve /mcp and /ticks; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind(Args::parse().listen).await?;
    let addr = listener.local_addr()?;
    println!("listening on http://{addr}/mcp");
    println!("ticks at http://{addr}/ticks");
    axum::serve(listener, app()).await?;
    Ok(())
}
