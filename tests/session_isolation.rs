//! B01 to B19: nobody uses, ends, or learns of a session that is another's.

mod session_support;

use http::{Request, Response};
use http_body_util::Full;
use session_support::{
    By, CALL, INITIALIZE, NOTIFICATION, RESPONSE, SESSION, Server, agreed, delete, get, had, post,
    principal, settle, text,
};
use shadowcat::{
    auth::Principal,
    session::SessionLayer,
    store::{MemorySessionStore, Owner},
};

type Ask = fn(&str) -> Request<Full<bytes::Bytes>>;

/// Every way to touch a session.
const ASKS: [(&str, Ask); 7] = [
    ("call", |id| post(id, CALL)),
    ("notification", |id| post(id, NOTIFICATION)),
    ("response", |id| post(id, RESPONSE)),
    ("batch", |id| post(id, format!("[{CALL}]"))),
    ("GET", get),
    ("GET with a cursor", |id| get(id).with("last-event-id", "x")),
    ("DELETE", delete),
];

fn server() -> Server {
    Server::new(SessionLayer::default())
}

/// An id as ours are, that is none.
const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[tokio::test]
async fn b01_b08_foreign_ended_and_unknown_look_alike_to_the_byte_by_every_verb() {
    let (alice, bob) = (principal("i", "alice"), principal("i", "bob"));
    let server = server();
    let session = server.initialize(Some(&alice)).await;
    let ended = server.initialize(Some(&alice)).await;
    assert_eq!(
        server.send(delete(&ended).by(Some(&alice))).await.status,
        200
    );
    let stream = server.open(get(&session).by(Some(&alice))).await;
    server.asked();
    // The other half of a secret, of an id that is there.
    let guessed = format!("{}{}", &session[..22], &UNKNOWN[22..]);
    for (what, ask) in ASKS {
        let unknown = server.send(ask(UNKNOWN).by(Some(&bob))).await;
        assert_eq!(unknown.status, 404);
        let is_silent = matches!(what, "notification" | "response");
        assert_eq!(unknown.body.is_empty(), is_silent, "{what}");
        assert!(unknown.headers.get(SESSION).is_none());
        for (id, who) in [
            (&*session, &bob),
            (&ended, &bob),
            (&ended, &alice),
            (&guessed, &alice),
            ("up-1", &alice),
            ("..", &alice),
            ("*", &bob),
            ("a:b{x}%0d%0a", &bob),
        ] {
            let other = server.send(ask(id).by(Some(who))).await;
            assert_eq!(other, unknown, "{what} of {id}");
        }
    }
    assert!(!server.was_asked(), "the server hears of none of it");
    // And the owner is not disturbed.
    assert_eq!(
        server
            .send(post(&session, CALL).by(Some(&alice)))
            .await
            .status,
        200
    );
    let open = server.stream("up-1");
    open.say("data: x\n\n");
    drop(open);
    assert_eq!(had(stream).await.body, "data: x\n\n");
    assert!(server.layer.handle().stats().unknown_total > 40);
}

#[tokio::test]
async fn b03_same_subject_of_another_issuer_is_somebody_else() {
    let server = server();
    let alice = principal("one", "alice");
    let session = server.initialize(Some(&alice)).await;
    let nobody = Principal::builder("alice").build().expect("it has a name");
    for other in [principal("two", "alice"), nobody] {
        for (what, ask) in ASKS {
            let had = server.send(ask(&session).by(Some(&other))).await;
            assert_eq!(had.status, 404, "{what}");
        }
    }
    let had = server.send(post(&session, CALL).by(Some(&alice))).await;
    assert_eq!(had.status, 200);
}

#[tokio::test]
async fn b04_client_counts_where_it_is_told_to() {
    let with_client = |client: &str| {
        let builder = Principal::builder("alice").with_issuer("i");
        builder.with_client(client).build().expect("it has a name")
    };
    let (editor, browser) = (with_client("editor"), with_client("browser"));
    let by_client = SessionLayer::default().with_binding(|principal| {
        let client = principal.client().map(str::as_bytes);
        Owner::of_parts([Some(&principal.owner().as_bytes()[..]), client])
    });
    for (layer, status) in [(SessionLayer::default(), 200), (by_client, 404)] {
        let server = Server::new(layer);
        let session = server.initialize(Some(&editor)).await;
        let had = server.send(post(&session, CALL).by(Some(&browser))).await;
        assert_eq!(had.status, status);
        let had = server.send(post(&session, CALL).by(Some(&editor))).await;
        assert_eq!(had.status, 200);
    }
}

