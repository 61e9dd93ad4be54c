use std::{fmt, time::Duration};

use super::{
    Algorithm, JwtError, JwtErrorKind, Keys,
    claims::{Claims, Times},
    fault::Fault,
};
use crate::auth::url;

/// Whose tokens are accepted, and which of them.
///
/// See the [module docs](crate::auth::jwt).
#[derive(Clone)]
#[must_use]
pub struct Issuer {
    policy: Policy,
    keys: Keys,
}

/// What a token of one issuer has to be like.
#[derive(Clone)]
pub(super) struct Policy {
    pub(super) issuer: Box<str>,
    audiences: Vec<Box<str>>,
    pub(super) algorithms: Vec<Algorithm>,
    leeway: Duration,
    types: Types,
}

#[derive(Clone, Debug)]
enum Types {
    Access,
    Only(Vec<Box<str>>),
    Any,
}

impl Issuer {
    /// The longest leeway: 60 s (AUT-10). It is also the one that counts unless told otherwise.
    pub const MAX_LEEWAY: Duration = Duration::from_secs(60);

    /// Accepts tokens of `issuer` that are for `audience` and signed with one of `keys`.
    ///
    /// The issuer is compared with `iss` byte by byte: a slash at its end counts (T17). The audience is
    /// the URL by which clients know the MCP server, or whatever else the issuer calls it; it has to be
    /// `aud`, or one of its members (T18).
    ///
    /// # Errors
    ///
    /// If the issuer is no `https` URL; plain `http` it may be on this machine (AUT-13). If the audience
    /// is empty.
    pub fn new(
        issuer: impl Into<Box<str>>,
        audience: impl Into<Box<str>>,
        keys: impl Into<Keys>,
    ) -> Result<Self, JwtError> {
        let issuer = issuer.into();
        if url::check(&issuer, true).is_none_or(|url| url.has_query) {
            return Err(JwtErrorKind::Issuer.into());
        }
        let this = Self {
            policy: Policy {
                issuer,
                audiences: Vec::new(),
                algorithms: Algorithm::ALL.to_vec(),
                leeway: Self::MAX_LEEWAY,
                types: Types::Access,
            },
            keys: keys.into(),
        };
        this.add_audience(audience)
    }

    /// Also accepts tokens that are for `audience`.
    ///
    /// # Errors
    ///
    /// If it is empty.
    pub fn add_audience(mut self, audience: impl Into<Box<str>>) -> Result<Self, JwtError> {
        let audience = audience.into();
        if audience.is_empty() {
            return Err(JwtErrorKind::Audience.into());
        }
        self.policy.audiences.push(audience);
        Ok(self)
    }

    /// Accepts no other algorithms than these. By default all are, each with keys that are made for
    /// it.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn with_algorithms(
        mut self,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtError> {
        self.policy.algorithms = algorithms.into_iter().collect();
        if self.policy.algorithms.is_empty() {
            return Err(JwtErrorKind::Algorithms.into());
        }
        Ok(self)
    }

    /// How far the issuer's clock may be from ours. Open streams go on for [another
    /// leeway](crate::auth::AuthLayer::with_leeway), counted from the same expiry.
    ///
    /// # Errors
    ///
    /// If it is more than [`MAX_LEEWAY`](Self::MAX_LEEWAY).
    pub fn with_leeway(mut self, leeway: Duration) -> Result<Self, JwtError> {
        if leeway > Self::MAX_LEEWAY {
            return Err(JwtErrorKind::Leeway.into());
        }
        self.policy.leeway = leeway;
        Ok(self)
    }

    /// Accepts tokens whose `typ` is one of these, in any case and with or without `application/`
    /// before it, whatever their claims say of their use.
    ///
    /// By default `at+jwt` (RFC 9068) is accepted, and so is `JWT` if no claim shows that the token is
    /// for another use: an ID token, say, which has a `nonce` or an `at_hash`, or a refresh token (T21).
    pub fn with_types<I>(mut self, types: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        self.policy.types = Types::Only(types.into_iter().map(Into::into).collect());
        self
    }

    /// Accepts tokens of any `typ`, or without one, whatever their claims say of their use.
    ///
    /// For an issuer that does not tell what a token is for. An ID token is one to us, then, if its
    /// audience is ours.
    pub fn with_any_type(mut self) -> Self {
        self.policy.types = Types::Any;
        self
    }

    pub(super) fn into_parts(self) -> (Policy, Keys) {
        (self.policy, self.keys)
    }
}

