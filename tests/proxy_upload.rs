//! Requests that are still being sent when their answer comes.

mod scripted;

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use shadowcat::proxy::{ResponseFuture, ReverseProxy, UpstreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use scripted::{Front, ScriptedPeer, builder, guarded, post, proxy, settle};

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn accepted_upload_reaches_the_upstream_whole_c15() {
    guarded(async {
        // More than the sockets of both sides hold.
        const LEN: usize = 32 * 1024 * 1024;
        let mut peer = ScriptedPeer::bind().await;
        let (service, gauges) = proxy(&peer);
        let call = tokio::spawn(service.clone().oneshot(post(vec![b'x'; LEN])));
        let mut upstream = peer.accept().await;
        upstream.read_head().await;
        upstream.write(ACCEPTED).await;
        let response = call.await.expect("no panic").expect("infallible");
        assert_eq!(response.status(), 202);
        let body = response.into_body().collect().await.expect("no body");
        assert!(body.to_bytes().is_empty());
        assert_eq!(gauges.in_flight(), 0);
        assert_eq!(upstream.read(LEN).await.len(), LEN);

        // And then the connection is as good as any, once its task has had another turn.
        settle().await;
        let call = tokio::spawn(service.oneshot(post("{}")));
        upstream.read_message().await;
        upstream.write(ACCEPTED).await;
        assert_eq!(
            call.await.expect("no panic").expect("infallible").status(),
            202
        );
        assert_eq!(peer.connections().await, 1);
    })
    .await;
}

#[tokio::test]
async fn upload_that_is_accepted_half_way_goes_on_c15() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let proxy: ReverseProxy<Incoming> = builder(&peer).build();
        let front = Front::start(proxy).await;
        let mut client = front.connect().await;
        client
            .write("POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Length: 8\r\n\r\nhalf")
            .await;
        let mut upstream = peer.accept().await;
        upstream.read_head().await;
        upstream.write(ACCEPTED).await;
        assert!(client.read_message().await.head.contains("202"));
        client.write("rest").await;
        assert_eq!(upstream.read(8).await, b"halfrest");
    })
    .await;
}

#[tokio::test]
async fn upload_that_is_refused_is_cut_c15() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (service, gauges) = proxy(&peer);
        let call = tokio::spawn(service.oneshot(post(vec![b'x'; 32 * 1024 * 1024])));
        let mut upstream = peer.accept().await;
        upstream.read_head().await;
        upstream
            .write("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n")
            .await;
        let response = call.await.expect("no panic").expect("infallible");
        assert_eq!(response.status(), 413);
        drop(response);
        assert!(upstream.closed().await.len() < 32 * 1024 * 1024);
        assert_eq!(gauges.in_flight(), 0);
    })
    .await;
}

#[tokio::test]
async fn both_directions_move_at_their_own_pace() {
    // The client reads nothing before it has sent all, and the upstream answers meanwhile: the
    // answer fills every buffer on its way, and must not stop the request.
    const LEN: usize = 32 * 1024 * 1024;
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let proxy: ReverseProxy<Incoming> = builder(&peer).build();
        let front = Front::start(proxy).await;
        let mut client = front.connect().await;
        let client = tokio::spawn(async move {
            client
                .write(format!(
                    "POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Length: {LEN}\r\n\r\n"
                ))
                .await;
            client.write(vec![b'x'; LEN]).await;
            client.read_message().await.body.len()
        });
        let mut upstream = peer.accept().await;
        upstream.read_head().await;
        let (mut reader, mut writer) = upstream.stream().split();
        let read = async {
            let mut body = vec![0; 64 * 1024];
            let mut len = 0;
            // Some of it came with the head.
            while len < LEN - 128 * 1024 {
                len += reader.read(&mut body).await.expect("the request goes on");
            }
        };
        let write = async {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n");
            writer.write_all(head.as_bytes()).await.expect("taken");
            writer.write_all(&vec![b'y'; LEN]).await.expect("taken");
        };
        tokio::join!(read, write);
        assert_eq!(client.await.expect("no panic"), LEN);
    })
    .await;
}

