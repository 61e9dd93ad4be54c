use std::{error::Error, fmt, sync::Arc, time::SystemTime};

use crate::store::Owner;

/// Who a request comes from, as it was verified.
///
/// See the [module docs](crate::auth). A clone costs a reference count.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    facts: Arc<Facts>,
}

#[derive(PartialEq, Eq)]
struct Facts {
    owner: Owner,
    issuer: Option<Box<str>>,
    subject: Box<str>,
    client: Option<Box<str>>,
    scopes: Box<[Box<str>]>,
    expires_at: Option<SystemTime>,
    claims: Option<Box<str>>,
}

impl Principal {
    /// The longest text of [`claims`](Self::claims): 16 KiB.
    pub const MAX_CLAIMS_BYTES: usize = 16 * 1024;

    /// Starts with the subject, the `sub` of a token: who it is, as its issuer calls them.
    pub fn builder(subject: impl Into<Box<str>>) -> PrincipalBuilder {
        PrincipalBuilder {
            issuer: None,
            subject: subject.into(),
            client: None,
            scopes: Box::default(),
            expires_at: None,
            claims: None,
        }
    }

    /// Who vouches for the subject, the `iss` of a token. `None` for static tokens.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.facts.issuer.as_deref()
    }

    /// Who it is; never empty.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.facts.subject
    }

    /// The program that acts for the subject, the `client_id` or `azp` of a token.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.facts.client.as_deref()
    }

    /// What the subject allows the client, in the order that it was given.
    #[must_use]
    pub fn scopes(&self) -> impl ExactSizeIterator<Item = &str> {
        self.facts.scopes.iter().map(|scope| &**scope)
    }

    /// Whether that very scope is among them: a scope is a whole word (T20).
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|has| has == scope)
    }

    /// When the credentials stop to be valid, the `exp` of a token.
    #[must_use]
    #[inline]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.facts.expires_at
    }

    /// All that the verified token says, as the JSON text of one object; `None` if the credentials are
    /// no such token.
    ///
    /// For what this type has no name for, such as a tenant. It is somebody's data: neither to be
    /// logged, nor to be sent on.
    #[must_use]
    pub fn claims(&self) -> Option<&str> {
        self.facts.claims.as_deref()
    }

    /// Who it is among all owners: a digest of issuer and subject, and of nothing else, so that it
    /// stays when a token is refreshed (B05).
    ///
    /// The two are delimited by length (B15). It is made once, with the principal.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.facts.owner
    }

    /// [`owner`](Self::owner), for who need not keep it.
    #[cfg(feature = "rate-limit")]
    #[inline]
    pub(crate) fn as_owner(&self) -> &Owner {
        &self.facts.owner
    }

    /// What it takes, with what an allocator adds to each of its parts.
    #[cfg(feature = "jwt")]
    pub(super) fn bytes(&self) -> usize {
        const ALLOCATION: usize = 16;

        let Facts {
            owner: _,
            issuer,
            subject,
            client,
            scopes,
            expires_at: _,
            claims,
        } = &*self.facts;
        let texts = [issuer, client, claims].into_iter().flatten();
        let texts = texts.chain([subject]).chain(scopes);
        let counts = 2 * size_of::<usize>();
        let whole = ALLOCATION + counts + size_of::<Facts>();
        let slots = ALLOCATION + size_of_val::<[_]>(scopes);
        texts.fold(whole + slots, |sum, text| sum + ALLOCATION + text.len())
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts {
            owner,
            issuer: _,
            subject: _,
            client: _,
            scopes: _,
            expires_at: _,
            claims: _,
        } = &*self.facts;
        f.debug_tuple("Principal").field(owner).finish()
    }
}

/// Puts a [`Principal`] together.
#[derive(Clone)]
#[must_use]
pub struct PrincipalBuilder {
    issuer: Option<Box<str>>,
    subject: Box<str>,
    client: Option<Box<str>>,
    scopes: Box<[Box<str>]>,
    expires_at: Option<SystemTime>,
    claims: Option<Box<str>>,
}

impl PrincipalBuilder {
    /// Says who vouches for the subject.
    pub fn with_issuer(mut self, issuer: impl Into<Box<str>>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Says which program acts for the subject.
    pub fn with_client(mut self, client: impl Into<Box<str>>) -> Self {
        self.client = Some(client.into());
        self
    }

    /// Says what is allowed, in place of what was said before.
    pub fn with_scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Says until when.
    pub fn with_expiry(mut self, at: SystemTime) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Keeps all that the token says, as the JSON text of one object, once that is verified. It is not
    /// read here.
    pub fn with_claims(mut self, json: impl Into<Box<str>>) -> Self {
        self.claims = Some(json.into());
        self
    }

    /// The principal.
    ///
    /// # Errors
    ///
    /// If the subject is empty, or the issuer: everybody whose token lacks one would be the same
    /// (T19). If the claims are longer than [16 KiB](Principal::MAX_CLAIMS_BYTES).
    pub fn build(self) -> Result<Principal, PrincipalError> {
        let Self {
            issuer,
            subject,
            client,
            scopes,
            expires_at,
            claims,
        } = self;
        if subject.is_empty() || issuer.as_deref() == Some("") {
            return Err(PrincipalError {
                kind: PrincipalErrorKind::Unnamed,
            });
        }
        if claims
            .as_deref()
            .is_some_and(|claims| claims.len() > Principal::MAX_CLAIMS_BYTES)
        {
            return Err(PrincipalError {
                kind: PrincipalErrorKind::ClaimsTooLong,
            });
        }
        let owner = owner(issuer.as_deref(), &subject);
        Ok(Principal {
            facts: Arc::new(Facts {
                owner,
                issuer,
                subject,
                client,
                scopes,
                expires_at,
                claims,
            }),
        })
    }
}

/// As one text, because the second part of an owner is a session: a principal must not look like the
/// session of another one.
fn owner(issuer: Option<&str>, subject: &str) -> Owner {
    let mut text = Vec::with_capacity(9 + issuer.map_or(0, str::len) + subject.len());
    text.push(u8::from(issuer.is_some()));
    let issuer = issuer.unwrap_or_default();
    text.extend_from_slice(&(issuer.len() as u64).to_be_bytes());
    text.extend_from_slice(issuer.as_bytes());
    text.extend_from_slice(subject.as_bytes());
    Owner::new(Some(&text), None)
}

impl fmt::Debug for PrincipalBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrincipalBuilder").finish_non_exhaustive()
    }
}

