use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;
use tower_layer::Layer;

use super::{
    Auth, ConfigError, ConfigErrorKind, MetadataService, Scopes, challenge::Challenge, url,
};

/// Lets in who has a token that is believed, and says who it is.
///
/// See the [module docs](crate::auth). A clone costs a reference count.
#[must_use]
pub struct AuthLayer<A> {
    shared: Arc<Shared<A>>,
}

/// What the services of one layer share.
pub(super) struct Shared<A> {
    // Of its own, because a setter keeps it, whether it can be copied or not.
    pub(super) authorizer: Arc<A>,
    // Of its own, because what waits for a decision must not name its type.
    pub(super) config: Arc<Config>,
}

#[derive(Clone)]
pub(super) struct Config {
    pub(super) is_optional: bool,
    pub(super) leeway: Duration,
    pub(super) retry: Duration,
    pub(super) hides_unauthorized: bool,
    pub(super) upstream: Option<HeaderValue>,
    pub(super) challenge: Challenge,
}

impl<A> AuthLayer<A> {
    /// The longest leeway: 60 s (AUT-10).
    pub const MAX_LEEWAY: Duration = Duration::from_secs(60);

    /// How long after its expiry a token still counts by default, for clocks that differ: 60 s
    /// (AUT-10).
    pub const DEFAULT_LEEWAY: Duration = Self::MAX_LEEWAY;

    /// When the client of a stream that ends with its token is asked to come back by default, at the
    /// earliest: 1 s.
    pub const DEFAULT_RETRY: Duration = Duration::from_secs(1);

    /// Has `authorizer` judge the token of each request; a request without one gets 401.
    pub fn new(authorizer: A) -> Self {
        Self {
            shared: Arc::new(Shared {
                authorizer: Arc::new(authorizer),
                config: Arc::new(Config {
                    is_optional: false,
                    leeway: Self::DEFAULT_LEEWAY,
                    retry: Self::DEFAULT_RETRY,
                    hides_unauthorized: false,
                    upstream: None,
                    challenge: Challenge::default(),
                }),
            }),
        }
    }

    /// Also lets in requests without any credentials, as nobody's: without a
    /// [`Principal`](super::Principal). Credentials that are not believed are refused all the same.
    ///
    /// The [upstream credential](Self::with_upstream_credential), if there is one, goes with those
    /// requests too: whoever is inside must tell them apart by the principal, or let in anyone.
    pub fn with_optional(self, optional: bool) -> Self {
        self.change(|config| config.is_optional = optional)
    }

    /// Sends clients to the document that `metadata` serves (AUT-6).
    pub fn with_metadata(self, metadata: &MetadataService) -> Self {
        self.change(|config| config.challenge.metadata_url = Some(metadata.url().into()))
    }

    /// Sends clients to a document that somebody else serves (AUT-6).
    ///
    /// # Errors
    ///
    /// If it is no absolute `https` URL, or `http` one of this machine.
    pub fn with_metadata_url(self, url: &str) -> Result<Self, ConfigError> {
        url::check_metadata(url)?;
        Ok(self.change(|config| config.challenge.metadata_url = Some(url.into())))
    }

    /// Says which scopes a client should ask for that has none: the fewest that are of use (AUT-6,
    /// AUT-9). They are not checked here; a [`ScopeLayer`](super::ScopeLayer) does that.
    pub fn with_scopes(self, scopes: Scopes) -> Self {
        self.change(|config| config.challenge.scopes = scopes)
    }

    /// How long after its expiry a token still counts; then it is refused, whatever the authorizer
    /// says, and open event streams end.
    ///
    /// An authorizer may have a leeway of its own, as that of signed tokens has. Both are counted from the
    /// expiry, and not one after the other: a request is let in until the shorter one is over, and a
    /// stream goes on until this one is.
    ///
    /// # Errors
    ///
    /// If it is more than [`MAX_LEEWAY`](Self::MAX_LEEWAY).
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, ConfigError> {
        if leeway > Self::MAX_LEEWAY {
            return Err(ConfigError::new(ConfigErrorKind::Leeway));
        }
        Ok(self.change(|config| config.leeway = leeway))
    }

    /// When the client of a stream that ends with its token is asked to come back, at the earliest.
    pub fn with_retry(self, retry: Duration) -> Self {
        self.change(|config| config.retry = retry)
    }

    /// Sends `credential` to the inner service as `Authorization`, in place of the client's (AUT-12,
    /// B50): the same for everybody who is let in, and that is [anyone](Self::with_optional) if nobody
    /// needs a token.
    pub fn with_upstream_credential(self, mut credential: HeaderValue) -> Self {
        credential.set_sensitive(true);
        self.change(|config| config.upstream = Some(credential))
    }

    /// Answers 502 where the inner service answers 401, and takes `WWW-Authenticate` out of whatever else
    /// it answers, unless a layer of this crate does: the client's token ended here, so it is not what is
    /// wrong, and another one would not help. Nor must a server inside be able to send clients to an
    /// authorization server of its own, with a 403 of `insufficient_scope` (B50).
    ///
    /// For a [`ReverseProxy`](crate::proxy::ReverseProxy) inside. Off by default: what an app of yours
    /// answers is its own business.
    pub fn with_hidden_unauthorized(self, hidden: bool) -> Self {
        self.change(|config| config.hides_unauthorized = hidden)
    }

    fn change(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::clone(&self.shared.config);
        change(&mut config);
        Self {
            shared: Arc::new(Shared {
                authorizer: Arc::clone(&self.shared.authorizer),
                config: Arc::new(config),
            }),
        }
    }
}

impl<A> Clone for AuthLayer<A> {
    fn clone(&self) -> Self {
        let Self { shared } = self;
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl<S, A> Layer<S> for AuthLayer<A> {
    type Service = Auth<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        Auth::with_shared(inner, Arc::clone(&self.shared))
    }
}

impl<A> fmt::Debug for AuthLayer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared } = self;
        f.debug_struct("AuthLayer")
            .field(
                "authorizer",
                &format_args!("{}", std::any::type_name::<A>()),
            )
            .field("config", &shared.config)
            .finish()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            is_optional,
            leeway,
            retry,
            hides_unauthorized,
            upstream,
            challenge,
        } = self;
        f.debug_struct("Config")
            .field("is_optional", is_optional)
            .field("leeway", leeway)
            .field("retry", retry)
            .field("hides_unauthorized", hides_unauthorized)
            .field("has_upstream_credential", &upstream.is_some())
            .field("challenge", challenge)
            .finish()
    }
}
