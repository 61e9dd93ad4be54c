use std::{borrow::Cow, time::Duration};

use super::{Context, Decision, Interceptor, Interest, Message};

/// How long an interceptor may take, and what becomes of a message if it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Options {
    timeout: Option<Duration>,
    passes_on_failure: bool,
}

impl Options {
    /// How long an interceptor may take by default: 5 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

    /// [5 s](Self::DEFAULT_TIMEOUT), and nothing passes on failure (IC-2).
    pub const DEFAULT: Self = Self {
        timeout: Some(Self::DEFAULT_TIMEOUT),
        passes_on_failure: false,
    };

    /// Has it failed after that time; `None` lets it take any. It does not count for what a verdict asks
    /// for, a delay or a pause.
    pub const fn with_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether messages pass as they are if it fails.
    pub const fn with_pass_on_failure(mut self, passes: bool) -> Self {
        self.passes_on_failure = passes;
        self
    }

    pub(super) const fn timeout(self) -> Option<Duration> {
        self.timeout
    }

    pub(super) const fn passes_on_failure(self) -> bool {
        self.passes_on_failure
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An interceptor with other options, made by [`Interceptor::with_timeout`] and
/// [`Interceptor::pass_on_failure`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Configured<I> {
    interceptor: I,
    options: Options,
}

impl<I> Configured<I> {
    pub(super) const fn new(interceptor: I, options: Options) -> Self {
        Self {
            interceptor,
            options,
        }
    }
}

impl<I: Interceptor> Interceptor for Configured<I> {
    type Future = I::Future;

    #[inline]
    fn interest(&self) -> Cow<'_, Interest> {
        self.interceptor.interest()
    }

    #[inline]
    fn intercept(&self, cx: &Context, message: &Message) -> Decision<I::Future> {
        self.interceptor.intercept(cx, message)
    }

    #[inline]
    fn options(&self) -> Options {
        self.options
    }

    fn name(&self) -> &str {
        self.interceptor.name()
    }
}
