use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::{
    Message,
    work::{Outcome, Work},
};
use crate::{
    jsonrpc::{Shape, Spans, cut_members, splice},
    sse::RawEvent,
};

/// One event, or one value of a body, whose messages are judged one after another.
#[derive(Debug)]
pub(super) struct Unit {
    origin: Origin,
    data: Bytes,
    shape: Shape,
    /// The message whose turn it is.
    at: usize,
    changes: Vec<Change>,
    /// The length of all texts in `changes`.
    changed: usize,
    /// Which requests it answers.
    answers: Vec<usize>,
    /// How much of the chunk is left behind it.
    pub(super) left: usize,
    /// It began in an earlier chunk, and is in memory of its own.
    pub(super) is_own: bool,
}

#[derive(Debug)]
pub(super) enum Origin {
    Event(RawEvent),
    Value,
}

/// What is different about one of the messages.
#[derive(Debug)]
struct Change {
    at: usize,
    /// `None` for one that is gone.
    text: Option<Bytes>,
}

impl Unit {
    pub(super) const fn new(
        origin: Origin,
        data: Bytes,
        shape: Shape,
        left: usize,
        is_own: bool,
    ) -> Self {
        Self {
            origin,
            data,
            shape,
            at: 0,
            changes: Vec::new(),
            changed: 0,
            answers: Vec::new(),
            left,
            is_own,
        }
    }

    fn all(&self) -> &[Spans] {
        match &self.shape {
            Shape::Single(spans) => std::slice::from_ref(spans),
            Shape::Batch(all) => all,
        }
    }

    /// The message whose turn it is; `None` if all have had theirs.
    #[inline]
    pub(super) fn message(&self) -> Option<Message> {
        let spans = *self.all().get(self.at)?;
        Some(Message::new(self.data.clone(), spans))
    }

    /// Goes on to the next message.
    #[inline]
    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    /// Leaves the message out, and goes on to the next one.
    pub(super) fn remove(&mut self) {
        let (at, text) = (self.at, None);
        self.changes.push(Change { at, text });
        self.at += 1;
    }

    /// Takes note that it answers the nth request, once it has left.
    pub(super) fn note_answer(&mut self, nth: usize) {
        self.answers.push(nth);
    }

    /// Which requests it answers.
    pub(super) fn answers(&self) -> &[usize] {
        &self.answers
    }

    /// Takes note of what became of the message, and goes on to the next one. False if the new messages of
    /// a batch are more than `max` bytes together.
    #[inline]
    pub(super) fn settle(&mut self, work: &Work, outcome: Outcome, max: usize) -> bool {
        let text = match outcome {
            Outcome::Pass if !work.is_changed => None,
            Outcome::Pass => Some(Some(work.message.to_bytes())),
            Outcome::Drop(_) => Some(None),
        };
        if let Some(text) = text {
            self.changed += text.as_ref().map_or(0, Bytes::len);
            self.changes.push(Change { at: self.at, text });
        }
        self.at += 1;
        // One alone was judged when it was replaced; what is said in its place may be a little longer.
        self.changes.len() <= 1 || self.changed <= max
    }

    pub(super) const fn is_changed(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The bytes as they came.
    pub(super) fn raw(&self) -> &Bytes {
        match &self.origin {
            Origin::Event(event) => event.raw(),
            Origin::Value => &self.data,
        }
    }

    /// Appends it to `out` with what has changed.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let data = self.changed();
        match (&self.origin, data) {
            (Origin::Event(event), Some(data)) => event.push_with_data(&data, out),
            (Origin::Event(event), None) => event.push_without_data(out),
            (Origin::Value, Some(data)) => out.extend_from_slice(&data),
            (Origin::Value, None) => {}
        }
    }

    /// The data with what has changed; `None` if nothing is left of it.
    fn changed(&self) -> Option<Vec<u8>> {
        let all = self.all();
        let gone = |nth: usize| {
            let mut changes = self.changes.iter();
            changes.any(|change| change.at == nth && change.text.is_none())
        };
        if self.changes.len() == all.len() && self.changes.iter().all(|one| one.text.is_none()) {
            return None;
        }
        let texts = self.changes.iter().filter_map(|change| {
            let text = change.text.as_ref()?;
            Some((all[change.at].range(), Cow::Borrowed(&text[..])))
        });
        let members = all.iter().enumerate();
        let members = members.map(|(nth, spans)| (spans.range(), gone(nth)));
        let has_gone = self.changes.iter().any(|change| change.text.is_none());
        let cuts = if has_gone {
            cut_members(members)
        } else {
            Vec::new()
        };
        let cuts = cuts.into_iter().map(|cut| (cut, Cow::default()));
        let mut changes: Vec<(Range<usize>, Cow<'_, [u8]>)> = texts.chain(cuts).collect();
        changes.sort_by_key(|(place, _)| place.start);
        Some(splice(&self.data, changes))
    }
}
