use std::{error::Error, fmt};

use crate::BoxError;

/// Why an interceptor has no verdict.
///
/// Any error becomes one by `?`; [`new`](Self::new) takes texts too. For that to be so it is no
/// [`Error`] itself. It is for the log: clients are not told.
pub struct InterceptError {
    cause: BoxError,
}

impl InterceptError {
    /// With that cause.
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self {
            cause: cause.into(),
        }
    }

    /// The cause.
    #[must_use]
    pub fn into_cause(self) -> Box<dyn Error + Send + Sync> {
        self.cause
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for InterceptError {
    fn from(cause: E) -> Self {
        Self::new(cause)
    }
}

impl fmt::Display for InterceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl fmt::Debug for InterceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InterceptError").field(&self.cause).finish()
    }
}
