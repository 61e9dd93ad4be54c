//! What the rules of an exchange make of its messages.

mod intercept_support;

use intercept_support::{
    ASK, CALL, Inner, LOG, RESULT, Seen, Server, ask, back, data, events, noting, post,
};
use shadowcat::{
    intercept::{self, InterceptLayer, Interest, Verdict},
    protocol::{Era, ProtocolVersion},
};

fn in_era(era: Era) -> Inner {
    let mut request = post(CALL);
    request.extensions_mut().insert(era);
    request
}

/// S25: servers of 2026-07-28 must not ask anything in a stream.
#[tokio::test]
async fn s25_request_of_a_server_is_dropped_where_there_must_be_none() {
    let stream = format!("id: 1\ndata: {ASK}\n\ndata: [{LOG},{ASK},{RESULT}]\n\n");
    let seen = Seen::default();
    let only_responses = intercept::sync_fn(Interest::responses("*"), |_, _| Verdict::Continue);
    let only_responses = InterceptLayer::new(only_responses);
    let everything = InterceptLayer::new(noting("i", &seen));
    for len in [1, 1_000] {
        let server = Server::stream(&stream).cut(len);
        let expected = format!("id: 1\n\ndata: [{LOG},{RESULT}]\n\n");
        let had = ask(&only_responses, &server, in_era(Era::Stateless)).await;
        assert_eq!(had.body, expected);
        let had = ask(&everything, &server, in_era(Era::Stateless)).await;
        assert_eq!(had.body, expected);
        // Nobody is asked about it.
        assert!(!seen.take().iter().any(|seen| seen == "i ToClient Request"));
        let session = Era::Session(ProtocolVersion::V2025_06_18);
        for request in [in_era(session), post(CALL)] {
            assert_eq!(ask(&everything, &server, request).await.body, stream);
            assert_eq!(seen.take()[1], "i ToClient Request");
        }
    }
    for layer in [only_responses.handle(), everything.handle()] {
        let stats = layer.stats();
        assert_eq!((stats.dropped_total, stats.refused_total), (4, 0));
    }
    // Also a line of a JSON reply that lasts.
    let reply = format!("{ASK}\n{RESULT}");
    let had = ask(
        &only_responses,
        &Server::json(&reply),
        in_era(Era::Stateless),
    )
    .await;
    assert_eq!(had.body, format!("\n{RESULT}"));
    // Nobody looks at what nobody wants.
    let requests = intercept::sync_fn(Interest::requests("*"), |_, _| Verdict::Continue);
    let had = ask(
        &InterceptLayer::new(requests),
        &Server::stream(&stream),
        in_era(Era::Stateless),
    )
    .await;
    assert_eq!(had.body, stream);
}

/// JRP-13: a result of ours says what it is, once.
#[tokio::test]
async fn jrp_13_mocked_result_has_one_type() {
    for (mock, expected) in [
        ("{}", r#"{"resultType":"complete"}"#),
        (r#"{"resultType":"x"}"#, r#"{"resultType":"x"}"#),
        (r#"{"a":1}"#, r#"{"resultType":"complete","a":1}"#),
        ("[]", "[]"),
    ] {
        let layer = InterceptLayer::new(back(move |_, _| Verdict::Respond(mock.into())));
        let server = Server::stream(&events(&[RESULT]));
        let had = ask(&layer, &server, in_era(Era::Stateless)).await;
        let response = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{expected}}}"#);
        assert_eq!(data(&had.body), [response]);
        let had = ask(&layer, &server, post(CALL)).await;
        let response = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{mock}}}"#);
        assert_eq!(data(&had.body), [response]);
    }
}