#[tokio::test]
async fn b05_refreshed_token_of_the_same_principal_goes_on() {
    let server = server();
    let session = server.initialize(Some(&principal("i", "alice"))).await;
    let refreshed = Principal::builder("alice")
        .with_issuer("i")
        .with_scopes(["other"])
        .with_expiry(std::time::SystemTime::now())
        .build()
        .expect("it has a name");
    let had = server.send(post(&session, CALL).by(Some(&refreshed))).await;
    assert_eq!(had.status, 200);
}

#[tokio::test]
async fn b06_swapped_token_is_refused_and_the_owner_goes_on() {
    let server = server();
    let (alice, bob) = (principal("i", "alice"), principal("i", "bob"));
    let session = server.initialize(Some(&alice)).await;
    for _ in 0..3 {
        for (who, is_owner) in [(&alice, true), (&bob, false), (&bob, false), (&alice, true)] {
            let had = server.send(post(&session, CALL).by(Some(who))).await;
            assert_eq!(had.status, if is_owner { 200 } else { 404 });
        }
        assert_eq!(
            server.send(delete(&session).by(Some(&bob))).await.status,
            404
        );
    }
}

#[tokio::test]
async fn b11_server_that_gives_two_clients_one_id_loses_the_second() {
    let server = server();
    let (alice, bob) = (principal("i", "alice"), principal("i", "bob"));
    server.script(|asked| {
        let response = Response::builder().header(SESSION, "same");
        let body = if asked.body == INITIALIZE {
            agreed("2025-11-25")
        } else {
            "{}".to_owned()
        };
        Some(response.body(text(body)).expect("valid"))
    });
    let session = server.initialize(Some(&alice)).await;
    for who in [&bob, &alice] {
        let had = server.send(post("", INITIALIZE).by(Some(who))).await;
        assert_eq!(had.status, 502);
        assert!(had.headers.get(SESSION).is_none());
    }
    settle().await;
    let told = server
        .asked()
        .into_iter()
        .any(|asked| asked.parts.method == "DELETE");
    assert!(!told, "to tell the server would end the first one");
    assert_eq!(
        server
            .send(post(&session, CALL).by(Some(&alice)))
            .await
            .status,
        200
    );
    // Once that is over, the id is nobody's.
    assert_eq!(
        server.send(delete(&session).by(Some(&alice))).await.status,
        200
    );
    let other = server.initialize(Some(&bob)).await;
    assert_eq!(
        server.send(post(&other, CALL).by(Some(&bob))).await.status,
        200
    );
    assert_eq!(
        server
            .send(post(&session, CALL).by(Some(&alice)))
            .await
            .status,
        404
    );
}

/// Also when the session is nobody's by the time that somebody looks.
#[tokio::test]
async fn b11_server_is_told_nothing_of_a_session_that_was_refused() {
    let server = Server::anonymous();
    server.script(|_| {
        let response = Response::builder().header(SESSION, "same");
        Some(response.body(text(agreed("2025-11-25"))).expect("valid"))
    });
    let session = server.initialize(None).await;
    assert_eq!(server.send(post("", INITIALIZE)).await.status, 502);
    assert_eq!(server.send(delete(&session)).await.status, 200);
    server.asked();
    settle().await;
    assert!(!server.was_asked());
}

#[tokio::test]
async fn b11_first_client_keeps_an_id_that_is_passed_on_and_given_twice() {
    let server = Server::new(SessionLayer::default().with_upstream_ids());
    let (alice, bob) = (principal("i", "alice"), principal("i", "bob"));
    server.script(|asked| {
        let response = Response::builder().header(SESSION, "same");
        (asked.body == INITIALIZE).then(|| response.body(text("{}")).expect("valid"))
    });
    server
        .world()
        .sessions
        .insert("same".to_owned(), Vec::new());
    assert_eq!(server.initialize(Some(&alice)).await, "same");
    for who in [&alice, &bob] {
        let had = server.send(post("", INITIALIZE).by(Some(who))).await;
        assert_eq!(had.status, 502);
    }
    settle().await;
    for (who, status) in [(&alice, 200), (&bob, 404)] {
        let had = server.send(post("same", CALL).by(Some(who))).await;
        assert_eq!(had.status, status);
    }
}

