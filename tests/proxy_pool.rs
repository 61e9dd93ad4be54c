//! Connections that are kept, and exchanges that are given up.

mod scripted;

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use scripted::{
    CALL, CANCELLED, Canned, End, ScriptedPeer, Wire, builder, builder_to, guarded, outcomes, post,
    proxy, read_exactly, relayed, settle,
};
use shadowcat::{
    body::ResponseBody,
    proxy::{ReverseProxy, UpstreamBody},
};
use tokio::{runtime, task::JoinHandle, time};
use tower::{Service, ServiceExt};

type Proxy = ReverseProxy<Full<Bytes>>;
type Answer = Response<ResponseBody<UpstreamBody>>;

fn start(proxy: &Proxy) -> JoinHandle<Result<Answer, Infallible>> {
    tokio::spawn(proxy.clone().oneshot(post(CALL)))
}

async fn answer(call: JoinHandle<Result<Answer, Infallible>>) -> (StatusCode, Bytes) {
    let Ok(response) = call.await.expect("no panic");
    let status = response.status();
    let relayed = relayed(response.into_body()).await;
    assert_eq!(relayed.end, End::Clean);
    (status, relayed.data)
}

fn json(body: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    Canned::with_length(head, body).bytes().to_vec()
}

/// Takes a call and answers it.
async fn serve(upstream: &mut Wire, body: &str) {
    assert_eq!(upstream.read_message().await.text(), CALL);
    upstream.write(json(body)).await;
}

/// A proxy with one idle connection.
async fn with_idle_connection(peer: &mut ScriptedPeer) -> (Proxy, Wire) {
    let (proxy, _) = proxy(peer);
    let call = start(&proxy);
    let mut upstream = peer.accept().await;
    serve(&mut upstream, "1").await;
    assert_eq!(answer(call).await, (StatusCode::OK, "1".into()));
    settle().await;
    (proxy, upstream)
}

#[tokio::test]
async fn connection_is_kept_for_the_next_request() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (proxy, mut upstream) = with_idle_connection(&mut peer).await;
        for body in ["2", "3"] {
            let call = start(&proxy);
            serve(&mut upstream, body).await;
            assert_eq!(answer(call).await, (StatusCode::OK, body.into()));
            settle().await;
        }
        assert_eq!(peer.connections().await, 1);
    })
    .await;
}

#[tokio::test]
async fn each_exchange_of_a_connection_has_its_whole_time() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let limit = Duration::from_secs(5);
        let proxy: Proxy = builder(&peer).with_head_timeout(Some(limit)).build();
        let call = start(&proxy);
        let mut upstream = peer.accept().await;
        // So that the first look finds nothing, and the wait begins.
        settle().await;
        serve(&mut upstream, "1").await;
        assert_eq!(answer(call).await, (StatusCode::OK, "1".into()));
        settle().await;
        time::pause();
        time::advance(limit + Duration::from_secs(1)).await;
        time::resume();
        let call = start(&proxy);
        settle().await;
        serve(&mut upstream, "2").await;
        assert_eq!(answer(call).await, (StatusCode::OK, "2".into()));
        assert_eq!(peer.connections().await, 1);
    })
    .await;
}

#[test]
fn proxy_outlives_the_runtime_of_its_idle_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let upstream = thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(CALL.as_bytes()) {
                let mut part = [0; 1024];
                let read = stream.read(&mut part).expect("readable");
                assert_ne!(read, 0);
                request.extend_from_slice(&part[..read]);
            }
            stream.write_all(&json("1")).expect("writable");
            // The proxy's end closes it.
            drop(stream.read(&mut [0]));
        }
    });
    let uri = format!("http://{address}/mcp").parse().expect("a URI");
    let proxy: Proxy = builder_to(&uri)
        .with_head_timeout(Some(Duration::from_secs(5)))
        .build();
    for _ in 0..2 {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(guarded(async {
            assert_eq!(answer(start(&proxy)).await, (StatusCode::OK, "1".into()));
            settle().await;
        }));
    }
    drop(proxy);
    upstream.join().expect("no panic");
}

#[tokio::test]
async fn connection_that_ended_while_idle_is_not_used_c14() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (proxy, upstream) = with_idle_connection(&mut peer).await;
        drop(upstream);
        settle().await;
        let call = start(&proxy);
        serve(&mut peer.accept().await, "2").await;
        assert_eq!(answer(call).await, (StatusCode::OK, "2".into()));
    })
    .await;
}

