//! A session from its `initialize` to its end.

mod session_support;

use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use session_support::{
    By, CALL, INITIALIZE, NOTIFICATION, RESPONSE, SESSION, Server, V, agreed, delete, get, post,
    principal, script, settle, text,
};
use shadowcat::{
    protocol::{Era, ProtocolVersion},
    session::{Session, SessionLayer},
    store::MemorySessionStore,
};

#[tokio::test]
async fn b10_id_is_ours_and_the_servers_never_leaves() {
    let server = Server::anonymous();
    let had = server.send(post("", INITIALIZE)).await;
    assert_eq!(had.status, 200);
    assert_eq!(had.body, agreed(V));
    let session = had.session();
    assert_eq!(session.len(), 43);
    assert_eq!(server.asked()[0].session(), None);

    for request in [
        post(&session, CALL),
        post(&session, NOTIFICATION),
        get(&session),
    ] {
        let is_get = request.method() == "GET";
        let response = server.open(request).await;
        assert_eq!(response.status(), 200);
        // The server repeats its id where it is no stream.
        let repeated = response.headers().get(SESSION).map(|id| id.as_bytes());
        assert_eq!(repeated, (!is_get).then_some(session.as_bytes()));
        let asked = server.asked().pop().expect("it was asked");
        assert_eq!(asked.session(), Some("up-1"));
    }
    // Its own id opens nothing.
    let had = server.send(post("up-1", CALL)).await;
    assert_eq!(had.status, 404);
    assert!(!server.was_asked());
}

#[tokio::test]
async fn ses1_an_id_is_given_by_an_initialize_only() {
    let server = Server::anonymous();
    server.script(|asked| {
        let response = Response::builder().header(SESSION, "stray");
        let is_call = asked.body == CALL;
        is_call.then(|| response.body(text("{}")).expect("valid"))
    });
    let had = server.send(post("", CALL)).await;
    assert_eq!(
        (had.status, had.headers.get(SESSION)),
        (StatusCode::OK, None)
    );
    let session = server.initialize(None).await;
    // Nor does another one take the place of the session's.
    let had = server.send(post(&session, CALL)).await;
    assert_eq!(
        (had.status, had.headers.get(SESSION)),
        (StatusCode::OK, None)
    );
    assert_eq!(server.send(post("stray", CALL)).await.status, 404);
}

