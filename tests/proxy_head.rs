//! What an upstream may do instead of sending a proper response head.

mod scripted;

use std::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use scripted::{
    CALL, COMPLETE, Canned, End, FAILED, Relayed, ScriptedPeer, Stack, Wire, builder, builder_to,
    guarded, outcomes, post, proxy, relayed, stack,
};
use shadowcat::{proxy::ReverseProxy, refusal::Refused};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tower::{Service, ServiceExt};

/// Short, since tests wait for it; none that uses it expects anything else than its end.
const SHORT: Duration = Duration::from_millis(50);

/// What a client of the stack gets.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
    /// Whether it is the proxy's own.
    is_refusal: bool,
}

async fn call(service: Stack<Full<Bytes>>, body: &'static str) -> Answer {
    let Ok(response) = service.oneshot(post(body)).await;
    let (parts, body) = response.into_parts();
    let Relayed { data, end } = relayed(body).await;
    assert_eq!(end, End::Clean);
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(data.to_vec()).expect("UTF-8"),
        is_refusal: parts.extensions.get::<Refused>().is_some(),
    }
}

fn assert_refused(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    let start = format!(r#"{{"jsonrpc":"2.0","id":"call-7","error":{{"code":-31{status},"#);
    assert!(answer.body.starts_with(&start), "{}", answer.body);
    assert_eq!(answer.headers.len(), 2, "nothing of the upstream's");
}

/// The answer to a call when the upstream does what `act` does with the connection.
async fn answer_when(timeout: Option<Duration>, act: impl AsyncFnOnce(&mut Wire)) -> Answer {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (service, gauges) = stack(builder(&peer).with_head_timeout(timeout));
        let call = tokio::spawn(call(service, CALL));
        let mut upstream = peer.accept().await;
        assert_eq!(upstream.read_message().await.text(), CALL);
        act(&mut upstream).await;
        let answer = call.await.expect("no panic");
        if answer.is_refusal {
            assert_eq!(outcomes(&gauges), FAILED);
            // C19: what the upstream sends from now on reaches nobody.
            upstream.closed().await;
        } else {
            assert_eq!(outcomes(&gauges), COMPLETE);
        }
        assert_eq!(peer.connections().await, 1);
        answer
    })
    .await
}

/// The answer when the upstream sends `bytes`, and nothing after them.
async fn answer_to(bytes: impl AsRef<[u8]>) -> Answer {
    answer_when(None, async |upstream| {
        upstream.try_write(bytes).await;
    })
    .await
}

/// The answer when the upstream sends `bytes`, and the proxy waits no longer than a moment.
async fn answer_to_silence_after(bytes: &str) -> Answer {
    answer_when(Some(SHORT), async |upstream| upstream.write(bytes).await).await
}

#[tokio::test]
async fn refused_connection_is_a_bad_gateway_for_each_kind_of_message() {
    let error = r#""error":{"code":-31502,"message":"the upstream cannot be reached","#;
    let one = format!(r#"{{"jsonrpc":"2.0","id":"call-7",{error}"#);
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"},
        {"jsonrpc":"2.0","id":2,"method":"c"}]"#;
    for (body, expected) in [
        (CALL, vec![one]),
        (r#"{"jsonrpc":"2.0","method":"notifications/x"}"#, vec![]),
        (
            batch,
            vec![
                format!(r#"[{{"jsonrpc":"2.0","id":1,{error}"#),
                format!(r#",{{"jsonrpc":"2.0","id":2,{error}"#),
            ],
        ),
    ] {
        guarded(async {
            let (service, gauges) = stack(builder_to(&ScriptedPeer::nobody().await));
            let answer = call(service, body).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{body}");
            for part in &expected {
                assert!(answer.body.contains(part), "{}", answer.body);
            }
            assert_eq!(answer.body.is_empty(), expected.is_empty());
            assert_eq!(
                answer.headers.contains_key("content-type"),
                !expected.is_empty()
            );
            assert!(!answer.body.contains("127.0.0.1"), "SEC-11");
            assert_eq!(outcomes(&gauges), FAILED);
        })
        .await;
    }
}

/// On Linux a full queue of connections makes the next ones wait. Others refuse them.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connection_that_is_not_taken_in_time_is_a_gateway_timeout() {
    guarded(async {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any_port = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any_port.into()).expect("a free port");
        socket.listen(0).expect("a listener");
        let address = socket.local_addr().expect("bound").as_socket();
        let address = address.expect("an IP address");
        let _only_one_in_the_queue = TcpStream::connect(address).await.expect("room for one");

        let upstream = format!("http://{address}/mcp").parse().expect("a URL");
        let (service, gauges) = stack(builder_to(&upstream).with_connect_timeout(SHORT));
        let answer = call(service, CALL).await;
        assert_refused(&answer, 504);
        assert!(answer.body.contains("did not accept"), "{}", answer.body);
        assert_eq!(outcomes(&gauges), FAILED);
    })
    .await;
}

#[tokio::test]
async fn silence_is_a_gateway_timeout_and_ends_the_connection() {
    assert_refused(&answer_to_silence_after("").await, 504);
}

#[tokio::test]
async fn deadline_closes_the_connection_although_the_future_is_kept() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let mut proxy: ReverseProxy<Full<Bytes>> =
            builder(&peer).with_head_timeout(Some(SHORT)).build();
        let mut call = Box::pin(Service::call(&mut proxy, post(CALL)));
        let response = (&mut call).await.expect("infallible");
        assert_eq!(response.status(), 504);
        peer.accept().await.closed().await;
        drop(call);
    })
    .await;
}

