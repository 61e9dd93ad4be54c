//! Responses written in random ways, in random chunks.

mod intercept_support;

use http::StatusCode;
use intercept_support::{
    CALL, LOG,
    odd::{redact, response, through},
    post,
};
use proptest::prelude::*;
use shadowcat::intercept::Interest;

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
