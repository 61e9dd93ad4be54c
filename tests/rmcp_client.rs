//! A real MCP client, rmcp's, unmodified: whatever stands between it and a real server must let it
//! do all of this.

mod support;

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::Arc;

use http::StatusCode;
use rmcp::model::{ServerNotification, SubscriptionFilter};
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use self::support::client::{Client, Heard, text};
use self::support::endpoint::endpoint;
use self::support::tap::{self, Tap};
use self::support::{raw, within_limit};

const TOOLS: [&str; 6] = ["ask", "count", "echo", "hang_up", "notify", "release"];

fn progress(step: u32, steps: u32) -> Heard {
    Heard::Progress(format!("step {step} of {steps}"))
}

#[tokio::test]
async fn client_initializes_and_lists_the_tools() {
    within_limit(async {
        let endpoint = endpoint().await;
        let client = Client::connect(&endpoint.url).await;

        let server = client
            .service
            .peer_info()
            .expect("the server introduced itself");
        assert_eq!(server.protocol_version.as_str(), "2025-11-25");
        assert_eq!(client.tools().await, TOOLS);
    })
    .await;
}

#[tokio::test]
async fn call_is_answered() {
    within_limit(async {
        let endpoint = endpoint().await;
        let client = Client::connect(&endpoint.url).await;

        // Several lines, a blank one, and what looks like an SSE field must not split an event.
        for said in [
            "hello",
            "",
            "a\nb\r\n\r\ndata: c\rd",
            "\u{feff}żółw 🐢\u{2028}",
        ] {
            assert_eq!(client.call("echo", json!({ "text": said })).await, said);
        }
    })
    .await;
}

#[tokio::test]
async fn failures_reach_the_caller() {
    within_limit(async {
        let endpoint = endpoint().await;
        let client = Client::connect(&endpoint.url).await;

        let no_gate = client
            .try_call("release", json!({ "gate": "none" }))
            .await
            .unwrap();
        assert_eq!(no_gate.is_error, Some(true));
        assert_eq!(text(&no_gate), "nobody waits at none");
        let no_tool = client
            .try_call("no such tool", json!({}))
            .await
            .unwrap_err();
        assert!(no_tool.to_string().contains("tool not found"), "{no_tool}");
    })
    .await;
}

/// Calls the slow tool and hears its progress while it runs.
///
/// The tool waits at a gate after its first step, so its answer cannot be on the way while that
/// step's notification is awaited: whoever holds events back until the answer fails this.
/// `meanwhile` happens before the gate is opened.
async fn count_at_a_gate(client: &Client, gate: &str, steps: u32, meanwhile: impl Future) {
    let mut count = pin!(client.call("count", json!({ "steps": steps, "gate": gate })));
    let first = tokio::select! {
        heard = client.hear() => heard,
        answer = &mut count => panic!("answered while the tool waited: {answer}"),
    };
    assert_eq!(first, progress(1, steps));
    meanwhile.await;

    let release = client.call("release", json!({ "gate": gate }));
    let (released, counted) = tokio::join!(release, count);
    assert_eq!(released, format!("released {gate}"));
    assert_eq!(counted, format!("counted to {steps}"));
    for step in 2..=steps {
        assert_eq!(client.hear().await, progress(step, steps));
    }
}

#[tokio::test]
async fn progress_arrives_while_the_tool_runs() {
    within_limit(async {
        let endpoint = endpoint().await;
        let client = Client::connect(&endpoint.url).await;

        count_at_a_gate(&client, "gate", 3, ready(())).await;
        assert_eq!(client.close().await, []);
    })
    .await;
}

#[tokio::test]
async fn server_asks_the_client_inside_a_call() {
    within_limit(async {
        let endpoint = endpoint().await;
        let client = Client::connect(&endpoint.url).await;

        let answer = client.call("ask", json!({ "question": "why" })).await;
        assert_eq!(answer, "the answer to why");
    })
    .await;
}

#[tokio::test]
async fn notifications_arrive_on_the_get_stream_in_order() {
    within_limit(async {
        let endpoint = endpoint().await;
        let client = Client::connect(&endpoint.url).await;

        // The stream of each call has ended before the next one is made.
        for news in ["demo://1", "demo://2", "demo://3"] {
            client.call("notify", json!({ "uri": news })).await;
        }
        for news in ["demo://1", "demo://2", "demo://3"] {
            assert_eq!(client.hear().await, Heard::Updated(news.to_owned()));
        }
    })
    .await;
}

