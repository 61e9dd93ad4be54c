//! What becomes of messages if an interceptor fails, or if nobody can judge them.

mod intercept_support;

use std::{
    future::Future,
    pin::Pin,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use http::Request;
use intercept_support::{
    CALL, LOG, NOTE, RESULT, Server, all, ask, data, events, identity, post, requests, unread,
};
use shadowcat::{
    intercept::{
        self, Chain, Context, Decision, Direction, InterceptError, InterceptLayer, Interceptor,
        Interest, Judgement, Message, Verdict,
    },
    jsonrpc::Kind,
};

/// IC-4, A60: what is not the same message fails closed, or passes as it was.
#[tokio::test]
async fn a60_replacement_that_is_another_message_is_a_failure() {
    let long = CALL.replace("echo", &"x".repeat(2000));
    let twice = CALL.replace(r#""id":7,"#, r#""id":7,"id":7,"#);
    for text in [
        "",
        "{",
        "[]",
        "7",
        &CALL[1..],
        &CALL.replace(":7,", ":8,"),
        &CALL.replace(":7,", r#":"7","#),
        &CALL.replace("tools/call", "tools/list"),
        &CALL.replace(r#""id":7,"#, ""),
        &CALL.replace("2.0", "1.0"),
        &format!("[{CALL}]"),
        &twice,
        &CALL.replace("params", "Params"),
        RESULT,
        &long,
    ] {
        let owned = text.to_owned();
        let replacing = move |_: &Context, _: &Message| Verdict::Replace(owned.clone().into());
        let server = Server::json(RESULT);
        let layer = InterceptLayer::new(requests(replacing.clone())).with_max_message_bytes(1000);
        let had = ask(&layer, &server, post(CALL)).await;
        assert_eq!(had.status, 500, "{text}");
        assert!(
            had.body.starts_with(
                r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"internal error""#
            ),
            "{}",
            had.body
        );
        assert!(!server.was_asked());
        assert_eq!(layer.handle().stats().failed_total, 1);

        let open = requests(replacing).pass_on_failure();
        let layer = InterceptLayer::new(open).with_max_message_bytes(1000);
        assert_eq!(ask(&layer, &server, post(CALL)).await.status, 200, "{text}");
        assert_eq!(server.one().1, CALL);
    }
    let bytes = requests(|_, _| Verdict::Replace(b"\xff".to_vec().into()));
    let server = Server::json(RESULT);
    let had = ask(&InterceptLayer::new(bytes), &server, post(CALL)).await;
    assert_eq!((had.status.as_u16(), server.was_asked()), (500, false));
    // What would break out of its place.
    for result in ["", "{", r#"{},"error":{}"#, "{}}", "1 2"] {
        let mock = requests(move |_, _| Verdict::Respond(result.into()));
        let had = ask(&InterceptLayer::new(mock), &server, post(CALL)).await;
        assert_eq!(had.status, 500, "{result}");
    }
}

/// Panics, returns an error, or never returns: when it is asked, or later.
enum Failing {
    Panics,
    Errs,
    PanicsLater,
    ErrsLater,
    PanicsAfterAwait,
    PanicsWhenDropped,
    PanicsWhenDone,
    NeverReturns,
}

struct DropPanics;

impl Future for DropPanics {
    type Output = Judgement;

    fn poll(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Judgement> {
        Poll::Ready(Ok(Verdict::Continue))
    }
}

impl Drop for DropPanics {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

impl Interceptor for Failing {
    type Future = Pin<Box<dyn Future<Output = Judgement> + Send>>;

    fn interest(&self) -> std::borrow::Cow<'_, Interest> {
        std::borrow::Cow::Owned(Interest::all())
    }

    fn intercept(&self, _: &Context, _: &Message) -> Decision<Self::Future> {
        match self {
            Self::Panics => panic!("at once"),
            Self::Errs => Decision::Now(Err(InterceptError::new("at once"))),
            Self::PanicsLater => Decision::Later(Box::pin(async { panic!("later") })),
            Self::ErrsLater => Decision::Later(Box::pin(async {
                Err(std::io::Error::other("later").into())
            })),
            Self::PanicsAfterAwait => Decision::Later(Box::pin(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                panic!("after await")
            })),
            Self::PanicsWhenDropped => Decision::Later(Box::pin(async {
                let _held = DropPanics;
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Ok(Verdict::Continue)
            })),
            Self::PanicsWhenDone => Decision::Later(Box::pin(DropPanics)),
            Self::NeverReturns => Decision::Later(Box::pin(std::future::pending())),
        }
    }
}

const FAILING: [Failing; 8] = [
    Failing::Panics,
    Failing::Errs,
    Failing::PanicsLater,
    Failing::ErrsLater,
    Failing::PanicsAfterAwait,
    Failing::PanicsWhenDropped,
    Failing::PanicsWhenDone,
    Failing::NeverReturns,
];

/// The same, towards what comes back.
struct Back(Failing);

impl Interceptor for Back {
    type Future = <Failing as Interceptor>::Future;

    fn interest(&self) -> std::borrow::Cow<'_, Interest> {
        std::borrow::Cow::Owned(Interest::in_direction(Direction::ToClient))
    }

    fn intercept(&self, cx: &Context, message: &Message) -> Decision<Self::Future> {
        self.0.intercept(cx, message)
    }
}

/// IC-2, ICP-4: who waits is told, and nothing gets by.
#[tokio::test(start_paused = true)]
async fn ic_2_failing_interceptor_of_events_refuses_each_and_the_stream_goes_on() {
    const ERROR: &str = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"internal error","data":{"source":"shadowcat"}}}"#;
    let stream = format!("id: 1\ndata: {LOG}\n\nid: 2\ndata: {RESULT}\n\n: end\n");
    for failing in FAILING {
        let layer = InterceptLayer::new((identity(), Back(failing), identity()));
        let had = ask(&layer, &Server::stream(&stream).cut(7), post(CALL)).await;
        assert_eq!(
            had.body,
            format!("id: 1\n\nid: 2\ndata: {ERROR}\n\n: end\n")
        );
        assert_eq!(layer.handle().stats().failed_total, 2);
        let had = ask(&layer, &Server::json(RESULT), post(CALL)).await;
        assert_eq!(had.body, ERROR);
    }
    for failing in FAILING {
        let layer = InterceptLayer::new((identity(), Back(failing).pass_on_failure()));
        let had = ask(&layer, &Server::stream(&stream).cut(7), post(CALL)).await;
        assert_eq!(had.body, stream);
    }
}

/// IC-2, C48, C49.
#[tokio::test(start_paused = true)]
async fn ic_2_failing_interceptor_refuses_and_says_nothing_of_it() {
    for failing in FAILING {
        let layer = InterceptLayer::new(failing);
        let server = Server::json(RESULT);
        let had = ask(&layer, &server, post(CALL)).await;
        assert_eq!(had.status, 500);
        assert_eq!(
            had.body,
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"internal error","data":{"source":"shadowcat"}}}"#
        );
        assert!(!server.was_asked());
        let had = ask(&layer, &server, post(NOTE)).await;
        assert_eq!((had.status.as_u16(), &*had.body), (500, ""));
        assert_eq!(layer.handle().stats().failed_total, 2);
        let had = ask(&layer, &server, post(&format!("[{CALL}]"))).await;
        assert_eq!(had.status, 500);
        assert!(
            had.body.starts_with("[{") && had.body.contains("-32603"),
            "{}",
            had.body
        );
    }
}

