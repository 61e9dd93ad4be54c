use std::sync::Arc;

use tower_layer::Layer;

use super::{CheckOrigin, ConfigError, allowed::Allowed};

/// Lets in what means this server, and comes from a page that may use it.
///
/// See the [module docs](crate::origin). A clone costs a reference count.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct OriginLayer {
    allowed: Arc<Allowed>,
}

impl OriginLayer {
    /// Allows nothing: every request gets 403 until a host is [added](Self::add_host).
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows this machine's own names, as hosts and as origins (ORG-4): `localhost`, IPv4 addresses
    /// that begin with 127, and `[::1]`, with any port, by HTTP or HTTPS.
    ///
    /// For a server that listens on loopback only. Any page that this machine itself serves may use
    /// it.
    pub fn loopback() -> Self {
        Self::new().change(|allowed| allowed.loopback = true)
    }

    /// Also allows requests to `host`: a name or an address, with a port if it is not 80 or 443.
    ///
    /// Those two are what a URL leaves out, so a host without a port stands for one with either of
    /// them.
    ///
    /// # Errors
    ///
    /// If it is none, or has more than that.
    pub fn add_host(mut self, host: &str) -> Result<Self, ConfigError> {
        Arc::make_mut(&mut self.allowed).add_host(host)?;
        Ok(self)
    }

    /// Also allows pages of `origin`: a scheme, `://`, a host, and a port if it is not the scheme's
    /// own; or `null`, which any page can make its origin.
    ///
    /// # Errors
    ///
    /// If it is none, or has more than that, if only a slash at its end.
    pub fn add_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        Arc::make_mut(&mut self.allowed).add_origin(origin)?;
        Ok(self)
    }

    /// Whether a request without an `Origin` is refused; off by default, because only browsers send
    /// one (ORG-2). For a server that only pages may use.
    pub fn with_required_origin(self, required: bool) -> Self {
        self.change(|allowed| allowed.requires_origin = required)
    }

    fn change(mut self, change: impl FnOnce(&mut Allowed)) -> Self {
        change(Arc::make_mut(&mut self.allowed));
        self
    }
}

impl<S> Layer<S> for OriginLayer {
    type Service = CheckOrigin<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CheckOrigin::with_allowed(inner, Arc::clone(&self.allowed))
    }
}
