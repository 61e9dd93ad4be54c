//! What becomes of messages to the server: every verdict, every kind of message, and every failure.

mod intercept_support;

use std::time::Duration;

use intercept_support::{
    CALL, LIST, NOTE, RESULT, Seen, Server, all, ask, get, identity, noting, post, requests, unread,
};
use shadowcat::{
    intercept::{
        self, Chain, Context, Decision, Denial, Direction, InterceptLayer, Interceptor, Interest,
        Message, Unneeded, Verdict,
    },
    jsonrpc::{ErrorObject, Kind},
    message,
    protocol::{Era, ProtocolVersion},
};

/// A59, IC-1: what nobody changes gets there byte for byte, whoever has read it.
#[tokio::test]
async fn a59_messages_that_nobody_changes_are_forwarded_byte_for_byte() {
    let odd = " {\n \"id\" : -0 , \"jsonrpc\":\"2.0\",\"method\":\"t\\u006fols/call\",\"params\":{\"n\":1e400,\"\\u0061\":1}}\r\n";
    for body in [CALL, LIST, NOTE, RESULT, odd, &format!("[{CALL},{NOTE}]")] {
        let json = Server::json(RESULT);
        for layer in [
            InterceptLayer::new(Chain::new()),
            InterceptLayer::new(Chain::new().add_interceptor(identity())),
        ] {
            for request in [post(body), unread(body)] {
                let had = ask(&layer, &json, request).await;
                assert_eq!((had.status.as_u16(), &*had.body), (200, RESULT));
                assert_eq!(json.one().1, body);
            }
        }
    }
}

#[tokio::test]
async fn what_nobody_is_interested_in_is_not_even_read() {
    let never = intercept::sync_fn(Interest::requests("tools/list"), |_, _| -> Verdict {
        panic!("not asked")
    });
    let layer = InterceptLayer::new(never);
    let server = Server::json("{ no JSON");
    let had = ask(&layer, &server, post(CALL)).await;
    assert_eq!(had.body, "{ no JSON");
    assert_eq!(had.headers["content-length"], "9", "nothing was touched");
    let nobody = InterceptLayer::new(());
    for body in ["", "{", "no JSON", "[]"] {
        assert_eq!(ask(&nobody, &server, unread(body)).await.status, 200);
    }
    assert_eq!(layer.handle().stats(), Default::default());
}

/// ICP-6, HDR-14: the length, the name in the header and the fact inside say what the body says.
#[tokio::test]
async fn icp_6_replaced_request_says_the_same_in_its_headers_and_facts() {
    let renaming = requests(|_, message| {
        let mut edit = message.edit();
        edit.set("/params/name", "\"höher\"").expect("a place");
        Verdict::from(edit)
    });
    let layer = InterceptLayer::new(renaming);
    let server = Server::json(RESULT);
    let body = format!(" {CALL}\n");
    for (name, has) in [(Some("echo"), true), (None, false)] {
        let mut request = post(&body);
        if let Some(name) = name {
            request
                .headers_mut()
                .insert("mcp-name", name.parse().expect("ASCII"));
        }
        request
            .extensions_mut()
            .insert(Era::Session(ProtocolVersion::V2025_06_18));
        assert_eq!(ask(&layer, &server, request).await.status, 200);
        let (parts, sent) = server.one();
        assert_eq!(sent, body.replace("echo", "höher"), "only the name changes");
        assert_eq!(parts.headers["content-length"], sent.len().to_string());
        let mirrored = parts.headers.get("mcp-name").map(|name| name.as_bytes());
        assert_eq!(mirrored, has.then_some(&b"=?base64?aMO2aGVy?="[..]));
        let fact = parts.extensions.get::<message::Message>().expect("a fact");
        assert_eq!(fact.body(), sent.as_bytes());
    }
    // In the stateless era it has to be there.
    let mut request = post(CALL);
    request.extensions_mut().insert(Era::Stateless);
    ask(&layer, &server, request).await;
    assert_eq!(server.one().0.headers["mcp-name"], "=?base64?aMO2aGVy?=");
    // What the name is of a method that nobody knows here, nobody can say.
    let mut request = post(&CALL.replace("tools/call", "vendor/run"));
    request.extensions_mut().insert(Era::Stateless);
    let name = http::HeaderValue::from_static("theirs");
    request.headers_mut().insert("mcp-name", name);
    ask(&layer, &server, request).await;
    assert_eq!(server.one().0.headers["mcp-name"], "theirs");
    assert_eq!(layer.handle().stats().replaced_total, 4);
}

