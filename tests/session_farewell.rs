//! SES-11: what a server is told when a session ends that it does not know to be over.

mod session_support;

use std::time::Duration;

use http::Response;
use session_support::{INITIALIZE, SESSION, Server, V, agreed, settle, text};
use shadowcat::{
    session::SessionLayer,
    store::{MemorySessionStore, SessionStore},
};

const IDLE: Duration = Duration::from_secs(80);

fn store() -> MemorySessionStore {
    MemorySessionStore::new().with_idle_timeout(Some(IDLE))
}

/// What a server was told since the last time: of which sessions.
fn told<T: SessionStore>(server: &Server<T>) -> Vec<String> {
    let asked = server.asked().into_iter();
    let deletes = asked.filter(|asked| asked.parts.method == "DELETE");
    deletes
        .map(|asked| asked.session().expect("a session").to_owned())
        .collect()
}

/// A server that gives sessions of that name.
fn serve(store: &MemorySessionStore, name: &'static str) -> Server {
    let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
    server.script(move |asked| {
        let response = Response::builder()
            .header(SESSION, name)
            .header("content-type", "application/json");
        (asked.body == INITIALIZE).then(|| response.body(text(agreed(V))).expect("valid"))
    });
    server
}

#[tokio::test(start_paused = true)]
async fn b10_b16_of_two_servers_on_one_store_each_is_told_of_its_own_sessions() {
    let store = store();
    let (one, other) = (serve(&store, "of-one"), serve(&store, "of-other"));
    one.initialize(None).await;
    let fact = one.asked().pop().expect("it was asked").fact().clone();
    other.initialize(None).await;
    other.asked();
    tokio::time::sleep(IDLE * 2).await;
    settle().await;
    assert_eq!(told(&one), ["of-one"]);
    assert_eq!(told(&other), ["of-other"]);
    assert!(fact.is_ended());
    for server in [one, other] {
        let stats = server.layer.handle().stats();
        assert_eq!((stats.ended_total, stats.expired_total), (1, 1));
    }
    assert_eq!(store.stats().unclaimed_total, 0);
}