#[tokio::test]
async fn b12_an_id_elsewhere_is_ignored() {
    let server = server();
    let alice = principal("i", "alice");
    let session = server.initialize(Some(&alice)).await;
    server.asked();
    let mut request = post("", CALL)
        .by(Some(&alice))
        .with("cookie", &format!("mcp-session-id={session}"));
    *request.uri_mut() = format!("/mcp?mcp-session-id={session}")
        .parse()
        .expect("a URI");
    assert_eq!(server.send(request).await.status, 400);
    assert!(!server.was_asked());
}

#[tokio::test]
async fn b13_without_principals_possession_is_all() {
    let server = Server::anonymous();
    let session = server.initialize(None).await;
    assert_eq!(server.send(post(&session, CALL)).await.status, 200);
    // Who is somebody, is somebody else than nobody.
    let alice = principal("i", "alice");
    assert_eq!(
        server
            .send(post(&session, CALL).by(Some(&alice)))
            .await
            .status,
        404
    );
    let hers = server.initialize(Some(&alice)).await;
    assert_eq!(server.send(post(&hers, CALL)).await.status, 404);
}

#[tokio::test]
async fn b14_id_is_nobodys_after_the_end() {
    let server = server();
    let alice = principal("i", "alice");
    let session = server.initialize(Some(&alice)).await;
    assert_eq!(
        server.send(delete(&session).by(Some(&alice))).await.status,
        200
    );
    let next = server.initialize(Some(&alice)).await;
    assert_ne!(session, next);
    server.asked();
    for (what, ask) in ASKS {
        let had = server.send(ask(&session).by(Some(&alice))).await;
        assert_eq!(had.status, 404, "{what}");
    }
    assert!(!server.was_asked());
}

#[tokio::test]
async fn b15_ses7_what_is_stored_belongs_to_principal_and_session_together() {
    let server = server();
    let mut owners = Vec::new();
    for (issuer, subject) in [("a", "b:c"), ("a:b", "c"), ("a", "b:c")] {
        let who = principal(issuer, subject);
        let session = server.initialize(Some(&who)).await;
        let opened = server.asked().pop().expect("it was asked").fact().clone();
        server.send(post(&session, CALL).by(Some(&who))).await;
        let fact = server.asked().pop().expect("it was asked").fact().clone();
        assert_eq!(opened.owner(), fact.owner(), "from the initialize on");
        assert_eq!(fact.principal(), who.owner());
        assert!(!owners.contains(&fact.owner()) && !fact.owner().is_anonymous());
        owners.push(fact.owner());
    }
}

