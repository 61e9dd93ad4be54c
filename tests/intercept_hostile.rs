//! Servers that write responses as no other does: what a client may read of them is judged, or does not get
//! there.

mod intercept_support;

use intercept_support::{
    CALL, LOG, RESULT, Seen, Server, all, ask, data, events,
    odd::{SECRET, redact, response, through},
    post,
};
use shadowcat::{
    intercept::{Direction, InterceptLayer, Interest, Verdict, sync_fn},
    jsonrpc::Kind,
};

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
    let bare = r#"{"jsonrpc":"2.0","id":7}"#;
    for (reply, new) in [
        (SECRET, SECRET.replace("}}", r#"},"error":null}"#)),
        (text, text.replace(r#""method":null"#, r#""method":"x""#)),
        (text, bare.to_owned()),
    ] {
        let worse = sync_fn(Interest::responses("*"), move |_, _| {
            Verdict::Replace(new.clone().into())
        });
        let had = ask(
            &InterceptLayer::new(worse),
            &Server::json(reply),
            post(CALL),
        )
        .await;
        assert!(had.body.contains("internal error"), "{}", had.body);
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
        Interest::none().add(Direction::ToClient, Kind::Notification, "notifications/*"),
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
    // Nor does anybody want responses who does not say so.
    let calls = Interest::none().add(Direction::ToClient, Kind::Notification, "*");
    let calls = InterceptLayer::new(sync_fn(calls, |_, _| Verdict::Continue));
    let stream = events(&[&SECRET.replace("}}", "},\"n\":NaN}"), SECRET]);
    let had = ask(&calls, &Server::stream(&stream), post(CALL)).await;
    assert_eq!(had.body, stream);
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
    let had = ask(&layer, &Server::json(&format!("7 {LOG}")), post(CALL)).await;
    assert_eq!(had.body, "7 ");
    for reply in ["", " ", "7"] {
        let had = ask(&layer, &Server::json(reply), post(CALL)).await;
        assert_eq!(had.body, reply);
    }
}
