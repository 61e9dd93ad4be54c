use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::InterceptError;

/// Why an interceptor has no verdict. For the log: clients are not told.
#[derive(Debug)]
pub(super) enum Failure {
    Panicked,
    TimedOut,
    Error(InterceptError),
    TooLarge,
    OtherMessage,
    NoWayBack,
}

/// Runs code of an interceptor: a panic is its own, and nobody else's (C48). What it may have left half done
/// is its own too.
#[inline]
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        // Dropped, it may panic too.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Box::leak(again);
        }
        Failure::Panicked
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panicked => "it panicked",
            Self::TimedOut => "it took too long",
            Self::Error(error) => return error.fmt(f),
            Self::TooLarge => "its text is too long",
            Self::OtherMessage => {
                "its text is no JSON, or not a message of the same kind, method, id and revision"
            }
            Self::NoWayBack => "a request of the server cannot be answered here",
        })
    }
}
