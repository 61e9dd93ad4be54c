use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header::CONNECTION};
use http_body::Body;
use pin_project_lite::pin_project;

use super::collect::{Collect, CollectError};
use crate::{
    deadline::Deadline,
    jsonrpc::{ErrorObject, code},
    refusal::Refusal,
};

pin_project! {
    /// Waits for a body to arrive whole, within a limit and a deadline.
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Arrival<B> {
        #[pin]
        collect: Collect<B>,
        limits: Limits,
        // Of the request: it decides how a refusal ends the connection.
        version: Version,
        // A body that came with its head is there on the second look, and needs no timer.
        has_waited: bool,
        #[pin]
        deadline: Deadline,
    }
}

/// How much of a body is read, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_body_bytes: usize,
    pub(crate) read_timeout: Option<Duration>,
}

impl Limits {
    pub(crate) const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
    pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(30);

    pub(crate) const DEFAULT: Self = Self {
        max_body_bytes: Self::MAX_BODY_BYTES,
        read_timeout: Some(Self::READ_TIMEOUT),
    };
}

impl<B: Body> Arrival<B> {
    /// The refusal of a body that says that it is too long before a byte of it is read.
    pub(crate) fn refusal(body: &B, limits: Limits, version: Version) -> Option<Refusal> {
        Collect::is_refused(body, limits.max_body_bytes)
            .then(|| too_large(limits.max_body_bytes, version))
    }

    pub(crate) fn new(body: B, limits: Limits, version: Version) -> Self {
        Self {
            collect: Collect::new(body, limits.max_body_bytes),
            limits,
            version,
            has_waited: false,
            deadline: Deadline::new(),
        }
    }
}

impl<B> Future for Arrival<B>
where
    B: Body<Data = Bytes>,
{
    type Output = Result<Bytes, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Limits {
            max_body_bytes,
            read_timeout,
        } = *this.limits;
        match this.collect.poll(cx) {
            Poll::Ready(Ok(body)) => Poll::Ready(Ok(body)),
            Poll::Ready(Err(CollectError::TooLarge)) => {
                Poll::Ready(Err(too_large(max_body_bytes, *this.version)))
            }
            Poll::Ready(Err(CollectError::Body(_))) => Poll::Ready(Err(unreadable())),
            Poll::Pending => {
                let Some(timeout) = read_timeout else {
                    return Poll::Pending;
                };
                if !*this.has_waited {
                    *this.has_waited = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                ready!(this.deadline.poll(timeout, cx));
                Poll::Ready(Err(too_slow(timeout, *this.version)))
            }
        }
    }
}

fn too_large(limit: usize, version: Version) -> Refusal {
    let refusal = Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        ErrorObject::new(code::PAYLOAD_TOO_LARGE, "the request body is too large")
            .add_number("maxBytes", limit as u64),
    );
    closing(refusal, version)
}

/// Says that the connection ends with this response, because what is left of the body is not read
/// (RFC 9112 §9.6). Later versions of HTTP have no such field.
fn closing(refusal: Refusal, version: Version) -> Refusal {
    if version > Version::HTTP_11 {
        return refusal;
    }
    refusal.with_header(CONNECTION, HeaderValue::from_static("close"))
}

fn too_slow(timeout: Duration, version: Version) -> Refusal {
    let refusal = Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        ErrorObject::new(
            code::REQUEST_TIMEOUT,
            "the request body did not arrive in time",
        )
        .add_number(
            "timeoutMs",
            u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        ),
    );
    closing(refusal, version)
}

fn unreadable() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        ErrorObject::new(code::INVALID_REQUEST, "the request body broke off"),
    )
}
