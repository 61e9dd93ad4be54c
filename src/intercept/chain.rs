use std::{borrow::Cow, fmt, future::Future, pin::Pin};

use super::{
    Context, Decision, Interceptor, Interest, Judgement, Links, Message, Options, links::sealed,
};

/// Interceptors whose types are not known before the program runs.
///
/// Whoever of them takes its time is boxed for each message that it does so for. Verdicts that are there
/// at once cost no allocation here either.
#[derive(Default)]
#[must_use]
pub struct Chain {
    links: Vec<Box<dyn Link>>,
}

type Boxed = Pin<Box<dyn Future<Output = Judgement> + Send>>;

/// An interceptor that can be an object.
trait Link: Send + Sync + 'static {
    fn interest(&self) -> Cow<'_, Interest>;
    fn intercept(&self, cx: &Context, message: &Message) -> Decision<Boxed>;
    fn options(&self) -> Options;
    fn name(&self) -> &str;
}

impl<I: Interceptor> Link for I {
    fn interest(&self) -> Cow<'_, Interest> {
        I::interest(self)
    }

    fn intercept(&self, cx: &Context, message: &Message) -> Decision<Boxed> {
        match I::intercept(self, cx, message) {
            Decision::Now(judgement) => Decision::Now(judgement),
            Decision::Later(future) => Decision::Later(Box::pin(future)),
        }
    }

    fn options(&self) -> Options {
        I::options(self)
    }

    fn name(&self) -> &str {
        I::name(self)
    }
}

impl Chain {
    /// An empty chain: everything passes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `interceptor` too, after those that are there; of what comes back, before them.
    pub fn add_interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.links.push(Box::new(interceptor));
        self
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }
}

impl sealed::Sealed for Chain {}

impl Links for Chain {
    type Future = Boxed;

    fn count(&self) -> usize {
        self.links.len()
    }

    fn interest(&self, at: usize) -> Cow<'_, Interest> {
        self.links[at].interest()
    }

    fn intercept(&self, at: usize, cx: &Context, message: &Message) -> Decision<Boxed> {
        self.links[at].intercept(cx, message)
    }

    fn options(&self, at: usize) -> Options {
        self.links[at].options()
    }

    fn name(&self, at: usize) -> &str {
        self.links[at].name()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.links.iter().map(|link| link.name());
        f.debug_list().entries(names).finish()
    }
}
