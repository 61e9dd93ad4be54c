use http::{Extensions, HeaderMap, HeaderValue};

use crate::{header::MCP_SESSION_ID, store::Owner};

#[cfg(not(feature = "session"))]
pub(super) use super::no_session::{HookKey, Session};
#[cfg(feature = "session")]
pub(super) use crate::{session::Session, store::HookKey};

/// Whose the streams of a request are.
pub(super) struct Whose {
    /// The session that it is in, or is about to open.
    session: Option<Session>,
    otherwise: Otherwise,
}

/// Whose they are if there is no such session.
enum Otherwise {
    /// Somebody outside has said so.
    Told(Owner),
    /// The principal's, if there is one, and whoever's has the session: hashed only for a stream.
    Named {
        principal: Option<Owner>,
        session: Option<HeaderValue>,
    },
}

impl Whose {
    /// `named` is the session that a header names.
    pub(super) fn new(named: Option<&HeaderValue>, extensions: &Extensions) -> Self {
        let session = extensions.get::<Session>().cloned();
        let otherwise = match extensions.get::<Owner>() {
            Some(owner) => Otherwise::Told(*owner),
            None => Otherwise::Named {
                principal: principal(extensions),
                // In a session it is not asked for.
                session: match session {
                    Some(_) => None,
                    None => named.cloned(),
                },
            },
        };
        Self { session, otherwise }
    }

    /// Whose the streams are that the request can see.
    pub(super) fn owner(&self) -> Owner {
        match (&self.session, &self.otherwise) {
            (Some(session), _) => session.owner(),
            (None, Otherwise::Told(owner)) => *owner,
            (None, Otherwise::Named { principal, session }) => named(*principal, session.as_ref()),
        }
    }

    /// Whose the stream is that the response is, and the session whose end is its end too. The session
    /// that an `initialize` opens is named by its response.
    pub(super) fn of_response(
        &self,
        is_initialize: bool,
        response: &HeaderMap,
    ) -> (Owner, Option<&Session>) {
        let given = response.get(MCP_SESSION_ID);
        match (&self.session, &self.otherwise) {
            (Some(session), _) if session.is_established() || given.is_some() => {
                (session.owner(), Some(session))
            }
            // The server has not given the session that was asked for.
            (_, Otherwise::Told(owner)) => (*owner, None),
            (_, Otherwise::Named { principal, session }) => {
                let session = if is_initialize {
                    given
                } else {
                    session.as_ref()
                };
                (named(*principal, session), None)
            }
        }
    }

    /// The session that the request is in, or is about to open, if a layer outside keeps it.
    pub(super) const fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }
}

fn named(principal: Option<Owner>, session: Option<&HeaderValue>) -> Owner {
    let principal = principal.as_ref().map(|owner| owner.as_bytes().as_slice());
    Owner::new(principal, session.map(HeaderValue::as_bytes))
}

/// Who calls, if that is known.
#[cfg(feature = "auth")]
fn principal(extensions: &Extensions) -> Option<Owner> {
    let principal = extensions.get::<crate::auth::Principal>();
    principal.map(crate::auth::Principal::owner)
}

#[cfg(not(feature = "auth"))]
const fn principal(_: &Extensions) -> Option<Owner> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(session: Option<&'static str>) -> HeaderMap {
        let session = session.map(|id| (MCP_SESSION_ID, HeaderValue::from_static(id)));
        session.into_iter().collect()
    }

    fn whose(request: Option<&'static str>, extensions: &Extensions) -> Whose {
        Whose::new(headers(request).get(MCP_SESSION_ID), extensions)
    }

    #[test]
    fn without_anybody_outside_it_is_the_session_that_counts() {
        let nobody = Extensions::new();
        assert!(whose(None, &nobody).owner().is_anonymous());
        let s = whose(Some("s"), &nobody);
        assert_eq!(s.owner(), Owner::new(None, Some(b"s")));
        let of = |whose: &Whose, is_initialize, response| {
            whose.of_response(is_initialize, &headers(response)).0
        };
        assert_eq!(of(&s, false, Some("t")), s.owner());
        let opens = whose(None, &nobody);
        assert_eq!(of(&opens, true, Some("s")), s.owner());
        assert!(of(&opens, true, None).is_anonymous());
        assert!(of(&opens, false, Some("s")).is_anonymous());
    }

    #[test]
    fn what_somebody_outside_has_said_counts_more() {
        let told = Owner::new(Some(b"alice"), None);
        let mut extensions = Extensions::new();
        extensions.insert(told);
        let whose = whose(Some("s"), &extensions);
        assert_eq!(whose.owner(), told);
        assert_eq!(whose.of_response(true, &headers(Some("t"))).0, told);
    }

    #[cfg(feature = "auth")]
    #[test]
    fn b02_a_principal_has_streams_of_its_own() {
        let by = |name: &str| {
            let mut extensions = Extensions::new();
            let principal = crate::auth::Principal::builder(name).build();
            extensions.insert(principal.expect("it has a name"));
            extensions
        };
        let (alice, mallory) = (by("alice"), by("mallory"));
        let owners = [
            whose(None, &alice).owner(),
            whose(Some("s"), &alice).owner(),
            whose(None, &mallory).owner(),
            whose(Some("s"), &mallory).owner(),
            whose(Some("s"), &Extensions::new()).owner(),
            Owner::ANONYMOUS,
        ];
        for (nth, owner) in owners.iter().enumerate() {
            assert!(!owners[..nth].contains(owner), "{nth}");
        }
        let opened = whose(None, &alice).of_response(true, &headers(Some("s"))).0;
        assert_eq!(
            opened, owners[1],
            "the session that it opens is the one it is in"
        );
    }
}
