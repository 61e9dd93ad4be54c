//! Clients of sessions and clients of 2026-07-28 on one endpoint of the gateway's whole stack.

mod scripted;
mod support;

use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use scripted::{ScriptedPeer, Wire};
use serde_json::json;
use support::{
    client::{Client, Heard},
    endpoint::{endpoint, gateway},
    within_limit,
};
use tokio::time::timeout;

/// A request of 2026-07-28, written by hand.
fn modern(tool: &str, arguments: &str) -> String {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"m","method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"progressToken":"p","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    let fields = format!(
        "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {tool}\r\n"
    );
    post(&fields, &body)
}

fn post(fields: &str, body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads on until `needle` has come.
async fn expect(wire: &mut Wire, needle: &str) -> String {
    let read = wire.read_until(needle).await;
    read.unwrap_or_else(|| panic!("ended without {needle}"))
}

/// Each holds its own stream open at a gate, calls another tool meanwhile, and lets the other's
/// stream go on.
#[tokio::test]
async fn era_1_both_kinds_of_clients_call_and_stream_over_one_endpoint_at_once() {
    within_limit(async {
        let endpoint = endpoint().await;
        let old = Client::connect(&endpoint.url).await;
        let mut new = Wire::connect(endpoint.address).await;
        let mut other = Wire::connect(endpoint.address).await;

        let mut counted = Box::pin(old.call("count", json!({ "steps": 2, "gate": "old" })));
        tokio::select! {
            heard = old.hear() => assert_eq!(heard, Heard::Progress("step 1 of 2".to_owned())),
            answer = &mut counted => panic!("answered while the tool waited: {answer}"),
        }
        new.write(modern("count", r#"{"steps":2,"gate":"new"}"#))
            .await;
        let head = new.read_head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(!head.contains("mcp-session-id"), "{head}");
        let first = expect(&mut new, "step 1 of 2").await;
        assert!(
            !first.contains("\nid:"),
            "no cursor without a session: {first}"
        );

        // Both streams are open. Either client is served besides, and does not mix with the other.
        other
            .write(modern("echo", r#"{"text":"of the new"}"#))
            .await;
        let echoed = other.read_message().await;
        assert!(echoed.text().contains("of the new"), "{echoed:?}");
        assert_eq!(
            old.call("echo", json!({ "text": "of the old" })).await,
            "of the old"
        );

        other.write(modern("release", r#"{"gate":"old"}"#)).await;
        let released = other.read_message().await;
        assert!(released.text().contains("released old"), "{released:?}");
        assert_eq!(counted.await, "counted to 2");
        assert_eq!(old.hear().await, Heard::Progress("step 2 of 2".to_owned()));

        assert_eq!(
            old.call("release", json!({ "gate": "new" })).await,
            "released new"
        );
        let rest = expect(&mut new, "counted to 2").await;
        assert!(rest.contains("step 2 of 2"), "{rest}");
        assert!(!rest.contains("\nid:"), "{rest}");
        assert_eq!(old.close().await, []);
    })
    .await;
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// An event on the wire, in a chunk of its own.
fn event(data: &str) -> String {
    let event = format!("data: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}

const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}"#;

#[tokio::test]
async fn can_3_a_stateless_client_that_drops_a_silent_stream_is_seen_upstream_within_100_ms() {
    within_limit(async {
        let mut server = ScriptedPeer::bind().await;
        let endpoint = gateway(&server.uri().to_string()).await;
        let mut client = Wire::connect(endpoint.address).await;
        client.write(modern("slow", "{}")).await;
        let mut upstream = server.accept().await;
        upstream.read_message().await;
        upstream.write(STREAM).await;
        upstream.write(event(PROGRESS)).await;
        expect(&mut client, "notifications/progress").await;

        // From here on nobody says anything.
        drop(client);
        let seen = timeout(Duration::from_millis(100), upstream.closed()).await;
        assert_eq!(seen.expect("the drop is a cancel"), b"", "and says nothing");
    })
    .await;
}

#[tokio::test]
async fn can_1_a_session_client_that_drops_after_the_head_is_not_seen_upstream() {
    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#;
    const AGREED: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}"#;
    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow"}}"#;
    const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;

    within_limit(async {
        let mut server = ScriptedPeer::bind().await;
        let endpoint = gateway(&server.uri().to_string()).await;
        let mut client = Wire::connect(endpoint.address).await;
        client.write(post("", INITIALIZE)).await;
        let mut upstream = server.accept().await;
        upstream.read_message().await;
        let agreed = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMcp-Session-Id: theirs\r\n\
             Content-Length: {}\r\n\r\n{AGREED}",
            AGREED.len()
        );
        upstream.write(agreed).await;
        let opened = client.read_message().await;
        let [session] = opened.fields("mcp-session-id")[..] else {
            panic!("no session: {opened:?}");
        };
        let fields = format!("Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: 2025-11-25\r\n");

        client.write(post(&fields, CALL)).await;
        upstream.read_message().await;
        upstream.write(STREAM).await;
        client.read_head().await;
        // The cursor that it is given before anything happens.
        let primed = expect(&mut client, "\n\n").await;
        let cursor = primed.lines().find_map(|line| line.strip_prefix("id: "));
        let cursor = cursor
            .unwrap_or_else(|| panic!("no cursor in {primed}"))
            .to_owned();
        drop(client);
        endpoint
            .streams_are(|streams| streams.stats().detached == 1)
            .await;

        // The gateway has done with the client, and the server knows nothing of it.
        {
            let mut cx = Context::from_waker(Waker::noop());
            let closed = pin!(upstream.closed());
            assert!(closed.poll(&mut cx).is_pending(), "the drop is no cancel");
        }
        upstream.write(event(PROGRESS)).await;
        upstream.write(event(ANSWER)).await;
        upstream.write("0\r\n\r\n").await;

        let mut client = Wire::connect(endpoint.address).await;
        let resume = format!(
            "GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{fields}\
             Last-Event-ID: {cursor}\r\n\r\n"
        );
        client.write(resume).await;
        let rest = client.read_message().await;
        assert!(rest.is_whole, "{rest:?}");
        assert!(rest.text().contains(PROGRESS), "{rest:?}");
        assert!(rest.text().contains(ANSWER), "{rest:?}");
    })
    .await;
}
