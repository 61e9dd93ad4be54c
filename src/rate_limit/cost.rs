use http::{Extensions, HeaderMap, Method, Request, header::ACCESS_CONTROL_REQUEST_METHOD};

use super::{Budget, Charge, Hold, KeyError, Limiter, by};
#[cfg(feature = "session")]
use crate::session::Session;
use crate::{
    header::{LAST_EVENT_ID, MCP_PROTOCOL_VERSION, MCP_SESSION_ID},
    jsonrpc::{Envelope, Kind, Peek},
    message::Message,
    pattern::Pattern,
    protocol::Era,
    sse::accepts_event_stream,
};

/// What messages cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Costs {
    rules: Vec<Rule>,
    /// Whether whoever comes back has a budget of its own wherever that is.
    has_resumes: bool,
    /// Whether it matters what a request keeps open.
    counts_open: bool,
}

#[derive(Clone, Debug)]
struct Rule {
    method: Pattern,
    /// `None` for any, and for methods that are about none.
    tool: Option<Pattern>,
    cost: u32,
}

/// What a request is charged with, if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charged {
    With(Charge),
    Exempt,
}

impl Costs {
    /// What a message costs that no rule is about.
    const DEFAULT: u32 = 1;

    pub(super) fn of(limiter: &impl Limiter) -> Self {
        Self {
            rules: Vec::new(),
            has_resumes: limiter.has_resumes(),
            counts_open: limiter.counts_open(),
        }
    }

    pub(super) fn add(&mut self, method: &str, tool: Option<&str>, cost: u32) {
        self.rules.push(Rule {
            method: Pattern::new(method),
            tool: tool.map(Pattern::new),
            cost,
        });
    }

    /// What a request is charged with.
    ///
    /// # Errors
    ///
    /// If it depends on a message that nobody has read.
    #[inline]
    pub(super) fn charge<B>(&self, request: &Request<B>) -> Result<Charged, KeyError> {
        // Nearly all are that.
        if *request.method() != Method::POST {
            return Ok(self.charge_bodiless(request));
        }
        match request.extensions().get::<Message>() {
            Some(message) => Ok(self.charge_message(message)),
            None if self.depends_on_message(request.headers()) => Err(by::unread()),
            None => Ok(with(Self::DEFAULT, Some(Hold::Call))),
        }
    }

    #[inline(never)]
    fn charge_bodiless<B>(&self, request: &Request<B>) -> Charged {
        match *request.method() {
            Method::GET => self.charge_get(request),
            // What ends something, and what a browser asks before it asks (RL-4).
            Method::DELETE if ends_session(request) => Charged::Exempt,
            Method::OPTIONS if is_preflight(request.headers()) => Charged::Exempt,
            _ => with(Self::DEFAULT, Some(Hold::Call)),
        }
    }

    /// Whether nothing can be said of a POST that nobody has read. One of MCP may be the response that a
    /// call waits for: counted as a call itself, it could wait for the end of that one, and for ever
    /// (RL-4).
    fn depends_on_message(&self, headers: &HeaderMap) -> bool {
        let is_mcp = || {
            [MCP_SESSION_ID, MCP_PROTOCOL_VERSION]
                .iter()
                .any(|name| headers.contains_key(name))
        };
        !self.rules.is_empty() || self.counts_open && is_mcp()
    }

    #[inline]
    fn charge_message(&self, message: &Message) -> Charged {
        // Nearly all are that.
        if message.single_kind() == Some(Kind::Request)
            && message.era() != Some(Era::Stateless)
            && self.rules.is_empty()
        {
            return with(Self::DEFAULT, Some(Hold::Call));
        }
        self.charge_peeked(message)
    }

    #[inline(never)]
    fn charge_peeked(&self, message: &Message) -> Charged {
        match message.peek() {
            Ok(peek) => self.charge_all(&peek, message.era()),
            // Whoever is inside says what is wrong with it.
            Err(_) => with(Self::DEFAULT, Some(Hold::Call)),
        }
    }