#[tokio::test]
async fn close_deletes_the_session() {
    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

    within_limit(async {
        let endpoint = endpoint().await;
        let tap = Tap::start(endpoint.address).await;
        let client = Client::connect(&tap.url).await;
        client.call("echo", json!({ "text": "hello" })).await;
        let requests = tap.requests();
        let session = requests
            .iter()
            .find_map(|request| tap::header(request, "mcp-session-id"));
        let session = session.expect("the server gave out a session id");
        let (before, _) = raw::post(&endpoint.url, session, LIST).await;

        client.close().await;

        let (after, _) = raw::post(&endpoint.url, session, LIST).await;
        assert_eq!((before, after), (StatusCode::OK, StatusCode::NOT_FOUND));
        let requests = tap.requests();
        let delete = requests
            .iter()
            .find(|request| request.starts_with("delete /mcp "));
        let deleted = delete.and_then(|request| tap::header(request, "mcp-session-id"));
        assert_eq!(deleted, Some(session));
    })
    .await;
}

#[tokio::test]
async fn answer_arrives_after_the_server_closed_the_stream_early() {
    within_limit(async {
        let endpoint = endpoint().await;
        let tap = Tap::start(endpoint.address).await;
        let client = Client::connect(&tap.url).await;

        let answer = client
            .call("hang_up", json!({ "text": "late", "retry_ms": 1 }))
            .await;

        assert_eq!(answer, "late");
        let resumed = tap.requests().iter().any(|request| {
            request.starts_with("get /mcp ") && tap::header(request, "last-event-id").is_some()
        });
        assert!(
            resumed,
            "the client came back with the id of the last event"
        );
    })
    .await;
}

/// All sessions are open at the same time, and all slow tools run at the same time, each held at
/// its own gate until every other one has started.
#[tokio::test]
async fn fifty_clients_at_once_do_not_mix() {
    const CLIENTS: usize = 50;

    within_limit(async {
        let endpoint = endpoint().await;
        let all = Arc::new(Barrier::new(CLIENTS));
        let mut clients = JoinSet::new();
        for id in 0..CLIENTS {
            let (url, all) = (endpoint.url.clone(), all.clone());
            clients.spawn(async move {
                let client = Client::connect(&url).await;
                all.wait().await;
                let said = id.to_string();
                assert_eq!(client.call("echo", json!({ "text": said })).await, said);

                let steps = 2 + u32::try_from(id).expect("a small number");
                count_at_a_gate(&client, &format!("gate {id}"), steps, all.wait()).await;
                assert_eq!(client.close().await, []);
            });
        }
        while let Some(client) = clients.join_next().await {
            client.expect("each client got what is its own");
        }
    })
    .await;
}

#[tokio::test]
async fn stateless_client_discovers_lists_and_calls() {
    within_limit(async {
        let endpoint = endpoint().await;
        let client = Client::discover(&endpoint.url).await;

        let server = client
            .service
            .peer_info()
            .expect("the server introduced itself");
        assert_eq!(server.protocol_version.as_str(), "2026-07-28");
        assert_eq!(client.tools().await, TOOLS);
        assert_eq!(
            client.call("echo", json!({ "text": "hello" })).await,
            "hello"
        );
        count_at_a_gate(&client, "gate", 3, ready(())).await;
        // Two rounds: the question comes back as the result of the first.
        let answer = client.call("ask", json!({ "question": "why" })).await;
        assert_eq!(answer, "the answer to why");
        assert_eq!(client.close().await, []);
    })
    .await;
}

#[tokio::test]
async fn stateless_client_listens_for_what_it_subscribed_to() {
    within_limit(async {
        let endpoint = endpoint().await;
        let client = Client::discover(&endpoint.url).await;
        let wanted = SubscriptionFilter::builder()
            .resource_subscriptions(["demo://wanted"])
            .build();
        let mut listen = client.service.listen(wanted).await.expect("a subscription");

        client
            .call("notify", json!({ "uri": "demo://other" }))
            .await;
        client
            .call("notify", json!({ "uri": "demo://wanted" }))
            .await;

        match listen.next().await {
            Ok(Some(ServerNotification::ResourceUpdatedNotification(update))) => {
                assert_eq!(update.params.uri, "demo://wanted");
            }
            heard => panic!("not the update: {heard:?}"),
        }
    })
    .await;
}
