//! How an exchange ended: told once, whatever happened to it.
//!
//! A response body has three ends besides its last frame: an error, trailers, and being dropped
//! before it is over. A [`Guard`] kept in a future or body turns all of them into exactly one
//! call of a hook.
//!
//! ```
//! use std::{cell::Cell, rc::Rc};
//!
//! use shadowcat::outcome::{Guard, Outcome};
//!
//! let seen = Rc::new(Cell::new(None));
//! let guard = || {
//!     let seen = Rc::clone(&seen);
//!     Guard::new(move |outcome| seen.set(Some(outcome)))
//! };
//!
//! guard().complete();
//! assert_eq!(seen.get(), Some(Outcome::Complete));
//!
//! drop(guard());
//! assert_eq!(seen.get(), Some(Outcome::Cancelled));
//! ```
//!
//! # Cancellation
//!
//! What [`Outcome::Cancelled`] *means* depends on the protocol revision: see
//! [`Era`](crate::protocol::Era).

use std::fmt;

/// The end of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ran to its end, with or without trailers.
    Complete,
    /// It broke: the producer failed, or took too long.
    Failed,
    /// Whoever asked for it went away first.
    Cancelled,
}

/// Called once with the [`Outcome`].
///
/// Implemented for closures. A hook runs inside `Drop` when the exchange was cancelled: it must
/// not block, and must not panic.
pub trait OnOutcome {
    /// Takes note of the end.
    fn on_outcome(self, outcome: Outcome);
}

impl<F: FnOnce(Outcome)> OnOutcome for F {
    fn on_outcome(self, outcome: Outcome) {
        self(outcome);
    }
}

/// Tells its hook how an exchange ended, exactly once.
///
/// Keep it as a *field* of the future or body whose end it watches, and move it on from one to
/// the other. Dropped without a word, it reports [`Outcome::Cancelled`].
pub struct Guard<H: OnOutcome> {
    hook: Option<H>,
}

impl<H: OnOutcome> Guard<H> {
    /// A guard that owes `hook` one call.
    pub const fn new(hook: H) -> Self {
        Self { hook: Some(hook) }
    }

    /// Reports [`Outcome::Complete`], unless an outcome has been reported.
    pub fn complete(&mut self) {
        self.report(Outcome::Complete);
    }

    /// Reports [`Outcome::Failed`], unless an outcome has been reported.
    pub fn fail(&mut self) {
        self.report(Outcome::Failed);
    }

    fn report(&mut self, outcome: Outcome) {
        if let Some(hook) = self.hook.take() {
            hook.on_outcome(outcome);
        }
    }
}

impl<H: OnOutcome> Drop for Guard<H> {
    fn drop(&mut self) {
        self.report(Outcome::Cancelled);
    }
}

impl<H: OnOutcome> fmt::Debug for Guard<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hook } = self;
        f.debug_struct("Guard")
            .field("reported", &hook.is_none())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    fn watched() -> (Guard<impl OnOutcome>, Rc<RefCell<Vec<Outcome>>>) {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let hook = Rc::clone(&seen);
        (
            Guard::new(move |outcome| hook.borrow_mut().push(outcome)),
            seen,
        )
    }

    #[test]
    fn completion_is_reported_once_and_disarms_the_drop() {
        let (mut guard, seen) = watched();
        guard.complete();
        guard.fail();
        drop(guard);
        assert_eq!(*seen.borrow(), [Outcome::Complete]);
    }

    #[test]
    fn failure_is_reported_once_and_disarms_the_drop() {
        let (mut guard, seen) = watched();
        guard.fail();
        guard.complete();
        drop(guard);
        assert_eq!(*seen.borrow(), [Outcome::Failed]);
    }

    #[test]
    fn a_silent_drop_is_a_cancellation() {
        let (guard, seen) = watched();
        drop(guard);
        assert_eq!(*seen.borrow(), [Outcome::Cancelled]);
    }

    #[test]
    fn debug_tells_whether_the_hook_has_run() {
        let (mut guard, _seen) = watched();
        assert_eq!(format!("{guard:?}"), "Guard { reported: false }");
        guard.complete();
        assert_eq!(format!("{guard:?}"), "Guard { reported: true }");
    }
}