#[tokio::test(start_paused = true)]
async fn failing_interceptor_may_be_one_that_only_watches() {
    for failing in FAILING {
        let layer = InterceptLayer::new((identity(), failing.pass_on_failure(), identity()));
        let server = Server::json(RESULT);
        let had = ask(&layer, &server, post(CALL)).await;
        assert_eq!((had.status.as_u16(), &*had.body), (200, RESULT));
        assert_eq!(server.one().1, CALL);
        assert_eq!(layer.handle().stats().failed_total, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn c49_deadline_is_each_interceptors_own() {
    let start = tokio::time::Instant::now();
    let (slow, quick) = (Failing::NeverReturns, Failing::NeverReturns);
    let chain = (
        slow.pass_on_failure(),
        quick.with_timeout(Some(Duration::from_millis(20))),
    );
    let had = ask(
        &InterceptLayer::new(chain),
        &Server::json(RESULT),
        post(CALL),
    )
    .await;
    assert_eq!(had.status, 500);
    // And 5 s more on the way back through the first one, which goes on without it.
    assert_eq!(start.elapsed(), Duration::from_millis(10_020));
    // A delay is none of its time.
    let start = tokio::time::Instant::now();
    let chain = requests(|_, _| Verdict::Delay(Duration::from_secs(60)))
        .with_timeout(Some(Duration::from_millis(1)));
    let had = ask(
        &InterceptLayer::new(chain),
        &Server::json(RESULT),
        post(CALL),
    )
    .await;
    assert_eq!(had.status, 200);
    assert_eq!(start.elapsed(), Duration::from_secs(60));
}

/// JRP-10, B52: what can be read in two ways is not judged, if somebody would have to.
#[tokio::test]
async fn b52_request_that_can_be_read_in_two_ways_is_refused_if_somebody_is_interested() {
    let interested = InterceptLayer::new(identity());
    // In anything: nobody could say what the response would answer.
    let only_back = InterceptLayer::new(intercept::sync_fn(
        Interest::responses("secrets/read"),
        |_, _| Verdict::Continue,
    ));
    let logs = Interest::none().add(Direction::ToClient, Kind::Notification, "*");
    let only_logs = InterceptLayer::new(intercept::sync_fn(logs, |_, _| Verdict::Continue));
    let server = Server::json(RESULT);
    let mut refused = 0;
    for (body, code) in [
        ("", "-32700"),
        ("no JSON", "-32700"),
        ("{}", "-32600"),
        ("[]", "-32600"),
        ("[7]", "-32600"),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"secrets/read","method":"ping"}"#,
            "-32600",
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","Method":"secrets/read"}"#,
            "-32600",
        ),
        (
            r#"[{"jsonrpc":"2.0","id":7,"method":"ping","id":8}]"#,
            "-32600",
        ),
        (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, "-32600"),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","method":"tools/call"}"#,
            "-32600",
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"Method":"tools/call","method":"tools/list"}"#,
            "-32600",
        ),
    ] {
        refused += 1;
        for request in [post(body), unread(body)] {
            let had = ask(&interested, &server, request.clone()).await;
            assert_eq!(had.status, 400, "{body}");
            assert!(had.body.contains(code), "{}", had.body);
            let had = ask(&only_back, &server, request.clone()).await;
            assert_eq!(had.status, 400, "{body}");
            assert_eq!(ask(&only_logs, &server, request).await.status, 400);
        }
        assert!(!server.was_asked());
        // And they are counted.
        let stats = only_back.handle().stats();
        assert_eq!(
            (stats.unreadable_total, stats.refused_total),
            (2 * refused, 0)
        );
        let nobody = Chain::new()
            .add_interceptor(intercept::sync_fn(Interest::none(), |_, _| -> Verdict {
                panic!("not asked")
            }));
        let had = ask(&InterceptLayer::new(nobody), &server, unread(body)).await;
        assert_eq!(had.status, 200);
        assert_eq!(server.one().1, body);
    }
    // Also if they are interested in one of the two ways alone.
    let twice = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","method":"tools/call"}"#;
    let lists = InterceptLayer::new(intercept::sync_fn(
        Interest::requests("tools/list"),
        |_, _| Verdict::Continue,
    ));
    assert_eq!(ask(&lists, &server, post(twice)).await.status, 400);
    assert!(!server.was_asked());
    // Whatever type it says it has: a server need not look.
    let mut request: Request<_> = unread(CALL);
    request.headers_mut().remove("content-type");
    let refusing = InterceptLayer::new(requests(|_, _| Verdict::refuse("no")));
    assert!(
        ask(&refusing, &server, request)
            .await
            .body
            .contains("-31403")
    );
}

