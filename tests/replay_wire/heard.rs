use bytes::Bytes;
use shadowcat::sse::{Decoder, EventId, Frame};

/// What a client makes of the bytes of one response, as far as they go.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// How many bytes there were, with head and framing.
    pub(crate) len: usize,
    head: Vec<u8>,
    framing: Framing,
    decoder: Decoder,
    /// Without its framing.
    pub(crate) body: Vec<u8>,
    pub(crate) events: Vec<Event>,
    /// The id of the last event that was read whole.
    pub(crate) cursor: Option<String>,
    /// How many comments, and events without data, there were.
    pub(crate) comments: usize,
    pub(crate) primes: usize,
    pub(crate) retries: Vec<u64>,
}

/// An event with data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<EventId>,
    /// Its bytes, but for its id.
    pub(crate) bare: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Framing {
    #[default]
    Head,
    /// A chunk's size, as far as it was read.
    Size(usize),
    Chunk(usize),
    /// What follows a chunk of that size, and how much of it has come.
    AfterChunk(usize, usize),
    Length(usize),
    Over,
}

impl Heard {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            let left = match self.framing {
                Framing::Chunk(left) | Framing::Length(left) => left,
                _ => 0,
            };
            if left > 0 {
                let (data, after) = rest.split_at(left.min(rest.len()));
                self.data(data);
                let left = left - data.len();
                self.framing = match self.framing {
                    Framing::Length(_) if left == 0 => Framing::Over,
                    Framing::Length(_) => Framing::Length(left),
                    _ if left == 0 => Framing::AfterChunk(1, 0),
                    _ => Framing::Chunk(left),
                };
                rest = after;
                continue;
            }
            self.frame(byte);
            rest = after;
        }
    }

    fn frame(&mut self, byte: u8) {
        self.framing = match self.framing {
            Framing::Head => {
                self.head.push(byte);
                if !self.head.ends_with(b"\r\n\r\n") {
                    return;
                }
                match self.field("content-length") {
                    Some(len) => match len.parse().expect("a number") {
                        0 => Framing::Over,
                        len => Framing::Length(len),
                    },
                    None => Framing::Size(0),
                }
            }
            Framing::Size(size) => match byte {
                b'\r' => Framing::Size(size),
                b'\n' if size == 0 => Framing::AfterChunk(0, 0),
                b'\n' => Framing::Chunk(size),
                digit => {
                    let digit = char::from(digit).to_digit(16).expect("a chunk's size");
                    Framing::Size(size * 16 + digit as usize)
                }
            },
            Framing::AfterChunk(size, came) => {
                assert_eq!(byte, b"\r\n"[came]);
                match (size, came) {
                    (_, 0) => Framing::AfterChunk(size, 1),
                    (0, _) => Framing::Over,
                    (_, _) => Framing::Size(0),
                }
            }
            Framing::Chunk(_) | Framing::Length(_) => unreachable!("data"),
            Framing::Over => panic!("{byte:?} after the end"),
        };
    }

    fn data(&mut self, data: &[u8]) {
        self.body.extend_from_slice(data);
        if self.field("content-type").as_deref() != Some("text/event-stream") {
            return;
        }
        let mut chunk = Bytes::copy_from_slice(data);
        while let Some(frame) = self.decoder.decode(&mut chunk).expect("a sane size") {
            match frame {
                Frame::Comment(_) => self.comments += 1,
                Frame::Event(event) => {
                    let id = event
                        .id()
                        .map(|id| String::from_utf8_lossy(id).into_owned());
                    self.retries.extend(event.retry());
                    if event.data().is_some_and(|data| !data.is_empty()) {
                        let mut bare = String::from_utf8_lossy(event.raw()).into_owned();
                        if let Some(id) = &id {
                            bare = bare.replacen(&format!("id: {id}\n"), "", 1);
                        }
                        let id = id.as_ref().map(|id| EventId::decode(id).expect("ours"));
                        self.events.push(Event { id, bare });
                    } else if id.is_some() {
                        self.primes += 1;
                    }
                    self.cursor = id.or(self.cursor.take());
                }
            }
        }
    }

    /// The value of a field of the head, in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    }

    /// Zero before it is there.
    pub(crate) fn status(&self) -> u16 {
        if self.framing == Framing::Head {
            return 0;
        }
        let head = String::from_utf8_lossy(&self.head);
        let status = head.split(' ').nth(1).expect("a status line");
        status.parse().expect("a number")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the end that its framing promises has come.
    pub(crate) fn is_whole(&self) -> bool {
        self.framing == Framing::Over
    }

    /// Whether the next byte is the first of a chunk's size.
    pub(crate) fn is_between_chunks(&self) -> bool {
        self.framing == Framing::Size(0)
    }

    /// Whether what has come ends where an event ends.
    pub(crate) fn is_between_events(&self) -> bool {
        self.decoder.is_clean() && (self.body.is_empty() || self.body.ends_with(b"\n\n"))
    }
}

/// Asserts that `events` are those of `script` after number `after`: all of one stream, each once,
/// in order, byte for byte.
#[track_caller]
pub(crate) fn assert_sequence(events: &[Event], script: &[String], after: usize) {
    let bare: Vec<_> = events.iter().map(|event| event.bare.as_str()).collect();
    assert_eq!(bare, script[after..]);
    let Some(first) = events.first() else { return };
    let stream = first.id.expect("an id").stream();
    for (event, number) in events.iter().zip(after as u64 + 1..) {
        assert_eq!(event.id, Some(EventId::new(stream, number)));
    }
}
