//! What the replay tests on the wire share: hyper in front of a replay layer, a server behind it
//! whose every body is a script, and raw clients that count each byte.

// Not every test binary that includes this uses all of it.
#![allow(dead_code, unused_imports)]

mod client;
mod heard;
mod site;

use std::{future::Future, time::Duration};

pub(crate) use self::{
    client::Client,
    heard::{Event, Heard, assert_sequence},
    site::Site,
};

/// Fails a test that hangs. No test waits for this time to pass.
pub(crate) async fn guarded<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(300), test)
        .await
        .expect("the test should be over long before")
}

/// The event `number` of the stream `name`, as its server writes it: unlike all others.
pub(crate) fn event(name: usize, number: usize) -> String {
    format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"e\",\"params\":[{name},{number}]}}\n\n")
}

/// The response that ends the stream `name`.
pub(crate) fn last(name: usize) -> String {
    format!("data: {{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":[{name}]}}\n\n")
}

/// All that a stream of `count` events says: its last one is the response.
pub(crate) fn script(name: usize, count: usize) -> Vec<String> {
    let events = (1..count).map(|number| event(name, number));
    events.chain([last(name)]).collect()
}

/// A call that the stream `name` answers.
pub(crate) fn call(name: usize) -> String {
    post(name, "2025-11-25", "{}")
}

/// As [`call`], in the era without sessions.
pub(crate) fn stateless_call(name: usize) -> String {
    let version = "2026-07-28";
    let meta = format!(
        "{{\"_meta\":{{\"io.modelcontextprotocol/protocolVersion\":\"{version}\",\"io.modelcontextprotocol/clientCapabilities\":{{}}}}}}"
    );
    post(name, version, &meta)
}

fn post(name: usize, version: &str, params: &str) -> String {
    let body =
        format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{params}}}");
    format!(
        "POST /{name} HTTP/1.1\r\nHost: site\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMcp-Session-Id: s{name}\r\n\
         Mcp-Protocol-Version: {version}\r\nMcp-Method: tools/call\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Asks for what the stream `name` brings on its own, or for what follows `cursor`.
pub(crate) fn get(name: usize, cursor: Option<&str>) -> String {
    let cursor = cursor.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
    format!(
        "GET /{name} HTTP/1.1\r\nHost: site\r\nAccept: text/event-stream\r\n\
         Mcp-Session-Id: s{name}\r\nMcp-Protocol-Version: 2025-11-25\r\n{cursor}\r\n"
    )
}
