//! A real MCP client, rmcp's, whose connections are reset: behind the gateway it loses nothing.
//!
//! rmcp's own server, which stands behind it here, would send the event that a client comes back
//! with once more, and lose the answer to a call that ends while its client is away.

mod support;

use std::future::Future;
use std::pin::pin;

use serde_json::json;
use shadowcat::replay::StreamState;

use self::support::client::{Client, Heard, text};
use self::support::endpoint::{demo_server, endpoint, gateway};
use self::support::tap::{self, Tap};
use self::support::{raw, within_limit};

fn progress(step: u32, steps: u32) -> Heard {
    Heard::Progress(format!("step {step} of {steps}"))
}

fn updated(uri: &str) -> Heard {
    Heard::Updated(uri.to_owned())
}

/// What names the connection of a call to `count`.
const COUNT: &str = r#""name":"count""#;

/// How often a client came back with an event id.
fn resumptions(tap: &Tap) -> usize {
    let requests = tap.requests();
    let has_cursor = |request: &&String| tap::header(request, "last-event-id").is_some();
    requests.iter().filter(has_cursor).count()
}

/// Calls the slow tool, which waits after its first step until `meanwhile` has opened its gate, and
/// hears each step once and in order.
async fn count_to_five(client: &Client, meanwhile: impl Future<Output = ()>) {
    let mut count = pin!(client.call("count", json!({ "steps": 5, "gate": "g" })));
    let first = tokio::select! {
        heard = client.hear() => heard,
        answer = &mut count => panic!("answered while the tool waited: {answer}"),
    };
    assert_eq!(first, progress(1, 5));
    let ((), counted) = tokio::join!(meanwhile, count);
    assert_eq!(counted, "counted to 5");
    for step in 2..=5 {
        assert_eq!(client.hear().await, progress(step, 5));
    }
}

#[tokio::test]
async fn call_that_is_answered_while_its_client_is_away_is_heard_whole() {
    within_limit(async {
        let endpoint = endpoint().await;
        let tap = Tap::start(endpoint.address).await;
        let client = Client::connect(&tap.url).await;
        let other = Client::connect(&endpoint.url).await;
        count_to_five(&client, async {
            tap.hold();
            assert_eq!(tap.cut(COUNT), 1);
            endpoint
                .streams_are(|streams| streams.stats().detached == 1)
                .await;
            other.call("release", json!({ "gate": "g" })).await;
            endpoint
                .streams_are(|streams| streams.stats().detached == 0)
                .await;
            tap.release();
        })
        .await;

        assert_eq!(resumptions(&tap), 1);
        assert_eq!(client.close().await, []);
    })
    .await;
}

#[tokio::test]
async fn call_that_goes_on_is_taken_over_by_its_client_when_it_is_back() {
    within_limit(async {
        let endpoint = endpoint().await;
        let tap = Tap::start(endpoint.address).await;
        let client = Client::connect(&tap.url).await;
        let other = Client::connect(&endpoint.url).await;
        count_to_five(&client, async {
            assert_eq!(tap.cut(COUNT), 1);
            endpoint
                .streams_are(|streams| streams.stats().resumed_total == 1)
                .await;
            other.call("release", json!({ "gate": "g" })).await;
        })
        .await;

        assert_eq!(resumptions(&tap), 1);
        assert_eq!(client.close().await, []);
    })
    .await;
}

#[tokio::test]
async fn call_that_its_server_hung_up_on_is_resumed_at_the_server() {
    within_limit(async {
        let endpoint = endpoint().await;
        let tap = Tap::start(endpoint.address).await;
        let client = Client::connect(&tap.url).await;
        let hang_up = client.call("hang_up", json!({ "text": "late", "retry_ms": 1 }));
        assert_eq!(hang_up.await, "late");
        assert_eq!(resumptions(&tap), 1);
        let stats = endpoint.streams.stats();
        assert_eq!((stats.resumed_total, stats.suspended), (1, 0), "{stats:?}");
        assert_eq!(client.close().await, []);
    })
    .await;
}

#[tokio::test]
async fn notifications_to_a_client_that_is_away_arrive_when_it_is_back() {
    const NOTIFY: [&str; 2] = [
        r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"notify","arguments":{"uri":"demo://2"}}}"#,
        r#"{"jsonrpc":"2.0","id":"b","method":"tools/call","params":{"name":"notify","arguments":{"uri":"demo://3"}}}"#,
    ];

    within_limit(async {
        let endpoint = endpoint().await;
        let tap = Tap::start(endpoint.address).await;
        let client = Client::connect(&tap.url).await;
        client.call("notify", json!({ "uri": "demo://1" })).await;
        assert_eq!(client.hear().await, updated("demo://1"));
        let requests = tap.requests();
        let mut sessions = requests
            .iter()
            .filter_map(|request| tap::header(request, "mcp-session-id"));
        let session = sessions.next().expect("the server gave out a session id");

        tap.hold();
        assert_eq!(tap.cut("GET /mcp"), 1);
        endpoint
            .streams_are(|streams| {
                let all = streams.streams();
                let gets: Vec<_> = all.iter().filter(|stream| stream.is_get).collect();
                matches!(gets[..], [one] if one.state == StreamState::Detached)
            })
            .await;
        for notify in NOTIFY {
            raw::post(&endpoint.url, session, notify).await;
        }
        tap.release();

        assert_eq!(client.hear().await, updated("demo://2"));
        assert_eq!(client.hear().await, updated("demo://3"));
        client.call("notify", json!({ "uri": "demo://4" })).await;
        assert_eq!(client.hear().await, updated("demo://4"));
        assert_eq!(resumptions(&tap), 1);
        assert_eq!(client.close().await, []);
    })
    .await;
}

#[tokio::test]
async fn stateless_call_has_no_ids_and_ends_with_its_connection_at_once_sse_15_can_3() {
    within_limit(async {
        let demo = demo_server().await;
        let behind = Tap::start(demo.address).await;
        let endpoint = gateway(&behind.url).await;
        let tap = Tap::start(endpoint.address).await;
        let client = Client::discover(&tap.url).await;
        assert_eq!(client.call("echo", json!({ "text": "a" })).await, "a");
        let mut count = pin!(client.try_call("count", json!({ "steps": 2, "gate": "g" })));
        let first = tokio::select! {
            heard = client.hear() => heard,
            answer = &mut count => panic!("answered while the tool waited: {answer:?}"),
        };
        assert_eq!(first, progress(1, 2));

        assert_eq!(tap.cut(COUNT), 1);
        behind.over(COUNT).await;

        let lost = count.await;
        assert!(lost.is_err(), "{lost:?}");
        let direct = Client::discover(&demo.url).await;
        let release = direct.try_call("release", json!({ "gate": "g" })).await;
        assert_eq!(text(&release.expect("an answer")), "nobody waits at g");
        for response in tap.responses() {
            assert!(!response.contains("\nid:"), "{response}");
        }
        assert_eq!(resumptions(&tap), 0);
        assert_eq!(endpoint.streams.stats().tracked_total, 0);
    })
    .await;
}
