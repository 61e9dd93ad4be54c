use http::{Method, Request};

use super::{Budget, Charge, Hold, KeyError, by};
use crate::{
    header::LAST_EVENT_ID,
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
        Ok(match *request.method() {
            // What ends something, and what a browser asks before it asks (RL-4).
            Method::DELETE | Method::OPTIONS => Charged::Exempt,
            Method::POST => match request.extensions().get::<Message>() {
                Some(message) => self.charge_message(message),
                None if !self.rules.is_empty() => return Err(by::unread()),
                None => with(Self::DEFAULT, Some(Hold::Call)),
            },
            Method::GET => charge_get(request),
            _ => with(Self::DEFAULT, Some(Hold::Call)),
        })
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

fn charge_get<B>(request: &Request<B>) -> Charged {
    let headers = request.headers();
    let resumes = headers
        .get(LAST_EVENT_ID)
        .is_some_and(|cursor| !cursor.is_empty());
    if resumes {
        let charge = Charge::new(Costs::DEFAULT)
            .with_budget(Budget::Resumes)
            .with_hold(Some(Hold::Resumption));
        return Charged::With(charge);
    }
    if !accepts_event_stream(headers) {
        return with(Costs::DEFAULT, Some(Hold::Call));
    }
    // A client of MCP whose stream was cut before its first event comes back without a cursor, and gives
    // up if it is refused (RL-6). Elsewhere a GET may be all that there is to limit.
    let era = Era::of(request.extensions());
    let budget = if era.is_some_and(Era::has_get_stream) {
        Budget::Resumes
    } else {
        Budget::Requests
    };
    let charge = Charge::new(Costs::DEFAULT).with_budget(budget);
    Charged::With(charge.with_hold(Some(Hold::Stream)))
}

#[cfg(test)]
mod tests;
