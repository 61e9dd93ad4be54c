//! An upstream that ends at every byte of its response, or sends it split at every byte.

mod scripted;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use scripted::{
    CALL, COMPLETE, Canned, End, FAILED, Front, Relayed, ScriptedPeer, Stack, StackBody, Wire,
    builder, guarded, outcomes, post, raw_post, read_exactly, relayed, stack,
};
use shadowcat::{message::MessageLayer, proxy::Gauges};
use tokio::task::JoinHandle;
use tower::{Layer, ServiceExt};

/// How the upstream ends.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// With what it sent, so that both may be seen at once.
    Finish,
    /// Once the proxy has handed on all that came.
    FinishLater,
    /// By a reset, then too; a reset at once would take what is under way along.
    ResetLater,
}

const CUTS: [Cut; 3] = [Cut::Finish, Cut::FinishLater, Cut::ResetLater];

fn json() -> Canned {
    Canned::with_length(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMcp-Session-Id: s1\r\n",
        r#"{"jsonrpc":"2.0","id":"call-7","result":{"ok":true}}"#,
    )
}

fn events() -> Canned {
    Canned::chunked(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n",
        &[
            "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n",
            ": \n\n",
            "data: {\"jsonrpc\":\"2.0\",\"id\":\"call-7\",\"result\":{}}\n\n",
        ],
        "",
    )
}

/// A call that has reached the upstream whole.
struct Exchange {
    peer: ScriptedPeer,
    upstream: Wire,
    call: JoinHandle<Response<StackBody>>,
    gauges: Gauges,
}

impl Exchange {
    async fn start() -> Self {
        let mut peer = ScriptedPeer::bind().await;
        let (service, gauges): (Stack<Full<Bytes>>, _) = stack(builder(&peer));
        let call = tokio::spawn(async {
            let Ok(response) = service.oneshot(post(CALL)).await;
            response
        });
        let mut upstream = peer.accept().await;
        let request = upstream.read_message().await;
        assert_eq!(request.text(), CALL);
        assert_eq!(outcomes(&gauges), [1, 0, 0, 0]);
        Self {
            peer,
            upstream,
            call,
            gauges,
        }
    }
}

