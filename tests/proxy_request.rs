//! What of a client's request reaches the upstream, as it is on the wire.

mod scripted;

use bytes::Bytes;
use hyper::body::Incoming;
use scripted::{
    CALL, Front, Received, ScriptedPeer, Wire, builder, guarded, outcomes, raw_post, settle,
};
use shadowcat::{body::RequestBody, message::MessageLayer, proxy::ReverseProxy};
use tower::Layer;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The proxy alone, which streams a request's body.
async fn streaming(peer: &ScriptedPeer) -> Front {
    let proxy: ReverseProxy<Incoming> = builder(peer).build();
    Front::start(proxy).await
}

/// The proxy behind the layer that reads messages.
async fn reading(peer: &ScriptedPeer) -> Front {
    let proxy: ReverseProxy<RequestBody<Incoming>> = builder(peer).build();
    Front::start(MessageLayer::new().layer(proxy)).await
}

/// What the upstream receives when a client sends `request`, and is answered.
async fn forwarded(request: impl AsRef<[u8]>) -> (Received, ScriptedPeer) {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let front = streaming(&peer).await;
        let mut client = front.connect().await;
        client.write(request).await;
        let received = serve(&mut peer.accept().await).await;
        let response = client.read_message().await;
        assert_eq!(response.start_line(), "HTTP/1.1 200 OK");
        (received, peer)
    })
    .await
}

async fn serve(upstream: &mut Wire) -> Received {
    let received = upstream.read_message().await;
    assert!(received.is_whole);
    upstream.write(OK).await;
    received
}

/// What a client gets for `request`, of which the upstream hears nothing.
async fn refused(request: impl AsRef<[u8]>) -> Received {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let front = reading(&peer).await;
        let mut client = front.connect().await;
        client.write(request).await;
        let response = client.read_message().await;
        settle().await;
        assert_eq!(peer.connections().await, 0);
        response
    })
    .await
}

#[tokio::test]
async fn only_fields_meant_for_the_upstream_reach_it_px_2() {
    let (received, peer) = forwarded(
        "POST /mcp HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\
         Accept: application/json, text/event-stream\r\nAccept-Encoding: gzip, br\r\n\
         Authorization: Bearer t\r\nMcp-Session-Id: s\r\nMcp-Param-Unknown:  =?base64?4pyT?= \r\n\
         MCP-Protocol-Version: 2025-11-25\r\nLast-Event-ID: 7\r\nOrigin: http://o\r\n\
         Connection: keep-alive, X-Hop\r\nConnection: x-hop-2\r\nX-Hop: 1\r\nX-Hop-2: 2\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
         Trailer: X-T\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\nProxy-Authorization: Basic eA==\r\n\
         Forwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\n\
         X-Real-IP: 1.2.3.4\r\nX-Other: a\r\nX-Other: b\r\n\r\n{}",
    )
    .await;
    assert_eq!(received.start_line(), "POST /mcp HTTP/1.1");
    assert_eq!(
        received.names(),
        [
            "accept",
            "accept-encoding",
            "authorization",
            "content-length",
            "host",
            "last-event-id",
            "mcp-param-unknown",
            "mcp-protocol-version",
            "mcp-session-id",
            "origin",
            "via",
            "x-other",
            "x-other"
        ]
    );
    assert_eq!(received.fields("host"), [peer.authority()]);
    assert_eq!(received.fields("accept-encoding"), ["identity"]);
    assert_eq!(received.fields("mcp-param-unknown"), ["=?base64?4pyT?="]);
    assert_eq!(received.fields("x-other"), ["a", "b"]);
    assert_eq!(received.fields("via"), ["1.1 shadowcat"]);
    assert_eq!(received.text(), "{}");
}

#[tokio::test]
async fn where_a_request_goes_is_not_the_clients_to_say_b58_b59() {
    for (target, expected) in [
        ("/mcp", "/mcp"),
        ("/mcp?", "/mcp?"),
        ("/mcp?a=1&b", "/mcp?a=1&b"),
        ("/mcp?a=%0d%0aX:%201", "/mcp?a=%0d%0aX:%201"),
        ("/mcp?a=1&access_token=secret", "/mcp?a=1"),
        ("/mcp/../admin?x", "/mcp?x"),
        ("/%2e%2e/admin", "/mcp"),
        ("//evil.example/", "/mcp"),
        ("/@evil.example/?y", "/mcp?y"),
        ("http://evil.example/other?z=1", "/mcp?z=1"),
    ] {
        let request =
            format!("POST {target} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n");
        let (received, peer) = forwarded(request).await;
        assert_eq!(received.start_line(), format!("POST {expected} HTTP/1.1"));
        assert_eq!(received.fields("host"), [peer.authority()]);
    }
}

