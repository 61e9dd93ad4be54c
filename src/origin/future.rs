use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use pin_project_lite::pin_project;

use super::reason::Reason;
use crate::{body::ResponseBody, refusal::Recipient};

pin_project! {
    /// The response of a [`CheckOrigin`](super::CheckOrigin): the inner service's, or a refusal.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<F> {
        Calling {
            #[pin]
            call: F,
        },
        Refused {
            reason: Option<Reason>,
        },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn calling(call: F) -> Self {
        Self {
            kind: Kind::Calling { call },
        }
    }

    pub(super) const fn refused(reason: Reason) -> Self {
        Self {
            kind: Kind::Refused {
                reason: Some(reason),
            },
        }
    }
}

impl<F, ResBody, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Calling { call } => call.poll(cx).map_ok(|r| r.map(ResponseBody::inner)),
            KindProj::Refused { reason } => {
                let reason = reason.take().expect("polled after completion");
                // Nothing was read, so nobody's id is known.
                Poll::Ready(Ok(reason.refusal().into_response(&Recipient::default())))
            }
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Calling { .. } => "Calling",
            Kind::Refused { .. } => "Refused",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{kind}"))
            .finish()
    }
}