/// The fact inside is of the era that the one outside was of, and what would change that fails.
#[tokio::test]
async fn replaced_request_is_of_the_same_era_and_revision() {
    const META: &str = "io.modelcontextprotocol/protocolVersion";
    let claiming = |version: &str| {
        let meta = format!(r#""params":{{"_meta":{{"{META}":"{version}"}},"#);
        CALL.replace(r#""params":{"#, &meta)
    };
    let new = claiming("2026-07-28");
    let (same, other) = (new.replace("echo", "other"), claiming("2025-11-25"));
    for (text, status) in [(same, 200), (other, 500), (CALL.to_owned(), 500)] {
        let layer =
            InterceptLayer::new(requests(move |_, _| Verdict::Replace(text.clone().into())));
        let server = Server::json(RESULT);
        let mut request = unread(&new);
        for (name, value) in [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "echo"),
        ] {
            request
                .headers_mut()
                .insert(name, value.parse().expect("ASCII"));
        }
        let had = ask(&layer, &server, request).await;
        assert_eq!(had.status, status);
        if status == 200 {
            let (parts, _) = server.one();
            let fact = parts.extensions.get::<message::Message>().expect("a fact");
            assert_eq!(fact.era(), Some(Era::Stateless));
        }
    }
}

/// ICP-3: an error of ours comes with 200, as one of the server's would.
#[tokio::test]
async fn icp_3_refused_request_gets_an_error_with_its_id_and_goes_nowhere() {
    let layer = InterceptLayer::new(requests(|_, _| Verdict::refuse("not today")));
    let server = Server::json(RESULT);
    for request in [post(LIST), unread(LIST)] {
        let had = ask(&layer, &server, request).await;
        assert_eq!(had.status, 200);
        assert_eq!(had.headers["content-type"], "application/json");
        assert_eq!(had.headers["x-content-type-options"], "nosniff");
        assert_eq!(
            had.body,
            r#"{"jsonrpc":"2.0","id":"a","error":{"code":-31403,"message":"not today","data":{"source":"shadowcat"}}}"#
        );
    }
    assert!(!server.was_asked());
    assert_eq!(layer.handle().stats().refused_total, 2);
    // Others pass.
    assert_eq!(ask(&layer, &server, post(NOTE)).await.status, 200);
    assert_eq!(ask(&layer, &server, get()).await.status, 200);
}

#[tokio::test]
async fn icp_3_refused_call_may_be_told_to_the_model() {
    let denying = requests(|_, _| Verdict::Refuse(Denial::tool_result("no \"such\" luck")));
    let layer = InterceptLayer::new(denying);
    let server = Server::json(RESULT);
    let had = ask(&layer, &server, post(CALL)).await;
    assert_eq!(
        had.body,
        r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"no \"such\" luck"}],"isError":true}}"#
    );
    let mut request = post(CALL);
    request.extensions_mut().insert(Era::Stateless);
    let had = ask(&layer, &server, request).await;
    assert!(
        had.body
            .contains(r#""result":{"resultType":"complete","content""#),
        "{}",
        had.body
    );
    let had = ask(&layer, &server, post(LIST)).await;
    assert!(
        had.body.contains(r#""error":{"code":-31403"#),
        "{}",
        had.body
    );
}

/// A54.
#[tokio::test]
async fn a54_notification_gets_a_status_and_no_body() {
    for (verdict, status) in [
        (Verdict::refuse("no"), 403),
        (Verdict::Respond("{}".into()), 202),
    ] {
        let layer = InterceptLayer::new(all(move |_, _| verdict.clone()));
        let server = Server::json(RESULT);
        let had = ask(&layer, &server, post(NOTE)).await;
        assert_eq!((had.status.as_u16(), &*had.body), (status, ""));
        assert!(!had.headers.contains_key("content-type"));
        assert!(!server.was_asked());
    }
}

/// ICP-4, the other way round: the server has asked, and is told.
#[tokio::test]
async fn refused_response_of_a_client_becomes_an_error_with_the_same_id() {
    let layer = InterceptLayer::new(all(|_, message| match message.kind() {
        Kind::Response if message.envelope().id().is_some() => Verdict::refuse("hidden"),
        _ => Verdict::Continue,
    }));
    let server = Server::json("");
    ask(&layer, &server, post(RESULT)).await;
    let (parts, sent) = server.one();
    assert!(
        sent.starts_with(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31403"#),
        "{sent}"
    );
    assert_eq!(parts.headers["content-length"], sent.len().to_string());
}

#[tokio::test]
async fn jrp_13_mocked_result_is_one_of_the_requests_revision() {
    let mock = requests(|_, _| Verdict::Respond(r#" {"tools":[]} "#.into()));
    let layer = InterceptLayer::new(mock);
    let server = Server::json(RESULT);
    let had = ask(&layer, &server, post(LIST)).await;
    assert_eq!(
        had.body,
        r#"{"jsonrpc":"2.0","id":"a","result":{"tools":[]}}"#
    );
    let mut request = post(LIST);
    request.extensions_mut().insert(Era::Stateless);
    let had = ask(&layer, &server, request).await;
    assert_eq!(
        had.body,
        r#"{"jsonrpc":"2.0","id":"a","result":{"resultType":"complete","tools":[]}}"#
    );
    assert!(!server.was_asked());
    assert_eq!(layer.handle().stats().responded_total, 2);
}

/// IC-3: to the server from the first to the last, back from the last to the first.
#[tokio::test]
async fn ic_3_each_is_asked_once_in_order_and_back_in_the_other() {
    let seen = Seen::default();
    let three = (noting("1", &seen), noting("2", &seen), noting("3", &seen));
    let server = Server::json(RESULT);
    ask(&InterceptLayer::new(three), &server, post(CALL)).await;
    let (there, here) = ("ToServer Request", "ToClient Response");
    let whole = [
        format!("1 {there}"),
        format!("2 {there}"),
        format!("3 {there}"),
        format!("3 {here}"),
        format!("2 {here}"),
        format!("1 {here}"),
    ];
    assert_eq!(seen.take(), whole);
    // The same, not knowing their types.
    let chain = Chain::new()
        .add_interceptor(noting("1", &seen))
        .add_interceptor(noting("2", &seen))
        .add_interceptor(noting("3", &seen));
    ask(&InterceptLayer::new(chain), &server, post(CALL)).await;
    assert_eq!(seen.take(), whole);
    // What is answered on the way comes back the way that it went.
    let mock = requests(|_, _| Verdict::Respond("{}".into()));
    let cut = (
        noting("1", &seen),
        noting("2", &seen),
        mock,
        noting("3", &seen),
    );
    let had = ask(&InterceptLayer::new(cut), &server, post(CALL)).await;
    assert_eq!(had.body, r#"{"jsonrpc":"2.0","id":7,"result":{}}"#);
    let cut = [&whole[0], &whole[1], &whole[4], &whole[5]];
    assert_eq!(seen.take().iter().collect::<Vec<_>>(), cut);
}

#[tokio::test]
async fn later_interceptors_see_what_earlier_ones_have_made_of_it() {
    let seen = Seen::default();
    let noted = seen.clone();
    let chain = (
        requests(|_, message| {
            let mut edit = message.edit();
            edit.set("/params/arguments/n", "1").expect("a place");
            Verdict::from(edit)
        }),
        all(move |cx, message| {
            noted.note(format!("{:?}", message.get("/params/arguments/n")));
            if cx.direction() == Direction::ToClient {
                // As its client sent it.
                let request = cx.request().expect("it answers one");
                noted.note(format!("{:?}", request.get("/params/arguments/n")));
            }
            Verdict::Continue
        }),
    );
    ask(
        &InterceptLayer::new(chain),
        &Server::json(RESULT),
        post(CALL),
    )
    .await;
    assert_eq!(
        seen.take(),
        [r#"Some("1")"#, "None", r#"Some("9007199254740993")"#]
    );
}

/// ICP-5.
#[tokio::test]
async fn icp_5_batch_with_a_refused_message_is_answered_whole() {
    let second = r#"{"jsonrpc":"2.0","id":"b","method":"resources/read","params":{"uri":"x"}}"#;
    let batch = format!("[{CALL}, {NOTE} ,{second}]");
    let server = Server::json(RESULT);
    let refuse = |method: &'static str| {
        let interest =
            Interest::requests(method).add(Direction::ToServer, Kind::Notification, method);
        InterceptLayer::new(intercept::sync_fn(interest, |_, _| Verdict::refuse("no")))
    };
    let error = |id: &str, text: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-31403,"message":"{text}","data":{{"source":"shadowcat"}}}}}}"#
        )
    };
    let whole = "the batch was not forwarded, because of another message in it";
    for (method, first, last) in [
        ("tools/call", "no", whole),
        ("resources/*", whole, "no"),
        ("notifications/*", whole, whole),
    ] {
        let had = ask(&refuse(method), &server, post(&batch)).await;
        assert_eq!(had.status, 200);
        let expected = format!("[{},{}]", error("7", first), error("\"b\"", last));
        assert_eq!(had.body, expected, "{method}");
    }
    let had = ask(&refuse("*"), &server, post(&format!("[{NOTE}]"))).await;
    assert_eq!((had.status.as_u16(), &*had.body), (403, ""));
    assert!(!server.was_asked());

    let had = ask(&refuse("prompts/*"), &server, post(&batch)).await;
    assert_eq!(had.status, 200);
    assert_eq!(server.one().1, batch);
    let edit = intercept::sync_fn(
        Interest::requests("resources/read"),
        |_, message: &Message| {
            let mut edit = message.edit();
            edit.set("/params/uri", "\"y\"").expect("a place");
            Verdict::from(edit)
        },
    );
    ask(&InterceptLayer::new(edit), &server, post(&batch)).await;
    assert_eq!(server.one().1, batch.replace("\"x\"", "\"y\""));
}