/// The end and the request cross each other.
#[tokio::test]
async fn connection_that_ends_at_the_request_costs_no_second_call_c14() {
    for resets in [false, true] {
        guarded(async {
            let mut peer = ScriptedPeer::bind().await;
            let (proxy, upstream) = with_idle_connection(&mut peer).await;
            // No task runs between these two.
            let call = start(&proxy);
            if resets {
                upstream.reset();
            } else {
                drop(upstream);
            }
            // Refused if a byte of it may have left; else on a connection that is not dead.
            let served = async {
                serve(&mut peer.accept().await, "2").await;
                // What comes now is a second one.
                peer.accept().await
            };
            let (status, body) = tokio::select! {
                answer = answer(call) => answer,
                _ = served => panic!("called twice"),
            };
            if status == StatusCode::OK {
                assert_eq!(body, "2");
            } else {
                assert_eq!(status, StatusCode::BAD_GATEWAY);
                assert_eq!(peer.connections().await, 1);
            }
        })
        .await;
    }
}

/// The upstream took the call, and may have run it.
#[tokio::test]
async fn call_that_was_read_is_never_sent_again_px_1() {
    for len in [1, 100, usize::MAX] {
        for resets in [false, true] {
            guarded(async {
                let mut peer = ScriptedPeer::bind().await;
                let (proxy, mut upstream) = with_idle_connection(&mut peer).await;
                let call = start(&proxy);
                if len == usize::MAX {
                    upstream.read_message().await;
                } else {
                    upstream.read(len).await;
                }
                if resets {
                    upstream.reset();
                } else {
                    drop(upstream);
                }
                assert_eq!(answer(call).await.0, StatusCode::BAD_GATEWAY);
                settle().await;
                assert_eq!(peer.connections().await, 1);
            })
            .await;
        }
    }
}

#[tokio::test]
async fn answer_that_nobody_asked_for_is_nobodys() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (proxy, mut upstream) = with_idle_connection(&mut peer).await;
        upstream.write(json("evil")).await;
        settle().await;
        let call = start(&proxy);
        serve(&mut peer.accept().await, "good").await;
        assert_eq!(answer(call).await, (StatusCode::OK, "good".into()));
        upstream.closed().await;
    })
    .await;
}

#[tokio::test]
async fn answer_after_the_deadline_does_not_go_to_the_next_request_c19() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        // Long enough for the second call, which is answered at once.
        let timeout = Duration::from_millis(300);
        let proxy = builder(&peer).with_head_timeout(Some(timeout)).build();
        let call = start(&proxy);
        let mut late = peer.accept().await;
        late.read_message().await;
        assert_eq!(answer(call).await.0, StatusCode::GATEWAY_TIMEOUT);
        late.try_write(json("late")).await;

        let call = start(&proxy);
        serve(&mut peer.accept().await, "good").await;
        assert_eq!(answer(call).await, (StatusCode::OK, "good".into()));
        late.closed().await;
    })
    .await;
}

#[tokio::test]
async fn connection_of_a_body_that_was_given_up_is_not_used_again_b39() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (proxy, gauges) = proxy(&peer);
        let call = start(&proxy);
        let mut upstream = peer.accept().await;
        upstream.read_message().await;
        let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
            Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
        upstream.write(events).await;
        let Ok(response) = call.await.expect("no panic");
        let mut body = Box::pin(response.into_body());
        assert_eq!(read_exactly(&mut body, 9).await, b"data: 1\n\n");
        drop(body);
        assert_eq!(outcomes(&gauges), CANCELLED);
        upstream.closed().await;

        let call = start(&proxy);
        serve(&mut peer.accept().await, "2").await;
        assert_eq!(answer(call).await, (StatusCode::OK, "2".into()));
    })
    .await;
}

#[tokio::test]
async fn connection_whose_answer_says_close_is_not_used_again() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (proxy, _) = proxy(&peer);
        let call = start(&proxy);
        let mut upstream = peer.accept().await;
        upstream.read_message().await;
        let response = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1";
        upstream.write(response).await;
        let Ok(response) = call.await.expect("no panic");
        assert!(!response.headers().contains_key("connection"));
        assert_eq!(relayed(response.into_body()).await.data, "1");
        upstream.closed().await;
        settle().await;
        let call = start(&proxy);
        serve(&mut peer.accept().await, "2").await;
        assert_eq!(answer(call).await.1, "2");
    })
    .await;
}

