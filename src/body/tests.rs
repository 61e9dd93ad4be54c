//! Both bodies are told apart only by what they wrap: one suite, run over each.

use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Body;
use tokio_test::{assert_pending, assert_ready, task::spawn};

use super::{RequestBody, ResponseBody};
use crate::mock_body::MockBody;

/// Polls `body` by hand until it ends; every frame as text.
macro_rules! frames {
    ($body:expr) => {{
        let mut task = spawn($body);
        let mut seen = Vec::new();
        loop {
            match task.enter(|cx, body| body.poll_frame(cx)) {
                Poll::Ready(Some(Ok(frame))) => seen.push(match frame.into_data() {
                    Ok(data) => String::from_utf8_lossy(&data).into_owned(),
                    Err(_) => "trailers".to_owned(),
                }),
                Poll::Ready(Some(Err(error))) => seen.push(format!("error: {error}")),
                Poll::Ready(None) => break seen,
                Poll::Pending => assert!(task.is_woken(), "stalled after {seen:?}"),
            }
        }
    }};
}

macro_rules! suite {
    ($name:ident, $inner:path, $fixed:path) => {
        mod $name {
            use super::*;

            #[test]
            fn inner_data_and_trailers_pass_through() {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-checksum", HeaderValue::from_static("1"));
                let body = MockBody::new().data("a").then_yield().data("").data("b");
                assert_eq!(
                    frames!($inner(body.trailers(trailers))),
                    ["a", "", "b", "trailers"]
                );
            }

            #[test]
            fn inner_error_passes_through() {
                let body = MockBody::new().data("a").error("reset");
                let mut task = spawn($inner(body));
                assert!(
                    assert_ready!(task.enter(|cx, body| body.poll_frame(cx)))
                        .is_some_and(|f| f.is_ok())
                );
                let error = assert_ready!(task.enter(|cx, body| body.poll_frame(cx)))
                    .expect("an error comes before the end")
                    .expect_err("the body broke");
                assert_eq!(error.to_string(), "reset");
            }

            #[test]
            fn inner_end_and_size_are_the_inner_bodys() {
                let known = $inner(MockBody::new().data("abc").exact());
                assert_eq!(known.size_hint().exact(), Some(3));
                assert!(!known.is_end_stream());
                assert_eq!(frames!(known), ["abc"]);

                let unknown = $inner(MockBody::new().data("abc"));
                assert_eq!(unknown.size_hint().exact(), None);
                assert!(!$inner(MockBody::new()).is_end_stream());
                assert!($inner(MockBody::new().knows_end()).is_end_stream());
            }

            #[test]
            fn inner_that_waits_is_woken_by_inner() {
                let body = MockBody::new().stall();
                let stalled = body.stalled();
                let mut task = spawn($inner(body));
                assert_pending!(task.enter(|cx, body| body.poll_frame(cx)));
                stalled.take().expect("inner kept the waker").wake();
                assert!(task.is_woken());
            }

            #[test]
            fn fixed_bytes_come_once_with_an_exact_size() {
                let body = $fixed(Bytes::from_static(b"refused"));
                assert_eq!(body.size_hint().exact(), Some(7));
                assert!(!body.is_end_stream());

                let mut task = spawn(body);
                let frame = assert_ready!(task.enter(|cx, body| body.poll_frame(cx)));
                let data = frame.expect("one frame").expect("no error").into_data();
                assert_eq!(data.expect("data"), "refused");
                assert!(task.is_end_stream());
                assert_eq!(task.size_hint().exact(), Some(0));
                for _ in 0..2 {
                    assert!(assert_ready!(task.enter(|cx, body| body.poll_frame(cx))).is_none());
                }
            }

            #[test]
            fn fixed_and_empty_is_over_at_once() {
                let body = $fixed(Bytes::new());
                assert!(body.is_end_stream());
                assert_eq!(body.size_hint().exact(), Some(0));
                assert!(frames!(body).is_empty());
            }
        }
    };
}

suite!(
    response,
    ResponseBody::<MockBody>::inner,
    ResponseBody::<MockBody>::fixed
);
suite!(
    request,
    RequestBody::<MockBody>::streaming,
    RequestBody::<MockBody>::from
);

#[test]
fn defaults_are_empty_whatever_the_inner_body_is() {
    // tower-http #679: without `Default`, no layer that needs `B: Default` stacks outside; and
    // hyper's `Incoming` has none.
    struct NoDefault;
    fn assert_default<B: Default>() {}
    assert_default::<ResponseBody<NoDefault>>();
    assert_default::<RequestBody<NoDefault>>();

    assert!(ResponseBody::<MockBody>::default().is_end_stream());
    assert!(frames!(ResponseBody::<MockBody>::default()).is_empty());
    assert!(RequestBody::<MockBody>::default().is_end_stream());
}
