//! Servers that write responses as no other does: what a client may read of them is judged, or does not get
//! there.

mod intercept_support;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use intercept_support::{
    CALL, Chunks, Inner, LOG, RESULT, Seen, Server, all, ask, data, events, post,
};
use proptest::prelude::*;
use shadowcat::{
    intercept::{InterceptLayer, Interest, Links, Redact, Verdict, sync_fn},
    jsonrpc::Kind,
};
use tower::{Layer, ServiceExt, service_fn};

const SECRET: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"token":"s3cret"}}"#;

fn redact(interest: Interest) -> InterceptLayer<Redact> {
    let redact = Redact::new(interest).add_pointer("/result/token");
    InterceptLayer::new(redact.expect("a pointer"))
}

/// A response with these headers, in chunks of that length.
fn response(headers: &[(&'static str, &str)], body: &[u8], cut: usize) -> Response<Chunks> {
    let chunks = body.chunks(cut).map(Bytes::copy_from_slice);
    let mut response = Response::new(Chunks(chunks.collect()));
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("valid");
        response.headers_mut().append(*name, value);
    }
    response
}

/// What a client has of an answer, if it breaks off too.
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
    is_whole: bool,
}

async fn through<L: Links>(
    layer: &InterceptLayer<L>,
    request: Inner,
    response: Response<Chunks>,
) -> Got {
    let response = Arc::new(Mutex::new(Some(response)));
    let inner = service_fn(move |request: Inner| {
        assert_eq!(request.headers()["accept-encoding"], "identity");
        let response = response.lock().expect("no panic").take();
        std::future::ready(Ok::<_, Infallible>(response.expect("asked once")))
    });
    let Ok(response) = layer.layer(inner).oneshot(request).await;
    let (parts, mut body) = response.into_parts();
    let (mut had, mut is_whole) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => had.extend_from_slice(&data),
            Ok(Err(_)) => {}
            Err(_) => is_whole = false,
        }
    }
    Got {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8_lossy(&had).into_owned(),
        is_whole,
    }
}

