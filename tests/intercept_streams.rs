//! What becomes of messages to the client: in event streams and in JSON replies.

mod intercept_support;

use std::time::Duration;

use http_body::Body;
use http_body_util::BodyExt;
use intercept_support::{
    ASK, CALL, LIST, LOG, Live, RESULT, Seen, Server, all, ask, back, data, events, get, identity,
    post,
};
use shadowcat::{
    intercept::{self, BodyErrorKind, Denial, Direction, InterceptLayer, Interest, Verdict},
    jsonrpc::Kind,
};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, ServiceExt};

/// What servers send, in all shapes that the grammar has.
fn fixtures() -> Vec<String> {
    vec![
        events(&[LOG, ASK, RESULT]),
        format!(
            "id: 1\r\nevent: message\r\nretry: 10\r\ndata: {LOG}\r\n\r\n: ping\r\n\r\ndata: {RESULT}\r\n\r\n"
        ),
        format!(":hi\n\nid: 0\ndata:\n\ndata:{LOG}\nfoo: bar\n: note\n\ndata: {RESULT}\n\n: bye\n"),
        format!("data: {LOG}\r\rdata: {RESULT}\r\r"),
        "data: {\"jsonrpc\":\"2.0\",\ndata:  \"method\":\"x\",\ndata:\"n\":1.000}\n\n".to_owned(),
        format!("event: ping\ndata: {RESULT}\n\nevent: endpoint\ndata: /mcp?x=1\n\n"),
        format!(
            "data: [{LOG}, {RESULT} ]\n\ndata: []\n\ndata: no JSON\n\ndata: 7\n\ndata: {{\"a\":NaN}}\n\n"
        ),
        "id: 7\n\nretry: 5\n\n\n\n".to_owned(),
        format!(
            "data:  {RESULT} \n\ndata: {}\n\n",
            RESULT.replace("1.0", "\"ä\\u0000😀\"")
        ),
    ]
}

/// A59, IC-1, for whatever chunks it comes in.
#[tokio::test]
async fn a59_stream_that_nobody_changes_passes_byte_for_byte() {
    let layers = InterceptLayer::new((identity(), identity()));
    let none = InterceptLayer::new(());
    for stream in fixtures() {
        for len in [1, 2, 3, 7, 64, 4096] {
            let server = Server::stream(&stream).cut(len);
            assert_eq!(ask(&layers, &server, post(CALL)).await.body, stream);
            assert_eq!(ask(&none, &server, post(CALL)).await.body, stream);
        }
    }
    for reply in [
        RESULT,
        " {\"a\":1} \n",
        "",
        "no JSON",
        "[]",
        "{\"cut",
        "{}{} 7 {}",
    ] {
        for len in [1, 2, 3, 7, 64] {
            let server = Server::json(reply).cut(len);
            assert_eq!(ask(&layers, &server, post(CALL)).await.body, reply);
        }
    }
}

#[tokio::test]
async fn interceptors_see_each_message_and_what_it_answers() {
    let seen = Seen::default();
    let noted = seen.clone();
    let layer = InterceptLayer::new(back(move |cx, message| {
        let request = cx.request().and_then(|request| request.envelope().method());
        noted.note(format!(
            "{:?} {} {request:?}",
            message.kind(),
            message.as_str()
        ));
        Verdict::Continue
    }));
    let other = RESULT.replace(":7,", ":8,");
    let stream = format!(
        "{}event: other\ndata: {LOG}\n\ndata: \n\n",
        events(&[LOG, &format!("[{ASK}, {RESULT}]"), &other])
    );
    ask(&layer, &Server::stream(&stream), post(CALL)).await;
    let expected = [
        format!("Notification {LOG} None"),
        format!("Request {ASK} None"),
        format!("Response {RESULT} Some(\"tools/call\")"),
        format!("Response {other} None"),
    ];
    assert_eq!(seen.take(), expected);
}