#[tokio::test]
async fn silence_within_the_head_is_a_gateway_timeout() {
    for bytes in [
        "H",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Half: on",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n",
    ] {
        assert_refused(&answer_to_silence_after(bytes).await, 504);
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_bad_gateway() {
    for bytes in [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "\0\0\0\x18\x04\0\0\0\0\0",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "<html>hello</html>\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno field\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX Y: space in a name\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: nul\0\r\n\r\n",
    ] {
        assert_refused(&answer_to(bytes).await, 502);
    }
}

#[tokio::test]
async fn framing_that_is_ambiguous_is_a_bad_gateway_a10() {
    for fields in [
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2, 3",
        "Content-Length: +2",
        "Content-Length: -2",
        "Content-Length: 0x2",
        "Content-Length: 18446744073709551616",
        "Content-Length:",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:",
    ] {
        let answer = answer_to(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n2\r\nok")).await;
        assert_refused(&answer, 502);
    }
    let answer = answer_to("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_refused(&answer, 502);
}

#[tokio::test]
async fn head_may_have_a_hundred_fields_and_no_more() {
    let head = |count: usize| {
        let fields: String = (1..count).map(|i| format!("X-{i}: {i}\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n")
    };
    let answer = answer_to(head(100)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers.len(), 100);
    assert_refused(&answer_to(head(101)).await, 502);
}

#[tokio::test]
async fn head_without_an_end_is_a_bad_gateway_before_it_fills_the_memory() {
    let answer = answer_when(None, async |upstream| {
        upstream.write("HTTP/1.1 200 OK\r\nX: ").await;
        let mut sent = 0;
        while upstream.try_write([b'x'; 16 * 1024]).await {
            sent += 16 * 1024;
            assert!(sent < 64 * 1024 * 1024, "taken without a limit");
        }
    })
    .await;
    assert_refused(&answer, 502);
}

#[tokio::test]
async fn head_of_more_than_64_kib_is_a_bad_gateway() {
    for (padding, status) in [(60, 200), (70, 502)] {
        let padding = "x".repeat(padding * 1024);
        let head = format!("HTTP/1.1 200 OK\r\nX-Padding: {padding}\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(answer_to(head + "ok").await.status, status);
    }
}

#[tokio::test]
async fn interim_responses_do_not_reach_the_client() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n\
        HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nX-Interim: 1\r\n\r\n"
        .repeat(20);
    let answer = answer_to(interim + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body, "ok");
    assert_eq!(answer.headers.len(), 1, "{:?}", answer.headers);
}

#[tokio::test]
async fn switch_of_protocols_is_a_bad_gateway_and_ends_the_connection() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    assert_refused(&answer_to(switch).await, 502);
}

#[tokio::test]
async fn redirect_is_not_followed_b56() {
    for status in [300, 301, 302, 303, 305, 307, 308] {
        let mut elsewhere = ScriptedPeer::bind().await;
        let location = elsewhere.uri();
        let answer = answer_when(None, async |upstream| {
            upstream
                .write(format!(
                    "HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\n\
                     Connection: close\r\nContent-Length: 4\r\n\r\ngone"
                ))
                .await;
        })
        .await;
        assert_refused(&answer, 502);
        assert_eq!(elsewhere.connections().await, 0);
    }
}

#[tokio::test]
async fn encoded_event_stream_is_a_bad_gateway_s18() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n";
    for fields in [
        "Content-Encoding: gzip\r\n",
        "Content-Encoding: identity\r\nContent-Encoding: br\r\n",
        "Content-Encoding: x-unheard-of\r\n",
    ] {
        let events = Canned::chunked(&format!("{head}{fields}"), &["data: 1\n\n"], "");
        assert_refused(&answer_to(events.bytes()).await, 502);
    }
    let events = Canned::chunked(
        &format!("{head}Content-Encoding: identity\r\n"),
        &["data: 1\n\n"],
        "",
    );
    assert_eq!(answer_to(events.bytes()).await.body, "data: 1\n\n");
}

#[tokio::test]
async fn encoded_json_passes_with_its_encoding() {
    let json = Canned::with_length(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n",
        "not really",
    );
    let answer = answer_to(json.bytes()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-encoding"], "gzip");
    assert_eq!(answer.body, "not really");
}

#[tokio::test]
async fn status_of_the_upstream_passes_prx_8() {
    for status in [200, 202, 400, 401, 404, 405, 418, 429, 500, 502, 503, 599] {
        let response = format!(
            "HTTP/1.1 {status} As It Is\r\nContent-Type: application/json\r\n\
             Retry-After: 3\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let answer = answer_to(response).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers["retry-after"], "3");
        assert_eq!(answer.body, "{}");
    }
}

#[tokio::test]
async fn tunnel_and_trace_never_reach_the_upstream() {
    for method in [Method::CONNECT, Method::TRACE] {
        guarded(async {
            let mut peer = ScriptedPeer::bind().await;
            let (service, gauges) = proxy(&peer);
            let mut request = post(CALL);
            *request.method_mut() = method;
            let Ok(response) = service.oneshot(request).await;
            assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
            let body = response.into_body().collect().await.expect("fixed");
            assert!(body.to_bytes().starts_with(br#"{"jsonrpc":"2.0","error":"#));
            assert_eq!(outcomes(&gauges), [0; 4], "not counted");
            assert_eq!(peer.connections().await, 0);
        })
        .await;
    }
}
