use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::{
    Context, Decision, Denial, Direction, Interest, Links, Message, Options, Pause, Verdict,
    failure::{Failure, caught},
    interest::Sorts,
    layer::Shared,
    pause::{Decided, Ticket},
    state::State,
    synthetic,
};
use crate::jsonrpc::{ErrorObject, Kind, code};

/// A message on its way through the interceptors.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) cx: Context,
    pub(super) message: Message,
    /// How many are before the one whose turn it is; of what comes back, it is the last of those.
    before: usize,
    pub(super) is_changed: bool,
    /// The message was a request, and is now an answer of ours to it.
    pub(super) answered: Option<Answered>,
}

/// How a request is answered here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// Of the error, if it is one.
    pub(super) code: Option<i32>,
}

impl Answered {
    /// By an error of ours, because an interceptor has failed.
    pub(super) const fn failed() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: Some(code::INTERNAL_ERROR),
        }
    }

    /// Of two in a batch, what there is to say of both: the worse, or else the first that is an error.
    pub(super) fn or(self, other: Self) -> Self {
        let is_worse = other.status > self.status;
        if is_worse || self.code.is_none() {
            other
        } else {
            self
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It goes where its context says: as it was, or [changed](Work::is_changed).
    Pass,
    /// It goes nowhere, and nobody waits for an answer: what a POST of it gets.
    Drop(StatusCode),
}

/// How far it has come.
pub(super) enum Progress<F> {
    Done(Outcome),
    /// An interceptor takes its time.
    Asked {
        at: usize,
        future: F,
        timeout: Option<Duration>,
    },
    Delayed(Duration),
    Held(Ticket, Pause),
}

/// What follows from a verdict.
enum Next {
    On,
    Done(Outcome),
    Delayed(Duration),
    Held(Ticket, Pause),
}

impl Work {
    pub(super) fn new<L: Links>(cx: Context, message: Message, links: &L) -> Self {
        let before = match cx.direction() {
            Direction::ToServer => 0,
            Direction::ToClient => links.count(),
        };
        Self {
            cx,
            message,
            before,
            is_changed: false,
            answered: None,
        }
    }

    /// Whose turn it is (IC-3).
    #[inline]
    fn turn(&mut self, len: usize) -> Option<usize> {
        match self.cx.direction() {
            Direction::ToServer => {
                let at = self.before;
                self.before = (at + 1).min(len);
                (at < len).then_some(at)
            }
            Direction::ToClient => {
                self.before = self.before.checked_sub(1)?;
                Some(self.before)
            }
        }
    }

    #[inline]
    fn is_in(&self, interest: &Interest) -> bool {
        let sort = Sorts::of(self.cx.direction(), self.message.kind());
        interest.is_in(sort, self.cx.method_of(&self.message).as_deref())
    }

    fn replace(&mut self, message: Message) {
        self.message = message;
        self.is_changed = true;
    }

    /// Makes the request an answer of ours, which goes back through those that the request has been
    /// through; not through `at`, whose answer it is.
    fn answer(&mut self, at: usize, answer: Message, answered: Answered) {
        let exchange = self.cx.exchange();
        let request = exchange.request_of(&answer);
        self.replace(answer);
        self.cx.turn(Direction::ToClient, request);
        self.before = at;
        self.answered = Some(answered);
    }
}

impl<L: Links> Shared<L> {
    /// Takes a message as far as it comes without waiting.
    #[inline]
    pub(super) fn advance(&self, work: &mut Work) -> Progress<L::Future> {
        let links = &*self.links;
        while let Some(at) = work.turn(links.count()) {
            let asked = caught(|| {
                let is_in = work.is_in(&links.interest(at));
                is_in.then(|| links.intercept(at, &work.cx, &work.message))
            });
            let judged = match asked {
                Ok(None) => continue,
                Ok(Some(Decision::Now(judgement))) => judgement.map_err(Failure::Error),
                Ok(Some(Decision::Later(future))) => {
                    return Progress::Asked {
                        at,
                        future,
                        timeout: self.options(at).timeout(),
                    };
                }
                Err(panicked) => Err(panicked),
            };
            if let Ok(Verdict::Continue) = judged {
                continue;
            }
            if let Some(progress) = self.judged(work, at, judged).into_progress() {
                return progress;
            }
        }
        Progress::Done(Outcome::Pass)
    }

    /// Goes on with the decision of the one that took its time.
    pub(super) fn resume(
        &self,
        work: &mut Work,
        at: usize,
        judged: Result<Verdict, Failure>,
    ) -> Progress<L::Future> {
        match self.judged(work, at, judged).into_progress() {
            Some(progress) => progress,
            None => self.advance(work),
        }
    }

    /// Goes on with a message that was held.
    pub(super) fn released(&self, work: &mut Work, decided: Decided) -> Progress<L::Future> {
        let next = match decided {
            Decided::Release => Next::On,
            Decided::Replace(new) => {
                self.state.tally.replaced.add();
                work.replace(new);
                Next::On
            }
            Decided::Refuse(denial) => {
                let at = self.last(work);
                self.refused(work, at, &denial)
            }
        };
        next.into_progress().unwrap_or_else(|| self.advance(work))
    }

    /// Goes on with a message that nobody has decided about.
    pub(super) fn expired(&self, work: &mut Work, pause: Pause) -> Progress<L::Future> {
        let at = self.last(work);
        let next = self.give_up(work, at, pause);
        next.into_progress().unwrap_or_else(|| self.advance(work))
    }

    /// The interceptor whose turn it was last.
    fn last(&self, work: &Work) -> usize {
        match work.cx.direction() {
            Direction::ToServer => work.before.saturating_sub(1),
            Direction::ToClient => work.before,
        }
    }

    #[cold]
    fn judged(&self, work: &mut Work, at: usize, judged: Result<Verdict, Failure>) -> Next {
        match judged {
            Ok(Verdict::Continue) => Next::On,
            Ok(Verdict::Replace(text)) => self.replaced(work, at, text),
            Ok(Verdict::Refuse(denial)) => self.refused(work, at, &denial),
            Ok(Verdict::Respond(result)) => self.responded(work, at, &result),
            Ok(Verdict::Delay(time)) => Next::Delayed(time),
            Ok(Verdict::Pause(pause)) => self.paused(work, at, pause),
            Err(failure) => self.failed(work, at, failure),
        }
    }

    /// Whoever panics here has not said that anything may pass.
    fn options(&self, at: usize) -> Options {
        caught(|| self.links.options(at)).unwrap_or_default()
    }

    fn name(&self, at: usize) -> &str {
        caught(|| self.links.name(at)).unwrap_or("?")
    }

    fn replaced(&self, work: &mut Work, at: usize, text: Bytes) -> Next {
        if text.len() > self.config.max_message_bytes {
            return self.failed(work, at, Failure::TooLarge);
        }
        let new = Message::read_in_place_of(&work.message, text);
        let new = new.filter(|new| work.message.may_become(new));
        let Some(new) = new else {
            return self.failed(work, at, Failure::OtherMessage);
        };
        self.state.tally.replaced.add();
        work.replace(new);
        Next::On
    }

    fn refused(&self, work: &mut Work, at: usize, denial: &Denial) -> Next {
        self.state.tally.refused.add();
        tracing::debug!(
            interceptor = self.name(at),
            message = ?work.message,
            "refusing a message"
        );
        let answered = Answered {
            status: StatusCode::OK,
            code: Some(denial.as_error().code()),
        };
        self.deny(work, at, denial, answered, StatusCode::FORBIDDEN)
    }

    /// Tells whoever waits for an answer; if nobody does, the message is gone, with that status.
    fn deny(
        &self,
        work: &mut Work,
        at: usize,
        denial: &Denial,
        answered: Answered,
        status: StatusCode,
    ) -> Next {
        let is_to_server = work.cx.direction() == Direction::ToServer;
        match work.message.kind() {
            Kind::Request if is_to_server => {
                let answer = synthetic::denial(&work.cx, &work.message, denial);
                work.answer(at, answer, answered);
                Next::On
            }
            // Whoever waits for it waits for ever if it is just gone (ICP-4).
            Kind::Response => {
                let answer = synthetic::denial(&work.cx, &work.message, denial);
                work.replace(answer);
                Next::On
            }
            Kind::Request => {
                tracing::warn!("a request of the server is dropped, and gets no answer");
                Next::Done(Outcome::Drop(status))
            }
            Kind::Notification | Kind::Invalid => Next::Done(Outcome::Drop(status)),
        }
    }

    fn responded(&self, work: &mut Work, at: usize, result: &[u8]) -> Next {
        let is_to_server = work.cx.direction() == Direction::ToServer;
        let kind = work.message.kind();
        if kind == Kind::Notification {
            self.state.tally.responded.add();
            return Next::Done(Outcome::Drop(StatusCode::ACCEPTED));
        }
        if kind == Kind::Request && !is_to_server {
            // There is no way back to the server from here.
            return self.failed(work, at, Failure::NoWayBack);
        }
        if result.len() > self.config.max_message_bytes {
            return self.failed(work, at, Failure::TooLarge);
        }
        let Some(answer) = synthetic::result(&work.cx, &work.message, result) else {
            return self.failed(work, at, Failure::OtherMessage);
        };
        self.state.tally.responded.add();
        if kind == Kind::Request {
            let answered = Answered {
                status: StatusCode::OK,
                code: None,
            };
            work.answer(at, answer, answered);
        } else {
            work.replace(answer);
        }
        Next::On
    }

    fn paused(&self, work: &mut Work, at: usize, pause: Pause) -> Next {
        let State { pauses, tally, .. } = &*self.state;
        match pauses.hold(&work.cx, &work.message, pause, &self.config.bounds()) {
            Some(ticket) => {
                tally.paused.add();
                Next::Held(ticket, pause)
            }
            None => self.give_up(work, at, pause),
        }
    }

    fn give_up(&self, work: &mut Work, at: usize, pause: Pause) -> Next {
        self.state.tally.expired.add();
        if pause.releases() {
            return Next::On;
        }
        let error = ErrorObject::new(
            code::FORBIDDEN,
            "the message was held, and nobody has let it pass",
        );
        self.refused(work, at, &error.into())
    }

    fn failed(&self, work: &mut Work, at: usize, failure: Failure) -> Next {
        self.state.tally.failed.add();
        let passes = self.options(at).passes_on_failure();
        // An error is an interceptor's, and may panic when it is asked or dropped. What it says may be what
        // somebody sent: as a text it is shown with escapes.
        let text = caught(move || failure.to_string());
        tracing::warn!(
            interceptor = self.name(at),
            failure = text.as_deref().unwrap_or("its error panicked"),
            passes,
            "an interceptor has failed"
        );
        if passes {
            return Next::On;
        }
        // The client is told nothing of what is wrong here (SEC-11).
        let error = ErrorObject::new(code::INTERNAL_ERROR, "internal error");
        let answered = Answered::failed();
        self.deny(work, at, &error.into(), answered, answered.status)
    }
}

impl Next {
    fn into_progress<F>(self) -> Option<Progress<F>> {
        Some(match self {
            Self::On => return None,
            Self::Done(outcome) => Progress::Done(outcome),
            Self::Delayed(time) => Progress::Delayed(time),
            Self::Held(ticket, pause) => Progress::Held(ticket, pause),
        })
    }
}