/// ICP-6: the id, type, delay, comments and line ends of an event survive an edit.
#[tokio::test]
async fn only_the_named_field_of_an_event_changes() {
    let redacting = back(|_, message| {
        let mut edit = message.edit();
        if message.get("/result/x").is_some() {
            edit.set("/result/x", "null").expect("a place");
        }
        edit.into()
    });
    let layer = InterceptLayer::new((identity(), redacting, identity()));
    for stream in fixtures() {
        let expected = stream
            .replace(
                r#"data: {"jsonrpc":"2.0","id":7,"result":{"x": 1.0}}"#,
                r#"data: {"jsonrpc":"2.0","id":7,"result":{"x": null}}"#,
            )
            .replace(
                r#"data:  {"jsonrpc":"2.0","id":7,"result":{"x": 1.0}}"#,
                r#"data:  {"jsonrpc":"2.0","id":7,"result":{"x": null}}"#,
            )
            .replace(r#"{"x": "ä\u0000😀"}"#, r#"{"x": null}"#)
            .replace(
                r#", {"jsonrpc":"2.0","id":7,"result":{"x": 1.0}} ]"#,
                r#", {"jsonrpc":"2.0","id":7,"result":{"x": null}} ]"#,
            )
            // Of another type, so no message.
            .replace(
                "event: ping\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"x\": null}}",
                &format!("event: ping\ndata: {RESULT}"),
            );
        for len in [1, 5, 4096] {
            let had = ask(&layer, &Server::stream(&stream).cut(len), post(CALL)).await;
            assert_eq!(had.body, expected);
        }
    }
    let reply = format!(" {RESULT}\n");
    let had = ask(&layer, &Server::json(&reply), post(CALL)).await;
    assert_eq!(had.body, reply.replace("1.0", "null"));
    assert!(!had.headers.contains_key("content-length"), "it is another");
}

/// ICP-4.
#[tokio::test]
async fn icp_4_refused_response_becomes_an_error_in_its_event_and_a_notification_is_gone() {
    let layer = InterceptLayer::new(back(|_, _| Verdict::refuse("hidden")));
    let error = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31403,"message":"hidden","data":{"source":"shadowcat"}}}"#;
    let stream = format!(
        "data: {LOG}\n\nid: 2\ndata: {ASK}\n\nid: 3\nevent: message\ndata: [{LOG},{RESULT},{LOG}]\n\n: x\n"
    );
    let had = ask(&layer, &Server::stream(&stream), post(CALL)).await;
    assert_eq!(
        had.body,
        format!("id: 2\n\nid: 3\nevent: message\ndata: [{error}]\n\n: x\n")
    );
    let had = ask(&layer, &Server::json(RESULT), post(CALL)).await;
    assert_eq!((had.status.as_u16(), &*had.body), (200, error));
    let stats = layer.handle().stats();
    assert_eq!((stats.refused_total, stats.failed_total), (6, 0));

    let told = back(|_, _| Verdict::Refuse(Denial::tool_result("no")));
    let had = ask(
        &InterceptLayer::new(told),
        &Server::json(RESULT),
        post(CALL),
    )
    .await;
    assert!(had.body.contains(r#""isError":true"#), "{}", had.body);
}

#[tokio::test]
async fn result_of_a_response_can_be_another() {
    let layer = InterceptLayer::new(back(|_, _| Verdict::Respond("[1,\n2]".into())));
    let mock = r#"{"jsonrpc":"2.0","id":7,"result":[1,"#;
    let had = ask(&layer, &Server::stream(&events(&[LOG, RESULT])), post(CALL)).await;
    // A line break in data is a line more, and a notification is taken.
    assert_eq!(had.body, format!("data: {mock}\ndata: 2]}}\n\n"));
    assert_eq!(data(&had.body), [format!("{mock}\n2]}}")]);
    // There is no way back to a server that asks.
    let had = ask(&layer, &Server::stream(&events(&[ASK])), post(CALL)).await;
    assert_eq!(had.body, "");
    assert_eq!(layer.handle().stats().failed_total, 1);
}

/// ICP-7: a server may answer a call that lasts with one line of JSON after another.
#[tokio::test]
async fn icp_7_long_lived_json_is_not_held_to_its_end() {
    let (live, say) = Live::new("application/json");
    let layer = InterceptLayer::new(all(|_, message| match message.kind() {
        Kind::Notification => {
            let mut edit = message.edit();
            edit.set("/params/data", "0").expect("a place");
            edit.into()
        }
        _ => Verdict::Continue,
    }));
    let Ok(response) = layer.layer(live).oneshot(post(CALL)).await;
    let mut body = spawn(response.into_body());
    let mut next = move || body.enter(|cx, body| body.poll_frame(cx));
    assert_pending!(next());
    say.send(LOG.into()).expect("it is read");
    let frame = assert_ready!(next()).expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), LOG.replace("\"hi\"", "0"));
    say.send("\n{\"jsonrpc\":".into()).expect("it is read");
    let frame = assert_ready!(next()).expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), "\n");
    assert_pending!(next());
    drop(say);
    // What was not finished passes as it is.
    let frame = assert_ready!(next()).expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), "{\"jsonrpc\":");
    assert!(assert_ready!(next()).is_none());
    assert!(assert_ready!(next()).is_none());
}

