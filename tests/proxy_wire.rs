//! What only shows between a real server and a client: who hears of what, and when.

mod scripted;

use std::{io::ErrorKind, time::Duration};

use hyper::body::Incoming;
use scripted::{
    CALL, CANCELLED, COMPLETE, Canned, FAILED, Front, ScriptedPeer, Wire, builder, guarded,
    outcomes, raw_post,
};
use shadowcat::{
    body::RequestBody,
    message::MessageLayer,
    proxy::{Gauges, ReverseProxy, ReverseProxyBuilder},
};
use tokio::{net::TcpStream, task::yield_now};
use tower::Layer;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

const JSON: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

/// A client that has called, and the upstream that has its call.
struct Exchange {
    client: Wire,
    upstream: Wire,
    front: Front,
    peer: ScriptedPeer,
    gauges: Gauges,
}

impl Exchange {
    async fn start() -> Self {
        let peer = ScriptedPeer::bind().await;
        let builder = builder(&peer);
        Self::with(builder, peer, &raw_post(CALL)).await
    }

    async fn with(builder: ReverseProxyBuilder, mut peer: ScriptedPeer, request: &str) -> Self {
        let proxy: ReverseProxy<RequestBody<Incoming>> = builder.build();
        let gauges = proxy.gauges();
        let front = Front::start(MessageLayer::new().layer(proxy)).await;
        let mut client = front.connect().await;
        client.write(request).await;
        let mut upstream = peer.accept().await;
        upstream.read_message().await;
        Self {
            client,
            upstream,
            front,
            peer,
            gauges,
        }
    }
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

#[tokio::test]
async fn head_and_each_event_arrive_before_anything_follows_prx_5() {
    guarded(async {
        let mut exchange = Exchange::start().await;
        let Exchange {
            client, upstream, ..
        } = &mut exchange;
        upstream.write(HEAD).await;
        let head = client.read_head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\n"), "{head}");
        assert!(head.contains("\nx-accel-buffering: no"), "{head}");
        for event in ["data: 1\n\n", ": comment\n\n", "da", "ta: half\n", "\n"] {
            upstream.write(chunk(event)).await;
            let came = client.read_chunk().await.expect("a chunk");
            assert_eq!(came, (event.as_bytes().to_vec(), true));
        }
        upstream.write("0\r\n\r\n").await;
        assert_eq!(client.read(5).await, b"0\r\n\r\n");
        assert_eq!(outcomes(&exchange.gauges), COMPLETE);
    })
    .await;
}

#[tokio::test]
async fn events_sent_one_by_one_all_arrive() {
    guarded(async {
        let Exchange {
            mut client,
            mut upstream,
            gauges,
            ..
        } = Exchange::start().await;
        let events: Vec<_> = (0..2000).map(|i| format!("data: {i}\n\n")).collect();
        let sent = async {
            upstream.write(HEAD).await;
            for event in &events {
                upstream.write(chunk(event)).await;
            }
            upstream.write("0\r\n\r\n").await;
        };
        let (response, ()) = tokio::join!(client.read_message(), sent);
        assert!(response.is_whole);
        assert_eq!(response.text(), events.concat());
        assert_eq!(outcomes(&gauges), COMPLETE);
    })
    .await;
}

/// How far the upstream gets before the client goes.
const SILENT_AFTER: [&str; 5] = [
    "",
    "HTTP/1.1 200 OK\r\nX-Half: ",
    HEAD,
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
     Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[1,",
];

#[tokio::test]
async fn client_that_goes_ends_a_silent_upstream_can_3_c02_c03_d12() {
    for sent in SILENT_AFTER {
        for resets in [false, true] {
            guarded(async {
                let Exchange {
                    mut client,
                    mut upstream,
                    mut front,
                    mut peer,
                    gauges,
                } = Exchange::start().await;
                upstream.write(sent).await;
                if sent.contains("\r\n\r\n") {
                    client.read_head().await;
                }
                assert_eq!(outcomes(&gauges), [1, 0, 0, 0]);
                if resets {
                    client.reset();
                } else {
                    drop(client);
                }
                // Nothing is written on either side to find out.
                upstream.closed().await;
                assert_eq!(outcomes(&gauges), CANCELLED);
                front.ended().await.expect_err("not a clean end");
                assert_eq!(peer.connections().await, 1);
            })
            .await;
        }
    }
}

#[tokio::test]
async fn client_that_goes_before_the_upstream_has_its_body_ends_it() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let proxy: ReverseProxy<Incoming> = builder(&peer).build();
        let gauges = proxy.gauges();
        let front = Front::start(proxy).await;
        let mut client = front.connect().await;
        client
            .write("POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Length: 99\r\n\r\nhalf")
            .await;
        let mut upstream = peer.accept().await;
        upstream.read_head().await;
        assert_eq!(upstream.read(4).await, b"half");
        drop(client);
        assert_eq!(upstream.closed().await, b"");
        assert_eq!(gauges.in_flight(), 0);
    })
    .await;
}

