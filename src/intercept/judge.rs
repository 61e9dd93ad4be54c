use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;

use super::{
    Judgement, Links, Pause,
    failure::{Failure, caught},
    layer::Shared,
    pause::Ticket,
    work::{Outcome, Progress, Work},
};
use crate::deadline::Deadline;

pin_project! {
    /// Takes one message after another through the interceptors, and waits for those that take their time.
    pub(super) struct Judge<F> {
        // While it waits.
        work: Option<Work>,
        #[pin]
        wait: Wait<F>,
        #[pin]
        deadline: Deadline,
    }

    impl<F> PinnedDrop for Judge<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut wait = this.project().wait;
            // Whoever drops a response must not be hit by what an interceptor left in it (C48).
            if caught(|| wait.set(Wait::Nothing)).is_err() {
                tracing::warn!("an interceptor panicked when it was dropped");
            }
        }
    }
}

pin_project! {
    #[project = WaitProj]
    enum Wait<F> {
        Nothing,
        Asked {
            at: usize,
            #[pin]
            future: F,
            timeout: Option<Duration>,
        },
        Delayed {
            time: Duration,
        },
        Held {
            ticket: Ticket,
            pause: Pause,
        },
    }
}

impl<F> Judge<F> {
    pub(super) const fn new() -> Self {
        Self {
            work: None,
            wait: Wait::Nothing,
            deadline: Deadline::new(),
        }
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.work.is_some()
    }

    /// Waits for what `progress` says, if it is not done.
    #[inline]
    pub(super) fn start(
        self: Pin<&mut Self>,
        work: Work,
        progress: Progress<F>,
    ) -> Option<(Work, Outcome)> {
        let mut this = self.project();
        this.wait.set(match progress {
            Progress::Done(outcome) => return Some((work, outcome)),
            Progress::Asked {
                at,
                future,
                timeout,
            } => Wait::Asked {
                at,
                future,
                timeout,
            },
            Progress::Delayed(time) => Wait::Delayed { time },
            Progress::Held(ticket, pause) => Wait::Held { ticket, pause },
        });
        *this.work = Some(work);
        None
    }
}

impl<F: Future<Output = Judgement>> Judge<F> {
    /// What becomes of the message that it waits with.
    pub(super) fn poll<L>(
        mut self: Pin<&mut Self>,
        shared: &Shared<L>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<(Work, Outcome)>
    where
        L: Links<Future = F>,
    {
        loop {
            let mut this = self.as_mut().project();
            let work = this.work.as_mut().expect("polled after completion");
            let deadline = this.deadline.as_mut();
            let progress = match this.wait.as_mut().project() {
                WaitProj::Nothing => Progress::Done(Outcome::Pass),
                WaitProj::Asked {
                    at,
                    future,
                    timeout,
                } => {
                    let at = *at;
                    let judged = match caught(|| future.poll(cx)) {
                        Ok(Poll::Ready(judgement)) => judgement.map_err(Failure::Error),
                        Ok(Poll::Pending) => {
                            let Some(timeout) = *timeout else {
                                return Poll::Pending;
                            };
                            ready!(deadline.poll(timeout, cx));
                            Err(Failure::TimedOut)
                        }
                        Err(panicked) => Err(panicked),
                    };
                    // Before anything follows from it: dropped, it may panic too (C48).
                    let dropped = caught(|| this.wait.set(Wait::Nothing));
                    let judged = judged.and_then(|verdict| dropped.map(|()| verdict));
                    shared.resume(work, at, judged)
                }
                WaitProj::Delayed { time } => {
                    ready!(deadline.poll(*time, cx));
                    shared.advance(work)
                }
                WaitProj::Held { ticket, pause } => {
                    let (pause, mut deadline) = (*pause, deadline);
                    let decided = loop {
                        if let Poll::Ready(decided) = ticket.poll(cx) {
                            break decided;
                        }
                        let Some(over) = ticket.over() else {
                            return Poll::Pending;
                        };
                        // Then it knows, and what was decided in the meantime counts.
                        ready!(deadline.as_mut().poll_until(over, cx));
                        deadline.as_mut().clear();
                    };
                    match decided {
                        Some(decided) => shared.released(work, decided),
                        None => shared.expired(work, pause),
                    }
                }
            };
            this.wait.set(Wait::Nothing);
            this.deadline.clear();
            let work = this.work.take().expect("polled after completion");
            if let Some(done) = self.as_mut().start(work, progress) {
                return Poll::Ready(done);
            }
        }
    }
}

impl<F> fmt::Debug for Judge<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = match &self.wait {
            Wait::Nothing => "Nothing",
            Wait::Asked { .. } => "Asked",
            Wait::Delayed { .. } => "Delayed",
            Wait::Held { .. } => "Held",
        };
        f.debug_struct("Judge")
            .field("work", &self.work)
            .field("wait", &format_args!("{wait}"))
            .finish()
    }
}
