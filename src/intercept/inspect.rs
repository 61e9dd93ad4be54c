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
    interest::Sorts,
    judge::Judge,
    layer::Shared,
    output::Output,
    synthetic,
    unit::{Origin, Unit},
    values::{Part, Values},
    work::Work,
};
use crate::{
    deadline::Deadline,
    jsonrpc::{Kind, Shape, may_be_response},
    sse::{Decoder, Frame, RawEvent},
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

/// How a body is cut into what may hold messages.
#[derive(Debug)]
pub(super) enum Framing {
    Events(Decoder),
    Values(Values),
}

#[derive(Debug)]
enum Piece {
    Pass(Bytes),
    Event(RawEvent),
    Value(Bytes),
    /// Nothing that comes can be read.
    Lost(Bytes),
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
        phase: Phase,
    }
}

#[derive(Debug)]
enum Phase {
    Open,
    /// The body is over, and its last bytes are in hand.
    Ending,
    Over,
    Failing(BodyErrorKind),
}

impl Framing {
    fn is_clean(&self) -> bool {
        match self {
            Self::Events(decoder) => decoder.is_clean(),
            Self::Values(values) => values.is_clean(),
        }
    }

    #[inline]
    fn next(&mut self, chunk: &mut Bytes) -> Result<Option<Piece>, BodyErrorKind> {
        let too_large = BodyErrorKind::MessageTooLarge;
        Ok(match self {
            Self::Events(decoder) => match decoder.decode(chunk).map_err(|_| too_large)? {
                Some(Frame::Event(event)) => Some(Piece::Event(event)),
                Some(Frame::Comment(raw)) => Some(Piece::Pass(raw)),
                None => None,
            },
            Self::Values(values) => match values.next(chunk).map_err(|_| too_large)? {
                Some(Part::Value(value)) => Some(Piece::Value(value)),
                Some(Part::Between(raw)) => Some(Piece::Pass(raw)),
                Some(Part::Lost(raw)) => Some(Piece::Lost(raw)),
                None => None,
            },
        })
    }
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
            shared,
            exchange,
            wants,
            framing,
            chunk: Bytes::new(),
            output: Output::default(),
            unit: None,
            judge: Judge::new(),
            keep_alive: Deadline::new(),
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
        let wants_calls = this.wants.has_any_of(Sorts::CALLS);
        let (origin, data) = match piece {
            Piece::Event(event) => {
                // Those of other types are no messages (S12), nor is an event without data (S11, ICP-2).
                let data = event.is_message().then(|| event.shared_data()).flatten();
                let data =
                    data.filter(|data| !data.is_empty() && (wants_calls || may_be_response(data)));
                match data {
                    Some(data) => (Origin::Event(event), data),
                    None => {
                        this.output.pass_or_put(event.raw(), left, was_begun);
                        return true;
                    }
                }
            }
            Piece::Value(value) => (Origin::Value, value),
            Piece::Lost(raw) => {
                if self.as_mut().note_unreadable() {
                    self.project().output.pass_or_put(&raw, left, was_begun);
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
                let unit = Unit::new(origin, data, Shape::new(), left, was_begun);
                if self.as_mut().note_unreadable() {
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
            if message.kind() == Kind::Invalid {
                unit.skip();
                if self.as_mut().note_unreadable() {
                    continue;
                }
                return;
            }
            let request = if message.kind() == Kind::Response {
                let request = this.exchange.request_of(&message);
                if let Some(answered) = request.and_then(|nth| this.answered.get_mut(nth)) {
                    *answered = true;
                }
                request
            } else {
                None
            };
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
        if unit.is_changed() {
            unit.write(this.output.skip(unit.left));
        } else {
            this.output.pass_or_put(unit.raw(), unit.left, unit.is_own);
        }
    }

    /// Whether what cannot be read may pass. If not, that is the end.
    #[cold]
    fn note_unreadable(self: Pin<&mut Self>) -> bool {
        self.shared.state.tally.unreadable.add();
        if self.shared.config.refuses_unreadable {
            self.fail(BodyErrorKind::Unreadable);
            return false;
        }
        true
    }

    /// Ends the response, and tells whoever waits for an answer (S22).
    #[cold]
    fn fail(self: Pin<&mut Self>, kind: BodyErrorKind) {
        let this = self.project();
        *this.chunk = Bytes::new();
        *this.unit = None;
        let requests = this.exchange.requests().iter().zip(&*this.answered);
        let waiting: Vec<_> = requests
            .filter(|(_, answered)| !**answered)
            .map(|(request, _)| synthetic::unreadable(request, kind.as_str()))
            .collect();
        if waiting.is_empty() {
            *this.phase = Phase::Failing(kind);
            return;
        }
        *this.phase = Phase::Over;
        let out = this.output.skip(0);
        match this.framing {
            Framing::Events(_) => {
                for error in waiting {
                    out.put_slice(b"event: message\ndata: ");
                    out.put_slice(&error);
                    out.put_slice(b"\n\n");
                }
            }
            Framing::Values(_) => match &waiting[..] {
                [error] => out.put_slice(error),
                errors => {
                    out.put_u8(b'[');
                    out.put_slice(&errors.join(&b','));
                    out.put_u8(b']');
                }
            },
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
                    // An event that is not finished never was (SWF-9). A JSON text that is not is one that
                    // cannot be read.
                    if let Framing::Values(values) = this.framing
                        && !values.is_clean()
                    {
                        let rest = values.take_held();
                        if self.as_mut().note_unreadable() {
                            self.as_mut().project().output.put(rest, 0);
                        }
                    }
                }
            }
        }
    }
}