#[tokio::test(start_paused = true)]
async fn late_decisions_are_decisions() {
    for verdict in [
        Verdict::Continue,
        Verdict::refuse("no"),
        Verdict::Respond("{}".into()),
    ] {
        let given = verdict.clone();
        let late = intercept::async_fn(Interest::requests("*"), move |cx, message| {
            let verdict = given.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert_eq!(cx.direction(), Direction::ToServer);
                assert_eq!(message.as_str(), CALL);
                Ok(verdict)
            }
        });
        let at_once = requests(move |_, _| verdict.clone());
        let server = Server::json(RESULT);
        let late = ask(&InterceptLayer::new(late), &server, post(CALL)).await;
        let now = ask(&InterceptLayer::new(at_once), &server, unread(CALL)).await;
        assert_eq!((late.status, late.body), (now.status, now.body));
    }
}

#[tokio::test]
async fn exchange_keeps_what_interceptors_leave_for_each_other() {
    #[derive(Clone, Debug, PartialEq)]
    struct Started(u32);

    let seen = Seen::default();
    let noted = seen.clone();
    let layer = InterceptLayer::new(all(move |cx, _| {
        match cx.direction() {
            Direction::ToServer => assert_eq!(cx.insert(Started(3)), None),
            Direction::ToClient => noted.note(format!("{:?}", cx.get::<Started>())),
        }
        assert_eq!(cx.extensions().get::<&str>(), Some(&"outside"));
        assert_eq!(cx.era(), Some(Era::Stateless));
        Verdict::Continue
    }));
    let mut request = post(CALL);
    request.extensions_mut().insert("outside");
    request.extensions_mut().insert(Era::Stateless);
    ask(&layer, &Server::json(RESULT), request).await;
    assert_eq!(seen.take(), ["Some(Started(3))"]);
}

