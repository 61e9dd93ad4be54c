use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use bytes::{BufMut, Bytes};
use pin_project_lite::pin_project;

use super::{
    BodyError, BodyErrorKind, Context, Direction, Links,
    context::Exchange,
    framing::{Framing, Piece},
    interest::Sorts,
    judge::Judge,
    layer::Shared,
    output::Output,
    reading::Reading,
    synthetic,
    unit::{Origin, Unit},
    work::Work,
};
use crate::{
    deadline::Deadline,
    jsonrpc::{ErrorObject, Kind, Members, Shape, code, may_answer},
    protocol::Era,
};

/// Looks at one response body on its way, whoever its interceptors are.
pub(super) trait Inspect: Send {
    /// Takes the next bytes of the body. Only if it is hungry.
    fn push(self: Pin<&mut Self>, chunk: Bytes);

    /// Takes note that no more come.
    fn end(self: Pin<&mut Self>);

    /// What comes next.
    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Turn>;
}

/// What an inspection came to.
#[derive(Debug)]
pub(super) enum Turn {
    /// Whole events and comments, or parts of a JSON body.
    Data(Bytes),
    /// Nothing is left to be judged.
    Hungry,
    Over,
    Failed(BodyError),
}

pin_project! {
    /// Has one message after another judged, and lets what is between them pass. While one is judged,
    /// nothing more is read.
    pub(super) struct Inspector<L>
    where
        L: Links,
    {
        shared: Arc<Shared<L>>,
        exchange: Arc<Exchange>,
        // The sorts that somebody is interested in.
        wants: Sorts,
        // A server must not ask anything in a response of that era (S25).
        drops_requests: bool,
        framing: Framing,
        chunk: Bytes,
        output: Output,
        // Being judged.
        unit: Option<Unit>,
        #[pin]
        judge: Judge<L::Future>,
        #[pin]
        keep_alive: Deadline,
        // Which requests have their response.
        answered: Vec<bool>,
        // What has become of the values of a JSON body.
        remains: Remains,
        phase: Phase,
    }
}

/// What is left of a JSON body.
#[derive(Debug)]
enum Remains {
    /// As much as came.
    All,
    /// Nothing, where there was something.
    Nothing,
    Something,
}

#[derive(Debug)]
enum Phase {
    Open,
    /// The body is over, and its last bytes are in hand.
    Ending,
    Over,
    Failing(BodyErrorKind),
}

impl<L: Links> Inspector<L> {
    pub(super) fn new(
        shared: Arc<Shared<L>>,
        exchange: Arc<Exchange>,
        wants: Sorts,
        framing: Framing,
    ) -> Self {
        Self {
            answered: vec![false; exchange.requests().len()],
            drops_requests: exchange.era() == Some(Era::Stateless),
            shared,
            exchange,
            wants,
            framing,
            chunk: Bytes::new(),
            output: Output::default(),
            unit: None,
            judge: Judge::new(),
            keep_alive: Deadline::new(),
            remains: Remains::All,
            phase: Phase::Open,
        }
    }

    /// Takes the next piece of the chunk; false if it is used up.
    #[inline]
    fn take_piece(mut self: Pin<&mut Self>) -> bool {
        let this = self.as_mut().project();
        // Then it is not a part of the chunk, but in memory of its own.
        let was_begun = !this.framing.is_clean();
        let piece = match this.framing.next(this.chunk) {
            Ok(Some(piece)) => piece,
            Ok(None) => return false,
            Err(kind) => {
                this.shared.state.tally.unreadable.add();
                self.fail(kind);
                return true;
            }
        };
        let left = this.chunk.len();
        let reads_all = this.wants.has_any_of(Sorts::CALLS)
            || *this.drops_requests
            || this.shared.config.refuses_unreadable;
        let (origin, data) = match piece {
            Piece::Event(event) => {
                // Those of other types are no messages (S12), nor is an event without data (S11, ICP-2).
                let data = event.is_message().then(|| event.shared_data()).flatten();
                let data = data.filter(|data| !data.is_empty() && (reads_all || may_answer(data)));
                match data {
                    Some(data) => (Origin::Event(event), without_bom(data)),
                    None => {
                        this.output.pass_or_put(event.raw(), left, was_begun);
                        return true;
                    }
                }
            }
            Piece::Value(value) => (Origin::Value, value),
            Piece::Junk(raw) => {
                if self.as_mut().note_unreadable(true) {
                    let this = self.project();
                    *this.remains = Remains::Something;
                    this.output.pass_or_put(&raw, left, was_begun);
                }
                return true;
            }
            Piece::Pass(raw) => {
                this.output.pass_or_put(&raw, left, was_begun);
                return true;
            }
        };
        match Shape::read(&data) {
            Ok(shape) => {
                *this.unit = Some(Unit::new(origin, data, shape, left, was_begun));
                self.go_on();
            }
            Err(_) => {
                let may_pass = self.may_pass(&data);
                let unit = Unit::new(origin, data, Shape::new(), left, was_begun);
                if self.as_mut().note_unreadable(may_pass) {
                    self.pass(&unit);
                }
            }
        }
        true
    }