impl Policy {
    /// Checks all but the signature.
    pub(super) fn check(
        &self,
        algorithm: Algorithm,
        typ: Option<&str>,
        claims: &Claims<'_>,
        now: i64,
    ) -> Result<Times, Fault> {
        if !self.algorithms.contains(&algorithm) {
            return Err(Fault::Algorithm);
        }
        if !self.types.accept(typ, claims) {
            return Err(Fault::Type);
        }
        if claims.is_bound() {
            return Err(Fault::Bound);
        }
        let audiences = claims.audiences()?;
        let is_ours = |audience: &&str| self.audiences.iter().any(|ours| **ours == **audience);
        if !audiences.iter().any(is_ours) {
            return Err(Fault::Audience);
        }
        let times = claims.times()?;
        let Times { start, end } = self.with_leeway(times);
        if now >= end {
            return Err(Fault::Expired);
        }
        if start.is_some_and(|start| now < start) {
            return Err(Fault::NotYet);
        }
        Ok(times)
    }

    /// It counts from its start on, until its end, and some time before and after.
    pub(super) fn with_leeway(&self, times: Times) -> Times {
        // No more than a minute.
        let leeway = self.leeway.as_millis() as i64;
        Times {
            start: times.start.map(|start| start - leeway),
            end: times.end + leeway,
        }
    }
}

impl Types {
    fn accept(&self, typ: Option<&str>, claims: &Claims<'_>) -> bool {
        let Some(typ) = typ else {
            return matches!(self, Self::Any);
        };
        match self {
            Self::Any => true,
            Self::Only(types) => types.iter().any(|accepted| is_type(typ, accepted)),
            Self::Access => {
                is_type(typ, "at+jwt") || (is_type(typ, "JWT") && !claims.is_of_another_use())
            }
        }
    }
}

/// Media types have no case, and `application/` may be left out (RFC 7515 §4.1.9).
fn is_type(typ: &str, accepted: &str) -> bool {
    short(typ).eq_ignore_ascii_case(short(accepted))
}

