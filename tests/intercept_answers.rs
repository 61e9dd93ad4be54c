//! What is answered in place of the server: one request, and batches whole.

mod intercept_support;

use http_body_util::BodyExt;
use intercept_support::{CALL, Inner, LIST, NOTE, RESULT, Seen, Server, all, ask, post, requests};
use shadowcat::{
    intercept::{Direction, InterceptLayer, Interest, Links, Verdict, sync_fn},
    jsonrpc::{ErrorObject, Kind},
    protocol::Era,
    refusal::Refused,
};
use tower::{Layer, ServiceExt};

/// The status, and the code that a layer outside can count.
async fn told(layer: &InterceptLayer<impl Links>, request: Inner) -> (u16, Option<i32>, String) {
    let service = layer.layer(Server::json(RESULT));
    let Ok(response) = service.oneshot(request).await;
    let code = response.extensions().get::<Refused>().map(Refused::code);
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body");
    let body = String::from_utf8(body.to_bytes().to_vec()).expect("UTF-8");
    (status, code, body)
}

/// A verdict on each message by its name, or else by its method.
fn by_name() -> impl Links {
    all(|cx, message| {
        let envelope = message.envelope();
        let name = envelope.name().or(envelope.method()).unwrap_or_default();
        match &*name {
            _ if cx.direction() == Direction::ToClient => Verdict::Continue,
            "mock" => Verdict::Respond("{}".into()),
            "refuse" | "notifications/refused" => Verdict::refuse("no"),
            "own" => ErrorObject::new(-7, "no").into(),
            "panic" | "notifications/panics" => panic!("in a test"),
            _ => Verdict::Continue,
        }
    })
}

/// ICP-5: the status and the code are those of what went wrong, and there are none if nothing did.
#[tokio::test]
async fn icp_5_batch_tells_a_layer_outside_what_was_wrong() {
    let call = |id: u32, name: &str| {
        CALL.replace("echo", name)
            .replace(":7,", &format!(":{id},"))
    };
    let note = |name: &str| NOTE.replace("initialized", name);
    let layer = InterceptLayer::new(by_name());
    for (batch, status, code) in [
        (vec![call(1, "mock"), call(2, "mock")], 200, None),
        (vec![call(1, "mock"), note("x")], 200, None),
        (vec![call(1, "mock"), call(2, "refuse")], 200, Some(-31403)),
        (vec![call(1, "mock"), call(2, "other")], 200, Some(-31403)),
        (vec![call(1, "other"), call(2, "own")], 200, Some(-7)),
        (vec![call(1, "own"), call(2, "refuse")], 200, Some(-7)),
        (vec![call(1, "panic"), call(2, "panic")], 500, Some(-32603)),
        (vec![call(1, "refuse"), call(2, "panic")], 500, Some(-32603)),
        (vec![call(1, "panic"), call(2, "own")], 500, Some(-32603)),
        (vec![call(1, "other"), note("refused")], 200, Some(-31403)),
        (vec![call(1, "other"), note("panics")], 500, Some(-32603)),
        (vec![note("refused")], 403, Some(-31403)),
        (vec![note("panics"), note("refused")], 500, Some(-31500)),
        (vec![call(1, "other"), note("x")], 200, None),
    ] {
        let body = format!("[{}]", batch.join(","));
        let had = told(&layer, post(&body)).await;
        assert_eq!((had.0, had.1), (status, code), "{body}: {}", had.2);
    }
    for (name, code) in [("refuse", -31403), ("own", -7), ("panic", -32603)] {
        assert_eq!(told(&layer, post(&call(7, name))).await.1, Some(code));
    }
    assert_eq!(told(&layer, post(&call(7, "mock"))).await.1, None);
}

/// IC-3: those that the request has been through are told which one it answers.
#[tokio::test]
async fn ic_3_own_answer_comes_back_as_one_to_its_request() {
    let seen = Seen::default();
    let noted = seen.clone();
    let about = Interest::responses("tools/call");
    let watch = sync_fn(about, move |cx, message| {
        let request = cx.request().expect("it answers one");
        noted.note(format!("{} {}", request.as_str(), message.as_str()));
        Verdict::Continue
    });
    let mock = requests(|_, _| Verdict::Respond("{}".into()));
    let layer = InterceptLayer::new((watch, mock));
    let batch = format!("[{LIST},{CALL}]");
    ask(&layer, &Server::json(RESULT), post(&batch)).await;
    let answer = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#;
    assert_eq!(seen.take(), [format!("{CALL} {answer}")]);
}

/// Nothing grows without bound.
#[tokio::test]
async fn mock_that_is_too_long_is_a_failure() {
    for (len, status) in [(98, 200), (99, 500)] {
        let result = format!("\"{}\"", "x".repeat(len));
        let mock = requests(move |_, _| Verdict::Respond(result.clone().into()));
        let layer = InterceptLayer::new(mock).with_max_message_bytes(100);
        let had = ask(&layer, &Server::json(RESULT), post(LIST)).await;
        assert_eq!(had.status, status);
    }
}

/// JRP-13: a mock that says what it is says it once.
#[tokio::test]
async fn jrp_13_type_of_a_mocked_result_stays() {
    const ASKS: &str = r#"{"resultType":"input_required","x":1}"#;
    let mock = requests(|_, _| Verdict::Respond(ASKS.into()));
    let layer = InterceptLayer::new(mock);
    let mut request = post(LIST);
    request.extensions_mut().insert(Era::Stateless);
    let had = ask(&layer, &Server::json(RESULT), request).await;
    assert_eq!(
        had.body,
        format!(r#"{{"jsonrpc":"2.0","id":"a","result":{ASKS}}}"#)
    );
}

/// A batch of many: each response finds its request, also by an id that is written otherwise.
#[tokio::test]
async fn responses_to_a_long_batch_find_their_requests() {
    let call = |nth: usize| CALL.replace(":7,", &format!(":\"n{nth}\","));
    let (seen, count) = (Seen::default(), 300);
    let noted = seen.clone();
    let watch = sync_fn(Interest::responses("*"), move |cx, message| {
        assert_eq!(message.kind(), Kind::Response);
        let id = |request: &shadowcat::intercept::Message| request.envelope().id();
        let request = cx.request().and_then(id);
        noted.note(format!("{:?}", request.map(|id| id.to_string())));
        Verdict::Continue
    });
    let calls: Vec<_> = (0..count).map(call).collect();
    let answers = (0..count)
        .rev()
        .map(|nth| RESULT.replace(":7,", &format!(":\"\\u006e{nth}\",")))
        .chain([RESULT.to_owned()]);
    let stream: String = answers.map(|one| format!("data: {one}\n\n")).collect();
    let layer = InterceptLayer::new(watch);
    let body = format!("[{}]", calls.join(","));
    ask(&layer, &Server::stream(&stream), post(&body)).await;
    let mut expected: Vec<_> = (0..count)
        .rev()
        .map(|nth| format!("{:?}", Some(format!("\"n{nth}\""))))
        .collect();
    expected.push("None".to_owned());
    assert_eq!(seen.take(), expected);
}