#[tokio::test]
async fn a30_missing_id_is_400_once_the_server_has_given_one() {
    let server = Server::anonymous();
    server.script(|asked| {
        let is_open = asked.session().is_none() && !asked.body.starts_with(INITIALIZE.as_bytes());
        is_open.then(|| Response::new(text("open")))
    });
    for request in [post("", CALL), get(""), delete(""), post("", NOTIFICATION)] {
        assert_eq!(server.send(request).await.body, "open");
    }
    server.asked();
    server.initialize(None).await;
    server.asked();
    for (request, body) in [
        (
            post("", CALL),
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"#,
        ),
        (get(""), r#"{"jsonrpc":"2.0","error":{"code":-32600,"#),
        (delete(""), r#"{"jsonrpc":"2.0","error":{"code":-32600,"#),
    ] {
        let had = server.send(request).await;
        assert_eq!(had.status, 400);
        assert!(had.body.starts_with(body.as_bytes()), "{had:?}");
        assert_eq!(had.headers["content-type"], "application/json");
    }
    // Nobody reads an answer to these.
    for body in [NOTIFICATION, RESPONSE] {
        let had = server.send(post("", body)).await;
        assert_eq!((had.status, had.body.len()), (StatusCode::BAD_REQUEST, 0));
    }
    assert!(!server.was_asked());
    // Preflights are nobody's.
    let mut preflight = get("");
    *preflight.method_mut() = http::Method::OPTIONS;
    assert_eq!(server.send(preflight).await.body, "open");
}

#[tokio::test]
async fn server_without_sessions_is_left_alone() {
    let server = Server::anonymous();
    server.script(|asked| {
        assert!(asked.session().is_none());
        Some(Response::new(text(asked.body.clone())))
    });
    for body in [INITIALIZE, NOTIFICATION, CALL, INITIALIZE, RESPONSE] {
        let had = server.send(post("", body)).await;
        assert_eq!((had.status, &*had.body), (StatusCode::OK, body.as_bytes()));
        assert_eq!(had.headers.get(SESSION), None);
    }
    assert_eq!(server.layer.handle().count().await.unwrap(), 0);
    assert_eq!(server.layer.handle().stats().opened_total, 0);
}

#[tokio::test]
async fn a26_malformed_id_is_400() {
    let server = Server::anonymous();
    let session = server.initialize(None).await;
    server.asked();
    let long = "x".repeat(257);
    for id in ["", "a b", "\u{80}", "a\tb", &"x".repeat(4096), &long] {
        for request in [post("", CALL), get(""), delete("")] {
            let mut request = request;
            let id = http::HeaderValue::from_bytes(id.as_bytes()).expect("legal");
            request.headers_mut().insert(SESSION, id);
            let had = server.send(request).await;
            assert_eq!(had.status, 400, "{had:?}");
        }
    }
    // Two of them are none (AMB-31).
    let had = server
        .send(post(&session, CALL).with(SESSION, &session))
        .await;
    assert_eq!(had.status, 400);
    assert!(!server.was_asked());
}

#[tokio::test]
async fn a31_b09_initialize_takes_no_id() {
    let server = Server::anonymous();
    let session = server.initialize(None).await;
    server.asked();
    for id in [&*session, "made-up"] {
        let had = server.send(post(id, INITIALIZE)).await;
        assert_eq!(had.status, 400);
        assert!(had.headers.get(SESSION).is_none());
    }
    assert!(!server.was_asked());
    assert_eq!(server.send(post(&session, CALL)).await.status, 200);
    assert_eq!(server.send(post("made-up", CALL)).await.status, 404);
}

#[tokio::test]
async fn ses2_unusable_id_of_a_server_is_502() {
    for id in ["", "a b", "\u{e9}", &"x".repeat(5000)] {
        let server = Server::anonymous();
        let id = http::HeaderValue::from_bytes(id.as_bytes()).expect("legal");
        server.script(move |_| {
            let response = Response::builder().header(SESSION, &id);
            Some(response.body(text(agreed(V))).expect("valid"))
        });
        let had = server.send(post("", INITIALIZE)).await;
        assert_eq!(had.status, 502);
        let start = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-31502,"#;
        assert!(had.body.starts_with(start), "{had:?}");
        assert!(had.headers.get(SESSION).is_none());
        assert_eq!(server.layer.handle().count().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn se8_failed_initialize_leaves_nothing() {
    let store = MemorySessionStore::new();
    let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
    server.script(|_| {
        let response = Response::builder().status(400).header(SESSION, "up");
        Some(response.body(text("{}")).expect("valid"))
    });
    let had = server.send(post("", INITIALIZE)).await;
    assert_eq!(
        (had.status, had.headers.get(SESSION)),
        (StatusCode::BAD_REQUEST, None)
    );
    let asked = server.asked().pop().expect("it was asked");
    assert!(asked.fact().is_ended() && !asked.fact().is_established());
    assert_eq!(store.stats().sessions, 0);
    // And asks for nothing.
    server.script(|_| Some(Response::new(text("open"))));
    assert_eq!(server.send(post("", CALL)).await.body, "open");
}

#[tokio::test]
async fn se8_session_that_came_with_an_error_is_over_and_its_server_told() {
    let store = MemorySessionStore::new();
    let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
    server.script(|asked| {
        (asked.body == INITIALIZE).then(|| {
            let body = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}"#;
            let response = Response::builder().header(SESSION, "up");
            response.body(text(body)).expect("valid")
        })
    });
    let had = server.send(post("", INITIALIZE)).await;
    assert_eq!(store.stats().sessions, 0);
    assert_eq!(server.send(post(&had.session(), CALL)).await.status, 404);
    settle().await;
    let asked = server.asked().pop().expect("it was told");
    assert_eq!(
        (asked.parts.method.as_str(), asked.session()),
        ("DELETE", Some("up"))
    );
}

#[tokio::test]
async fn ver9_later_requests_follow_what_was_agreed_whatever_their_header_says() {
    for is_stream in [false, true] {
        let server = Server::anonymous();
        server.script(move |asked| {
            if asked.body != INITIALIZE {
                return Some(Response::new(text("{}")));
            }
            let (kind, body) = if is_stream {
                (
                    "text/event-stream",
                    format!("data: {}\n\n", agreed("2025-06-18")),
                )
            } else {
                ("application/json", agreed("2025-06-18"))
            };
            let response = Response::builder().header(SESSION, "up");
            let response = response.header("content-type", kind);
            Some(response.body(text(body)).expect("valid"))
        });
        let response = server.open(post("", INITIALIZE)).await;
        let session = response.headers()[SESSION].to_str().unwrap().to_owned();
        // Nothing is agreed before it is said, and the session is there already (SES-12).
        server.send(post(&session, CALL)).await;
        let asked = server.asked().pop().expect("it was asked");
        assert_eq!(
            Era::of(&asked.parts.extensions),
            Some(Era::Session(ProtocolVersion::V2025_11_25))
        );
        assert_eq!(asked.fact().version(), None);

        response.into_body().collect().await.expect("no error");
        server.send(post(&session, CALL)).await;
        let asked = server.asked().pop().expect("it was asked");
        assert_eq!(asked.fact().version(), Some(ProtocolVersion::V2025_06_18));
        // VER-3: the header goes on as it came.
        assert_eq!(asked.parts.headers["mcp-protocol-version"], V);
        assert_eq!(
            Era::of(&asked.parts.extensions),
            Some(Era::Session(ProtocolVersion::V2025_06_18))
        );
        // AMB-21
        let had = server.send(post(&session, format!("[{CALL}]"))).await;
        assert_eq!(had.status, 400);
        assert!(
            had.body.starts_with(br#"[{"jsonrpc":"2.0","id":7,"error""#),
            "{had:?}"
        );
    }
}

#[tokio::test]
async fn reply_to_initialize_passes_as_it_comes() {
    let server = Server::anonymous();
    let (upstream, body) = script();
    let mut body = Some(body);
    server.script(move |_| {
        let response = Response::builder().header(SESSION, "up");
        Some(response.body(body.take()?).expect("valid"))
    });
    let response = server.open(post("", INITIALIZE)).await;
    let mut body = response.into_body();
    for part in [r#"{"jsonrpc":"2.0","id":1,"#, r#""result":{}}"#] {
        upstream.say(part);
        let frame = body.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), part);
    }
}

#[tokio::test]
async fn era3_stateless_requests_lose_their_session_and_cursor() {
    const META: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let server = Server::new(SessionLayer::default());
    let alice = principal("i", "alice");
    let session = server.initialize(Some(&alice)).await;
    server.script(|_| {
        let response = Response::builder().header(SESSION, "stray");
        Some(response.body(text("{}")).expect("valid"))
    });
    let modern = |request: http::Request<_>| {
        let mut request: http::Request<http_body_util::Full<bytes::Bytes>> = request;
        request.headers_mut().remove("mcp-protocol-version");
        request
            .with("mcp-protocol-version", "2026-07-28")
            .with("last-event-id", "cursor")
    };
    // The body decides (ERA-2), and there need be no principal: the layer is not there.
    for request in [
        modern(post(&session, META)),
        post(&session, META).with("last-event-id", "cursor"),
        modern(post("up-1", META)),
        modern(get(&session)),
        modern(delete(&session)),
        modern(post("a b", META)),
    ] {
        server.asked();
        let had = server.send(request).await;
        assert_eq!(
            (had.status, had.headers.get(SESSION)),
            (StatusCode::OK, None)
        );
        let asked = server.asked().pop().expect("it was asked");
        assert_eq!(asked.session(), None);
        assert!(!asked.parts.headers.contains_key("last-event-id"));
        assert!(asked.parts.extensions.get::<Session>().is_none());
    }
}

#[tokio::test]
async fn http_with_sse_passes_verbatim() {
    const STREAM: &str =
        "event: endpoint\ndata: /messages?sessionId=x\n\nevent: message\ndata: {}\n\n";
    let server = Server::anonymous();
    server.script(|asked| {
        let response = Response::builder().header("content-type", "text/event-stream");
        Some(match asked.parts.method.as_str() {
            "GET" => response.body(text(STREAM)).expect("valid"),
            _ => response.status(202).body(text("")).expect("valid"),
        })
    });
    assert_eq!(server.send(get("")).await.body, STREAM);
    let old = INITIALIZE.replace(V, "2024-11-05");
    for body in [old, NOTIFICATION.to_owned(), CALL.to_owned()] {
        let had = server.send(post("", body.clone())).await;
        assert_eq!(had.status, 202);
        assert_eq!(server.asked().pop().expect("it was asked").body, body);
    }
}

#[tokio::test]
async fn amb_36_a_404_without_a_session_is_no_event() {
    let server = Server::anonymous();
    let session = server.initialize(None).await;
    server.script(|asked| {
        let is_open = asked.session().is_none();
        let response = Response::builder().status(404);
        is_open.then(|| response.body(text("theirs")).expect("valid"))
    });
    let had = server.send(post("", INITIALIZE)).await;
    assert_eq!(
        (had.status, &*had.body),
        (StatusCode::NOT_FOUND, &b"theirs"[..])
    );
    assert_eq!(server.send(post(&session, CALL)).await.status, 200);
}

#[tokio::test]
async fn upstream_ids_can_be_passed_on() {
    let layer = SessionLayer::default()
        .allow_anonymous()
        .with_upstream_ids();
    let server = Server::new(layer);
    assert_eq!(server.initialize(None).await, "up-1");
    let had = server.send(post("up-1", CALL)).await;
    assert_eq!(
        (had.status, had.session().as_str()),
        (StatusCode::OK, "up-1")
    );
    assert_eq!(
        server.asked().pop().expect("it was asked").session(),
        Some("up-1")
    );
    assert_eq!(server.send(post("up-2", CALL)).await.status, 404);
    assert_eq!(server.send(delete("up-1")).await.status, 200);
    assert_eq!(server.send(post("up-1", CALL)).await.status, 404);

    // B14: a server that gives an id again gives it to nobody.
    server.script(|asked| {
        let response = Response::builder().header(SESSION, "up-1");
        (asked.body == INITIALIZE).then(|| response.body(text(agreed(V))).expect("valid"))
    });
    assert_eq!(server.send(post("", INITIALIZE)).await.status, 502);
    assert_eq!(server.send(post("up-1", CALL)).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn ses11_idle_session_expires_and_its_server_is_told() {
    let store = MemorySessionStore::new();
    let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
    let session = server.initialize(None).await;
    let fact = server.asked().pop().expect("it was asked").fact().clone();
    let idle = MemorySessionStore::DEFAULT_IDLE_TIMEOUT;
    tokio::time::advance(idle - Duration::from_secs(1)).await;
    assert_eq!(server.send(post(&session, CALL)).await.status, 200);
    server.asked();
    tokio::time::advance(idle - Duration::from_secs(1)).await;
    settle().await;
    assert!(!fact.is_ended());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(server.send(post(&session, CALL)).await.status, 404);
    // The rest is done in time, without another request.
    tokio::time::sleep(idle / 8).await;
    settle().await;
    assert!(fact.is_ended());
    let asked = server.asked().pop().expect("it was told");
    assert_eq!(
        (asked.parts.method.as_str(), asked.session()),
        ("DELETE", Some("up-1"))
    );
    assert_eq!(asked.parts.headers["mcp-protocol-version"], V);
    assert_eq!(asked.parts.uri, "/mcp");
    assert_eq!(asked.fact().owner(), fact.owner());
    assert_eq!(
        (store.stats().sessions, store.stats().expired_total),
        (0, 1)
    );
    assert!(server.world().sessions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn d11_session_does_not_expire_under_an_open_stream() {
    let server = Server::anonymous();
    let session = server.initialize(None).await;
    let fact = server.asked().pop().expect("it was asked").fact().clone();
    let stream = server.open(get(&session)).await;
    let idle = MemorySessionStore::DEFAULT_IDLE_TIMEOUT;
    tokio::time::sleep(idle * 3).await;
    assert!(!fact.is_ended());
    assert_eq!(server.send(post(&session, CALL)).await.status, 200);
    // Idle from the end of the stream on.
    tokio::time::sleep(idle).await;
    drop(stream);
    tokio::time::sleep(idle - Duration::from_secs(1)).await;
    assert!(!fact.is_ended());
    tokio::time::sleep(idle / 4).await;
    settle().await;
    assert!(fact.is_ended());
}

#[tokio::test]
async fn layer_that_is_gone_leaves_no_task() {
    let server = Server::anonymous();
    server.initialize(None).await;
    settle().await;
    let world = std::sync::Arc::downgrade(&server.world);
    drop(server);
    settle().await;
    assert_eq!(world.strong_count(), 0, "somebody holds the inner service");
}

#[tokio::test]
async fn era_that_a_layer_outside_has_told_counts_more_than_what_the_request_says() {
    let server = Server::anonymous();
    let session = server.initialize(None).await;
    for (era, is_in_session) in [(None, true), (Some(Era::Stateless), false)] {
        server.asked();
        let mut request = post(&session, CALL);
        if let Some(era) = era {
            request.extensions_mut().insert(era);
        }
        server.send(request).await;
        let asked = server.asked().pop().expect("it was asked");
        assert_eq!(asked.session().is_some(), is_in_session, "{era:?}");
    }
}

#[tokio::test]
async fn ses3_of_several_ids_that_a_server_answers_with_the_client_sees_none_but_its_own() {
    let server = Server::anonymous();
    let session = server.initialize(None).await;
    for (ids, expected) in [
        (["up-1", "stray"], Some(session.as_str())),
        (["stray", "up-1"], None),
    ] {
        server.script(move |_| {
            let response = Response::builder()
                .header(SESSION, ids[0])
                .header(SESSION, ids[1]);
            Some(response.body(text("{}")).expect("valid"))
        });
        let had = server.send(post(&session, CALL)).await;
        let given: Vec<_> = had.headers.get_all(SESSION).iter().collect();
        assert_eq!(given, Vec::from_iter(expected), "{ids:?}");
    }
}