/// Bytes without a pattern, the same each time.
fn noise(len: usize) -> Bytes {
    let mut state = len as u64 + 1;
    let mut next = || {
        // Knuth's MMIX generator; its high bits are good enough here.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// A message of `len` bytes, or little more.
fn message(len: usize) -> Bytes {
    const OPEN: &str = r#"{ "jsonrpc":"2.0", "id":1, "method":"a/b", "params":{"é":""#;
    let noise = noise(len.saturating_sub(OPEN.len() + 3));
    let noise = noise.iter().map(|byte| char::from(b'a' + byte % 26));
    [OPEN, &noise.collect::<String>(), "\"}}"].concat().into()
}

fn chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut request = b"POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    for chunk in body.chunks(size) {
        request.extend_from_slice(format!("{:x};ext=1\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\nAuthorization: Bearer trailer\r\nX-Trailer: 1\r\n\r\n");
    request
}

fn with_length(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn body_reaches_the_upstream_byte_for_byte() {
    for len in [0, 1, 100, 8191, 65_537, 1_000_003] {
        for (body, is_read) in [
            (noise(len), false),
            (message(len), false),
            (message(len), true),
        ] {
            for request in [
                with_length(&body),
                chunks(&body, 7.max(len / 100)),
                chunks(&body, 65_536),
            ] {
                guarded(async {
                    let mut peer = ScriptedPeer::bind().await;
                    let front = if is_read {
                        reading(&peer).await
                    } else {
                        streaming(&peer).await
                    };
                    let mut client = front.connect().await;
                    let mut upstream = None;
                    let received = async { serve(upstream.insert(peer.accept().await)).await };
                    let (received, ()) = tokio::join!(received, client.write(&request));
                    assert!(received.body == body, "{len} bytes changed");
                    assert_eq!(received.trailers, "", "A19");
                    assert_eq!(client.read_message().await.text(), "ok");
                })
                .await;
            }
        }
    }
}

#[tokio::test]
async fn read_body_has_a_length_and_a_streamed_one_its_framing() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let streaming = streaming(&peer).await;
        let reading = reading(&peer).await;
        let chunked = chunks(CALL.as_bytes(), 10);
        let length = CALL.len().to_string();
        for (front, request, framing) in [
            (&streaming, with_length(CALL.as_bytes()), "content-length"),
            (&streaming, chunked.clone(), "transfer-encoding"),
            (&reading, with_length(CALL.as_bytes()), "content-length"),
            (&reading, chunked, "content-length"),
        ] {
            let mut client = front.connect().await;
            client.write(request).await;
            let received = serve(&mut peer.accept().await).await;
            let expected = match framing {
                "content-length" => length.as_str(),
                _ => "chunked",
            };
            let found = ["content-length", "transfer-encoding"]
                .map(|name| received.fields(name))
                .concat();
            assert_eq!(found, [expected], "{}", received.head);
            assert_eq!(received.fields(framing), [expected]);
            client.read_message().await;
        }
    })
    .await;
}

#[tokio::test]
async fn length_beside_chunks_does_not_reach_the_upstream() {
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        let request =
            format!("POST /mcp HTTP/1.1\r\nHost: f\r\n{fields}\r\n\r\n5\r\nabcde\r\n0\r\n\r\n");
        let (received, _peer) = forwarded(request).await;
        assert_eq!(received.fields("content-length"), [""; 0]);
        assert_eq!(received.text(), "abcde");
    }
}

#[tokio::test]
async fn transfer_coding_other_than_chunks_is_refused() {
    for coding in ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        let response = refused(format!(
            "POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: {coding}\r\n\r\n{:x}\r\n{CALL}\r\n0\r\n\r\n",
            CALL.len()
        ))
        .await;
        assert_eq!(response.start_line(), "HTTP/1.1 501 Not Implemented");
    }
}

