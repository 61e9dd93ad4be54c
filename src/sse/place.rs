/// Where in a stream the last byte was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
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
    /// Whether something may be said here without breaking into an event.
    pub(crate) const fn is_between_events(self) -> bool {
        !self.in_event && matches!(self.line, Line::Start | Line::AfterCr)
    }

    /// Goes on by `bytes`.
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
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

    /// Goes on to the first place between two events: how many of `bytes` there are before it, at
    /// least one. `None` if there is no such place; then all have passed.
    #[cfg(feature = "auth")]
    pub(crate) fn pass_to_boundary(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, &byte) in bytes.iter().enumerate() {
            self.step(byte);
            if self.is_between_events() {
                return Some(index + 1);
            }
        }
        None
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

    #[cfg(feature = "auth")]
    #[test]
    fn boundary_is_the_first_place_between_events() {
        for (before, bytes, expected) in [
            ("data: x", "\n\ndata: y\n\n", Some(2)),
            ("data: x\n", "\n", Some(1)),
            ("data: x", "y\r\r", Some(3)),
            ("data: x", "\r\n\r\n", Some(3)),
            ("data: x", "\ndata: y\n", None),
            (": half", " a comment\ndata: x", Some(11)),
            ("data: x", "", None),
        ] {
            let mut place = Place::default();
            place.pass(before.as_bytes());
            assert!(!place.is_between_events(), "{before:?}");
            let found = place.pass_to_boundary(bytes.as_bytes());
            assert_eq!(found, expected, "{before:?} + {bytes:?}");
            assert_eq!(place.is_between_events(), found.is_some());
        }
    }
}
