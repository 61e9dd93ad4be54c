//! A client that loses its connection loses nothing else.

mod replay_support;

use replay_support::{FINAL, Reader, Server, call, get, progress};
use shadowcat::replay::ReplayLayer;

#[tokio::test]
async fn a_cut_call_is_resumed_to_its_final_response() {
    let server = Server::new(ReplayLayer::default());
    let response = server.send(call("s", "2025-11-25")).await;
    let (_, upstream) = server.upstream();
    let mut reader = Reader::new(response.into_body());
    let primed = reader
        .next()
        .await
        .expect("a cursor before anything happens");
    assert_eq!(primed.data.as_deref(), Some(""));
    upstream.say(progress(1));
    let one = reader.next().await.expect("progress");
    assert!(one.data.is_some_and(|data| data.contains("\"progress\":1")));
    let cursor = reader.cursor.clone().expect("a cursor");

    drop(reader);
    upstream.say(progress(2));
    upstream.say(progress(3));
    upstream.say(FINAL);

    let response = server.send(get("s", Some(&cursor))).await;
    assert_eq!(response.status(), 200);
    let mut reader = Reader::new(response.into_body());
    let data = reader.data().await;
    assert_eq!(data.len(), 3, "{data:?}");
    assert!(data[0].contains("\"progress\":2"));
    assert!(data[1].contains("\"progress\":3"));
    assert!(data[2].contains("\"result\""));
    drop(upstream);
}
