use std::time::{Duration, SystemTime};

use http::{Request, header::AUTHORIZATION};
use tokio::time::Instant;

use super::{Principal, Rejection, layer::Config};
use crate::{
    header::MCP_PROTOCOL_VERSION,
    message::Message,
    protocol,
    refusal::{Recipient, Refusal},
};

/// Boxed, because nearly all requests are let in.
pub(super) type Refused = Box<(Refusal, Recipient)>;

/// When a token stops to count, for a response that outlives it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    pub(super) at: Instant,
    /// How long the client of a stream is asked to stay away; `None` for one that cannot come back
    /// to it.
    pub(super) retry: Option<Duration>,
}

/// What has to be known of a request once its response is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) expiry: Option<Expiry>,
    /// Whether a 401 from further in is not passed on.
    pub(super) hides_unauthorized: bool,
}

impl Asked {
    /// Whether every response is passed on as it is.
    #[inline]
    pub(super) const fn is_nothing(&self) -> bool {
        self.expiry.is_none() && !self.hides_unauthorized
    }
}

/// Makes a request one of the principal that was found, or does not.
#[inline]
pub(super) fn admit<B>(
    request: &mut Request<B>,
    decided: Result<Principal, Rejection>,
    config: &Config,
) -> Result<Asked, Refused> {
    let admitted = decided.and_then(|principal| {
        let expiry = expiry(request, &principal, config)?;
        Ok((principal, expiry))
    });
    let (principal, expiry) = match admitted {
        Ok(admitted) => admitted,
        Err(rejection) => {
            tracing::debug!(%rejection, "refusing a token");
            return Err(refuse(request, config.challenge.rejected(&rejection)));
        }
    };
    // In the place of one that may be there already: nobody else says who it is.
    match request.extensions_mut().get_mut::<Principal>() {
        Some(place) => *place = principal,
        None => drop(request.extensions_mut().insert(principal)),
    }
    set_upstream_credential(request, config);
    Ok(Asked {
        expiry,
        hides_unauthorized: config.hides_unauthorized,
    })
}

/// Makes a request nobody's.
pub(super) fn admit_anonymous<B>(request: &mut Request<B>, config: &Config) -> Asked {
    request.extensions_mut().remove::<Principal>();
    set_upstream_credential(request, config);
    Asked {
        expiry: None,
        hides_unauthorized: config.hides_unauthorized,
    }
}

/// The client's token was for this server, and is for no other one (AUT-12, B50).
#[inline]
fn set_upstream_credential<B>(request: &mut Request<B>, config: &Config) {
    if let Some(upstream) = &config.upstream {
        request
            .headers_mut()
            .insert(AUTHORIZATION, upstream.clone());
    }
}

/// When a principal's token stops to count; `None` for never.
///
/// # Errors
///
/// If it has. Whoever verified the token looks too, but may have looked earlier (B38).
#[inline]
fn expiry<B>(
    request: &Request<B>,
    principal: &Principal,
    config: &Config,
) -> Result<Option<Expiry>, Rejection> {
    /// No timer goes further: a stream that lives longer ends then.
    const MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    let Some(expires_at) = principal.expires_at() else {
        return Ok(None);
    };
    // What cannot be added is never reached.
    let Some(end) = expires_at.checked_add(config.leeway) else {
        return Ok(None);
    };
    let left = match end.duration_since(SystemTime::now()) {
        Ok(left) if !left.is_zero() => left,
        _ => return Err(Rejection::invalid_token("the token has expired")),
    };
    // Who follows a revision without resumption has nothing to come back to (SSE-15).
    let version = request.headers().get(MCP_PROTOCOL_VERSION);
    let is_stateless = version.is_some_and(protocol::is_modern_version);
    Ok(Some(Expiry {
        at: Instant::now() + left.min(MAX),
        retry: (!is_stateless).then_some(config.retry),
    }))
}

/// A refusal to whoever sent the request. Its id is known if somebody outside has read the body.
pub(super) fn refuse<B>(request: &Request<B>, refusal: Refusal) -> Refused {
    let recipient = Recipient::from(request.extensions().get::<Message>());
    Box::new((refusal, recipient))
}