#[test]
fn prefixes_of_a_canned_response_are_decoded_as_expected() {
    let canned = Canned::chunked("HTTP/1.1 200 OK\r\n", &["ab", "c"], "");
    assert_eq!(canned.body(), b"abc");
    assert!(
        canned
            .bytes()
            .ends_with(b"\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    );
    let head = canned.head_len();
    assert_eq!(canned.body_before(head + 3), b"");
    assert_eq!(canned.body_before(head + 4), b"a");
    assert_eq!(canned.body_before(head + 10), b"abc"[..2].as_ref());
    assert_eq!(canned.body_before(canned.len()), b"abc");
}

async fn cut_at_every_byte(canned: Canned) {
    for cut in CUTS {
        for at in 0..=canned.len() {
            eprintln!("{cut:?} after {at} of {} bytes", canned.len());
            guarded(cut_at(&canned, cut, at)).await;
        }
    }
}

async fn cut_at(canned: &Canned, cut: Cut, at: usize) {
    let Exchange {
        mut peer,
        mut upstream,
        call,
        gauges,
    } = Exchange::start().await;
    upstream.write(&canned.bytes()[..at]).await;
    if at < canned.head_len() {
        match cut {
            Cut::Finish | Cut::FinishLater => drop(upstream),
            Cut::ResetLater => upstream.reset(),
        }
        assert_is_bad_gateway(call.await.expect("no panic")).await;
        assert_eq!(outcomes(&gauges), FAILED);
    } else {
        let before = canned.body_before(at);
        let relayed = match cut {
            Cut::Finish => {
                drop(upstream);
                relayed(call.await.expect("no panic").into_body()).await
            }
            Cut::FinishLater | Cut::ResetLater => {
                let mut body = Box::pin(call.await.expect("no panic").into_body());
                let mut data = read_exactly(&mut body, before.len()).await;
                match cut {
                    Cut::ResetLater => upstream.reset(),
                    _ => drop(upstream),
                }
                let rest = relayed(body).await;
                data.extend_from_slice(&rest.data);
                Relayed {
                    data: data.into(),
                    end: rest.end,
                }
            }
        };
        assert_eq!(relayed.data, before);
        if at == canned.len() {
            assert_eq!(relayed.end, End::Clean);
            assert_eq!(outcomes(&gauges), COMPLETE);
        } else {
            assert_eq!(relayed.end, End::Broken);
            assert_eq!(outcomes(&gauges), FAILED);
        }
    }
    assert_eq!(peer.connections().await, 1, "never tried again");
}

async fn assert_is_bad_gateway(response: Response<StackBody>) {
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.headers()["content-type"], "application/json");
    let Relayed { data, end } = relayed(response.into_body()).await;
    assert_eq!(end, End::Clean);
    let text = String::from_utf8_lossy(&data);
    assert!(
        text.starts_with(r#"{"jsonrpc":"2.0","id":"call-7","error":{"code":-31502,"#),
        "{text}"
    );
}

#[tokio::test]
async fn json_cut_at_every_byte() {
    cut_at_every_byte(json()).await;
}

#[tokio::test]
async fn events_cut_at_every_byte() {
    cut_at_every_byte(events()).await;
}

async fn split_at_every_byte(canned: Canned) {
    for at in 0..=canned.len() {
        guarded(async {
            let Exchange {
                mut upstream,
                call,
                gauges,
                ..
            } = Exchange::start().await;
            let (before, after) = canned.bytes().split_at(at);
            upstream.write(before).await;
            let response = if at < canned.head_len() {
                // So that the proxy sees the first part alone.
                scripted::settle().await;
                upstream.write(after).await;
                call.await.expect("no panic")
            } else {
                call.await.expect("no panic")
            };
            assert_eq!(response.status(), StatusCode::OK);
            let whole = at == canned.len();
            let (parts, body) = response.into_parts();
            let mut body = Box::pin(body);
            let mut data = Vec::new();
            if at >= canned.head_len() {
                data = read_exactly(&mut body, canned.body_before(at).len()).await;
                if !whole {
                    upstream.write(after).await;
                }
            }
            let rest = relayed(body).await;
            data.extend_from_slice(&rest.data);
            assert_eq!(rest.end, End::Clean);
            assert_eq!(data, canned.body(), "split at {at}");
            let mut names: Vec<_> = parts.headers.keys().map(|name| name.as_str()).collect();
            names.sort_unstable();
            if parts.headers["content-type"] == "application/json" {
                assert_eq!(names, ["content-length", "content-type", "mcp-session-id"]);
            } else {
                assert_eq!(
                    names,
                    ["cache-control", "content-type", "x-accel-buffering"]
                );
            }
            assert_eq!(outcomes(&gauges), COMPLETE);
        })
        .await;
    }
}

#[tokio::test]
async fn json_split_at_every_byte() {
    split_at_every_byte(json()).await;
}

#[tokio::test]
async fn events_split_at_every_byte() {
    split_at_every_byte(events()).await;
}

/// As a client sees it: every byte that came, then no end of the response.
async fn cut_at_every_byte_on_the_wire(canned: Canned) {
    for at in 0..=canned.len() {
        guarded(async {
            let mut peer = ScriptedPeer::bind().await;
            let proxy = builder(&peer).build();
            let gauges = proxy.gauges();
            let mut front = Front::start(MessageLayer::new().layer(proxy)).await;
            let mut client = front.connect().await;
            client.write(raw_post(CALL)).await;
            let mut upstream = peer.accept().await;
            upstream.read_message().await;
            upstream.write(&canned.bytes()[..at]).await;
            drop(upstream);

            let response = client.read_message().await;
            if at < canned.head_len() {
                assert_eq!(response.start_line(), "HTTP/1.1 502 Bad Gateway");
                assert!(response.text().contains(r#""id":"call-7""#));
                assert!(response.is_whole);
            } else {
                assert_eq!(response.start_line(), "HTTP/1.1 200 OK", "cut at {at}");
                let text = String::from_utf8_lossy(&response.body);
                let before = String::from_utf8_lossy(canned.body_before(at));
                assert_eq!(text, before, "cut at {at}");
                assert_eq!(response.is_whole, at == canned.len(), "cut at {at}");
            }
            if !response.is_whole {
                assert_eq!(client.closed().await, b"");
                front.ended().await.expect_err("not a clean end");
            }
            assert_eq!(outcomes(&gauges)[0], 0);
        })
        .await;
    }
}

#[tokio::test]
async fn json_cut_at_every_byte_on_the_wire() {
    cut_at_every_byte_on_the_wire(json()).await;
}

#[tokio::test]
async fn events_cut_at_every_byte_on_the_wire() {
    cut_at_every_byte_on_the_wire(events()).await;
}