    fn charge_all(&self, peek: &Peek<'_>, era: Option<Era>) -> Charged {
        if let Some(message) = peek.as_single() {
            if is_exempt(message) {
                return Charged::Exempt;
            }
            let hold = match message.kind() {
                Kind::Request if era == Some(Era::Stateless) && listens(message) => {
                    Some(Hold::Stream)
                }
                Kind::Request | Kind::Invalid => Some(Hold::Call),
                // It gets no answer that could last.
                Kind::Notification | Kind::Response => None,
            };
            return with(self.cost(message), hold);
        }
        // Each for itself: a batch is no discount (RL-3).
        let (mut cost, mut hold, mut is_free) = (0_u32, None, true);
        for message in peek.envelopes() {
            if is_exempt(&message) {
                continue;
            }
            is_free = false;
            cost = cost.saturating_add(self.cost(&message));
            if message.kind() != Kind::Notification {
                hold = Some(Hold::Call);
            }
        }
        match (is_free, peek.envelopes().len()) {
            (_, 0) => with(Self::DEFAULT, None),
            (true, _) => Charged::Exempt,
            (false, _) => with(cost, hold),
        }
    }

    fn charge_get<B>(&self, request: &Request<B>) -> Charged {
        let headers = request.headers();
        let cursor = headers.get(LAST_EVENT_ID);
        let hold = if cursor.is_some_and(|cursor| !cursor.is_empty()) {
            Hold::Resumption
        } else if accepts_event_stream(headers) {
            Hold::Stream
        } else {
            return with(Self::DEFAULT, Some(Hold::Call));
        };
        // A client of MCP whose stream was cut before its first event comes back without a cursor, and
        // gives up if it is refused (RL-6). Elsewhere a GET may be all that there is to limit, and a
        // cursor is a field that anybody may write.
        let comes_back =
            listens_in_mcp(request.extensions()) || self.has_resumes && hold == Hold::Resumption;
        let budget = if comes_back {
            Budget::Resumes
        } else {
            Budget::Requests
        };
        let charge = Charge::new(Self::DEFAULT).with_budget(budget);
        Charged::With(charge.with_hold(Some(hold)))
    }

    fn cost(&self, message: &Envelope<'_>) -> u32 {
        // The last one that was added counts, so that one can be an exception from another.
        let mut rules = self.rules.iter().rev();
        let rule = rules.find(|rule| rule.concerns(message));
        rule.map_or(Self::DEFAULT, |rule| rule.cost)
    }
}

impl Rule {
    fn concerns(&self, message: &Envelope<'_>) -> bool {
        let Some(method) = message.method_bytes() else {
            return false;
        };
        if !self.method.matches(&method) {
            return false;
        }
        let Some(tool) = &self.tool else { return true };
        let name = message.name_raw(&method).and_then(Envelope::bytes);
        // Whatever a server takes it for, it may be this.
        name.is_none_or(|name| tool.matches(&name))
    }
}

#[inline]
const fn with(cost: u32, hold: Option<Hold>) -> Charged {
    Charged::With(Charge::new(cost).with_hold(hold))
}

/// Whether somebody waits for that message who may hold what would let it pass (RL-4): a server that has
/// asked the client something, or one that works for nobody.
#[inline]
fn is_exempt(message: &Envelope<'_>) -> bool {
    match message.kind() {
        Kind::Response => true,
        Kind::Notification => message.method_bytes().is_some_and(|method| {
            matches!(
                &*method,
                b"notifications/cancelled" | b"notifications/initialized"
            )
        }),
        Kind::Request | Kind::Invalid => false,
    }
}

/// Whether it opens a stream that listens, as GET does in older revisions.
fn listens(message: &Envelope<'_>) -> bool {
    message
        .method_bytes()
        .is_some_and(|method| *method == *b"subscriptions/listen")
}

/// Whether a DELETE is to end a session of MCP, as far as somebody outside has found out. Its id may
/// still be a guess: those are counted further out (B08).
fn ends_session<B>(request: &Request<B>) -> bool {
    let era = Era::of(request.extensions());
    let has_sessions = era.is_some_and(Era::has_sessions);
    is_of_session(request.extensions())
        || has_sessions && request.headers().contains_key(MCP_SESSION_ID)
}

/// Whether a GET for a stream is of a revision of MCP that has such streams.
fn listens_in_mcp(extensions: &Extensions) -> bool {
    Era::of(extensions).is_some_and(Era::has_get_stream) || is_of_session(extensions)
}

/// Whether somebody has found out whose session it is of.
#[cfg(feature = "session")]
fn is_of_session(extensions: &Extensions) -> bool {
    extensions.get::<Session>().is_some()
}

#[cfg(not(feature = "session"))]
const fn is_of_session(_: &Extensions) -> bool {
    false
}

fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests;
