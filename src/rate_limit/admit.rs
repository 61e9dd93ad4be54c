use std::time::Duration;

use http::Request;

use super::{
    Budget, Charge, Verdict,
    fields::Fields,
    layer::Config,
    refuse::{self, Refused},
};
use crate::message::Message;

/// What goes with a request that was let in.
#[derive(Debug)]
pub(super) struct Admitted<G> {
    /// Kept until the response has ended.
    pub(super) slot: Option<G>,
    /// Boxed, because hardly anybody is told.
    pub(super) fields: Option<Box<Fields>>,
}

impl<G> Admitted<G> {
    /// Whether the response has nothing to do with it.
    #[inline]
    pub(super) const fn is_plain(&self) -> bool {
        self.slot.is_none() && self.fields.is_none()
    }
}

impl<G> Default for Admitted<G> {
    fn default() -> Self {
        Self {
            slot: None,
            fields: None,
        }
    }
}

/// What becomes of a request after its verdict.
#[inline]
pub(super) fn admit<G, B>(
    verdict: Verdict<G>,
    charge: Charge,
    config: &Config,
    request: &Request<B>,
) -> Result<Admitted<G>, Refused> {
    match verdict {
        Ok(admission) => {
            let fields = if config.tells_all {
                tell(charge, admission.whole_in(), config)
            } else {
                None
            };
            Ok(Admitted {
                slot: admission.into_slot(),
                fields,
            })
        }
        Err(rejection) => {
            let message = request.extensions().get::<Message>();
            Err(refuse::rejected(&rejection, charge, config, message))
        }
    }
}

#[cold]
fn tell(charge: Charge, whole_in: Duration, config: &Config) -> Option<Box<Fields>> {
    // What comes back for streams has another quota, which nobody is told of.
    if charge.budget() != Budget::Requests {
        return None;
    }
    config.policy.fields(Some(whole_in)).map(Box::new)
}
