//! Server-sent events: an incremental decoder, a writer, and the rewriting of event ids.
//!
//! There is no I/O in here and no runtime: bytes go in, frames come out. The decoder never holds a
//! complete event back, keeps every byte, and finds in an event what a proxy wants to know without
//! decoding the rest.
//!
//! ```
//! use bytes::Bytes;
//! use shadowcat::sse::{self, Decoder, Event, Frame};
//!
//! // As it arrives: a keep-alive, one event, and half of the next one.
//! let mut chunk = Bytes::from(": ping\n\nid: 7\r\ndata: {\"a\":1}\r\n\r\ndata: ha");
//! let mut decoder = Decoder::new();
//!
//! let Some(Frame::Comment(ping)) = decoder.decode(&mut chunk)? else {
//!     panic!("the comment comes first");
//! };
//! assert_eq!(ping, ": ping\n\n");
//!
//! let Some(Frame::Event(event)) = decoder.decode(&mut chunk)? else {
//!     panic!("then the event");
//! };
//! assert_eq!(event.id(), Some(&b"7"[..]));
//! assert_eq!(event.data().as_deref(), Some(&b"{\"a\":1}"[..]));
//! assert!(event.is_message());
//!
//! // Only the id changes, and the line ends of the event are kept.
//! let renumbered = event.with_id(b"s-1")?;
//! assert_eq!(renumbered, "id: s-1\r\ndata: {\"a\":1}\r\n\r\n");
//!
//! // The half event is held until the rest comes. If nothing does, it is dropped.
//! assert_eq!(decoder.decode(&mut chunk)?, None);
//! assert_eq!(decoder.partial_len(), b"data: ha".len());
//!
//! // Writing: text cannot break out of its field.
//! let priming = Event::priming("s-0")?.encode();
//! assert_eq!(priming, "id: s-0\ndata:\n\n");
//! let event = Event::new("note", "two\nlines")?;
//! assert_eq!(event.encode(), "event: note\ndata: two\ndata: lines\n\n");
//! assert!(event.with_id("1\ndata: forged").is_err());
//! assert_eq!(sse::comment("ping"), ": ping\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What leaves when
//!
//! An event leaves with the line end that completes its blank line, also if that is a CR at the end
//! of a chunk; an LF that follows it comes out in a [`Frame::Comment`] of its own. Comments and
//! blank lines between events leave line by line, so a keep-alive never waits for an event. A
//! comment after the first field of an event is part of the event. What is incomplete when the
//! stream ends is dropped with the decoder.
//!
//! How the stream is cut into chunks changes neither the events nor the bytes, only whether an LF
//! after a CR is the end of one frame or the start of the next.
//!
//! # Limits
//!
//! An event may have [`DEFAULT_MAX_EVENT_BYTES`], or what
//! [`Decoder::with_max_event_bytes`] says. A decoder holds no more than that, in memory that it
//! gives away with the event. Time is linear in the bytes, in chunks of any size.
//!
//! # Differences from a browser's parser
//!
//! - Blocks that dispatch nothing, with an id or a delay only or with unknown fields, are events
//!   too. [`RawEvent::has_data`] tells them apart.
//! - An event without an `id` line has no id; a browser repeats the last one.
//! - Bytes are not decoded: invalid UTF-8 is passed on as it came.
//! - A `retry` that does not fit 64 bits is the largest delay, not an error.
//!
//! # Security
//!
//! Ids and types with line breaks or NUL are refused, data and comments are split into lines: what
//! is written reads as exactly one event, or none. `Debug` output does not show data or ids.

mod decode;
mod encode;
mod event;
mod event_id;
mod fields;
mod frame;
mod line;
#[cfg(any(
    feature = "auth",
    feature = "proxy",
    feature = "rate-limit",
    feature = "replay",
    feature = "session"
))]
mod media;
#[cfg(any(feature = "auth", feature = "replay"))]
mod place;
#[cfg(feature = "intercept")]
mod redata;
mod rewrite;

#[cfg(any(feature = "rate-limit", feature = "replay"))]
pub(crate) use self::media::accepts_event_stream;
#[cfg(any(
    feature = "auth",
    feature = "proxy",
    feature = "replay",
    feature = "session"
))]
pub(crate) use self::media::is_event_stream;
#[cfg(any(feature = "auth", feature = "replay"))]
pub(crate) use self::place::Place;
pub use self::{
    decode::{DEFAULT_MAX_EVENT_BYTES, DecodeError, Decoder},
    encode::{comment, retry},
    event::{Event, EventError, EventErrorKind},
    event_id::{EventId, InvalidEventId, StreamKey},
    frame::{Frame, RawEvent},
    line::{Field, Line, Lines},
};
