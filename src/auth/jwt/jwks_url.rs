use std::{fmt, time::Duration};

use http::Uri;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{JwtError, JwtErrorKind, address::Reach};
use crate::auth::url;

/// The URL at which an issuer publishes its keys, the `jwks_uri` of its metadata.
///
/// It is configured: no token and no document ever says where to look (T10). The document is fetched
/// when a token is to be verified and there are no keys yet, when a token names a key that is not known,
/// and from time to time; at most once in [30 s](Self::COOLDOWN), or after 1, 2, 4 s and so on while
/// there are no keys at all, and by one request at a time, however many tokens there are (SEC-4, T24).
/// It has to be there within [5 s](Self::TIMEOUT), be no larger than 256 KiB, and come without a
/// redirect.
#[derive(Clone)]
#[must_use]
pub struct JwksUrl {
    pub(super) uri: Uri,
    /// Whether it was said to be of this machine: what a name leads to is no such thing.
    pub(super) is_loopback: bool,
    pub(super) allows_private: bool,
    pub(super) roots: Option<Vec<CertificateDer<'static>>>,
    pub(super) refresh: Duration,
    pub(super) max_stale: Duration,
}

impl JwksUrl {
    /// How long nothing is fetched after the last time: 30 s. After a failure it is twice as long for
    /// each that came before, up to 5 min; while there are no keys at all, it begins with 1 s.
    pub const COOLDOWN: Duration = Duration::from_secs(30);

    /// How long a fetch may take, with all that belongs to it: 5 s.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// How old keys are when they are fetched again, unless told otherwise: 5 min.
    pub const DEFAULT_REFRESH: Duration = Duration::from_secs(5 * 60);

    /// How old keys may become when they cannot be fetched, unless told otherwise: 24 h.
    pub const DEFAULT_MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

    /// The keys at an `https` URL.
    ///
    /// The address that its host turns out to have must be a public one, and is the one that is
    /// connected to: a name cannot lead elsewhere the second time (SEC-3, B57).
    ///
    /// # Errors
    ///
    /// If it is no such URL, names a user, or has an address for a host that is not public.
    pub fn new(text: &str) -> Result<Self, JwtError> {
        let this = Self::parse(text, false)?;
        // A private one may be allowed later.
        let address = this.uri.host().and_then(url::address);
        match address.map(Reach::of) {
            Some(Reach::Loopback | Reach::Never) => Err(JwtErrorKind::Url.into()),
            None | Some(Reach::Global | Reach::Private) => Ok(this),
        }
    }

    /// The keys at an `http` or `https` URL of this machine, for development: no other address is
    /// connected to.
    ///
    /// # Errors
    ///
    /// If it is no such URL, or of another host than `localhost` or a loopback address.
    pub fn loopback(text: &str) -> Result<Self, JwtError> {
        let this = Self::parse(text, true)?;
        if !this.uri.host().is_some_and(url::is_loopback) {
            return Err(JwtErrorKind::Url.into());
        }
        Ok(this)
    }

    fn parse(text: &str, allows_loopback: bool) -> Result<Self, JwtError> {
        let uri = match url::check(text, allows_loopback) {
            Some(_) => text.parse().ok(),
            None => None,
        };
        let uri = uri.ok_or(JwtErrorKind::Url)?;
        Ok(Self {
            uri,
            is_loopback: allows_loopback,
            allows_private: false,
            roots: None,
            refresh: Self::DEFAULT_REFRESH,
            max_stale: Self::DEFAULT_MAX_STALE,
        })
    }

    /// Also connects to addresses of private networks: 10/8, 172.16/12, 192.168/16, 100.64/10 and
    /// fc00::/7. Never to link-local ones, and others at which clouds give out secrets.
    pub const fn allow_private_addresses(mut self) -> Self {
        self.allows_private = true;
        self
    }

    /// Trusts servers whose certificates lead to one of these, a PEM text, and no others. By default
    /// those are trusted that the system trusts.
    ///
    /// # Errors
    ///
    /// If there are none, or one cannot be read.
    pub fn with_root_certificates(mut self, pem: &str) -> Result<Self, JwtError> {
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let roots = roots.map_err(|error| JwtError::new(JwtErrorKind::Certificates, error))?;
        if roots.is_empty() {
            return Err(JwtErrorKind::Certificates.into());
        }
        self.roots = Some(roots);
        Ok(self)
    }

    /// Fetches keys again that are as old as this. No less than [`COOLDOWN`](Self::COOLDOWN).
    ///
    /// It is done when a token comes. That one does not wait, unless the last one came so long ago that
    /// the keys are twice as old: a key that its issuer has withdrawn counts no longer than that, if it
    /// can be asked (T27).
    pub fn with_refresh(mut self, age: Duration) -> Self {
        self.refresh = age.max(Self::COOLDOWN);
        self
    }

    /// Believes keys that cannot be fetched again until they are as old as this, and then no token at
    /// all (C69). No less than the time to refresh them.
    pub const fn with_max_stale(mut self, age: Duration) -> Self {
        self.max_stale = age;
        self
    }
}

impl fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            uri,
            is_loopback,
            allows_private,
            roots: _,
            refresh,
            max_stale,
        } = self;
        f.debug_struct("JwksUrl")
            .field("uri", uri)
            .field("is_loopback", is_loopback)
            .field("allows_private", allows_private)
            .field("refresh", refresh)
            .field("max_stale", max_stale)
            .finish_non_exhaustive()
    }
}
