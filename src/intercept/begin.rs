use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, Method, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_LENGTH},
    request::Parts,
};

use super::{
    Direction, Links, Message,
    context::Exchange,
    deliberate::{Ruled, deliberate},
    failure::caught,
    interest::Sorts,
    layer::Shared,
    ruling::Ruling,
};
use crate::{
    header::MCP_NAME,
    jsonrpc::{Envelope, ErrorObject, Kind, Shape, code},
    message::{self, mirrored},
    protocol::Era,
    refusal::{Recipient, Refusal},
};

/// What somebody is interested in of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) to_server: bool,
    pub(super) to_client: WantsBack,
}

/// What somebody is interested in of what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WantsBack {
    pub(super) in_replies: Sorts,
    /// The same, and all responses if anybody is interested in any: in a stream there may be one to another
    /// request.
    pub(super) in_events: Sorts,
}

/// What is needed to inspect a response.
pub(super) struct Watch<L> {
    pub(super) shared: Arc<Shared<L>>,
    pub(super) exchange: Arc<Exchange>,
    pub(super) wants: WantsBack,
}

/// What becomes of a request that somebody is interested in.
pub(super) struct Begun<L> {
    /// `None` if nobody is interested in what comes back.
    pub(super) watch: Option<Box<Watch<L>>>,
    pub(super) ruled: Ruled,
}

impl Wants {
    const NOTHING: Self = Self {
        to_server: false,
        to_client: WantsBack {
            in_replies: Sorts::NONE,
            in_events: Sorts::NONE,
        },
    };

    #[inline]
    pub(super) fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }
}

/// Whether there may be a message in the body of such a request: whatever type it says it has. A server
/// need not look at that.
pub(super) fn may_have_message(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
    )
}

impl<L: Links> Shared<L> {
    /// Whether anybody is interested in anything. Who panics may be.
    pub(super) fn is_interested(&self) -> bool {
        let mut all = 0..self.links.count();
        caught(|| all.any(|at| self.links.interest(at).sorts() != Sorts::NONE)).unwrap_or(true)
    }

    /// What somebody is interested in of a request with that message, and of what comes back. Who panics
    /// may be interested in everything.
    #[inline]
    pub(super) fn wants(&self, message: Option<&message::Message>) -> Wants {
        if self.links.count() == 0 {
            return Wants::NOTHING;
        }
        caught(|| self.ask(message)).unwrap_or(Wants {
            to_server: message.is_some(),
            to_client: WantsBack {
                in_replies: Sorts::in_direction(Direction::ToClient),
                in_events: Sorts::in_direction(Direction::ToClient),
            },
        })
    }

    #[inline]
    fn ask(&self, message: Option<&message::Message>) -> Wants {
        // Nothing is known of several, and of what cannot be read, or in more than one way (B52).
        let head = message.and_then(message::Message::single_head);
        let (sort, method) = match &head {
            Some((kind, method)) => (Sorts::of(Direction::ToServer, *kind), method.as_deref()),
            None if message.is_some() => (Sorts::in_direction(Direction::ToServer), None),
            None => (Sorts::NONE, None),
        };
        let is_request = matches!(head, Some((Kind::Request, _)));
        let mut wants = Wants::NOTHING;
        for at in 0..self.links.count() {
            let interest = self.links.interest(at);
            let sorts = interest.of_method(method);
            wants.to_server |= sorts.has_any_of(sort);
            // Of what is no request, nobody knows what answers it.
            let answers = if is_request { sorts } else { interest.sorts() };
            let answers = answers.and(Sorts::RESPONSES);
            let calls = interest.sorts().and(Sorts::CALLS);
            let back = &mut wants.to_client;
            back.in_replies = back.in_replies.or(answers).or(calls);
            back.in_events = back
                .in_events
                .or(interest.sorts().and(Sorts::RESPONSES))
                .or(calls);
        }
        wants
    }

