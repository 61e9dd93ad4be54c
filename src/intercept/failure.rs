use std::fmt;

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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panicked => "it panicked",
            Self::TimedOut => "it took too long",
            Self::Error(error) => return error.fmt(f),
            Self::TooLarge => "its text is too long",
            Self::OtherMessage => {
                "its text is no JSON, or not a message of the same kind, method and id"
            }
            Self::NoWayBack => "a request of the server cannot be answered here",
        })
    }
}
