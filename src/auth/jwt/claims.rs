use super::{
    fault::Fault,
    json::{Json, Object, is_unambiguous},
    pick::pick,
};

/// The longest `sub`: 1 KiB.
pub(super) const MAX_SUBJECT_BYTES: usize = 1024;

/// The most scopes of one token.
pub(super) const MAX_SCOPES: usize = 128;

/// What is read of what a token says.
const NAMES: &[&str] = &[
    "at_hash",
    "aud",
    "azp",
    "c_hash",
    "client_id",
    "cnf",
    "events",
    "exp",
    "iat",
    "iss",
    "nbf",
    "nonce",
    "s_hash",
    "scope",
    "scp",
    "sub",
    "token_use",
    "typ",
];

/// What a token says, read and not believed.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    object: Object<'a>,
    /// Whether it says more than is read here.
    has_others: bool,
}

/// When a token counts, in milliseconds since 1970, without leeway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// The later one of `nbf` and `iat`.
    pub(super) start: Option<i64>,
    /// `exp`, the first moment at which it does not count any more.
    pub(super) end: i64,
}

impl<'a> Claims<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Result<Self, Fault> {
        let (object, has_others) = pick(payload, NAMES).ok_or(Fault::Claims)?;
        Ok(Self { object, has_others })
    }

    /// The whole text, for those who read it after us: none of it can be read in two ways (T14). Asked
    /// only of a token that its issuer has signed, because it takes a while.
    pub(super) fn text<'t>(&self, payload: &'t [u8]) -> Result<&'t str, Fault> {
        if self.has_others && !is_unambiguous(payload) {
            return Err(Fault::Claims);
        }
        std::str::from_utf8(payload).map_err(|_| Fault::Claims)
    }

    fn string(&self, name: &str) -> Result<Option<&str>, Fault> {
        self.object.string(name).map_err(|_| Fault::Claims)
    }

    pub(super) fn issuer(&self) -> Result<&str, Fault> {
        self.string("iss")?.ok_or(Fault::Issuer)
    }

    /// Somebody who has a name that can be seen (T19).
    pub(super) fn subject(&self) -> Result<&str, Fault> {
        let subject = self.string("sub")?.ok_or(Fault::Subject)?;
        let is_name = !subject.trim().is_empty()
            && subject.len() <= MAX_SUBJECT_BYTES
            && !subject.contains(char::is_control);
        is_name.then_some(subject).ok_or(Fault::Subject)
    }

    /// For whom the token is. An array that has anything but strings is none (T18).
    pub(super) fn audiences(&self) -> Result<Vec<&str>, Fault> {
        let audiences = self.object.strings("aud").map_err(|_| Fault::Claims)?;
        audiences.ok_or(Fault::Audience)
    }

    /// The client, as RFC 9068 §2.2 calls it, or else as OpenID Connect does.
    pub(super) fn client(&self) -> Result<Option<&str>, Fault> {
        match self.string("client_id")? {
            Some(client) => Ok(Some(client)),
            None => self.string("azp"),
        }
    }

    /// The scopes: words of a string, in `scope` (RFC 9068 §2.2.3) or in `scp`, or the strings of an
    /// array in either. What commas join is one word (T20). No more than [`MAX_SCOPES`].
    pub(super) fn scopes(&self) -> Result<Vec<&str>, Fault> {
        let scopes = match self.object.get("scope") {
            Some(_) => self.object.strings("scope"),
            None => self.object.strings("scp"),
        };
        let scopes = scopes.map_err(|_| Fault::Claims)?.unwrap_or_default();
        let words = scopes.iter().flat_map(|scopes| scopes.split(' '));
        let words = words.filter(|scope| !scope.is_empty());
        let scopes: Vec<_> = words.take(MAX_SCOPES + 1).collect();
        if scopes.len() > MAX_SCOPES {
            return Err(Fault::Claims);
        }
        Ok(scopes)
    }

    /// When the token counts. A number of seconds that is no whole one is taken as the stricter whole
    /// millisecond.
    pub(super) fn times(&self) -> Result<Times, Fault> {
        let end = self.time("exp", f64::floor)?.ok_or(Fault::Claims)?;
        let not_before = self.time("nbf", f64::ceil)?;
        let issued = self.time("iat", f64::ceil)?;
        let start = not_before.max(issued);
        Ok(Times { start, end })
    }

    fn time(&self, name: &str, round: impl Fn(f64) -> f64) -> Result<Option<i64>, Fault> {
        /// The last second of the year 9999.
        const MAX: f64 = 253_402_300_799.0;

        match self.object.get(name) {
            None => Ok(None),
            Some(Json::Number(time)) if (0.0..=MAX).contains(time) => {
                Ok(Some(round(time * 1000.0) as i64))
            }
            Some(_) => Err(Fault::Claims),
        }
    }

    /// Whether it counts only with a proof that whoever brings it has a key (RFC 7800), which nobody asks
    /// for here.
    pub(super) fn is_bound(&self) -> bool {
        self.object.has("cnf")
    }

    /// Whether this is what an ID token, a refresh token or a logout token says, and an access token
    /// does not (T21).
    pub(super) fn is_of_another_use(&self) -> bool {
        const MARKS: [&str; 5] = ["at_hash", "c_hash", "s_hash", "nonce", "events"];

        let says_other = |name, access: &str| match self.object.get(name) {
            None => false,
            Some(Json::String(used)) => !used.eq_ignore_ascii_case(access),
            Some(_) => true,
        };
        // Some issuers say it in one of these.
        MARKS.iter().any(|mark| self.object.has(mark))
            || says_other("typ", "bearer")
            || says_other("token_use", "access")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Claims<'_> {
        Claims::parse(text.as_bytes()).expect("claims")
    }

    #[test]
    fn t16_times_are_numbers_and_rounded_to_the_stricter_side() {
        for (text, times) in [
            (r#"{"exp":10}"#, Ok((None, 10_000))),
            (r#"{"exp":10.0005}"#, Ok((None, 10_000))),
            (r#"{"exp":1e1,"nbf":5}"#, Ok((Some(5_000), 10_000))),
            (r#"{"exp":10,"nbf":5,"iat":7}"#, Ok((Some(7_000), 10_000))),
            (r#"{"exp":10,"nbf":9,"iat":7}"#, Ok((Some(9_000), 10_000))),
            (r#"{"exp":10,"nbf":5.0001}"#, Ok((Some(5_001), 10_000))),
            (r#"{"exp":10,"nbf":"5"}"#, Err(Fault::Claims)),
            (r#"{"exp":10,"iat":"5"}"#, Err(Fault::Claims)),
            (r#"{"exp":10,"iat":null}"#, Err(Fault::Claims)),
            (r#"{"exp":"10"}"#, Err(Fault::Claims)),
            (r#"{"exp":-1}"#, Err(Fault::Claims)),
            (r#"{"exp":1e300}"#, Err(Fault::Claims)),
            (r#"{"exp":253402300800}"#, Err(Fault::Claims)),
            (r#"{"exp":[10]}"#, Err(Fault::Claims)),
            (r#"{}"#, Err(Fault::Claims)),
        ] {
            let read = claims(text)
                .times()
                .map(|Times { start, end }| (start, end));
            assert_eq!(read, times, "{text}");
        }
        // No number at all, says the parser.
        assert!(Claims::parse(br#"{"exp":1e999}"#).is_err());
        assert!(Claims::parse(br#"{"exp":NaN}"#).is_err());
    }

    #[test]
    fn t20_scopes_are_whole_words() {
        for (text, scopes) in [
            (r#"{}"#, Ok(vec![])),
            (r#"{"scope":""}"#, Ok(vec![])),
            (r#"{"scope":"a"}"#, Ok(vec!["a"])),
            (r#"{"scope":"a  b c"}"#, Ok(vec!["a", "b", "c"])),
            (r#"{"scope":"a,b"}"#, Ok(vec!["a,b"])),
            (r#"{"scope":["a","b"]}"#, Ok(vec!["a", "b"])),
            (r#"{"scp":["a","b"]}"#, Ok(vec!["a", "b"])),
            (r#"{"scp":"a b"}"#, Ok(vec!["a", "b"])),
            (r#"{"scope":"a","scp":["b"]}"#, Ok(vec!["a"])),
            (r#"{"scope":1}"#, Err(Fault::Claims)),
            (r#"{"scp":[1]}"#, Err(Fault::Claims)),
        ] {
            assert_eq!(claims(text).scopes(), scopes, "{text}");
        }
        for (count, expected) in [
            (MAX_SCOPES, Ok(MAX_SCOPES)),
            (MAX_SCOPES + 1, Err(Fault::Claims)),
        ] {
            for text in [
                format!(r#"{{"scope":"{}"}}"#, "a ".repeat(count)),
                format!(r#"{{"scp":[{}]}}"#, vec![r#""a""#; count].join(",")),
            ] {
                let scopes = claims(&text).scopes().map(|scopes| scopes.len());
                assert_eq!(scopes, expected, "{count}");
            }
        }
    }

    /// A name that is asked for and not read would be one that no token has.
    #[test]
    fn all_that_is_asked_for_is_read() {
        let text: Vec<_> = NAMES.iter().map(|name| format!(r#""{name}":0"#)).collect();
        let text = format!("{{{}}}", text.join(","));
        let claims = claims(&text);
        assert!(NAMES.iter().all(|name| claims.object.has(name)));
    }

    #[test]
    fn t19_a_subject_is_a_name() {
        let long = format!(r#"{{"sub":"{}"}}"#, "a".repeat(MAX_SUBJECT_BYTES + 1));
        for (text, fault) in [
            (r#"{}"#, Fault::Subject),
            (r#"{"sub":""}"#, Fault::Subject),
            (r#"{"sub":"  "}"#, Fault::Subject),
            (r#"{"sub":"\u2003"}"#, Fault::Subject),
            (r#"{"sub":"a\u0000b"}"#, Fault::Subject),
            (&long, Fault::Subject),
            (r#"{"sub":1}"#, Fault::Claims),
            (r#"{"sub":null}"#, Fault::Claims),
        ] {
            assert_eq!(claims(text).subject(), Err(fault), "{text}");
        }
        assert_eq!(claims(r#"{"sub":"alice"}"#).subject(), Ok("alice"));
    }

    #[test]
    fn t21_marks_of_tokens_for_another_use() {
        for text in [
            r#"{"nonce":"n"}"#,
            r#"{"at_hash":"h"}"#,
            r#"{"c_hash":"h"}"#,
            r#"{"events":{}}"#,
            r#"{"typ":"ID"}"#,
            r#"{"typ":"Refresh"}"#,
            r#"{"typ":1}"#,
            r#"{"token_use":"id"}"#,
            r#"{"token_use":null}"#,
        ] {
            assert!(claims(text).is_of_another_use(), "{text}");
        }
        for text in [
            r#"{}"#,
            r#"{"typ":"Bearer"}"#,
            r#"{"client_id":"c"}"#,
            r#"{"token_use":"access"}"#,
        ] {
            assert!(!claims(text).is_of_another_use(), "{text}");
        }
    }

    #[test]
    fn clients_have_one_of_two_names() {
        for (text, client) in [
            (r#"{}"#, Ok(None)),
            (r#"{"azp":"a"}"#, Ok(Some("a"))),
            (r#"{"client_id":"c"}"#, Ok(Some("c"))),
            (r#"{"client_id":"c","azp":"a"}"#, Ok(Some("c"))),
            (r#"{"client_id":1}"#, Err(Fault::Claims)),
        ] {
            assert_eq!(claims(text).client(), client, "{text}");
        }
    }
}