/// Whoever waits is told, and nothing that is too long passes unseen.
#[tokio::test]
async fn message_that_is_too_long_ends_the_response() {
    let layer = InterceptLayer::new(identity()).with_max_message_bytes(200);
    let long = RESULT.replace("1.0", &format!("\"{}\"", "x".repeat(200)));
    let error = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"a message of the response is too large to be inspected","data":{"source":"shadowcat"}}}"#;
    for len in [1, 50, 4096] {
        let server = Server::stream(&events(&[LOG, &long, RESULT])).cut(len);
        let had = ask(&layer, &server, post(CALL)).await;
        assert_eq!(data(&had.body), [LOG, error]);
        let had = ask(&layer, &Server::json(&long).cut(len), post(CALL)).await;
        assert_eq!(had.body, error);
        let batch = format!("[{CALL},{LIST}]");
        let had = ask(&layer, &Server::json(&long).cut(len), post(&batch)).await;
        assert_eq!(had.body.matches("too large").count(), 2, "{}", had.body);
        assert!(had.body.starts_with('[') && had.body.ends_with(']'));
    }
    // It has been answered: nobody is left to be told.
    let server = Server::stream(&events(&[RESULT, &long]));
    for request in [post(CALL), get()] {
        let Ok(response) = layer.layer(server.clone()).oneshot(request).await;
        let mut body = response.into_body();
        let first = body.frame().await.expect("a frame").expect("no error");
        assert_eq!(first.into_data().expect("data"), events(&[RESULT]));
        let error = body
            .frame()
            .await
            .expect("an error")
            .expect_err("too large");
        assert_eq!(error.kind(), BodyErrorKind::MessageTooLarge);
        assert!(body.frame().await.is_none());
    }
}

/// S22.
#[tokio::test]
async fn s22_what_is_no_message_passes_unless_it_must_not() {
    let stream = events(&[LOG, "no JSON", RESULT]);
    let layer = InterceptLayer::new(identity());
    let had = ask(&layer, &Server::stream(&stream), post(CALL)).await;
    assert_eq!(had.body, stream);
    assert_eq!(layer.handle().stats().unreadable_total, 1);
    let layer = layer.with_unreadable_refused(true);
    for bad in [
        "no JSON",
        "{}",
        r#"[{"a":1}]"#,
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":NaN}",
    ] {
        let server = Server::stream(&events(&[LOG, bad, RESULT]));
        let had = ask(&layer, &server, post(CALL)).await;
        let had = data(&had.body);
        assert_eq!(had.len(), 2, "{had:?}");
        assert!(had[1].contains("cannot be inspected"), "{had:?}");
    }
    for bad in ["no JSON", "{\"cut", "{}", "7 {}"] {
        let had = ask(&layer, &Server::json(bad), post(CALL)).await;
        assert!(had.body.contains("cannot be inspected"), "{}", had.body);
    }
    // Those who are not asked do not care.
    let calls = intercept::sync_fn(Interest::requests("*"), |_, _| Verdict::Continue);
    let layer = InterceptLayer::new(calls).with_unreadable_refused(true);
    assert_eq!(
        ask(&layer, &Server::stream(&stream), post(CALL)).await.body,
        stream
    );
}

