/// What a request is charged with.
///
/// The layer makes it, and a [`Limiter`](super::Limiter) charges all of it or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    cost: u32,
    budget: Budget,
    hold: Option<Hold>,
}

/// Where the units of a request are taken from: each key has one of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Budget {
    /// That of what a client asks for.
    Requests,
    /// That of coming back in MCP: clients whose stream was cut give up after a few refusals (RL-6).
    Resumes,
}

/// What a request keeps open until its response has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hold {
    /// A request that is under way; its response may be a stream.
    Call,
    /// A stream that listens to whatever comes.
    Stream,
    /// A stream that takes the place of another one, which may not know yet that its client is gone.
    Resumption,
}

impl Charge {
    /// `cost` units, and nothing that is kept open.
    #[must_use]
    #[inline]
    pub const fn new(cost: u32) -> Self {
        Self {
            cost,
            budget: Budget::Requests,
            hold: None,
        }
    }

    /// Takes the units from another budget.
    #[must_use]
    #[inline]
    pub const fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Keeps something open, or nothing.
    #[must_use]
    #[inline]
    pub const fn with_hold(mut self, hold: Option<Hold>) -> Self {
        self.hold = hold;
        self
    }

    /// The units. Zero for what is free, but may still keep something open.
    #[must_use]
    #[inline]
    pub const fn cost(&self) -> u32 {
        self.cost
    }

    /// Where they are taken from.
    #[must_use]
    #[inline]
    pub const fn budget(&self) -> Budget {
        self.budget
    }

    /// What is kept open.
    #[must_use]
    #[inline]
    pub const fn hold(&self) -> Option<Hold> {
        self.hold
    }
}
