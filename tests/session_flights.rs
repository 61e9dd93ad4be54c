//! SE-7, A51, D25: in a session an id belongs to one request as long as that is under way.

mod session_support;

use std::cell::RefCell;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use session_support::{
    CALL, INITIALIZE, Open, SESSION, Server, Upstream, V, agreed, had, held, opened, post, script,
    text,
};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::Service;

fn call(id: &str) -> String {
    CALL.replace("\"id\":7", &format!("\"id\":{id}"))
}

thread_local! {
    /// The server's ends of its streams.
    static STREAMS: RefCell<Vec<Upstream>> = const { RefCell::new(Vec::new()) };
}

/// A server that answers each call with a stream.
async fn streaming() -> (Server, String) {
    let server = Server::anonymous();
    let session = server.initialize(None).await;
    server.script(|asked| {
        asked.session()?;
        let (upstream, body) = script();
        STREAMS.with_borrow_mut(|streams| streams.push(upstream));
        let response = Response::builder().header("content-type", "text/event-stream");
        Some(response.body(body).expect("valid"))
    });
    server.asked();
    (server, session)
}

async fn assert_repeated(response: Open, id: &str) {
    // First, because what is open would not end.
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let had = had(response).await;
    let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32600,"#);
    assert!(had.body.starts_with(start.as_bytes()), "{had:?}");
    assert_eq!(had.headers["content-type"], "application/json");
}

#[tokio::test]
async fn a51_second_request_with_an_id_in_flight_is_refused_and_the_first_goes_on() {
    let (server, session) = streaming().await;
    for (id, same, others) in [
        ("7", "7", ["8", "\"7\"", "70"]),
        (r#""a""#, r#""\u0061""#, [r#""b""#, r#""A""#, "1"]),
    ] {
        let first = server.open(post(&session, call(id))).await;
        let upstream = STREAMS.with_borrow_mut(|streams| streams.pop().expect("open"));
        server.asked();
        for _ in 0..2 {
            let second = server.open(post(&session, call(same))).await;
            assert_repeated(second, same).await;
            assert!(!server.was_asked());
        }
        let mut open = Vec::new();
        for other in others {
            let response = server.open(post(&session, call(other))).await;
            assert_eq!(response.status(), 200, "{other}");
            open.push(response);
        }
        // Nobody else's, even if they are called the same.
        let another = server.initialize(None).await;
        let theirs = server.open(post(&another, call(id))).await;
        assert_eq!(theirs.status(), 200);
        // It still has what is said to it.
        upstream.say("data: {}\n\n");
        let mut body = first.into_body();
        let frame = body.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), "data: {}\n\n");
        let second = server.open(post(&session, call(same))).await;
        assert_repeated(second, same).await;
        drop((upstream, open, theirs));
        STREAMS.with_borrow_mut(Vec::clear);
        // With the end of the response the id is free, before anybody drops it.
        assert!(body.frame().await.is_none());
        let again = server.open(post(&session, call(same))).await;
        assert_eq!(again.status(), 200);
        drop(again);
        let again = server.open(post(&session, call(id))).await;
        assert_eq!(again.status(), 200, "also when it was dropped");
    }
}

#[tokio::test]
async fn d12_id_of_a_request_is_free_when_it_is_given_up_before_its_response() {
    let (mut service, gate, _) = held();
    let session = opened(&mut service, &gate).await;
    let mut first = task::spawn(service.call(post(&session, CALL)));
    assert_pending!(first.poll());
    let mut refused = task::spawn(service.call(post(&session, CALL)));
    assert_repeated(assert_ready_ok!(refused.poll()), "7").await;
    drop(first);
    gate.add_permits(1);
    let Ok(second) = service.call(post(&session, CALL)).await;
    assert_eq!(had(second).await.status, 200);
    // Answered whole, it is free.
    gate.add_permits(1);
    let Ok(third) = service.call(post(&session, CALL)).await;
    assert_eq!(had(third).await.status, 200);
}

#[tokio::test]
async fn what_is_no_request_has_no_id_of_the_clients() {
    let (server, session) = streaming().await;
    let first = server.open(post(&session, CALL)).await;
    assert_eq!(first.status(), 200);
    server.asked();
    // An answer to the server's own request of that number, and an error of it.
    for body in [
        r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"x"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#,
    ] {
        assert_eq!(server.open(post(&session, body)).await.status(), 200);
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn ids_of_a_batch_are_claimed_together() {
    let server = Server::anonymous();
    server.script(|asked| {
        let response = Response::builder().header("content-type", "application/json");
        match asked.session() {
            None => {
                let response = response.header(SESSION, "up");
                Some(response.body(text(agreed("2025-03-26"))).expect("valid"))
            }
            Some(_) => {
                let (upstream, body) = script();
                STREAMS.with_borrow_mut(|streams| streams.push(upstream));
                Some(response.body(body).expect("valid"))
            }
        }
    });
    let opened = server
        .send(post("", INITIALIZE.replace(V, "2025-03-26")))
        .await;
    let session = opened.session();
    let batch = |ids: &[&str]| {
        let calls: Vec<_> = ids.iter().map(|id| call(id)).collect();
        let mut request = post(&session, format!("[{}]", calls.join(",")));
        request.headers_mut().remove("mcp-protocol-version");
        request
    };
    let first = server.open(batch(&["1", "2"])).await;
    assert_eq!(first.status(), 200);
    server.asked();
    for ids in [&["2"][..], &["3", "1"], &["4", "4"]] {
        let response = server.open(batch(ids)).await;
        assert_eq!(response.status(), 400, "{ids:?}");
        let had = had(response).await;
        let expected = format!("[{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":", ids[0]);
        assert!(had.body.starts_with(expected.as_bytes()), "{had:?}");
        assert!(!server.was_asked());
    }
    // None of a batch that was refused is taken.
    let second = server.open(batch(&["3", "4"])).await;
    assert_eq!(second.status(), 200);
    assert_eq!(server.open(post(&session, call("1"))).await.status(), 400);
    drop(first);
    assert_eq!(server.open(post(&session, call("1"))).await.status(), 200);
}

/// Also of the request that opens the session, whose response may be a stream that goes on.
#[tokio::test]
async fn se7_id_of_an_initialize_is_in_flight_until_its_response_is_over() {
    for is_dropped in [false, true] {
        let server = Server::anonymous();
        server.script(|asked| {
            let (upstream, body) = script();
            STREAMS.with_borrow_mut(|streams| streams.push(upstream));
            let response = Response::builder().header("content-type", "text/event-stream");
            let response = match asked.session() {
                None => response.header(SESSION, "up"),
                Some(_) => response,
            };
            Some(response.body(body).expect("valid"))
        });
        let first = server.open(post("", INITIALIZE)).await;
        let session = first.headers()[SESSION].to_str().expect("ASCII").to_owned();
        let upstream = STREAMS.with_borrow_mut(|streams| streams.pop().expect("open"));
        server.asked();
        let second = server.open(post(&session, call("1"))).await;
        assert_repeated(second, "1").await;
        assert!(!server.was_asked());
        let other = server.open(post(&session, call("2"))).await;
        assert_eq!(other.status(), 200);
        if is_dropped {
            drop(first);
        } else {
            upstream.say(format!("data: {}\n\n", agreed(V)));
            drop(upstream);
            had(first).await;
        }
        let again = server.open(post(&session, call("1"))).await;
        assert_eq!(again.status(), 200, "dropped: {is_dropped}");
        STREAMS.with_borrow_mut(Vec::clear);
    }
}