/// What is not interested costs nothing: if nobody wants a response, nothing is even decoded.
#[tokio::test]
async fn stream_that_nobody_wants_is_not_touched() {
    let calls = intercept::sync_fn(Interest::requests("*"), |_, _| Verdict::Continue);
    let layer = InterceptLayer::new(calls).with_max_message_bytes(1);
    let stream = events(&[LOG, RESULT]);
    let had = ask(&layer, &Server::stream(&stream), post(CALL)).await;
    assert_eq!(had.body, stream);
    assert_eq!(had.headers["content-length"], stream.len().to_string());
    // Who knows what a response in a GET stream answers?
    let lists = intercept::sync_fn(Interest::responses("tools/list"), |_, _| {
        Verdict::refuse("hidden")
    });
    let layer = InterceptLayer::new(lists);
    let had = ask(&layer, &Server::stream(&stream), post(CALL)).await;
    assert_eq!(had.body, stream);
    let had = ask(&layer, &Server::stream(&stream), get()).await;
    assert!(had.body.contains("hidden"), "{}", had.body);
}

/// One event in flight: the next ones wait, however fast they would be.
#[tokio::test(start_paused = true)]
async fn order_is_kept_and_nothing_is_read_while_an_event_is_decided_about() {
    let slow_then_quick = intercept::async_fn(
        Interest::in_direction(Direction::ToClient),
        |_, message| async move {
            let slow = message.get("/params/slow").is_some();
            tokio::time::sleep(Duration::from_millis(if slow { 100 } else { 1 })).await;
            Ok(Verdict::Continue)
        },
    );
    let note = |n: u32, slow: bool| {
        let slow = if slow { r#","slow":1"# } else { "" };
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":{{"n":{n}{slow}}}}}"#)
    };
    let messages: Vec<_> = (0..10).map(|n| note(n, n % 3 == 0)).collect();
    let texts: Vec<_> = messages.iter().map(|text| &**text).collect();
    let layer = InterceptLayer::new((identity(), slow_then_quick));
    for len in [10, 100_000] {
        let server = Server::stream(&events(&texts)).cut(len);
        let start = tokio::time::Instant::now();
        let had = ask(&layer, &server, post(CALL)).await;
        assert_eq!(data(&had.body), messages);
        assert_eq!(start.elapsed(), Duration::from_millis(4 * 100 + 6));
    }
}

/// What is ready does not wait for what is not, and what is not ready stops the server.
#[tokio::test(start_paused = true)]
async fn events_before_one_that_is_held_leave_and_the_server_waits() {
    let (live, say) = Live::new("text/event-stream");
    let layer = InterceptLayer::new(back(|_, message| match message.kind() {
        Kind::Response => Verdict::Delay(Duration::from_secs(40)),
        _ => Verdict::Continue,
    }));
    let Ok(response) = layer.layer(live).oneshot(post(CALL)).await;
    let mut body = spawn(response.into_body());
    let mut next = move || body.enter(|cx, body| body.poll_frame(cx));
    say.send(events(&[LOG, LOG, RESULT, LOG]).into())
        .expect("it is read");
    let frame = assert_ready!(next()).expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), events(&[LOG, LOG]));
    assert_pending!(next());
    say.send(events(&[ASK]).into()).expect("it is read");
    // SSE-14: the connection is kept open.
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(15)).await;
        let frame = assert_ready!(next()).expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), ":\n\n");
        assert_pending!(next());
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    let frame = assert_ready!(next()).expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), events(&[RESULT, LOG]));
    let frame = assert_ready!(next()).expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), events(&[ASK]));
    assert_pending!(next());
}