/// There is no such principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrincipalError {
    kind: PrincipalErrorKind,
}

/// What is wrong with a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrincipalErrorKind {
    /// The subject is empty, or the issuer.
    Unnamed,
    /// The claims are longer than [`Principal::MAX_CLAIMS_BYTES`].
    ClaimsTooLong,
}

impl PrincipalError {
    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> PrincipalErrorKind {
        self.kind
    }
}

impl fmt::Display for PrincipalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            PrincipalErrorKind::Unnamed => "the subject or the issuer of a principal is empty",
            PrincipalErrorKind::ClaimsTooLong => "the claims of a principal are too long",
        })
    }
}

impl Error for PrincipalError {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn principal(issuer: Option<&str>, subject: &str) -> Principal {
        let mut builder = Principal::builder(subject);
        if let Some(issuer) = issuer {
            builder = builder.with_issuer(issuer);
        }
        builder.build().expect("it has a name")
    }

    #[test]
    fn b03_b15_each_principal_is_another_owner() {
        let owners = [
            principal(None, "alice"),
            principal(Some("a"), "lice"),
            principal(Some("al"), "ice"),
            principal(Some("https://one.example"), "alice"),
            principal(Some("https://two.example"), "alice"),
            principal(None, "bob"),
        ]
        .map(|principal| principal.owner());
        for (nth, owner) in owners.iter().enumerate() {
            assert!(!owners[..nth].contains(owner), "{nth}");
            assert!(!owner.is_anonymous());
        }
        // Nor is it a session of that name.
        assert_ne!(owners[0], Owner::new(None, Some(b"alice")));
        assert_ne!(owners[0], Owner::new(Some(b"alice"), None));
        assert_ne!(owners[1], Owner::new(Some(b"a"), Some(b"lice")));
    }

    #[test]
    fn b05_what_changes_with_a_token_does_not_change_the_owner() {
        let one = principal(Some("i"), "alice");
        let other = Principal::builder("alice")
            .with_issuer("i")
            .with_client("editor")
            .with_scopes(["read"])
            .with_expiry(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
            .with_claims(r#"{"tenant":"t"}"#)
            .build()
            .expect("it has a name");
        assert_eq!(one.owner(), other.owner());
        assert_ne!(one, other);
        assert_eq!(other.client(), Some("editor"));
        assert_eq!(other.scopes().collect::<Vec<_>>(), ["read"]);
        assert!(other.expires_at().is_some());
        assert_eq!(other.claims(), Some(r#"{"tenant":"t"}"#));
        assert_eq!(one.claims(), None);
        assert_eq!((one.issuer(), one.subject()), (Some("i"), "alice"));
    }

    #[test]
    fn t19_nobody_has_an_empty_name() {
        for builder in [
            Principal::builder(""),
            Principal::builder("a").with_issuer(""),
        ] {
            let error = builder.build().expect_err("it has no name");
            assert_eq!(error.kind(), PrincipalErrorKind::Unnamed);
        }
    }

    #[test]
    fn t14_claims_are_kept_up_to_their_limit() {
        for (len, kept) in [
            (Principal::MAX_CLAIMS_BYTES, true),
            (Principal::MAX_CLAIMS_BYTES + 1, false),
        ] {
            let built = Principal::builder("a").with_claims(" ".repeat(len)).build();
            match built {
                Ok(principal) => {
                    assert!(kept);
                    assert_eq!(principal.claims().map(str::len), Some(len));
                }
                Err(error) => {
                    assert!(!kept);
                    assert_eq!(error.kind(), PrincipalErrorKind::ClaimsTooLong);
                }
            }
        }
    }

    #[test]
    fn debug_names_nobody() {
        let builder = Principal::builder("alice")
            .with_issuer("https://login.example.com")
            .with_client("editor")
            .with_scopes(["read"])
            .with_claims(r#"{"tenant":"acme"}"#);
        let shown = format!("{builder:?} {:?}", builder.clone().build());
        for secret in ["alice", "login", "editor", "read", "acme"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn clone_is_a_reference_count() {
        let one = principal(None, "alice");
        let other = one.clone();
        assert!(Arc::ptr_eq(&one.facts, &other.facts));
    }
}