    /// Judges what is left of the unit, as far as that goes without waiting.
    #[inline]
    fn go_on(mut self: Pin<&mut Self>) {
        loop {
            let mut this = self.as_mut().project();
            let Some(unit) = this.unit else { return };
            let Some(message) = unit.message() else {
                break;
            };
            let refuses_ambiguous = this.shared.config.refuses_unreadable && message.is_ambiguous();
            let message = match Reading::of(message, *this.wants) {
                Reading::As(message) if !refuses_ambiguous => message,
                Reading::NoMessage => {
                    unit.skip();
                    if self.as_mut().note_unreadable(true) {
                        continue;
                    }
                    return;
                }
                Reading::As(_) | Reading::Unclear => {
                    self.as_mut().note_unreadable(false);
                    return;
                }
            };
            if message.kind() == Kind::Request && *this.drops_requests {
                this.shared.state.note_dropped();
                unit.remove();
                continue;
            }
            let request = match message.kind() {
                Kind::Response => this.exchange.request_of(&message),
                _ => None,
            };
            if let Some(nth) = request {
                unit.note_answer(nth);
            }
            let cx = Context::of(Arc::clone(this.exchange), Direction::ToClient, request);
            let mut work = Work::new(cx, message, &*this.shared.links);
            let progress = this.shared.advance(&mut work);
            match this.judge.as_mut().start(work, progress) {
                Some((work, outcome)) => {
                    if !unit.settle(&work, outcome, this.shared.config.max_message_bytes) {
                        return self.fail(BodyErrorKind::MessageTooLarge);
                    }
                }
                None => return,
            }
        }
        if let Some(unit) = self.as_mut().project().unit.take() {
            self.pass(&unit);
        }
    }

    /// Lets a unit leave, as it is or changed.
    #[inline]
    fn pass(self: Pin<&mut Self>, unit: &Unit) {
        let this = self.project();
        for &nth in unit.answers() {
            if let Some(answered) = this.answered.get_mut(nth) {
                *answered = true;
            }
        }
        if !unit.is_changed() {
            *this.remains = Remains::Something;
            this.output.pass_or_put(unit.raw(), unit.left, unit.is_own);
            return;
        }
        let out = this.output.skip(unit.left);
        let before = out.len();
        unit.write(out);
        if out.len() > before {
            *this.remains = Remains::Something;
        } else if let Remains::All = this.remains {
            *this.remains = Remains::Nothing;
        }
    }

    /// Whether that, which is no JSON or too much of it, may get to a client that reads it all the same.
    #[cold]
    fn may_pass(&self, data: &[u8]) -> bool {
        !self.wants.has_any_of(Sorts::RESPONSES) || !Members::of(data).may_answer()
    }

    /// Counts what cannot be read, and whether it passes. If it does not, that is the end.
    #[cold]
    fn note_unreadable(self: Pin<&mut Self>, may_pass: bool) -> bool {
        self.shared.state.tally.unreadable.add();
        let passes = may_pass && !self.shared.config.refuses_unreadable;
        if !passes {
            self.fail(BodyErrorKind::Unreadable);
        }
        passes
    }

    /// Ends the response, and tells whoever waits for an answer (S22).
    #[cold]
    fn fail(mut self: Pin<&mut Self>, kind: BodyErrorKind) {
        let this = self.as_mut().project();
        *this.chunk = Bytes::new();
        *this.unit = None;
        *this.phase = Phase::Over;
        let error = ErrorObject::new(code::INTERNAL_ERROR, kind.as_str());
        if !self.as_mut().tell(&error) {
            *self.project().phase = Phase::Failing(kind);
        }
    }