#[tokio::test]
async fn compressed_replies_are_not_asked_for_if_somebody_wants_to_read_them() {
    let asked = |interest: Interest| async move {
        let layer = InterceptLayer::new(intercept::sync_fn(interest, |_, _| Verdict::Continue));
        let server = Server::json(RESULT);
        let mut request = post(CALL);
        let gzip = "gzip, br".parse().expect("ASCII");
        request.headers_mut().insert("accept-encoding", gzip);
        ask(&layer, &server, request).await;
        server.one().0.headers["accept-encoding"].clone()
    };
    assert_eq!(asked(Interest::responses("tools/*")).await, "identity");
    assert_eq!(asked(Interest::requests("tools/*")).await, "gzip, br");
}

/// An interceptor of one's own, without a function.
#[tokio::test]
async fn interceptor_is_a_trait_of_three_items() {
    struct Mine(Interest);

    impl Interceptor for Mine {
        type Future = Unneeded;

        fn interest(&self) -> std::borrow::Cow<'_, Interest> {
            std::borrow::Cow::Borrowed(&self.0)
        }

        fn intercept(&self, _: &Context, _: &Message) -> Decision<Unneeded> {
            ErrorObject::new(-1, "mine").into_decision()
        }
    }

    trait IntoDecision {
        fn into_decision(self) -> Decision<Unneeded>;
    }

    impl IntoDecision for ErrorObject {
        fn into_decision(self) -> Decision<Unneeded> {
            Verdict::from(self).into()
        }
    }

    let layer = InterceptLayer::new(std::sync::Arc::new(Mine(Interest::requests("tools/call"))));
    let server = Server::json(RESULT);
    let had = ask(&layer, &server, post(CALL)).await;
    assert!(had.body.contains(r#""error":{"code":-1,"message":"mine""#));
    assert_eq!(ask(&layer, &server, post(LIST)).await.body, RESULT);
}
