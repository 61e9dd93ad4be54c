use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri};

/// What a request shows of who sends it: one bearer token, and the request's head for those who go by
/// more than that.
///
/// `Debug` shows no header field and no query.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    // Characters of RFC 6750, so it is text whenever somebody asks for that.
    token: &'a [u8],
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> Credentials<'a> {
    /// The token that came with `request`, for a test of an [`Authorize`](super::Authorize): the
    /// layer makes its own.
    #[must_use]
    pub fn new<B>(token: &'a str, request: &'a Request<B>) -> Self {
        Self::of(token.as_bytes(), request)
    }

    /// The same, of a token that was found to have the characters of one.
    #[inline]
    pub(super) fn of<B>(token: &'a [u8], request: &'a Request<B>) -> Self {
        debug_assert!(std::str::from_utf8(token).is_ok(), "no token");
        Self {
            token,
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// The bearer token: at least one character, and only those that RFC 6750 §2.1 allows. It is a
    /// secret, and not of any length but that of a header field, which the server limits.
    #[must_use]
    pub const fn token(&self) -> &'a str {
        match std::str::from_utf8(self.token) {
            Ok(token) => token,
            // Never: it was text, or has no other bytes than those of tokens.
            Err(_) => "",
        }
    }

    /// The same, for who compares it.
    pub(super) const fn token_bytes(&self) -> &'a [u8] {
        self.token
    }

    /// The request's method.
    #[must_use]
    pub const fn method(&self) -> &'a Method {
        self.method
    }

    /// The request's URI, without `access_token` (AUT-2).
    #[must_use]
    pub const fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The request's header fields, but for `Authorization`.
    #[must_use]
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The facts that layers outside have found out, such as the [`PeerAddr`](crate::peer::PeerAddr).
    #[must_use]
    pub const fn extensions(&self) -> &'a Extensions {
        self.extensions
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .finish_non_exhaustive()
    }
}