    /// Tells whoever waits for an answer that there is none. False if nobody does, or could read it.
    #[cold]
    fn tell(self: Pin<&mut Self>, error: &ErrorObject) -> bool {
        let this = self.project();
        let requests = this.exchange.requests().iter().zip(&*this.answered);
        let waiting: Vec<_> = requests
            .filter(|(_, answered)| !**answered)
            .map(|(request, _)| synthetic::failed(request, error))
            .collect();
        if waiting.is_empty() {
            return false;
        }
        match this.framing {
            Framing::Events(_) => {
                let out = this.output.skip(0);
                for error in waiting {
                    out.put_slice(b"event: message\ndata: ");
                    out.put_slice(&error);
                    out.put_slice(b"\n\n");
                }
            }
            Framing::Values(_) => match (&waiting[..], this.output.skip(0)) {
                ([error], out) => out.put_slice(error),
                (errors, out) => {
                    out.put_u8(b'[');
                    out.put_slice(&errors.join(&b','));
                    out.put_u8(b']');
                }
            },
            Framing::Nothing => return false,
        }
        true
    }

    /// The body is over, and so is what was held of it.
    #[cold]
    fn finish(mut self: Pin<&mut Self>) {
        let this = self.as_mut().project();
        // An event that is not finished never was (SWF-9). A JSON text that is not is one that cannot be
        // read.
        let Framing::Values(values) = this.framing else {
            return;
        };
        if !values.is_clean() {
            let rest = values.take_held();
            let may_pass = self.may_pass(&rest);
            if self.as_mut().note_unreadable(may_pass) {
                self.project().output.put(rest, 0);
            }
        } else if let Remains::Nothing = this.remains {
            let error = ErrorObject::new(code::FORBIDDEN, "the reply was refused");
            self.tell(&error);
        }
    }

    /// Waits for the one that is being judged; what may leave before it does.
    fn poll_judge(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Bytes>> {
        let mut this = self.as_mut().project();
        match this.judge.as_mut().poll(this.shared, cx) {
            Poll::Ready((work, outcome)) => {
                this.keep_alive.clear();
                let max = this.shared.config.max_message_bytes;
                let fits = match this.unit {
                    Some(unit) => unit.settle(&work, outcome, max),
                    None => true,
                };
                if fits {
                    self.go_on();
                } else {
                    self.fail(BodyErrorKind::MessageTooLarge);
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                if let Some(data) = this.output.take() {
                    return Poll::Ready(Some(data));
                }
                // Nothing of the event has left, so this is between two of them (S29).
                if let (Framing::Events(_), Some(every)) =
                    (&this.framing, this.shared.config.keep_alive)
                    && this.keep_alive.as_mut().poll(every, cx).is_ready()
                {
                    this.keep_alive.clear();
                    this.output.interject();
                    return Poll::Ready(Some(Bytes::from_static(b":\n\n")));
                }
                Poll::Pending
            }
        }
    }
}

impl<L: Links> Inspect for Inspector<L> {
    fn push(self: Pin<&mut Self>, chunk: Bytes) {
        let this = self.project();
        this.output.start(&chunk);
        *this.chunk = chunk;
    }

    fn end(self: Pin<&mut Self>) {
        let this = self.project();
        if let Phase::Open = this.phase {
            *this.phase = Phase::Ending;
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Turn> {
        loop {
            if self.judge.is_waiting() {
                match self.as_mut().poll_judge(cx) {
                    Poll::Ready(Some(data)) => return Poll::Ready(Turn::Data(data)),
                    Poll::Ready(None) => continue,
                    Poll::Pending => return Poll::Pending,
                }
            }
            if !self.chunk.is_empty() && !self.output.is_full() && self.as_mut().take_piece() {
                continue;
            }
            let this = self.as_mut().project();
            if let Some(data) = this.output.take() {
                return Poll::Ready(Turn::Data(data));
            }
            match this.phase {
                Phase::Open => return Poll::Ready(Turn::Hungry),
                Phase::Over => return Poll::Ready(Turn::Over),
                Phase::Failing(kind) => {
                    let error = BodyError::from(*kind);
                    *this.phase = Phase::Over;
                    return Poll::Ready(Turn::Failed(error));
                }
                Phase::Ending => {
                    *this.phase = Phase::Over;
                    self.as_mut().finish();
                }
            }
        }
    }
}

/// What a client may read of data that begin with a byte order mark.
#[inline]
fn without_bom(data: Bytes) -> Bytes {
    const BOM: &[u8] = b"\xEF\xBB\xBF";
    if data.starts_with(BOM) {
        return data.slice(BOM.len()..);
    }
    data
}
