use std::{fmt, sync::Arc};

use http::{Request, StatusCode};

use super::super::{Principal, Scopes, admit::Refused, challenge::Challenge};
use crate::{
    jsonrpc::{Envelope, ErrorObject, Kind, code},
    message::Message,
    pattern::Pattern,
    refusal::{Recipient, Refusal},
};

/// Which scopes a request needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    /// Of every request.
    pub(super) base: Scopes,
    pub(super) rules: Vec<Rule>,
    pub(super) satisfies: Satisfies,
    pub(super) allows_anonymous: bool,
    pub(super) challenge: Challenge,
}

/// Messages that need scopes.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) method: Pattern,
    /// The tool, prompt or resource; `None` for any, and for methods that are about none.
    pub(super) subject: Option<Pattern>,
    pub(super) scopes: Scopes,
}

/// Whether a scope that was granted will do for one that is required (AUT-8).
#[derive(Clone, Default)]
pub(super) struct Satisfies(pub(super) Option<Arc<Satisfy>>);

type Satisfy = dyn Fn(&str, &str) -> bool + Send + Sync;

/// Why the inner service is not asked.
enum Reason {
    /// Whoever set this up wrong is told in the log, and the client nothing (B54).
    Unauthenticated,
    /// It needs more than nobody has.
    Anonymous(Scopes),
    Insufficient(Scopes),
    NotJson,
    /// What is no message, or one that two hops read in two ways, might be another one to the server.
    Malformed,
}

impl Rule {
    fn concerns(&self, envelope: &Envelope<'_>) -> bool {
        let Some(method) = envelope.method_bytes() else {
            return false;
        };
        if !self.method.matches(&method) {
            return false;
        }
        match (&self.subject, envelope.subject_bytes(&method)) {
            (None, _) => true,
            (Some(pattern), Some(subject)) => pattern.matches(&subject),
            // Whatever a server takes it for, it may be this.
            (Some(_), None) => true,
        }
    }
}

impl Policy {
    /// Whether whoever sent `request` may.
    pub(super) fn judge<B>(&self, request: &Request<B>) -> Result<(), Refused> {
        let message = request.extensions().get::<Message>();
        let principal = request.extensions().get::<Principal>();
        self.decide(principal, message).map_err(|reason| {
            let refusal = match reason {
                Reason::Unauthenticated => {
                    tracing::error!("a request has no principal: nothing outside authenticates");
                    let error = ErrorObject::new(code::INTERNAL_ERROR, "internal error");
                    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error)
                }
                Reason::Anonymous(needed) => self.challenge.anonymous(&needed),
                Reason::Insufficient(needed) => {
                    tracing::debug!(%needed, "a principal has not all scopes that it needs");
                    self.challenge.insufficient(&needed)
                }
                Reason::NotJson => Refusal::new(
                    StatusCode::BAD_REQUEST,
                    ErrorObject::new(code::PARSE_ERROR, "the body is not JSON"),
                ),
                Reason::Malformed => Refusal::new(
                    StatusCode::BAD_REQUEST,
                    ErrorObject::new(code::INVALID_REQUEST, "the body is no JSON-RPC message"),
                ),
            };
            Box::new((refusal, Recipient::from(message)))
        })
    }

    fn decide(
        &self,
        principal: Option<&Principal>,
        message: Option<&Message>,
    ) -> Result<(), Reason> {
        if principal.is_none() && !self.allows_anonymous {
            return Err(Reason::Unauthenticated);
        }
        let peek = match message.map(Message::peek) {
            None => None,
            Some(Ok(peek)) => Some(peek),
            Some(Err(_)) => return Err(Reason::NotJson),
        };
        let envelopes = || peek.iter().flat_map(|peek| peek.envelopes());
        if envelopes().any(|one| is_malformed(&one)) {
            return Err(Reason::Malformed);
        }
        let concerned = || {
            let rules = self.rules.iter();
            rules.filter(|rule| envelopes().any(|one| rule.concerns(&one)))
        };
        let needed = || std::iter::once(&self.base).chain(concerned().map(|rule| &rule.scopes));
        if needed()
            .flat_map(Scopes::iter)
            .all(|scope| self.has(principal, scope))
        {
            return Ok(());
        }
        // All of them at once, not one after another (AUT-7).
        let all = Scopes::union(needed());
        Err(match principal {
            None => Reason::Anonymous(all),
            Some(_) => Reason::Insufficient(all),
        })
    }

    fn has(&self, principal: Option<&Principal>, required: &str) -> bool {
        let Some(principal) = principal else {
            return false;
        };
        match &self.satisfies.0 {
            None => principal.has_scope(required),
            Some(satisfies) => {
                let mut granted = principal.scopes();
                granted.any(|granted| satisfies(granted, required))
            }
        }
    }
}

/// Whether a server may take it for another message than it is judged as (JRP-10).
fn is_malformed(envelope: &Envelope<'_>) -> bool {
    envelope.kind() == Kind::Invalid
        || envelope.duplicate().is_some()
        || envelope.ambiguous().is_some()
}

impl fmt::Debug for Satisfies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "equal",
            Some(_) => "..",
        })
    }
}
