use std::{fmt::Write, time::Duration};

use http::{
    HeaderValue, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{Rejection, RejectionKind, Scopes, bearer::NoToken};
use crate::{
    jsonrpc::{ErrorObject, code},
    refusal::Refusal,
};

/// What a client is told that is not let in (RFC 6750 §3, RFC 9728 §5.1).
#[derive(Clone, Debug, Default)]
pub(super) struct Challenge {
    /// Where the metadata is; checked to be a URL, so that it fits into quotes.
    pub(super) metadata_url: Option<Box<str>>,
    /// What a client asks its authorization server for, to begin with.
    pub(super) scopes: Scopes,
}

/// What stands for `error`.
#[derive(Clone, Copy)]
struct Fault<'a> {
    error: &'a str,
    description: &'a str,
}

impl Challenge {
    /// Refuses who has shown no token that can be judged.
    pub(super) fn no_token(&self, reason: NoToken) -> Refusal {
        let (status, fault) = match reason {
            // Nothing to complain about was presented, and no error is named then (RFC 6750 §3.1).
            NoToken::Absent | NoToken::OtherScheme => (StatusCode::UNAUTHORIZED, None),
            NoToken::Malformed => {
                let fault = Fault {
                    error: "invalid_token",
                    description: "the token is malformed",
                };
                (StatusCode::UNAUTHORIZED, Some(fault))
            }
            NoToken::Repeated => {
                let fault = Fault {
                    error: "invalid_request",
                    description: "there is more than one Authorization field",
                };
                (StatusCode::BAD_REQUEST, Some(fault))
            }
        };
        let error = match fault {
            Some(fault) if status == StatusCode::BAD_REQUEST => {
                ErrorObject::new(code::INVALID_REQUEST, fault.description.to_owned())
            }
            Some(fault) => ErrorObject::new(code::UNAUTHORIZED, fault.description.to_owned()),
            None => ErrorObject::new(code::UNAUTHORIZED, "a bearer token is required"),
        };
        Refusal::new(status, error).with_header(WWW_AUTHENTICATE, self.render(fault, &self.scopes))
    }

    /// Refuses whose token was judged.
    pub(super) fn rejected(&self, rejection: &Rejection) -> Refusal {
        match rejection.kind() {
            RejectionKind::InvalidToken(description) => {
                let fault = Fault {
                    error: "invalid_token",
                    description,
                };
                let error = ErrorObject::new(code::UNAUTHORIZED, *description);
                Refusal::new(StatusCode::UNAUTHORIZED, error)
                    .with_header(WWW_AUTHENTICATE, self.render(Some(fault), &self.scopes))
            }
            RejectionKind::InsufficientScope(needed) => self.insufficient(needed),
            RejectionKind::Unavailable(retry_after) => unavailable(*retry_after),
        }
    }

    /// Refuses who may do less than is needed, with all that is (AUT-7).
    pub(super) fn insufficient(&self, needed: &Scopes) -> Refusal {
        const DESCRIPTION: &str = "the token allows too little";

        let fault = Fault {
            error: "insufficient_scope",
            description: DESCRIPTION,
        };
        let error = ErrorObject::new(code::FORBIDDEN, DESCRIPTION)
            .add_texts("scopes", &needed.iter().collect::<Vec<_>>());
        Refusal::new(StatusCode::FORBIDDEN, error)
            .with_header(WWW_AUTHENTICATE, self.render(Some(fault), needed))
    }

    /// Refuses whoever has not said who it is, where that is needed.
    pub(super) fn anonymous(&self, needed: &Scopes) -> Refusal {
        let error = ErrorObject::new(code::UNAUTHORIZED, "a bearer token is required");
        Refusal::new(StatusCode::UNAUTHORIZED, error)
            .with_header(WWW_AUTHENTICATE, self.render(None, needed))
    }