/// Where an exchange is given up.
#[derive(Clone, Copy, Debug)]
enum Stage {
    BeforeItStarts,
    BeforeItIsAccepted,
    BeforeItIsRead,
    BeforeTheHead,
    WithinTheHead,
    BeforeTheBody,
    BetweenEvents,
    WithinAnEvent,
    BeforeTheEnd,
}

const STAGES: [Stage; 9] = [
    Stage::BeforeItStarts,
    Stage::BeforeItIsAccepted,
    Stage::BeforeItIsRead,
    Stage::BeforeTheHead,
    Stage::WithinTheHead,
    Stage::BeforeTheBody,
    Stage::BetweenEvents,
    Stage::WithinAnEvent,
    Stage::BeforeTheEnd,
];

/// Starts an exchange, and returns what to drop to give it up, and the upstream's side.
async fn until(
    stage: Stage,
    proxy: &Proxy,
    peer: &mut ScriptedPeer,
) -> (Box<dyn std::any::Any>, Option<Wire>) {
    let mut call = Box::pin(proxy.clone().call(post(CALL)));
    if matches!(stage, Stage::BeforeItStarts) {
        return (Box::new(call), None);
    }
    let mut upstream = tokio::select! {
        biased;
        _ = &mut call => panic!("nobody has answered"),
        upstream = peer.accept() => upstream,
    };
    if matches!(stage, Stage::BeforeItIsAccepted) {
        return (Box::new(call), Some(upstream));
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
        Transfer-Encoding: chunked\r\n";
    let sent = async {
        if matches!(stage, Stage::BeforeItIsRead) {
            upstream.read(1).await;
            return;
        }
        upstream.read_message().await;
        match stage {
            Stage::BeforeTheHead => {}
            Stage::WithinTheHead => upstream.write(head).await,
            Stage::BetweenEvents => {
                upstream
                    .write(format!("{head}\r\n9\r\ndata: 1\n\n\r\n"))
                    .await
            }
            Stage::WithinAnEvent => upstream.write(format!("{head}\r\n9\r\ndata")).await,
            Stage::BeforeTheEnd => {
                upstream
                    .write(format!("{head}\r\n9\r\ndata: 1\n\n\r\n0\r\n"))
                    .await;
            }
            _ => upstream.write(format!("{head}\r\n")).await,
        }
    };
    let data = match stage {
        Stage::BeforeItIsRead | Stage::BeforeTheHead | Stage::WithinTheHead => {
            tokio::select! {
                biased;
                _ = &mut call => panic!("nobody has answered"),
                () = sent => {}
            }
            return (Box::new(call), Some(upstream));
        }
        Stage::BetweenEvents | Stage::BeforeTheEnd => 9,
        Stage::WithinAnEvent => 4,
        _ => 0,
    };
    let (response, ()) = tokio::join!(call, sent);
    let Ok(response) = response;
    let mut body = Box::pin(response.into_body());
    assert_eq!(read_exactly(&mut body, data).await.len(), data);
    (Box::new(body), Some(upstream))
}

#[tokio::test]
async fn exchange_given_up_at_any_point_leaves_nothing_behind_can_3() {
    for stage in STAGES {
        eprintln!("{stage:?}");
        guarded(async {
            let mut peer = ScriptedPeer::bind().await;
            let (proxy, gauges) = proxy(&peer);
            let (exchange, upstream) = until(stage, &proxy, &mut peer).await;
            assert_eq!(outcomes(&gauges), [1, 0, 0, 0]);
            drop(exchange);
            assert_eq!(outcomes(&gauges), CANCELLED);
            if let Some(mut upstream) = upstream {
                upstream.closed().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn two_hundred_exchanges_given_up_leave_nothing_behind() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (proxy, gauges) = proxy(&peer);
        let mut open = Vec::new();
        let stages = STAGES.iter().skip(1).cycle();
        for stage in stages.take(200) {
            open.push(until(*stage, &proxy, &mut peer).await);
        }
        assert_eq!(gauges.in_flight(), 200);
        // 37 and 200 have no common factor: each once, neighbours far apart.
        let mut open: Vec<_> = open.into_iter().map(Some).collect();
        for index in (0..200).map(|i| i * 37 % 200) {
            let (exchange, upstream) = open[index].take().expect("each once");
            drop(exchange);
            upstream.expect("accepted").closed().await;
        }
        assert_eq!(outcomes(&gauges), [0, 0, 0, 200]);

        let call = start(&proxy);
        serve(&mut peer.accept().await, "1").await;
        assert_eq!(answer(call).await.1, "1");
        assert_eq!(outcomes(&gauges), [0, 1, 0, 200]);
    })
    .await;
}