#[tokio::test]
async fn b16_session_of_one_layer_is_unknown_to_another_over_the_same_store() {
    let store = MemorySessionStore::new();
    let layer = || SessionLayer::new(store.clone()).allow_anonymous();
    let (one, other) = (Server::new(layer()), Server::new(layer()));
    let session = one.initialize(None).await;
    for (what, ask) in ASKS {
        assert_eq!(other.send(ask(&session)).await.status, 404, "{what}");
    }
    assert!(!other.was_asked());
    // Each server calls its sessions what it likes.
    let theirs = other.initialize(None).await;
    for (server, session) in [(&one, &session), (&other, &theirs)] {
        assert_eq!(server.send(post(session, CALL)).await.status, 200);
        assert_eq!(server.layer.handle().count().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn b17_session_is_its_owners_on_every_node_of_a_realm() {
    let store = MemorySessionStore::new();
    let layer = || SessionLayer::new(store.clone()).with_realm("https://mcp.example");
    let (one, other) = (Server::new(layer()), Server::new(layer()));
    let (alice, bob) = (principal("i", "alice"), principal("i", "bob"));
    let session = one.initialize(Some(&alice)).await;
    other.world().sessions.insert("up-1".to_owned(), Vec::new());
    for (who, status) in [(&bob, 404), (&alice, 200)] {
        let had = other.send(post(&session, CALL).by(Some(who))).await;
        assert_eq!(had.status, status);
    }
    // It knows by now that there are sessions.
    assert_eq!(
        other.send(post("", CALL).by(Some(&alice))).await.status,
        400
    );
    // The end is everywhere.
    let stream = one.open(get(&session).by(Some(&alice))).await;
    assert_eq!(
        other.send(delete(&session).by(Some(&alice))).await.status,
        200
    );
    assert_eq!(had(stream).await.body, "");
    assert_eq!(
        one.send(post(&session, CALL).by(Some(&alice))).await.status,
        404
    );
}

#[tokio::test]
async fn b19_caps_of_one_principal_and_of_all() {
    let store = MemorySessionStore::new()
        .with_max_sessions(5)
        .with_max_per_owner(3);
    let server = Server::new(SessionLayer::new(store.clone()));
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| principal("i", name));
    let mut hers = Vec::new();
    for _ in 0..3 {
        hers.push(server.initialize(Some(&alice)).await);
    }
    server.asked();
    for _ in 0..20 {
        let had = server.send(post("", INITIALIZE).by(Some(&alice))).await;
        assert_eq!(had.status, 429);
        assert!(
            had.body
                .starts_with(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-31429"#)
        );
    }
    assert!(!server.was_asked());
    for _ in 0..2 {
        server.initialize(Some(&bob)).await;
    }
    server.asked();
    let had = server.send(post("", INITIALIZE).by(Some(&carol))).await;
    assert_eq!(had.status, 503);
    assert!(!server.was_asked());
    // What is there goes on, and an end makes room.
    assert_eq!(
        server
            .send(post(&hers[0], CALL).by(Some(&alice)))
            .await
            .status,
        200
    );
    assert_eq!(
        server.send(delete(&hers[0]).by(Some(&alice))).await.status,
        200
    );
    server.initialize(Some(&carol)).await;
    assert_eq!(store.stats().sessions, 5);
}

#[tokio::test]
async fn b19_initialize_that_is_not_answered_yet_counts() {
    let store = MemorySessionStore::new().with_max_per_owner(1);
    let server = Server::new(SessionLayer::new(store.clone()));
    let alice = principal("i", "alice");
    // The server takes its time: the response is there, the session is not.
    let inner = tower::service_fn(|_: Request<Full<bytes::Bytes>>| async {
        std::future::pending::<Result<Response<Full<bytes::Bytes>>, std::convert::Infallible>>()
            .await
    });
    let service = tower::Layer::layer(&server.layer, inner);
    let ask = |who| tower::ServiceExt::oneshot(service.clone(), post("", INITIALIZE).by(Some(who)));
    let mut first = tokio_test::task::spawn(ask(&alice));
    assert!(first.poll().is_pending());
    assert!(first.poll().is_pending());
    let Ok(second) = ask(&alice).await;
    assert_eq!(second.status(), 429);
    assert_eq!(store.stats().sessions, 1);
    drop(first);
    assert_eq!(store.stats().sessions, 0);
    server.initialize(Some(&alice)).await;
}

#[tokio::test(start_paused = true)]
async fn b19_what_has_expired_makes_room() {
    let store = MemorySessionStore::new().with_max_sessions(2);
    let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
    for _ in 0..2 {
        server.initialize(None).await;
    }
    assert_eq!(server.send(post("", INITIALIZE)).await.status, 503);
    tokio::time::advance(MemorySessionStore::DEFAULT_IDLE_TIMEOUT).await;
    for _ in 0..2 {
        server.initialize(None).await;
    }
    assert_eq!(store.stats().sessions, 2);
    tokio::time::sleep(MemorySessionStore::DEFAULT_IDLE_TIMEOUT / 8).await;
    settle().await;
    let left: Vec<_> = server.world().sessions.keys().cloned().collect();
    assert_eq!(
        left.len(),
        2,
        "the servers of the others are told: {left:?}"
    );
}

#[tokio::test]
async fn stream_of_a_session_is_not_ended_by_the_end_of_another() {
    let server = server();
    let (alice, bob) = (principal("i", "alice"), principal("i", "bob"));
    let hers = server.initialize(Some(&alice)).await;
    let his = server.initialize(Some(&bob)).await;
    let stream = server.open(get(&his).by(Some(&bob))).await;
    assert_eq!(
        server.send(delete(&hers).by(Some(&alice))).await.status,
        200
    );
    let open = server.stream("up-2");
    open.say("data: x\n\n");
    drop(open);
    assert_eq!(had(stream).await.body, "data: x\n\n");
}