#[tokio::test]
async fn head_alone_does_not_stop_an_upload() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let proxy: ReverseProxy<Incoming> = builder(&peer).build();
        let front = Front::start(tower::util::MapResponse::new(
            proxy,
            |response: http::Response<_>| {
                // Whoever holds the body and does not look at it.
                response.map(|body| (Box::leak(Box::new(body)), Full::<Bytes>::from("later")).1)
            },
        ))
        .await;
        let mut client = front.connect().await;
        client
            .write(
                "POST /mcp HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            )
            .await;
        let mut upstream = peer.accept().await;
        upstream.read_head().await;
        upstream
            .write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}\n\n")
            .await;
        assert_eq!(client.read_message().await.body, b"later");
        client.write("4\r\nrest\r\n0\r\n\r\n").await;
        assert!(upstream.read_until("rest\r\n0\r\n\r\n").await.is_some());
    })
    .await;
}

#[tokio::test]
async fn answer_that_is_dropped_ends_the_upload_too_can_3() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let proxy: ReverseProxy<StreamBody<_>> = builder(&peer).build();
        let gauges = proxy.gauges();
        let never = tokio_stream::pending::<Result<Frame<Bytes>, Infallible>>();
        let request = post("").map(|_: Full<Bytes>| StreamBody::new(never));
        let call = tokio::spawn(proxy.oneshot(request));
        let mut upstream = peer.accept().await;
        upstream.read_head().await;
        upstream
            .write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}\n\n")
            .await;
        let response = call.await.expect("no panic").expect("infallible");
        drop(response);
        // The upload has no end of its own.
        upstream.closed().await;
        assert_eq!(gauges.in_flight(), 0);
    })
    .await;
}

#[tokio::test]
async fn answer_that_is_dropped_ends_an_upload_that_is_stuck_can_3() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let proxy: ReverseProxy<StreamBody<_>> = builder(&peer).build();
        // More than the sockets hold, and no end: the upstream reads none of it.
        let frames = tokio_stream::iter(std::iter::repeat_with(|| {
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; 1024 * 1024])))
        }));
        let request = post("").map(|_: Full<Bytes>| StreamBody::new(frames));
        let call = tokio::spawn(proxy.oneshot(request));
        let mut upstream = peer.accept().await;
        upstream.read_head().await;
        upstream
            .write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}\n\n")
            .await;
        let mut body = call
            .await
            .expect("no panic")
            .expect("infallible")
            .into_body();
        body.frame().await.expect("an event").expect("no error");
        drop(body);
        let sent = upstream.closed().await;
        assert!(
            !sent.is_empty(),
            "what was on its way arrives, then the end"
        );
    })
    .await;
}

#[test]
fn proxy_fits_behind_any_server() {
    fn service<T: Clone + Send + Sync + 'static>() {}
    fn future<T: Send + 'static>() {}
    // `Sync` too, for `BoxBody` and its like.
    fn body<T: http_body::Body<Data = Bytes> + Send + Sync + 'static>() {}
    service::<ReverseProxy<Full<Bytes>>>();
    service::<ReverseProxy<axum::body::Body>>();
    future::<ResponseFuture<axum::body::Body>>();
    body::<UpstreamBody>();
}

#[test]
fn absurd_settings_do_not_panic() {
    let url = http::Uri::from_static("http://127.0.0.1:1/");
    let builder = ReverseProxy::builder(&url).expect("a usable URL");
    let proxy: ReverseProxy<Full<Bytes>> = builder
        .with_tcp_keep_alive(Duration::MAX)
        .with_connect_timeout(Duration::MAX)
        .with_head_timeout(Some(Duration::MAX))
        .with_pool_idle_timeout(Duration::MAX)
        .build();
    assert_eq!(proxy.gauges().in_flight(), 0);
}
