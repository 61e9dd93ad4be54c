use std::borrow::Cow;

use bytes::{BufMut, Bytes};
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};

use super::{
    Message, synthetic,
    work::{Answered, Outcome, Work},
};
use crate::{
    jsonrpc::{ErrorObject, Kind, code, splice},
    message,
    refusal::{Recipient, Refusal, Refused},
};

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Ruling {
    /// The inner service gets it: as it came, or with another body.
    Forward(Option<Bytes>),
    /// It is answered here. Boxed, because few are, and all keep the place.
    Answer(Box<Response<Bytes>>),
}

/// What became of one of the messages in a body.
#[derive(Debug)]
pub(super) enum Settled {
    Same,
    Changed(Bytes),
    Answered(Bytes, Answered),
    Gone(StatusCode),
}

impl Settled {
    pub(super) fn new(work: &Work, outcome: Outcome) -> Self {
        match (outcome, work.answered) {
            (Outcome::Pass, Some(answered)) => Self::Answered(work.message.to_bytes(), answered),
            (Outcome::Pass, None) if work.is_changed => Self::Changed(work.message.to_bytes()),
            (Outcome::Pass, None) => Self::Same,
            // Of what an interceptor did with our own answer, too: somebody waits for it.
            (Outcome::Drop(status), _) => Self::Gone(status),
        }
    }

    /// How much it takes that was not in the body.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Changed(text) | Self::Answered(text, _) => text.len(),
            Self::Same | Self::Gone(_) => 0,
        }
    }
}

impl Ruling {
    /// Of a body with one message.
    pub(super) fn single(body: &Bytes, message: &Message, settled: Settled) -> Self {
        match settled {
            Settled::Same => Self::Forward(None),
            Settled::Changed(text) => {
                let place = message.range();
                if place.len() == body.len() {
                    return Self::Forward(Some(text));
                }
                let changed = splice(body, [(place, Cow::Borrowed(&text[..]))]);
                Self::Forward(Some(changed.into()))
            }
            Settled::Answered(text, answered) => Self::answer(text, answered),
            Settled::Gone(status) => Self::gone(status),
        }
    }

    /// Of a batch: it is forwarded if all of it may be, and else answered whole (ICP-5).
    pub(super) fn batch(body: &Bytes, all: &[Message], settled: Vec<Settled>) -> Self {
        let goes_on = |one: &Settled| matches!(one, Settled::Same | Settled::Changed(_));
        if settled.iter().all(goes_on) {
            let changes: Vec<_> = all
                .iter()
                .zip(&settled)
                .filter_map(|(message, settled)| match settled {
                    Settled::Changed(text) => Some((message.range(), Cow::Borrowed(&text[..]))),
                    _ => None,
                })
                .collect();
            let is_changed = !changes.is_empty();
            return Self::Forward(is_changed.then(|| splice(body, changes).into()));
        }
        let mut text = Vec::from(b"[");
        let mut sum = Answered {
            status: StatusCode::OK,
            code: None,
        };
        let mut gone = StatusCode::ACCEPTED;
        let mut is_cut = false;
        for (message, settled) in all.iter().zip(settled) {
            let answer = match settled {
                Settled::Answered(answer, answered) => {
                    sum = sum.or(answered);
                    answer
                }
                Settled::Gone(status) => {
                    gone = gone.max(status);
                    continue;
                }
                Settled::Same | Settled::Changed(_) if message.kind() == Kind::Request => {
                    is_cut = true;
                    synthetic::not_forwarded(message)
                }
                Settled::Same | Settled::Changed(_) => continue,
            };
            if text.len() > 1 {
                text.put_u8(b',');
            }
            text.put_slice(&answer);
        }
        if text.len() == 1 {
            return Self::gone(gone);
        }
        if is_cut {
            // The reason is more to say.
            sum.code = sum.code.or(Some(code::FORBIDDEN));
        }
        if gone.is_server_error() {
            sum = sum.or(Answered::failed());
        }
        text.put_u8(b']');
        Self::answer(text.into(), sum)
    }

    /// Of a batch whose new messages are too long together.
    pub(super) fn too_long(body: &Bytes) -> Self {
        tracing::warn!("the new messages of a batch are too long");
        let error = ErrorObject::new(code::INTERNAL_ERROR, "internal error");
        let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error);
        let message = message::Message::new(body.clone());
        Self::Answer(Box::new(refusal.into_bytes(&Recipient::from(&message))))
    }

    /// An error that is one is told by HTTP only if it is ours: a server's would come with 200 too (ICP-3).
    fn answer(text: Bytes, answered: Answered) -> Self {
        let mut response = Response::new(text);
        *response.status_mut() = answered.status;
        if let Some(code) = answered.code {
            response.extensions_mut().insert(Refused::new(code));
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // What a client sent can stand in the body: it must not be sniffed as HTML (B49).
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self::Answer(Box::new(response))
    }

    /// Nobody waits for an answer (JRP-3, A54).
    fn gone(status: StatusCode) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        if !status.is_success() {
            let refused = Refused::new(code::from_status(status.as_u16()));
            response.extensions_mut().insert(refused);
        }
        Self::Answer(Box::new(response))
    }
}
