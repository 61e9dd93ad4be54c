//! The demo MCP server: what the gateway proxies to when no `--upstream` is given.
//!
//! A real rmcp server over Streamable HTTP at `/mcp`, with one tool for each thing that an
//! intermediary can get wrong. It answers the session revisions (`initialize`, up to 2025-11-25)
//! and the stateless one (2026-07-28) on the same URL; it needs no special client.
//!
//! | tool | arguments | what it does on the wire |
//! |---|---|---|
//! | `echo` | `{"text":"hello"}` | one answer |
//! | `count` | `{"steps":3,"delay_ms":500}` | a progress notification per step on the call's own stream, then the answer |
//! | `count` | `{"steps":3,"delay_ms":0,"gate":"g"}` | the same, but waits after the first step until `release` names the gate |
//! | `release` | `{"gate":"g"}` | opens that gate; an error result if nobody waits at it |
//! | `notify` | `{"uri":"demo://news","delay_ms":0}` | answers, then `notifications/resources/updated` on the session's GET stream and on every 2026-07-28 listen for that URI |
//! | `ask` | `{"question":"Which colour?"}` | `elicitation/create` on the call's own stream, and the user's answer as the result; in 2026-07-28 the same as an `input_required` round |
//! | `hang_up` | `{"text":"hello","retry_ms":500}` | `retry`, then closes the call's stream; the answer follows on the GET with `Last-Event-ID` (sessions only) |
//!
//! By hand:
//!
//! ```sh
//! url=http://127.0.0.1:8080/mcp
//! accept='Accept: application/json, text/event-stream'
//! json='Content-Type: application/json'
//! session=$(curl -sD- -o/dev/null $url -H "$accept" -H "$json" -d '{"jsonrpc":"2.0","id":1,
//!   "method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},
//!   "clientInfo":{"name":"curl","version":"1"}}}' | tr -d '\r' | grep -i '^mcp-session-id')
//! curl -s $url -H "$accept" -H "$json" -H "$session" \
//!   -d '{"jsonrpc":"2.0","method":"notifications/initialized"}'
//! curl -sN $url -H "$accept" -H "$json" -H "$session" -d '{"jsonrpc":"2.0","id":2,
//!   "method":"tools/call","params":{"name":"count","arguments":{"steps":3,"delay_ms":500},
//!   "_meta":{"progressToken":"p"}}}'
//! ```

// Spelled out because tests and benches include this file by a path of their own.
#[path = "demo/arguments.rs"]
mod arguments;
#[path = "demo/gates.rs"]
mod gates;
#[path = "demo/sessions.rs"]
mod sessions;
#[path = "demo/tools.rs"]
mod tools;

use std::future::Future;
use std::io;
use std::sync::Arc;

use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;

use self::sessions::Sessions;
use self::tools::{Demo, Shared};

/// Serves the demo at `/mcp` on `listener` until `shutdown` completes.
///
/// Then it stops accepting, ends every session and with it every open stream, and returns once the
/// connections are done, so it does not outlive a client that holds a stream open.
pub(crate) async fn serve<F>(listener: TcpListener, shutdown: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let config = StreamableHttpServerConfig::default();
    let sessions_end = config.cancellation_token.clone();
    let shared = Arc::new(Shared::default());
    let mcp = StreamableHttpService::new(
        move || Ok(Demo::new(shared.clone())),
        Arc::new(Sessions::default()),
        config,
    );
    let app = axum::Router::new().route_service("/mcp", mcp);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            shutdown.await;
            sessions_end.cancel();
        })
        .await
}
