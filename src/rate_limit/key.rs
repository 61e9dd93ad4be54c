use std::{borrow::Cow, error::Error, fmt, hash::Hash};

use http::{Extensions, HeaderMap, Method, Request, Uri};

use crate::message::Message;

/// Says whose account a request is charged to.
///
/// Implemented for [`ByPeer`](super::ByPeer), `ByPrincipal`, `BySession`, [`ByMethod`](super::ByMethod)
/// and [`ByTool`](super::ByTool); for what [`key_fn`] makes of a closure; and for tuples, whose key is
/// all of theirs together. `()` is one account for everybody.
pub trait RateKey {
    /// What tells an account from others. It may borrow from the request; all that counts is what it
    /// writes to a hasher.
    type Key<'a>: Hash
    where
        Self: 'a;

    /// The key of a request.
    ///
    /// It is called once per request that is charged, and must not block.
    ///
    /// # Errors
    ///
    /// If what it takes is not there. The request gets 500: an account of all those without a key would
    /// be anybody's to use up.
    fn key<'a>(&'a self, caller: Caller<'a>) -> Result<Self::Key<'a>, KeyError>;

    /// Falls back to another key where this one has not what it takes: `ByPrincipal.or(ByPeer::new())`.
    fn or<R: RateKey>(self, other: R) -> Or<Self, R>
    where
        Self: Sized,
    {
        Or { first: self, other }
    }
}

/// What a request shows of who sends it, and of what it wants.
///
/// `Debug` shows no header field and no query.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> Caller<'a> {
    /// What `request` shows, for a test of a [`RateKey`]: the layer makes its own.
    #[must_use]
    #[inline]
    pub fn new<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// The HTTP method.
    #[must_use]
    #[inline]
    pub const fn method(&self) -> &'a Method {
        self.method
    }

    /// The URI.
    #[must_use]
    #[inline]
    pub const fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The header fields: whatever the client wrote, and nothing that anybody has verified.
    #[must_use]
    #[inline]
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The facts that layers outside have found out.
    #[must_use]
    #[inline]
    pub const fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// What the body says, if somebody outside has read it.
    #[must_use]
    #[inline]
    pub fn message(&self) -> Option<&'a Message> {
        self.extensions.get()
    }
}

impl fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .finish_non_exhaustive()
    }
}

/// A request has not what its key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    missing: Cow<'static, str>,
}

impl KeyError {
    /// Names what is missing, for the log: the client is not told.
    #[must_use]
    pub fn missing(what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            missing: what.into(),
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a request has no {}", self.missing)
    }
}

impl Error for KeyError {}

/// A key, or else another one: see [`RateKey::or`].
#[derive(Clone, Copy, Debug)]
pub struct Or<A, B> {
    first: A,
    other: B,
}

/// The key of an [`Or`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrKey<A, B> {
    /// The first one had it.
    First(A),
    /// The other one had to do.
    Other(B),
}

impl<A: RateKey, B: RateKey> RateKey for Or<A, B> {
    type Key<'a>
        = OrKey<A::Key<'a>, B::Key<'a>>
    where
        Self: 'a;

    fn key<'a>(&'a self, caller: Caller<'a>) -> Result<Self::Key<'a>, KeyError> {
        match self.first.key(caller) {
            Ok(key) => Ok(OrKey::First(key)),
            Err(_) => self.other.key(caller).map(OrKey::Other),
        }
    }
}

/// A key that a function tells: see [`key_fn`].
#[derive(Clone, Copy)]
pub struct KeyFn<F> {
    function: F,
}

/// Makes a key of a function, for what this crate has no key for.
///
/// A client must not be able to choose among keys, or it has as many quotas as it likes: go by what
/// was verified.
pub const fn key_fn<F, K>(function: F) -> KeyFn<F>
where
    F: Fn(Caller<'_>) -> Result<K, KeyError>,
    K: Hash,
{
    KeyFn { function }
}

impl<F, K> RateKey for KeyFn<F>
where
    F: Fn(Caller<'_>) -> Result<K, KeyError>,
    K: Hash,
{
    type Key<'a>
        = K
    where
        Self: 'a;

    fn key<'a>(&'a self, caller: Caller<'a>) -> Result<K, KeyError> {
        (self.function)(caller)
    }
}

impl<F> fmt::Debug for KeyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyFn")
            .field(&format_args!("{}", std::any::type_name::<F>()))
            .finish()
    }
}

macro_rules! tuple {
    ($($name:ident),*) => {
        impl<$($name: RateKey),*> RateKey for ($($name,)*) {
            type Key<'a>
                = ($($name::Key<'a>,)*)
            where
                Self: 'a;

            #[allow(non_snake_case, unused_variables, clippy::unused_unit)]
            fn key<'a>(&'a self, caller: Caller<'a>) -> Result<Self::Key<'a>, KeyError> {
                let ($($name,)*) = self;
                Ok(($($name.key(caller)?,)*))
            }
        }
    };
}

tuple!();
tuple!(A);
tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);