/// Clients read these as responses, all of them or some.
#[tokio::test]
async fn s22_response_that_is_none_by_the_letter_is_judged_or_does_not_pass() {
    let with = |members: &str| SECRET.replace("}}", &format!("}},{members}}}"));
    let nest = |levels| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let judged = [
        with(r#""error":null"#),
        with(r#""method":null"#),
        with(r#""method":"x""#),
        SECRET.replace(":7,", ":null,"),
        SECRET.replace(r#""id":7,"#, ""),
        SECRET.replace("result", r"re\u0073ult"),
        with(r#""params":1,"params":2"#),
        format!("[{}]", with(r#""error":null"#)),
    ];
    let refused = [
        SECRET.replace(":7,", ":7.0,"),
        SECRET.replace(":7,", ":[7],"),
        SECRET.replace("result", "Result"),
        SECRET.replace("result", "re\u{17f}ult"),
        with(r#""result":1"#),
        with(r#""Method":"x""#),
        with(r#""id":8"#),
        with(r#""ID":8"#),
        with(&format!(r#""d":{}"#, nest(130))),
        with(r#""d":NaN"#),
        with(r#""d":"\ud800""#),
        with("\"d\":\"\u{1}\""),
        format!("[[{SECRET}]]"),
        format!("[{}{SECRET}]", format!("{LOG},").repeat(1_000)),
        format!("{SECRET}{SECRET}x").replacen("}}", "},}", 1),
        SECRET.trim_end_matches('}').to_owned(),
    ];
    let of_calls = redact(Interest::responses("tools/call"));
    for layer in [of_calls.clone(), of_calls.with_unreadable_refused(true)] {
        for (text, is_judged) in judged
            .iter()
            .map(|text| (text, true))
            .chain(refused.iter().map(|text| (text, false)))
        {
            for len in [1, 7, 100_000] {
                let stream = events(&[LOG, text, LOG]);
                let in_event = ask(&layer, &Server::stream(&stream).cut(len), post(CALL)).await;
                let in_reply = ask(&layer, &Server::json(text).cut(len), post(CALL)).await;
                for had in [in_event, in_reply] {
                    assert!(!had.body.contains("s3cret"), "{text}: {}", had.body);
                    let told = had.body.contains("cannot be inspected");
                    let is_strict = text.contains("params");
                    assert!(
                        told || had.body.contains("[redacted]"),
                        "{text}: {}",
                        had.body
                    );
                    assert!(!told || !is_judged || is_strict, "{text}: {}", had.body);
                    assert!(told || is_judged, "{text}: {}", had.body);
                }
            }
        }
    }
}

#[tokio::test]
async fn redacted_response_with_nulls_keeps_all_its_other_bytes() {
    let text = r#"{ "jsonrpc":"2.0","result":{"token":"s3cret","n":1.0},"error":null,"method":null,"id":7 }"#;
    let layer = redact(Interest::all());
    let had = ask(&layer, &Server::json(text), post(CALL)).await;
    assert_eq!(had.body, text.replace("s3cret", "[redacted]"));
    // A byte order mark is white space to some clients.
    let marked = format!("\u{feff}{text}");
    let had = ask(&layer, &Server::json(&marked), post(CALL)).await;
    assert_eq!(had.body, marked.replace("s3cret", "[redacted]"));
    let had = ask(&layer, &Server::stream(&events(&[&marked])), post(CALL)).await;
    assert_eq!(data(&had.body), [text.replace("s3cret", "[redacted]")]);
    // What takes its place may be no worse than it was.
    let worse = sync_fn(Interest::responses("*"), |_, message| {
        let text = message
            .as_str()
            .replace(r#""method":null"#, r#""method":"x""#);
        Verdict::Replace(text.into())
    });
    let layer = InterceptLayer::new(worse);
    for reply in [SECRET, text] {
        let had = ask(&layer, &Server::json(reply), post(CALL)).await;
        assert_eq!(
            had.body.contains("internal error"),
            reply == text,
            "{}",
            had.body
        );
    }
}

/// Some write all members that a message may have, and mean nothing by null.
#[tokio::test]
async fn call_with_an_empty_result_is_judged_as_a_call() {
    let seen = Seen::default();
    let noted = seen.clone();
    let layer = InterceptLayer::new(all(move |_, message| {
        noted.note(format!("{:?}", message.kind()));
        match message.kind() {
            Kind::Notification => {
                let mut edit = message.edit();
                edit.set("/params/data", "0").expect("a place");
                edit.into()
            }
            _ => Verdict::Continue,
        }
    }));
    let nulls = r#","id":null,"result":null,"error":null}"#;
    let note = LOG.strip_suffix('}').expect("an object").to_owned() + nulls;
    let question = r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","error":null}"#;
    let stream = events(&[&note, question, RESULT]);
    let had = ask(&layer, &Server::stream(&stream), post(CALL)).await;
    assert_eq!(had.body, stream.replace(r#""hi""#, "0"));
    assert_eq!(seen.take()[1..], ["Notification", "Request", "Response"]);
    // Either by what a client looks for first: what one of them judges, the other one may not be.
    let either = note.replace(r#""result":null"#, r#""result":1"#);
    let had = ask(&layer, &Server::stream(&events(&[&either])), post(CALL)).await;
    assert!(had.body.contains("cannot be inspected"), "{}", had.body);
    assert!(seen.take().len() == 1, "the request alone");
    // Those who want only one of the two judge it as that.
    let calls = sync_fn(
        Interest::none().add(
            shadowcat::intercept::Direction::ToClient,
            Kind::Notification,
            "notifications/*",
        ),
        |_, _| Verdict::refuse("no"),
    );
    let layer = InterceptLayer::new(calls);
    let had = ask(&layer, &Server::stream(&events(&[&either])), post(CALL)).await;
    assert_eq!(had.body, "");
}

/// What has nothing of a response passes, if nobody wants it otherwise.
#[tokio::test]
async fn s22_what_nobody_takes_for_a_response_passes() {
    let layer = redact(Interest::responses("*"));
    let texts = [
        r#"{"method":"x","Method":"y"}"#,
        r#"{"method":"notifications/message","params":{"result":1,"n":NaN}}"#,
        "error: result",
        r#"["result",{"a":{"error":1}}]"#,
        "{}",
    ];
    let stream = events(&texts);
    let had = ask(&layer, &Server::stream(&stream), post(CALL)).await;
    assert_eq!(had.body, stream);
    for text in texts {
        let had = ask(&layer, &Server::json(text), post(CALL)).await;
        assert_eq!(had.body, text);
    }
    // It hides nothing that comes after it.
    for between in ["\n", " x ", "\u{feff}", "7\n", "{]"] {
        let reply = format!("{{}}{between}{SECRET}");
        for len in [1, 10, 1_000] {
            let had = ask(&layer, &Server::json(&reply).cut(len), post(CALL)).await;
            assert_eq!(had.body, reply.replace("s3cret", "[redacted]"));
        }
    }
    let layer = layer.with_unreadable_refused(true);
    for text in texts {
        let got = ask(&layer, &Server::stream(&events(&[text])), post(CALL)).await;
        assert!(
            got.body.contains("cannot be inspected"),
            "{text}: {}",
            got.body
        );
        let got = ask(&layer, &Server::json(text), post(CALL)).await;
        assert!(
            got.body.contains("cannot be inspected"),
            "{text}: {}",
            got.body
        );
    }
}

/// A client matches responses by their ids, whatever the stream.
#[tokio::test]
async fn response_in_the_stream_of_another_request_is_judged() {
    let layer = redact(Interest::responses("tools/call"));
    let ping = || post(r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#);
    let own = SECRET.replace(":7,", ":9,");
    let stream = events(&[LOG, SECRET, &own]);
    let had = ask(&layer, &Server::stream(&stream), ping()).await;
    // Its own is of no interest to anybody.
    assert_eq!(had.body, stream.replacen("s3cret", "[redacted]", 1));
    // A reply has no other one in it, and is left alone.
    let had = ask(&layer, &Server::json(&own), ping()).await;
    assert_eq!(had.body, own);
    assert_eq!(had.headers["content-length"], own.len().to_string());
    // Nor is anything else, however it must not be read.
    let layer = layer.with_unreadable_refused(true);
    let kind = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let got = through(&layer, ping(), response(&kind, b"pong", 9)).await;
    assert_eq!((got.status.as_u16(), &*got.body), (200, "pong"));
}

#[tokio::test]
async fn compressed_response_is_refused() {
    for strict in [false, true] {
        let layer = redact(Interest::responses("*")).with_unreadable_refused(strict);
        for kind in ["application/json", "text/event-stream"] {
            for (coding, passes) in [("gzip", false), ("identity, br", false), ("Identity", true)] {
                let headers = [("content-type", kind), ("content-encoding", coding)];
                let body = if kind == "application/json" {
                    SECRET.to_owned()
                } else {
                    events(&[SECRET])
                };
                let got = through(&layer, post(CALL), response(&headers, body.as_bytes(), 9)).await;
                let expected = if passes { 200 } else { 502 };
                assert_eq!(got.status, expected, "{kind} {coding}");
                assert!(!got.body.contains("s3cret"), "{}", got.body);
                let is_told = got
                    .body
                    .starts_with(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603"#);
                assert_eq!(is_told, !passes, "{}", got.body);
            }
        }
        assert_eq!(layer.handle().stats().unreadable_total, 4);
    }
    // A client that asks for it does not get it either.
    let mut request = post(CALL);
    request
        .headers_mut()
        .insert("accept-encoding", HeaderValue::from_static("gzip"));
    let layer = redact(Interest::responses("*"));
    let json = [("content-type", "application/json")];
    through(&layer, request, response(&json, SECRET.as_bytes(), 9)).await;
}

/// Strictly: nothing gets there that nobody has read, whatever it says it is.
#[tokio::test]
async fn strictly_no_other_type_and_no_status_passes() {
    let layer = redact(Interest::responses("*"));
    let strict = layer.clone().with_unreadable_refused(true);
    let plain = [("content-type", "text/plain")];
    let got = through(&layer, post(CALL), response(&plain, b"pong", 9)).await;
    assert_eq!((got.status.as_u16(), &*got.body), (200, "pong"));
    for kinds in [
        &["text/plain"][..],
        &["application/x-ndjson"],
        &["application/json", "application/json"],
        &["text/plain", "text/event-stream"],
        &["text/event-stream, application/json"],
    ] {
        let kinds: Vec<_> = kinds.iter().map(|kind| ("content-type", *kind)).collect();
        let got = through(&strict, post(CALL), response(&kinds, SECRET.as_bytes(), 9)).await;
        assert_eq!(got.status, 502, "{kinds:?}");
        assert!(
            got.body.contains(r#""id":7,"error":{"code":-32603"#),
            "{}",
            got.body
        );
        assert_eq!(got.headers["content-type"], "application/json");
    }
    // Some do not say how long nothing is.
    let got = through(&strict, post(CALL), response(&[], b"", 9)).await;
    assert!(got.status == 200 && got.body.is_empty() && got.is_whole);
    let got = through(&strict, post(CALL), response(&[], b"pong", 9)).await;
    assert!(got.body.is_empty() && !got.is_whole);
    for layer in [&layer, &strict] {
        let kind = [("content-type", "text/event-stream")];
        let mut failed = response(&kind, events(&[SECRET]).as_bytes(), 9);
        *failed.status_mut() = StatusCode::BAD_REQUEST;
        let got = through(layer, post(CALL), failed).await;
        assert_eq!(got.body, events(&[SECRET]).replace("s3cret", "[redacted]"));
    }
    // An event without data, or of another type, holds no message (S11, S12).
    let stream = format!(
        "id: 1\ndata:\n\nid: 2\n\nevent: endpoint\ndata: /mcp?x=1\n\n{}",
        events(&[LOG])
    );
    for layer in [&layer, &strict] {
        let had = ask(layer, &Server::stream(&stream), post(CALL)).await;
        assert_eq!(had.body, stream);
    }
}

/// What left before the end was no answer if it did not leave.
#[tokio::test]
async fn whoever_waits_is_told_of_the_end_of_a_batch_too() {
    let layer = InterceptLayer::new(all(|_, _| Verdict::Continue)).with_unreadable_refused(true);
    let batch = format!("[{RESULT},{{\"a\":1}}]");
    let in_event = ask(&layer, &Server::stream(&events(&[LOG, &batch])), post(CALL)).await;
    let in_reply = ask(&layer, &Server::json(&batch), post(CALL)).await;
    let error = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the response cannot be inspected","data":{"source":"shadowcat"}}}"#;
    assert_eq!(data(&in_event.body), [LOG, error]);
    assert_eq!(in_reply.body, error);
    // Once it has left, nobody waits.
    let json = [("content-type", "text/event-stream")];
    let stream = events(&[RESULT, "{}"]);
    let got = through(&layer, post(CALL), response(&json, stream.as_bytes(), 999)).await;
    assert_eq!(got.body, events(&[RESULT]));
    assert!(!got.is_whole);
}

/// A JSON text has to be one.
#[tokio::test]
async fn reply_of_which_nothing_is_left_is_an_error_for_whoever_waits() {
    let layer = InterceptLayer::new(intercept_support::back(|_, message| match message.kind() {
        Kind::Notification => Verdict::refuse("hidden"),
        _ => Verdict::Continue,
    }));
    let error = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31403,"message":"the reply was refused","data":{"source":"shadowcat"}}}"#;
    for len in [1, 1_000] {
        let had = ask(&layer, &Server::json(LOG).cut(len), post(CALL)).await;
        assert_eq!(had.body, error);
        let reply = format!("{LOG}\n{RESULT}");
        let had = ask(&layer, &Server::json(&reply).cut(len), post(CALL)).await;
        assert_eq!(had.body, format!("\n{RESULT}"));
    }
    for reply in ["", " ", "7"] {
        let had = ask(&layer, &Server::json(reply), post(CALL)).await;
        assert_eq!(had.body, reply);
    }
}

/// What told of the bytes that were does not tell of those that are.
#[tokio::test]
async fn validators_and_digests_of_what_may_change_are_gone() {
    const GONE: [&str; 5] = [
        "etag",
        "content-digest",
        "repr-digest",
        "digest",
        "content-md5",
    ];
    let inner = service_fn(|_: Inner| {
        let mut trailers = HeaderMap::new();
        let mut response = Response::builder().header(CONTENT_TYPE, "application/json");
        for name in GONE {
            trailers.insert(name, HeaderValue::from_static("x"));
            response = response.header(name, "x");
        }
        trailers.insert("x-kept", HeaderValue::from_static("x"));
        let frames = [Frame::data(Bytes::from(SECRET)), Frame::trailers(trailers)];
        let frames = frames.map(Ok::<_, Infallible>);
        let body = StreamBody::new(tokio_stream::iter(frames));
        std::future::ready(Ok::<_, Infallible>(response.body(body).expect("valid")))
    });
    for (interest, is_kept) in [(Interest::responses("*"), false), (Interest::none(), true)] {
        let Ok(response) = redact(interest).layer(inner).oneshot(post(CALL)).await;
        let headers = response.headers().clone();
        let body = response.into_body().collect().await.expect("a body");
        let trailers = body.trailers().expect("trailers");
        for name in GONE {
            assert_eq!(headers.contains_key(name), is_kept, "{name}");
            assert_eq!(trailers.contains_key(name), is_kept, "{name}");
        }
        assert!(trailers.contains_key("x-kept"));
    }
}

/// HEAD and 204 tell of a body that does not come, and nothing of it changes.
#[tokio::test]
async fn response_without_a_body_keeps_what_it_says_of_it() {
    let inner = service_fn(|_: Inner| {
        let response = Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .header("content-length", "77")
            .header("etag", "x");
        let body = http_body_util::Empty::<Bytes>::new();
        std::future::ready(Ok::<_, Infallible>(response.body(body).expect("valid")))
    });
    let layer = redact(Interest::responses("*")).with_unreadable_refused(true);
    let Ok(response) = layer.layer(inner).oneshot(post(CALL)).await;
    assert_eq!(response.headers()["content-length"], "77");
    assert_eq!(response.headers()["etag"], "x");
    assert!(response.body().is_end_stream());
}

/// How a text that may be a response is written.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let id = prop::sample::select(vec!["7", "\"7\"", "7.0", "null", "8", "[7]", "7e0"]);
    let key = prop::sample::select(vec![
        "result",
        "result",
        "result",
        "Result",
        r"re\u0073ult",
        "re\u{17f}ult",
        r"\u0052ESULT",
    ]);
    let more = prop::sample::subsequence(
        vec![
            r#""error":null"#.to_owned(),
            r#""error":{"code":1,"message":"x"}"#.to_owned(),
            r#""method":null"#.to_owned(),
            r#""method":"x""#.to_owned(),
            r#""Method":"x""#.to_owned(),
            r#""id":9"#.to_owned(),
            r#""result":null"#.to_owned(),
            r#""x":NaN"#.to_owned(),
            r#""x":"\ud800""#.to_owned(),
            format!(r#""x":{}{}"#, "[".repeat(140), "]".repeat(140)),
        ],
        0..4,
    );
    let wrap = 0..7_usize;
    (
        id,
        key,
        more,
        wrap,
        any::<bool>(),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(id, key, more, wrap, is_broken, at)| {
            let mut members = vec![
                r#""jsonrpc":"2.0""#.to_owned(),
                format!(r#""id":{id}"#),
                format!(r#""{key}" : {{"n":1,"token":"s3cret"}}"#),
            ];
            for member in more {
                members.insert(at.index(members.len() + 1), member);
            }
            if is_broken {
                members.push("\"y\":\"\u{fffd}\"".to_owned());
            }
            let text = format!("{{{}}}", members.join(","));
            let text = match wrap {
                0 | 1 => text,
                2 => format!("[{text},{LOG}]"),
                3 => format!("[{}{text}]", format!("{LOG},").repeat(1_000)),
                4 => format!("\u{feff}{text}"),
                5 => format!("[[{text}]]"),
                _ => format!("{{}} {text}"),
            };
            // A byte that is no UTF-8 is a strange letter to most clients.
            let mut bytes = text.into_bytes();
            if let Some(at) = bytes
                .windows(3)
                .position(|three| three == "\u{fffd}".as_bytes())
            {
                bytes.splice(at..at + 3, [0xff]);
            }
            bytes
        })
}

fn interests() -> impl Strategy<Value = Interest> {
    prop_oneof![
        Just(Interest::responses("tools/call")),
        Just(Interest::responses("*")),
        Just(Interest::all()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// However a server writes it, and however it is cut: what is redacted in responses does not get to the
    /// client, and whoever waits is told, or finds the response broken off.
    #[test]
    fn secret_of_a_response_never_reaches_the_client(
        text in hostile(),
        interest in interests(),
        kind in prop::sample::select(vec![
            "application/json", "text/event-stream", "Application/JSON;x=y", "application/json-rpc",
            "text/plain, application/json", "text/plain, text/event-stream", "text/plain", "",
        ]),
        coding in prop::sample::select(vec![None, None, None, Some("identity"), Some("gzip")]),
        is_failure in any::<bool>(),
        is_strict in any::<bool>(),
        cut in prop_oneof![1..40_usize, Just(200_000)],
    ) {
        let is_stream = kind.contains("event-stream");
        let body = if is_stream {
            [b"data: ", &text[..], b"\n\n"].concat()
        } else {
            text
        };
        let mut headers = Vec::new();
        headers.extend((!kind.is_empty()).then_some(("content-type", kind)));
        headers.extend(coding.map(|coding| ("content-encoding", coding)));
        let mut response = response(&headers, &body, cut);
        if is_failure {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        let layer = redact(interest).with_unreadable_refused(is_strict);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let got = runtime.block_on(through(&layer, post(CALL), response));
        let is_read = is_stream || kind.to_ascii_lowercase().contains("application/json");
        if is_read || is_strict {
            prop_assert!(!got.body.contains("s3cret"), "{}", got.body);
            let is_told = got.body.contains("[redacted]")
                || got.body.contains(r#""id":7,"error":"#)
                || got.body.contains("internal error")
                || !got.is_whole;
            prop_assert!(is_told, "{}", got.body);
        } else {
            prop_assert!(got.body.contains("s3cret"));
        }
    }
}