fn short(typ: &str) -> &str {
    const PREFIX: &str = "application/";

    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => typ,
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, keys } = self;
        f.debug_struct("Issuer")
            .field("policy", policy)
            .field("keys", keys)
            .finish()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            issuer,
            audiences,
            algorithms,
            leeway,
            types,
        } = self;
        f.debug_struct("Policy")
            .field("issuer", issuer)
            .field("audiences", audiences)
            .field("algorithms", algorithms)
            .field("leeway", leeway)
            .field("types", types)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://login.example.com";

    fn policy(change: impl FnOnce(Issuer) -> Issuer) -> Policy {
        let keys = Keys::none();
        let issuer =
            Issuer::new(ISSUER, "ours", keys).and_then(|issuer| issuer.add_audience("too"));
        change(issuer.expect("valid")).into_parts().0
    }

    fn check(policy: &Policy, typ: Option<&str>, claims: &str, now: i64) -> Result<(), Fault> {
        let claims = Claims::parse(claims.as_bytes())?;
        policy.check(Algorithm::Es256, typ, &claims, now).map(drop)
    }

    #[test]
    fn t16_times_have_a_leeway_on_either_side() {
        let exact = policy(|issuer| issuer.with_leeway(Duration::ZERO).expect("valid"));
        let lenient = policy(|issuer| issuer.with_leeway(Duration::from_secs(30)).expect("valid"));
        let claims = r#"{"aud":"ours","exp":2000,"nbf":1000}"#;
        for (policy, now, checked) in [
            (&exact, 999_999, Err(Fault::NotYet)),
            (&exact, 1_000_000, Ok(())),
            (&exact, 1_999_999, Ok(())),
            (&exact, 2_000_000, Err(Fault::Expired)),
            (&lenient, 969_999, Err(Fault::NotYet)),
            (&lenient, 970_000, Ok(())),
            (&lenient, 2_029_999, Ok(())),
            (&lenient, 2_030_000, Err(Fault::Expired)),
        ] {
            assert_eq!(check(policy, Some("JWT"), claims, now), checked, "{now}");
        }
        let issued = r#"{"aud":"ours","exp":2000,"iat":1500}"#;
        assert_eq!(
            check(&exact, Some("JWT"), issued, 1_499_999),
            Err(Fault::NotYet)
        );
        assert_eq!(check(&exact, Some("JWT"), issued, 1_500_000), Ok(()));
        let second = Duration::from_secs(1);
        let issuer = Issuer::new(ISSUER, "ours", Keys::none()).expect("valid");
        let error = issuer.with_leeway(Issuer::MAX_LEEWAY + second);
        assert_eq!(error.expect_err("too long").kind(), JwtErrorKind::Leeway);
    }

    #[test]
    fn t18_only_an_exact_audience_is_ours() {
        let policy = policy(|issuer| issuer);
        for (aud, fault) in [
            (r#""ours""#, None),
            (r#""too""#, None),
            (r#"["theirs","ours"]"#, None),
            (r#""theirs""#, Some(Fault::Audience)),
            (r#""our""#, Some(Fault::Audience)),
            (r#""ours/""#, Some(Fault::Audience)),
            (r#""xours""#, Some(Fault::Audience)),
            (r#""OURS""#, Some(Fault::Audience)),
            (r#""ours too""#, Some(Fault::Audience)),
            (r#""""#, Some(Fault::Audience)),
            ("[]", Some(Fault::Audience)),
            (r#"["ours",1]"#, Some(Fault::Claims)),
            (r#"[["ours"]]"#, Some(Fault::Claims)),
            (r#"{"ours":1}"#, Some(Fault::Claims)),
            ("1", Some(Fault::Claims)),
            ("null", Some(Fault::Claims)),
        ] {
            let claims = format!(r#"{{"aud":{aud},"exp":10}}"#);
            let checked = check(&policy, Some("JWT"), &claims, 0);
            assert_eq!(checked.err(), fault, "{aud}");
        }
        let missing = check(&policy, Some("JWT"), r#"{"exp":10}"#, 0);
        assert_eq!(missing, Err(Fault::Audience));
    }

    #[test]
    fn t21_types() {
        let plain = r#"{"aud":"ours","exp":10}"#;
        let id = r#"{"aud":"ours","exp":10,"nonce":"n"}"#;
        let access = policy(|issuer| issuer);
        let only = policy(|issuer| issuer.with_types(["my+jwt"]));
        let any = policy(Issuer::with_any_type);
        for (policy, typ, claims, accepted) in [
            (&access, Some("JWT"), plain, true),
            (&access, Some("jwt"), plain, true),
            (&access, Some("application/JWT"), plain, true),
            (&access, Some("at+jwt"), plain, true),
            (&access, Some("at+JWT"), id, true),
            (&access, Some("Application/at+jwt"), plain, true),
            (&access, Some("JWT"), id, false),
            (&access, Some("logout+jwt"), plain, false),
            (&access, Some("rt+jwt"), plain, false),
            (&access, Some(""), plain, false),
            (&access, None, plain, false),
            (&only, Some("MY+JWT"), id, true),
            (&only, Some("JWT"), plain, false),
            (&only, None, plain, false),
            (&any, None, id, true),
            (&any, Some("x"), id, true),
        ] {
            let checked = check(policy, typ, claims, 0);
            let expected = if accepted { Ok(()) } else { Err(Fault::Type) };
            assert_eq!(checked, expected, "{typ:?} {claims}");
        }
    }

    /// Whoever has stolen one would be let in with it as if it were not bound.
    #[test]
    fn token_that_is_bound_to_a_key_is_no_bearer_token() {
        let any = policy(Issuer::with_any_type);
        for cnf in [r#"{"jkt":"x"}"#, r#"{"x5t#S256":"x"}"#, "{}", "null"] {
            let claims = format!(r#"{{"aud":"ours","exp":10,"cnf":{cnf}}}"#);
            let checked = check(&any, Some("at+jwt"), &claims, 0);
            assert_eq!(checked, Err(Fault::Bound), "{cnf}");
        }
    }

    #[test]
    fn t07_an_algorithm_that_is_not_listed_is_refused() {
        let policy = policy(|issuer| issuer.with_algorithms([Algorithm::Rs256]).expect("one"));
        let claims = r#"{"aud":"ours","exp":10}"#;
        assert_eq!(
            check(&policy, Some("JWT"), claims, 0),
            Err(Fault::Algorithm)
        );
    }

    #[test]
    fn aut13_what_cannot_be_an_issuer() {
        for issuer in [
            "",
            "login.example.com",
            "http://login.example.com",
            "ftp://a",
            "https://",
        ] {
            let error = Issuer::new(issuer, "ours", Keys::none()).expect_err("no issuer");
            assert_eq!(error.kind(), JwtErrorKind::Issuer, "{issuer}");
        }
        for issuer in [
            "https://a.example/t/",
            "http://127.0.0.1:9000",
            "http://localhost/a",
        ] {
            assert!(
                Issuer::new(issuer, "ours", Keys::none()).is_ok(),
                "{issuer}"
            );
        }
        let error = Issuer::new(ISSUER, "", Keys::none()).expect_err("no audience");
        assert_eq!(error.kind(), JwtErrorKind::Audience);
        let issuer = Issuer::new(ISSUER, "ours", Keys::none()).expect("valid");
        let error = issuer.with_algorithms([]).expect_err("none");
        assert_eq!(error.kind(), JwtErrorKind::Algorithms);
    }
}
