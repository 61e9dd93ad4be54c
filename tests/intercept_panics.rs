//! C48: an interceptor panics wherever it can, and it is nobody else's business.

mod intercept_support;

use std::{
    borrow::Cow,
    convert::Infallible,
    fmt,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    pin::Pin,
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context as TaskContext, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use intercept_support::{
    CALL, Inner, LOG, Live, NOTE, RESULT, Server, ask, back, events, get, identity, post,
};
use shadowcat::intercept::{
    BodyErrorKind, Chain, Context, Decision, InterceptError, InterceptLayer, Interceptor, Interest,
    Judgement, Message, Options, Verdict, async_fn,
};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service, service_fn};

#[derive(Clone, Copy, Debug, PartialEq)]
enum In {
    Interest,
    Options,
    Name,
    Error,
    Payload,
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("in an error")
    }
}

impl std::error::Error for Unspeakable {}

/// Fails, and panics there.
struct Panics(In);

impl Interceptor for Panics {
    type Future = std::future::Pending<Judgement>;

    fn interest(&self) -> Cow<'_, Interest> {
        assert!(self.0 != In::Interest, "in interest");
        Cow::Owned(Interest::all())
    }

    fn intercept(&self, _: &Context, _: &Message) -> Decision<Self::Future> {
        match self.0 {
            In::Error => Decision::Now(Err(Unspeakable.into())),
            In::Payload => panic_any(Bomb),
            // It would be the default of 5 s.
            In::Options => Decision::Later(pending()),
            In::Interest | In::Name => Decision::Now(Err(InterceptError::new("failed"))),
        }
    }

    fn options(&self) -> Options {
        assert!(self.0 != In::Options, "in options");
        Options::DEFAULT
    }

    fn name(&self) -> &str {
        assert!(self.0 != In::Name, "in name");
        "panics"
    }
}

/// A name is asked for only if somebody logs it. For all tests, or the first of them may have it that nobody
/// does.
fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(std::io::sink)
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("the only one");
    });
}

const ERROR: &str = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"internal error","data":{"source":"shadowcat"}}}"#;

#[tokio::test(start_paused = true)]
async fn c48_panic_in_any_method_refuses_the_message_and_no_more() {
    log();
    for place in [In::Interest, In::Options, In::Name, In::Error, In::Payload] {
        let layer = InterceptLayer::new((identity(), Panics(place)));
        let server = Server::json(RESULT);
        for body in [CALL, NOTE] {
            let had = ask(&layer, &server, post(body)).await;
            assert_eq!(had.status, 500, "{place:?}");
        }
        assert!(!server.was_asked());
        assert_eq!(layer.handle().stats().failed_total, 2);
        // What only watches may, unless it panics when it is asked that.
        if place != In::Options {
            let chain = Chain::new().add_interceptor(Panics(place).pass_on_failure());
            let had = ask(&InterceptLayer::new(chain), &server, post(CALL)).await;
            assert_eq!((had.status.as_u16(), &*had.body), (200, RESULT));
        }
    }
}

/// Panics in `interest`, but only once something comes back.
struct PanicsBack {
    asked: AtomicUsize,
}

impl Interceptor for PanicsBack {
    type Future = std::future::Pending<Judgement>;

    fn interest(&self) -> Cow<'_, Interest> {
        assert!(self.asked.fetch_add(1, Relaxed) < 2, "in interest");
        Cow::Owned(Interest::all())
    }

    fn intercept(&self, _: &Context, _: &Message) -> Decision<Self::Future> {
        Verdict::Continue.into()
    }
}

#[tokio::test]
async fn c48_panic_in_interest_loses_no_event() {
    log();
    let layer = InterceptLayer::new(PanicsBack {
        asked: AtomicUsize::new(0),
    });
    let server = Server::stream(&events(&[RESULT]));
    let had = ask(&layer, &server, post(CALL)).await;
    assert_eq!(had.body, events(&[ERROR]));
    assert_eq!(layer.handle().stats().failed_total, 1);
}

/// Whoever gives up a request or a stream gets no panic of what was waiting there.
#[tokio::test(start_paused = true)]
async fn c48_panic_of_a_future_that_is_dropped_hits_nobody() {
    log();
    let dropped = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dropped);
    let waiting = move || {
        let counted = Arc::clone(&counted);
        async_fn(Interest::all(), move |_, _| {
            let counted = Arc::clone(&counted);
            async move {
                let _bomb = Bomb;
                let _counted = Counted(counted);
                pending::<Judgement>().await
            }
        })
    };
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let layer = InterceptLayer::new(waiting());
    let mut call = spawn(layer.layer(Server::json(RESULT)).call(post(CALL)));
    assert_pending!(call.poll());
    drop(call);
    assert_eq!(dropped.load(Relaxed), 1);
    let chain = Chain::new().add_interceptor(waiting());
    let layer = InterceptLayer::new(chain);
    let (live, say) = Live::new("text/event-stream");
    // Of a request with no message, so that nobody waits before the response is there.
    let Ok(response) = assert_ready!(spawn(layer.layer(live).call(get())).poll());
    let mut body = spawn(response.into_body());
    say.send(events(&[LOG]).into()).expect("it is read");
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    drop(body);
    assert_eq!(dropped.load(Relaxed), 2);
    assert!(say.is_closed());
}

/// Two events, of which the second one panics on its way.
struct Panicking(usize);

impl Body for Panicking {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0 += 1;
        match self.0 {
            1 => Poll::Ready(Some(Ok(Frame::data(events(&[LOG]).into())))),
            2 => panic!("in a body"),
            _ => Poll::Ready(None),
        }
    }
}

/// Whoever catches a panic and polls again is told that something is lost: never of a clean end.
#[tokio::test]
async fn c48_body_that_has_panicked_does_not_end_cleanly() {
    log();
    let inner = service_fn(async |_: Inner| {
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok::<_, Infallible>(response.body(Panicking(0)).expect("valid"))
    });
    let layer = InterceptLayer::new(back(|_, _| Verdict::Continue));
    let Ok(response) = assert_ready!(spawn(layer.layer(inner).call(post(CALL))).poll());
    let mut body = spawn(response.into_body());
    let mut next = move || body.enter(|cx, body| body.poll_frame(cx));
    let frame = assert_ready!(next()).expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), events(&[LOG]));
    assert!(catch_unwind(AssertUnwindSafe(&mut next)).is_err());
    let error = assert_ready!(next()).expect("no clean end");
    assert_eq!(error.expect_err("no frame").kind(), BodyErrorKind::Panicked);
    assert!(assert_ready!(next()).is_none());
}

/// What an interceptor leaves for later is somebody's too: it may look at the exchange while it is cloned.
#[test]
fn values_of_an_exchange_are_cloned_with_nothing_locked() {
    struct Curious(Context);

    impl Clone for Curious {
        fn clone(&self) -> Self {
            assert_eq!(self.0.get::<u32>(), Some(3));
            Self(self.0.clone())
        }
    }

    let cx = Context::new(
        shadowcat::intercept::Direction::ToServer,
        http::Extensions::new(),
    );
    assert_eq!(cx.insert(3_u32), None);
    assert!(cx.insert(Curious(cx.clone())).is_none());
    let (sender, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(cx.get::<Curious>().is_some()));
    let is_there = done.recv_timeout(std::time::Duration::from_secs(10));
    assert_eq!(is_there, Ok(true), "it waits for itself");
}