#[tokio::test]
async fn upstream_that_breaks_off_later_leaves_no_clean_end() {
    for resets in [false, true] {
        for head in [HEAD.to_owned(), format!("{JSON}Content-Length: 99\r\n\r\n")] {
            guarded(async {
                let Exchange {
                    mut client,
                    mut upstream,
                    mut front,
                    gauges,
                    ..
                } = Exchange::start().await;
                upstream.write(&head).await;
                client.read_head().await;
                upstream.write("9\r\ndata: 1\n\n\r\n").await;
                let came = client.read(14).await;
                assert_eq!(came, b"9\r\ndata: 1\n\n\r\n");
                if resets {
                    upstream.reset();
                } else {
                    drop(upstream);
                }
                assert_eq!(client.closed().await, b"");
                front.ended().await.expect_err("not a clean end");
                assert_eq!(outcomes(&gauges), FAILED);
            })
            .await;
        }
    }
}

#[tokio::test]
async fn silence_that_lasts_too_long_leaves_no_clean_end() {
    guarded(async {
        let peer = ScriptedPeer::bind().await;
        let builder = builder(&peer).with_stream_idle_timeout(Some(Duration::from_millis(50)));
        let Exchange {
            mut client,
            mut upstream,
            gauges,
            ..
        } = Exchange::with(builder, peer, &raw_post(CALL)).await;
        upstream
            .write(HEAD.to_owned() + &chunk("data: 1\n\n"))
            .await;
        client.read_head().await;
        assert_eq!(client.closed().await, chunk("data: 1\n\n").as_bytes());
        upstream.closed().await;
        assert_eq!(outcomes(&gauges), FAILED);
    })
    .await;
}

#[tokio::test]
async fn length_beside_chunks_does_not_cut_the_response_a15() {
    for fields in ["Content-Length: 2\r\n", "Content-Length: 999\r\n"] {
        guarded(async {
            let Exchange {
                mut client,
                mut upstream,
                ..
            } = Exchange::start().await;
            let response = Canned::chunked(&format!("{JSON}{fields}"), &["[1,", "2]"], "");
            upstream.write(response.bytes()).await;
            let response = client.read_message().await;
            assert!(response.is_whole);
            assert_eq!(response.text(), "[1,2]");
        })
        .await;
    }
}

#[tokio::test]
async fn trailers_end_a_response_and_stay_behind_a19() {
    guarded(async {
        let peer = ScriptedPeer::bind().await;
        let builder = builder(&peer);
        let request = "GET /mcp HTTP/1.1\r\nHost: f\r\nTE: trailers\r\n\r\n";
        let Exchange {
            mut client,
            mut upstream,
            gauges,
            ..
        } = Exchange::with(builder, peer, request).await;
        let head = format!("{JSON}Trailer: X-Sum, Authorization\r\n");
        let trailers = "X-Sum: 1\r\nAuthorization: Bearer x\r\n";
        let response = Canned::chunked(&head, &["[1,", "2]"], trailers);
        upstream.write(response.bytes()).await;
        let response = client.read_message().await;
        assert!(response.is_whole);
        assert_eq!(response.text(), "[1,2]");
        assert_eq!(response.fields("trailer"), [""; 0]);
        // No field announces them, so hyper sends none.
        assert_eq!(response.trailers, "");
        assert_eq!(outcomes(&gauges), COMPLETE);
    })
    .await;
}