#[tokio::test]
async fn connection_field_that_names_what_is_judged_is_refused_a14() {
    for name in ["Authorization", "mcp-session-id", "X-Forwarded-For", "Host"] {
        let response = refused(format!(
            "POST /mcp HTTP/1.1\r\nHost: f\r\nConnection: close, {name}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{CALL}",
            CALL.len()
        ))
        .await;
        assert_eq!(response.start_line(), "HTTP/1.1 400 Bad Request");
        assert!(response.text().contains(r#""id":"call-7""#), "{name}");
    }
}

#[tokio::test]
async fn request_behind_an_upgrade_goes_through_the_proxy_itself_a13() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let front = streaming(&peer).await;
        let mut client = front.connect().await;
        client
            .write(
                "GET /mcp HTTP/1.1\r\nHost: f\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\
                 GET /second HTTP/1.1\r\nHost: f\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
            )
            .await;
        let mut upstream = peer.accept().await;
        let first = serve(&mut upstream).await;
        assert_eq!(first.names(), ["accept-encoding", "host", "via"]);
        assert_eq!(client.read_message().await.text(), "ok");
        let second = serve(&mut upstream).await;
        assert_eq!(second.start_line(), "GET /mcp HTTP/1.1");
        assert_eq!(second.names(), ["accept-encoding", "host", "via"]);
        assert_eq!(client.read_message().await.text(), "ok");
    })
    .await;
}

#[tokio::test]
async fn body_of_a_get_is_a_body_a21() {
    let smuggled = "GET /admin HTTP/1.1\r\nHost: f\r\n\r\n";
    let request = format!(
        "GET /mcp HTTP/1.1\r\nHost: f\r\nContent-Length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    );
    let (received, _peer) = forwarded(request).await;
    assert_eq!(received.start_line(), "GET /mcp HTTP/1.1");
    assert_eq!(received.text(), smuggled);
}

#[tokio::test]
async fn expectation_is_met_here_and_goes_no_further() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let front = reading(&peer).await;
        let mut client = front.connect().await;
        client
            .write(format!(
                "POST /mcp HTTP/1.1\r\nHost: f\r\nExpect: 100-continue\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                CALL.len()
            ))
            .await;
        assert_eq!(client.read_head().await, "HTTP/1.1 100 Continue");
        assert_eq!(peer.connections().await, 0);
        client.write(CALL).await;
        let received = serve(&mut peer.accept().await).await;
        assert_eq!(received.fields("expect"), [""; 0]);
        assert_eq!(client.read_message().await.text(), "ok");
    })
    .await;
}

#[tokio::test]
async fn client_gone_within_its_request_reaches_no_upstream_c06() {
    let request = raw_post(CALL);
    for at in 0..request.len() {
        guarded(async {
            let mut peer = ScriptedPeer::bind().await;
            let mut front = reading(&peer).await;
            let mut client = front.connect().await;
            client.write(&request[..at]).await;
            if at % 2 == 0 {
                drop(client);
            } else {
                client.reset();
            }
            let _ = front.ended().await;
            settle().await;
            assert_eq!(peer.connections().await, 0, "cut at {at}");
        })
        .await;
    }
}

/// A request that is cut must not look whole to the upstream.
#[tokio::test]
async fn client_gone_within_a_streamed_request_takes_it_along_c06() {
    let whole = with_length(CALL.as_bytes());
    let chunked = chunks(CALL.as_bytes(), 16);
    for request in [&whole, &chunked] {
        let head = request.windows(4).position(|w| w == b"\r\n\r\n");
        let head = head.expect("a head") + 4;
        for at in head..request.len() {
            guarded(async {
                let mut peer = ScriptedPeer::bind().await;
                let proxy = builder(&peer).build();
                let gauges = proxy.gauges();
                let mut front = Front::start(proxy).await;
                let mut client = front.connect().await;
                client.write(&request[..at]).await;
                let mut upstream = peer.accept().await;
                drop(client);
                let _ = front.ended().await;
                upstream.read_until("\r\n\r\n").await;
                let received = upstream.closed().await;
                assert!(!received.ends_with(b"0\r\n\r\n"), "cut at {at}");
                assert!(received.len() < CALL.len() || *request == chunked);
                assert_eq!(outcomes(&gauges)[0], 0);
            })
            .await;
        }
    }
}