/// Nothing grows without bound: neither what several events together become, nor what a batch does.
#[tokio::test]
async fn over_producing_interceptor_gets_no_further_than_the_limit() {
    use http_body::Body as _;
    use tokio_test::{assert_ready, task::spawn};
    use tower::{Layer, ServiceExt};

    const MAX: usize = 100_000;
    let inflate = || {
        all(|_, message| {
            let big = format!("\"{}\"", "x".repeat(90_000));
            let mut edit = message.edit();
            match edit.set("/params/data", &big) {
                Ok(()) => edit.into(),
                Err(_) => Verdict::Continue,
            }
        })
    };
    let layer = InterceptLayer::new(inflate()).with_max_message_bytes(MAX);
    // In one chunk, but not in one frame.
    let server = Server::stream(&events(&[LOG; 50]));
    let Ok(response) = layer.layer(server).oneshot(post(CALL)).await;
    let mut body = spawn(response.into_body());
    for _ in 0..50 {
        let frame = assert_ready!(body.enter(|cx, body| body.poll_frame(cx)));
        let frame = frame.expect("a frame").expect("no error").into_data();
        let len = frame.expect("data").len();
        assert!((90_000..2 * MAX).contains(&len), "{len}");
    }
    assert!(assert_ready!(body.enter(|cx, body| body.poll_frame(cx))).is_none());
    // A batch is one event.
    let batch = format!("[{LOG},{LOG}]");
    let had = ask(&layer, &Server::stream(&events(&[LOG, &batch])), post(CALL)).await;
    let had = data(&had.body);
    assert_eq!(had.len(), 2);
    assert!(had[1].contains("too large"), "{}", had[1]);
    // And one request.
    let server = Server::json(RESULT);
    let had = ask(&layer, &server, post(&format!("[{CALL},{CALL}]"))).await;
    assert_eq!(had.status, 500);
    assert_eq!(
        had.body.matches(r#""id":7,"error":{"code":-32603"#).count(),
        2
    );
    assert!(!server.was_asked());
}
