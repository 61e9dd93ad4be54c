//! A stream that ends with its token, and goes on with another one (T25, B28).

mod replay_support;

use std::{
    convert::Infallible,
    future::Ready,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use replay_support::{FINAL, Reader, ScriptBody, Upstream, body, call, get, progress};
use shadowcat::{
    auth::{self, AuthLayer, Credentials, Decision, Principal, Rejection},
    replay::{self, ReplayLayer},
    store::MemoryStore,
};
use tokio::time::advance;
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// How long alice's first token counts yet.
const LEFT: Duration = Duration::from_secs(100);

fn judge(credentials: Credentials<'_>) -> Decision<Ready<Result<Principal, Rejection>>> {
    let (subject, expiry) = match credentials.token() {
        "first" => ("alice", Some(SystemTime::now() + LEFT)),
        "second" => ("alice", None),
        "other" => ("bob", None),
        _ => return Decision::Now(Err(Rejection::invalid_token("the token is unknown"))),
    };
    let mut builder = Principal::builder(subject);
    if let Some(expiry) = expiry {
        builder = builder.with_expiry(expiry);
    }
    Decision::Now(Ok(builder.build().expect("it has a name")))
}

type Open = Response<auth::ResponseBody<replay::ResponseBody<ScriptBody>>>;

/// A server of streams that can be resumed, behind auth.
struct Server {
    replay: ReplayLayer<MemoryStore>,
    streams: Arc<Mutex<Vec<Upstream>>>,
}

impl Server {
    async fn send(&self, token: &str, mut request: Request<Full<Bytes>>) -> Open {
        if !token.is_empty() {
            let credentials = format!("Bearer {token}").parse().expect("ASCII");
            request.headers_mut().insert("authorization", credentials);
        }
        let streams = Arc::clone(&self.streams);
        let inner = service_fn(move |_: Request<Full<Bytes>>| {
            let (upstream, script) = body();
            streams.lock().expect("no panic").push(upstream);
            async move {
                let response = Response::builder().header("content-type", "text/event-stream");
                Ok::<_, Infallible>(response.body(script).expect("a valid response"))
            }
        });
        let service = ServiceBuilder::new()
            .layer(AuthLayer::new(judge))
            .layer(self.replay.clone())
            .service(inner);
        let Ok(response) = service.oneshot(request).await;
        response
    }

    fn upstream(&self) -> Upstream {
        let mut streams = self.streams.lock().expect("no panic");
        assert_eq!(streams.len(), 1, "asked once");
        streams.remove(0)
    }
}

#[tokio::test(start_paused = true)]
async fn t25_stream_ends_with_its_token_and_is_resumed_with_a_fresh_one() {
    let server = Server {
        replay: ReplayLayer::new(MemoryStore::new()).with_keep_alive(None),
        streams: Arc::default(),
    };
    let response = server.send("first", call("s", "2025-11-25")).await;
    assert_eq!(response.status(), 200);
    let upstream = server.upstream();
    upstream.say(progress(1));
    let mut stream = Reader::new(response.into_body());
    let heard = loop {
        let heard = stream.next().await.expect("an event");
        if heard.data.as_ref().is_some_and(|data| !data.is_empty()) {
            break heard;
        }
    };
    assert!(
        heard
            .data
            .is_some_and(|data| data.contains(r#""progress":1"#))
    );

    // With the leeway, and the fraction of a second that has passed by the clock of the wall.
    advance(LEFT + AuthLayer::<()>::DEFAULT_LEEWAY).await;
    let last = stream.rest().await;
    let [last] = &last[..] else {
        panic!("one event tells when to come back: {last:?}")
    };
    assert_eq!(
        (last.retry, &last.data, &last.id),
        (Some(1_000), &None, &None)
    );
    // The call goes on: a client that is gone is no cancellation.
    upstream.say(progress(2));
    upstream.say(FINAL);

    let cursor = stream.cursor.clone().expect("an id");
    for (token, status) in [("", 401), ("third", 401), ("other", 400)] {
        let response = server.send(token, get("s", Some(&cursor))).await;
        assert_eq!(response.status(), status, "{token}");
    }
    let response = server.send("second", get("s", Some(&cursor))).await;
    assert_eq!(response.status(), 200);
    let data = Reader::new(response.into_body()).data().await;
    assert_eq!(data.len(), 2, "{data:?}");
    assert!(data[0].contains(r#""progress":2"#) && data[1].contains(r#""result""#));
    assert!(
        server.streams.lock().expect("no panic").is_empty(),
        "asked once"
    );
}