#[tokio::test]
async fn client_of_http_1_0_gets_no_chunks() {
    guarded(async {
        let peer = ScriptedPeer::bind().await;
        let builder = builder(&peer);
        let request = "GET /mcp HTTP/1.0\r\n\r\n";
        let Exchange {
            mut client,
            mut upstream,
            gauges,
            ..
        } = Exchange::with(builder, peer, request).await;
        upstream.write(HEAD).await;
        upstream.write(chunk("data: 1\n\n") + "0\r\n\r\n").await;
        let head = client.read_head().await;
        assert!(head.starts_with("HTTP/1.0 200 OK\n"), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert_eq!(client.closed().await, b"data: 1\n\n");
        assert_eq!(outcomes(&gauges), COMPLETE);
    })
    .await;
}

#[tokio::test]
async fn early_answer_reaches_a_client_that_is_still_sending_c15() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let proxy: ReverseProxy<Incoming> = builder(&peer).build();
        let gauges = proxy.gauges();
        let front = Front::start(proxy).await;
        let mut client = front.connect().await;
        client
            .write("POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Length: 99\r\n\r\nhalf")
            .await;
        let mut upstream = peer.accept().await;
        upstream.read_head().await;
        upstream
            .write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
            .await;
        let response = client.read_message().await;
        assert_eq!(response.start_line(), "HTTP/1.1 401 Unauthorized");
        assert_eq!(response.text(), "no");
        assert_eq!(outcomes(&gauges), COMPLETE);
    })
    .await;
}

#[tokio::test]
async fn connection_of_the_client_outlives_a_refusal() {
    guarded(async {
        let Exchange {
            mut client,
            upstream,
            mut peer,
            gauges,
            ..
        } = Exchange::start().await;
        drop(upstream);
        let refusal = client.read_message().await;
        assert_eq!(refusal.start_line(), "HTTP/1.1 502 Bad Gateway");
        client.write(raw_post(CALL)).await;
        let mut upstream = peer.accept().await;
        upstream.read_message().await;
        upstream
            .write(format!("{JSON}Content-Length: 2\r\n\r\n{{}}"))
            .await;
        assert_eq!(client.read_message().await.text(), "{}");
        assert_eq!(outcomes(&gauges), [0, 1, 1, 0]);
    })
    .await;
}

/// More than sockets and servers buffer on the way.
const LARGE: usize = 256 * 1024 * 1024;

/// Sends a pattern until nobody takes any more, and says how much was taken.
///
/// There is one thread, and a byte sent over loopback is there: if no task makes room while all
/// of them may run, none ever will.
async fn write_until_it_stalls(stream: &TcpStream) -> usize {
    let pattern: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    let (mut sent, mut refused) = (0, 0);
    while refused < 1000 && sent < LARGE {
        match stream.try_write(&pattern[sent % 256..]) {
            Ok(len) => (sent, refused) = (sent + len, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
                yield_now().await;
            }
        }
    }
    sent
}

/// Reads `len` bytes of that pattern.
async fn read_pattern(wire: &mut Wire, len: usize) {
    let mut read = 0;
    while read < len {
        let bytes = wire.read((len - read).min(8 * 1024)).await;
        assert!(!bytes.is_empty(), "ended after {read} of {len}");
        let first = read;
        let matches = |(i, byte): (usize, &u8)| usize::from(*byte) == (first + i) % 256;
        assert!(bytes.iter().enumerate().all(matches), "changed at {read}");
        read += bytes.len();
    }
}

#[tokio::test]
async fn client_that_does_not_read_stops_the_upstream_c01_px_4() {
    guarded(async {
        let Exchange {
            mut client,
            mut upstream,
            gauges,
            ..
        } = Exchange::start().await;
        upstream
            .write(format!("{JSON}Content-Length: {LARGE}\r\n\r\n"))
            .await;
        let sent = write_until_it_stalls(upstream.stream()).await;
        assert!(sent < LARGE / 2, "{sent} bytes in flight");
        client.read_head().await;
        read_pattern(&mut client, sent).await;
        drop(client);
        upstream.closed().await;
        assert_eq!(outcomes(&gauges), CANCELLED);
    })
    .await;
}

#[tokio::test]
async fn upstream_that_does_not_read_stops_the_client() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let proxy: ReverseProxy<Incoming> = builder(&peer).build();
        let gauges = proxy.gauges();
        let front = Front::start(proxy).await;
        let mut client = front.connect().await;
        client
            .write(format!(
                "POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Length: {LARGE}\r\n\r\n"
            ))
            .await;
        let mut upstream = peer.accept().await;
        let sent = write_until_it_stalls(client.stream()).await;
        assert!(sent < LARGE / 2, "{sent} bytes in flight");
        upstream.read_head().await;
        read_pattern(&mut upstream, sent).await;
        drop(upstream);
        let refusal = client.read_message().await;
        assert_eq!(refusal.start_line(), "HTTP/1.1 502 Bad Gateway");
        assert_eq!(outcomes(&gauges), FAILED);
    })
    .await;
}
