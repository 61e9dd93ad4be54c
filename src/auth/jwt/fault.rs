use crate::auth::Rejection;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fault {
    TooLong,
    Malformed,
    Header,
    Critical,
    Algorithm,
    Type,
    Bound,
    Claims,
    Issuer,
    Audience,
    Subject,
    Expired,
    NotYet,
    UnknownKey,
    Signature,
}

impl Fault {
    /// What the client is told. All of it can be said to anybody: what is checked before the signature
    /// is what whoever made the token knows.
    const fn text(self) -> &'static str {
        match self {
            Self::TooLong => "the token is too long",
            Self::Malformed => "the token is no signed JWT",
            Self::Header => "the header of the token is not valid",
            Self::Critical => "the token has a critical header that is not known here",
            Self::Algorithm => "the token is signed with an algorithm that is not accepted",
            Self::Type => "the token is no access token",
            Self::Bound => "the token is for whoever has a key, and no proof of that is taken here",
            Self::Claims => "the claims of the token are not valid",
            Self::Issuer => "the token is from an issuer that is not accepted",
            Self::Audience => "the token is for another server",
            Self::Subject => "the token says of nobody who it is",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
            Self::UnknownKey => "the token is signed with a key that is not known",
            Self::Signature => "the signature of the token is not valid",
        }
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self::invalid_token(fault.text())
    }
}