    /// Rules on a request that somebody is interested in.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or in two ways: whatever it is that they are interested in, nobody could say
    /// that it is not this, nor which response answers it (B52).
    pub(super) fn begin(
        self: &Arc<Self>,
        parts: &mut Parts,
        wants: Wants,
    ) -> Result<Begun<L>, Box<(Refusal, Recipient)>> {
        let fact = parts.extensions.get::<message::Message>();
        let (body, all, is_batch) = match fact.map(|fact| (fact, fact.shape())) {
            None => (Bytes::new(), Vec::new(), false),
            Some((fact, None)) => return Err(self.unreadable(fact)),
            Some((fact, Some(shape))) => {
                let body = fact.body().clone();
                let (all, is_batch) = match shape {
                    Shape::Single(spans) => (std::slice::from_ref(spans), false),
                    Shape::Batch(all) => (&**all, true),
                };
                let is_bad = |one: &Message| is_malformed(&one.envelope());
                let all: Vec<_> = all
                    .iter()
                    .map(|spans| Message::new(body.clone(), *spans))
                    .collect();
                if all.is_empty() || all.iter().any(is_bad) {
                    return Err(self.unreadable(fact));
                }
                (body, all, is_batch)
            }
        };
        let requests = all.iter().filter(|one| one.kind() == Kind::Request);
        let exchange = Exchange::new(parts.extensions.clone(), requests.cloned().collect());
        let watch = (wants.to_client != Wants::NOTHING.to_client).then(|| {
            // What is compressed cannot be inspected, and who does not say so takes anything (RFC 9110
            // §12.5.3).
            let identity = HeaderValue::from_static("identity");
            parts.headers.insert(ACCEPT_ENCODING, identity);
            Box::new(Watch {
                shared: Arc::clone(self),
                exchange: Arc::clone(&exchange),
                wants: wants.to_client,
            })
        });
        let ruled = if wants.to_server {
            deliberate(self, &exchange, &body, all, is_batch)
        } else {
            Ruled::Now(Ruling::Forward(None))
        };
        Ok(Begun { watch, ruled })
    }

    /// Refuses what nobody can judge.
    #[cold]
    fn unreadable(&self, message: &message::Message) -> Box<(Refusal, Recipient)> {
        self.state.tally.unreadable.add();
        let (code, text) = match message.peek() {
            Err(_) => (code::PARSE_ERROR, "the body is not JSON"),
            Ok(_) => (
                code::INVALID_REQUEST,
                "the body is no JSON-RPC message, or can be read in two ways",
            ),
        };
        tracing::debug!(?message, "refusing what cannot be judged: {text}");
        let refusal = Refusal::new(StatusCode::BAD_REQUEST, ErrorObject::new(code, text));
        Box::new((refusal, Recipient::from(message)))
    }
}

/// Whether a server may take it for another message than the one that is judged (JRP-10, B52).
fn is_malformed(envelope: &Envelope<'_>) -> bool {
    envelope.kind() == Kind::Invalid
        || envelope.duplicate().is_some()
        || envelope.ambiguous().is_some()
}

/// Gives a request another body, and makes its headers and facts say the same (ICP-6, HDR-14).
pub(super) fn set_body(parts: &mut Parts, body: &Bytes) {
    if parts.headers.contains_key(CONTENT_LENGTH) {
        parts.headers.insert(CONTENT_LENGTH, body.len().into());
    }
    let era = Era::of(&parts.extensions);
    let message = message::Message::new(body.clone());
    // The method is what it was: nothing else is mirrored by name. A batch has nothing to mirror, and what a
    // name is of a method that nobody knows here is for those to say who do.
    let is_mirrored =
        parts.headers.contains_key(MCP_NAME) || era.is_some_and(Era::has_mirrored_headers);
    if let Some(one) = message.peek().ok().and_then(|peek| peek.single())
        && let Some(method) = one.method_bytes()
        && one.name_raw(&method).is_some()
        && is_mirrored
    {
        match one.name().and_then(|name| mirrored(name.as_bytes())) {
            Some(name) => drop(parts.headers.insert(MCP_NAME, name)),
            None => drop(parts.headers.remove(MCP_NAME)),
        }
    }
    parts.extensions.insert(match era {
        Some(era) => message.in_era(era),
        None => message,
    });
}
