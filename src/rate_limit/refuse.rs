use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Response, StatusCode};

use super::{
    Budget, Charge, Rejection, RejectionKind,
    fields::{insert_retry_after, millis},
    layer::Config,
};
use crate::{
    jsonrpc::{ErrorObject, code},
    message::Message,
    refusal::{Recipient, Refusal},
};

/// A whole answer. Boxed, because few requests are refused, and all keep the place.
pub(super) type Refused = Box<Response<Bytes>>;

/// Has the last word on a refusal.
#[derive(Clone, Default)]
pub(super) struct OnRefuse(pub(super) Option<Arc<Hook>>);

type Hook = dyn Fn(&Rejection, Response<Bytes>) -> Response<Bytes> + Send + Sync;

/// Refuses what was rejected.
#[cold]
pub(super) fn rejected(
    rejection: &Rejection,
    charge: Charge,
    config: &Config,
    message: Option<&Message>,
) -> Refused {
    tracing::debug!(?rejection, "refusing a request");
    let error = |code, message| ErrorObject::new(code, message);
    let (status, error) = match rejection.kind() {
        RejectionKind::OverQuota => (
            StatusCode::TOO_MANY_REQUESTS,
            error(code::TOO_MANY_REQUESTS, "too many requests"),
        ),
        RejectionKind::TooManyOpen => (
            StatusCode::TOO_MANY_REQUESTS,
            error(
                code::TOO_MANY_REQUESTS,
                "too many streams and calls at once",
            ),
        ),
        RejectionKind::NeverFits => (
            StatusCode::FORBIDDEN,
            error(code::NEVER_FITS, "the request costs more than its quota")
                .add_number("cost", charge.cost().into())
                .add_number("quota", config.policy.quota().burst().into()),
        ),
    };
    let is_for_good = rejection.kind() == RejectionKind::NeverFits;
    let error = if is_for_good {
        error
    } else {
        error.add_number("retryAfterMs", millis(rejection.retry_after()))
    };
    let recipient = Recipient::from(message);
    let mut response = Refusal::new(status, error).into_bytes(&recipient);
    if !is_for_good {
        insert_retry_after(response.headers_mut(), rejection.retry_after());
    }
    // What comes back for streams has another quota, which nobody is told of.
    if charge.budget() == Budget::Requests
        && let Some(fields) = config.policy.fields(rejection.whole_in())
    {
        fields.append_to(response.headers_mut());
    }
    Box::new(match &config.on_refuse.0 {
        Some(hook) => hook(rejection, response),
        None => response,
    })
}

/// Refuses what has no key, whose client is not told why (B54).
pub(super) fn keyless(message: Option<&Message>) -> Refused {
    let error = ErrorObject::new(code::INTERNAL_ERROR, "internal error");
    let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    Box::new(refusal.into_bytes(&Recipient::from(message)))
}

impl fmt::Debug for OnRefuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "none",
            Some(_) => "..",
        })
    }
}