    fn render(&self, fault: Option<Fault<'_>>, scopes: &Scopes) -> HeaderValue {
        let mut text = String::with_capacity(256);
        text.push_str("Bearer");
        let mut separator = " ";
        let mut push = |name: &str, value: &str| {
            // Into a text there is nothing that can fail.
            let _ = write!(text, "{separator}{name}=\"");
            text.extend(value.chars().filter(|char| is_quotable(*char)));
            text.push('"');
            separator = ", ";
        };
        if let Some(Fault { error, description }) = fault {
            push("error", error);
            push("error_description", description);
        }
        if !scopes.is_empty() {
            push("scope", scopes.as_str());
        }
        if let Some(url) = &self.metadata_url {
            push("resource_metadata", url);
        }
        // All that is left in it is visible.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

/// RFC 6750 §3: `%x20-21 / %x23-5B / %x5D-7E`.
const fn is_quotable(char: char) -> bool {
    matches!(char, ' '..='!' | '#'..='[' | ']'..='~')
}

fn unavailable(retry_after: Duration) -> Refusal {
    // Asked again too early, it would have to say the same.
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    let error = ErrorObject::new(
        code::SERVICE_UNAVAILABLE,
        "tokens cannot be verified just now",
    );
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error)
        .with_header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(refusal: &Refusal) -> String {
        let response = refusal
            .clone()
            .into_response::<http_body_util::Empty<bytes::Bytes>>(&Default::default());
        let field = response.headers().get(WWW_AUTHENTICATE);
        let field = field.map_or("", |field| field.to_str().expect("ASCII"));
        format!("{} {field}", response.status().as_u16())
    }

    fn challenge() -> Challenge {
        Challenge {
            metadata_url: Some("https://h/.well-known/oauth-protected-resource/mcp".into()),
            scopes: Scopes::new(["read", "call"]).expect("valid"),
        }
    }

    const REST: &str = r#"scope="read call", resource_metadata="https://h/.well-known/oauth-protected-resource/mcp""#;

    #[test]
    fn aut_6_error_is_named_only_if_a_token_was_presented() {
        let challenge = challenge();
        for reason in [NoToken::Absent, NoToken::OtherScheme] {
            assert_eq!(
                shown(&challenge.no_token(reason)),
                format!("401 Bearer {REST}")
            );
        }
        assert_eq!(
            shown(&challenge.no_token(NoToken::Malformed)),
            format!(
                r#"401 Bearer error="invalid_token", error_description="the token is malformed", {REST}"#
            )
        );
        assert_eq!(
            shown(&challenge.rejected(&Rejection::invalid_token("the token has expired"))),
            format!(
                r#"401 Bearer error="invalid_token", error_description="the token has expired", {REST}"#
            )
        );
        assert_eq!(
            shown(&challenge.no_token(NoToken::Repeated)),
            format!(
                r#"400 Bearer error="invalid_request", error_description="there is more than one Authorization field", {REST}"#
            )
        );
        assert_eq!(
            shown(&Challenge::default().no_token(NoToken::Absent)),
            "401 Bearer"
        );
    }

    #[test]
    fn aut_7_all_scopes_that_are_needed_are_named() {
        let needed = Scopes::new(["call", "delete"]).expect("valid");
        let rejection = Rejection::insufficient_scope(needed.clone());
        let expected = r#"403 Bearer error="insufficient_scope", error_description="the token allows too little", scope="call delete", resource_metadata="https://h/.well-known/oauth-protected-resource/mcp""#;
        assert_eq!(shown(&challenge().rejected(&rejection)), expected);
        let anonymous = shown(&challenge().anonymous(&needed));
        assert!(anonymous.starts_with(r#"401 Bearer scope="call delete", resource"#));
    }

    #[test]
    fn sec_7_nothing_breaks_out_of_a_description() {
        let rejection = Rejection::invalid_token("a\"b\\c\r\nx: y\u{e4}");
        let shown = shown(&Challenge::default().rejected(&rejection));
        assert_eq!(
            shown,
            r#"401 Bearer error="invalid_token", error_description="abcx: y""#
        );
    }

    #[test]
    fn unavailable_says_when_to_come_back_rounded_up() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (60_000, "60")] {
            let rejection = Rejection::unavailable(Duration::from_millis(millis));
            let refusal = Challenge::default().rejected(&rejection);
            assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
            let response =
                refusal.into_response::<http_body_util::Empty<bytes::Bytes>>(&Default::default());
            assert_eq!(response.headers()[RETRY_AFTER], seconds);
            assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
        }
    }
}
