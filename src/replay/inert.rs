use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::synthetic;
use crate::deadline::Deadline;

/// Keeps the connection of a stream open that is not tracked, without touching it.
#[derive(Debug)]
pub(super) struct KeepAlive {
    every: Duration,
    place: Place,
    deadline: Pin<Box<Deadline>>,
    spoke: Option<Instant>,
}

impl KeepAlive {
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            place: Place::default(),
            deadline: Box::pin(Deadline::new()),
            spoke: None,
        }
    }

    /// Takes note of what passes.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.spoke = Some(Instant::now());
        self.place.pass(bytes);
    }

    /// Ready with a comment once one is due. In the middle of an event none is (S29): what comes next
    /// of that event keeps the connection open too.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            if self
                .deadline
                .as_mut()
                .poll_since(&mut self.spoke, self.every, cx)
                .is_pending()
            {
                return Poll::Pending;
            }
            self.deadline.as_mut().clear();
            if self.place.is_between_events() {
                return Poll::Ready(synthetic::keep_alive());
            }
        }
    }
}

/// Where in a stream the last byte was.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// A line of the event before the blank one has come.
    in_event: bool,
    line: Line,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Start,
    /// The last byte was a CR; an LF would be part of it.
    AfterCr,
    Comment,
    Field,
}

impl Place {
    const fn is_between_events(self) -> bool {
        !self.in_event && matches!(self.line, Line::Start | Line::AfterCr)
    }

    fn pass(&mut self, bytes: &[u8]) {
        // What comes before the last blank line does not matter.
        let mut rest = bytes;
        if let Some(at) = memchr::memmem::rfind(bytes, b"\n\n") {
            *self = Self::default();
            rest = &bytes[at + 2..];
        }
        for &byte in rest {
            self.step(byte);
        }
    }

    const fn step(&mut self, byte: u8) {
        self.line = match (byte, self.line) {
            (b'\n', Line::AfterCr) => Line::Start,
            (b'\r' | b'\n', line) => {
                match line {
                    Line::Start | Line::AfterCr => self.in_event = false,
                    Line::Field => self.in_event = true,
                    Line::Comment => {}
                }
                if byte == b'\r' {
                    Line::AfterCr
                } else {
                    Line::Start
                }
            }
            (b':', Line::Start | Line::AfterCr) => Line::Comment,
            (_, Line::Start | Line::AfterCr) => Line::Field,
            (_, line) => line,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(chunks: &[&str]) -> bool {
        let mut place = Place::default();
        for chunk in chunks {
            place.pass(chunk.as_bytes());
        }
        place.is_between_events()
    }

    #[test]
    fn s29_events_end_with_a_blank_line_however_they_are_cut() {
        for (stream, between) in [
            ("", true),
            ("data: x\n\n", true),
            ("data: x\r\n\r\n", true),
            ("data: x\r\r", true),
            ("data: x\n\n: ping\n", true),
            (": ping\n", true),
            (": ping", false),
            ("data: x\n", false),
            ("data: x", false),
            ("data: x\r", false),
            ("data: x\r\n", false),
            ("data: x\n: note\n", false),
            ("data: x\n\ndata: y\n", false),
            ("data: x\n\n:a\ndata: y\n\n:b\n", true),
            ("data: x\n\r\ndata", false),
        ] {
            let whole = place(&[stream]);
            assert_eq!(whole, between, "{stream:?}");
            for at in 0..stream.len() {
                let (one, two) = stream.split_at(at);
                assert_eq!(place(&[one, two]), between, "{one:?} + {two:?}");
            }
        }
    }
}
