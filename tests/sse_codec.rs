//! The SSE codec against the rules of the format, in every chunking.

use bytes::{Bytes, BytesMut};
use shadowcat::sse::{self, Decoder, Event, EventErrorKind, Frame, RawEvent};

/// What an event says: id, type, data, retry.
type Said<'a> = (
    Option<&'a [u8]>,
    Option<&'a [u8]>,
    Option<&'a [u8]>,
    Option<u64>,
);

#[derive(Debug, Default, PartialEq)]
struct Decoded {
    events: Vec<RawEvent>,
    /// All comment frames, joined.
    comments: Vec<u8>,
    /// All frames, joined.
    raw: Vec<u8>,
    partial: usize,
}

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = Decoder::new();
    let mut decoded = Decoded::default();
    for chunk in chunks {
        let mut chunk = Bytes::copy_from_slice(chunk);
        while let Some(frame) = decoder.decode(&mut chunk).expect("within the cap") {
            decoded.raw.extend_from_slice(frame.raw());
            match frame {
                Frame::Comment(comment) => decoded.comments.extend_from_slice(&comment),
                Frame::Event(event) => decoded.events.push(event),
            }
        }
        assert!(chunk.is_empty(), "a chunk is used up before the next one");
    }
    decoded.partial = decoder.partial_len();
    assert_eq!(decoder.is_clean(), decoded.partial == 0);
    decoded
}

/// Decodes `stream` whole, cut at every byte, cut twice if it is short, and byte by byte.
#[track_caller]
fn decode_in_every_chunking(stream: &[u8], expected: &[Said<'_>]) {
    let content = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let check = |chunks: &[&[u8]]| {
        let decoded = decode(chunks.iter().copied());
        let data: Vec<_> = decoded.events.iter().map(RawEvent::data).collect();
        let said: Vec<Said<'_>> = decoded
            .events
            .iter()
            .zip(&data)
            .map(|(event, data)| (event.id(), event.event(), data.as_deref(), event.retry()))
            .collect();
        let shown: Vec<_> = chunks
            .iter()
            .map(|c| c.escape_ascii().to_string())
            .collect();
        assert_eq!(said, expected, "{shown:?}");
        // Nothing is lost, nothing is added, nothing changes its place.
        let (complete, partial) = content.split_at(content.len() - decoded.partial);
        assert_eq!(decoded.raw, complete, "{shown:?}, partial {partial:?}");
    };
    check(&[stream]);
    check(&stream.chunks(1).collect::<Vec<_>>());
    for first in 0..=stream.len() {
        let (head, rest) = stream.split_at(first);
        check(&[head, rest]);
        if stream.len() <= 64 {
            for second in 0..=rest.len() {
                let (middle, tail) = rest.split_at(second);
                check(&[head, middle, tail]);
            }
        }
    }
}

fn data(value: &[u8]) -> Said<'_> {
    (None, None, Some(value), None)
}

fn id(value: &[u8]) -> Said<'_> {
    (Some(value), None, None, None)
}

fn retry(millis: u64) -> Said<'static> {
    (None, None, None, Some(millis))
}

const NOTHING: Said<'_> = (None, None, None, None);

#[test]
fn events_of_the_standard_are_decoded_in_every_chunking() {
    // The examples of the WHATWG text.
    decode_in_every_chunking(
        b"data: YHOO\ndata: +2\ndata: 10\n\n",
        &[data(b"YHOO\n+2\n10")],
    );
    decode_in_every_chunking(
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
        &[
            (Some(b"1"), None, Some(b"first event"), None),
            (Some(b""), None, Some(b"second event"), None),
        ],
    );
    decode_in_every_chunking(b"data\n\ndata\ndata\n\ndata:", &[data(b""), data(b"\n")]);
    decode_in_every_chunking(
        b"data:test\n\ndata: test\n\n",
        &[data(b"test"), data(b"test")],
    );
    decode_in_every_chunking(
        b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
        &[
            (None, Some(b"add"), Some(b"73857293"), None),
            (None, Some(b"remove"), Some(b"2153"), None),
        ],
    );
}

#[test]
fn swf_2_s03_byte_order_mark() {
    decode_in_every_chunking(b"\xEF\xBB\xBFdata: x\n\n", &[data(b"x")]);
    decode_in_every_chunking(b"\xEF\xBB\xBF: c\n\ndata: x\n\n", &[data(b"x")]);
    // Later it is content: here, of a field name that nobody knows.
    decode_in_every_chunking(
        b"data: x\n\n\xEF\xBB\xBFdata: y\n\n",
        &[data(b"x"), NOTHING],
    );
    decode_in_every_chunking(b"\xEF\xBB\xBF\xEF\xBB\xBFdata: y\n\n", &[NOTHING]);
    decode_in_every_chunking(b"data: \xEF\xBB\xBF\n\n", &[data(b"\xEF\xBB\xBF")]);
    decode_in_every_chunking(b"\xEF\xBBdata: y\n\n", &[NOTHING]);
    decode_in_every_chunking(b"\xEF\xBB\xBF", &[]);
}

#[test]
fn swf_3_s02_line_ends() {
    for stream in [
        &b"id: 1\ndata: a\ndata: b\n\n"[..],
        b"id: 1\r\ndata: a\r\ndata: b\r\n\r\n",
        b"id: 1\rdata: a\rdata: b\r\r",
        b"id: 1\r\ndata: a\rdata: b\n\r\n",
        b"id: 1\ndata: a\r\ndata: b\r\n\r",
        b"id: 1\rdata: a\ndata: b\n\r",
        b"\r\n\n\rid: 1\rdata: a\ndata: b\r\n\n",
    ] {
        let event: Said<'_> = (Some(b"1"), None, Some(b"a\nb"), None);
        decode_in_every_chunking(stream, &[event]);
        decode_in_every_chunking(&[stream, stream].concat(), &[event, event]);
    }
    // A lone LF after a CR LF is an empty line; the LF of a CR LF is not.
    decode_in_every_chunking(b"data: a\r\ndata: b\r\n", &[]);
    decode_in_every_chunking(b"data: a\r\n\ndata: b\r\r\n", &[data(b"a"), data(b"b")]);
}

#[test]
fn swf_4_s08_s09_fields() {
    decode_in_every_chunking(b"data\n\n", &[data(b"")]);
    decode_in_every_chunking(b"data:  x\n\n", &[data(b" x")]);
    decode_in_every_chunking(b"data:\tx\n\n", &[data(b"\tx")]);
    decode_in_every_chunking(b"data: a: b\n\n", &[data(b"a: b")]);
    decode_in_every_chunking(b"Data: x\ndata : x\n x\nfoo\n\n", &[NOTHING]);
    decode_in_every_chunking(b"data: a\n: id: 7\ndata: b\n\n", &[data(b"a\nb")]);
}

#[test]
fn swf_5_s10_s15_data() {
    decode_in_every_chunking(b"data:\n\n", &[data(b"")]);
    decode_in_every_chunking(b"data\ndata\n\n", &[data(b"\n")]);
    decode_in_every_chunking(
        b"data: {\ndata: \"a\": 1\nx\ndata: }\n\n",
        &[data(b"{\n\"a\": 1\n}")],
    );
    let lines = 1_000_000;
    let decoded = decode([&b"data:\n".repeat(lines)[..], b"\n"]);
    let joined = decoded.events[0].data().expect("there is data");
    assert_eq!(joined.len(), lines - 1);
}

#[test]
fn swf_6_s04_s05_ids() {
    decode_in_every_chunking(b"id: 1\nid: 2\n\n", &[id(b"2")]);
    decode_in_every_chunking(b"id: 1\nid: 2\0\n\n", &[id(b"1")]);
    decode_in_every_chunking(b"id: \0\ndata: x\n\n", &[data(b"x")]);
    decode_in_every_chunking(b"id: 1\nid\n\n", &[id(b"")]);
    decode_in_every_chunking(b"id:12\n\n", &[id(b"12")]);
    // Nothing is inherited.
    decode_in_every_chunking(b"id: 1\n\ndata: x\n\n", &[id(b"1"), data(b"x")]);
}

#[test]
fn swf_7_s07_retry() {
    for value in [
        "-1", "+1", "12a", "10x", "", " 1", "1 ", "1.5", "0x1", "\u{661}",
    ] {
        decode_in_every_chunking(format!("retry: {value}\n\n").as_bytes(), &[NOTHING]);
    }
    decode_in_every_chunking(b"retry: 1e9\nretry: 7\nretry: x\n\n", &[retry(7)]);
    decode_in_every_chunking(b"retry:0010\n\n", &[retry(10)]);
    decode_in_every_chunking(b"retry: 18446744073709551615\n\n", &[retry(u64::MAX)]);
    decode_in_every_chunking(
        b"retry: 999999999999999999999999999999\n\n",
        &[retry(u64::MAX)],
    );
}

#[test]
fn swf_8_s11_blocks_without_data_are_events() {
    decode_in_every_chunking(b"id: 1\ndata:\n\n", &[(Some(b"1"), None, Some(b""), None)]);
    decode_in_every_chunking(b"id: 1\nretry: 5\n\n", &[(Some(b"1"), None, None, Some(5))]);
    let decoded = decode([&b"id: 1\ndata:\n\nid: 1\n\n"[..]]);
    let has_data: Vec<_> = decoded.events.iter().map(RawEvent::has_data).collect();
    assert_eq!(has_data, [true, false]);
}

#[test]
fn swf_9_s13_unfinished_event_is_never_dispatched() {
    for stream in [
        &b"data: x"[..],
        b"data: x\n",
        b"data: x\r\n",
        b"id: 1\ndata",
        b": ping",
    ] {
        decode_in_every_chunking(stream, &[]);
        assert_eq!(decode([stream]).partial, stream.len());
    }
    decode_in_every_chunking(b"data: a\n\ndata: b\n", &[data(b"a")]);
}

#[test]
fn swf_10_s12_types() {
    let message = |stream: &[u8]| decode([stream]).events[0].is_message();
    assert!(message(b"data: x\n\n"));
    assert!(message(b"event:\ndata: x\n\n"));
    assert!(message(b"event: ping\nevent: message\n\n"));
    for name in [
        "ping",
        "endpoint",
        "error",
        "Message",
        "message ",
        &"x".repeat(65536),
    ] {
        let stream = format!("event: {name}\ndata: x\n\n");
        assert!(!message(stream.as_bytes()), "{name}");
        let decoded = decode(stream.as_bytes().chunks(1000));
        assert_eq!(decoded.events[0].event(), Some(name.as_bytes()));
    }
}

#[test]
fn s17_bytes_that_are_not_utf_8_pass() {
    decode_in_every_chunking(b"data: \xFF\xC3\n\n", &[data(b"\xFF\xC3")]);
    decode_in_every_chunking(
        "data: zażółć 🦀\n\n".as_bytes(),
        &[data("zażółć 🦀".as_bytes())],
    );
}

#[test]
fn s29_comments_between_events_leave_as_soon_as_their_line_ends() {
    let mut decoder = Decoder::new();
    let mut push = |chunk: &'static str| decoder.decode(&mut Bytes::from(chunk)).expect("short");
    assert_eq!(push(": pi"), None);
    assert_eq!(push("ng\n"), Some(Frame::Comment(": ping\n".into())));
    assert_eq!(
        push("\n:\r\n: b\r"),
        Some(Frame::Comment("\n:\r\n: b\r".into()))
    );
    // Inside an event they belong to it.
    assert_eq!(push("data: x\n"), None);
    assert_eq!(push(": ping\n"), None);
    let event = push("\n").map(Frame::into_raw);
    assert_eq!(event, Some(Bytes::from("data: x\n: ping\n\n")));
}

#[test]
fn s30_a_thousand_events_in_one_chunk_keep_their_order() {
    let stream: String = (0..1000).map(|n| format!("data: {n}\n\n")).collect();
    let decoded = decode([stream.as_bytes()]);
    for (n, event) in decoded.events.iter().enumerate() {
        assert_eq!(event.data().as_deref(), Some(n.to_string().as_bytes()));
    }
    assert_eq!(decoded.events.len(), 1000);
}

#[test]
fn id_is_replaced_where_it_stood_or_inserted_before_the_data() {
    // Rewriter invariants: (the event, the same with id N).
    for (event, expected) in [
        ("id: 1\ndata: x\n\n", "id: N\ndata: x\n\n"),
        ("data: x\nid:1\n\n", "data: x\nid: N\n\n"),
        (
            "event: e\r\nid\r\ndata: x\r\n\r\n",
            "event: e\r\nid: N\r\ndata: x\r\n\r\n",
        ),
        ("event: e\ndata: x\n\n", "event: e\nid: N\ndata: x\n\n"),
        ("event: e\n:c\ndata\n\n", "event: e\n:c\nid: N\ndata\n\n"),
        ("data:x\r\r", "id: N\rdata:x\r\r"),
        (
            "a: 1\r\ndata: x\ndata: y\r\n\n",
            "a: 1\r\nid: N\ndata: x\ndata: y\r\n\n",
        ),
        // Without data, and with a delay or an unknown field only.
        ("retry: 5\r\n\r\n", "id: N\r\nretry: 5\r\n\r\n"),
        ("Data: x\n\n", "id: N\nData: x\n\n"),
        // Extra ids and ids with NUL go.
        (
            "id: 1\nid: 2\ndata: x\nid\n: id\n\n",
            "id: N\ndata: x\n: id\n\n",
        ),
        ("data: x\nid: \0\n\n", "data: x\nid: N\n\n"),
        // The blank line survives an id line that kept a CR and an LF apart.
        ("id: 1\ndata: x\rid: 2\n\n", "id: N\ndata: x\r\n\n"),
        ("id: 1\rid: 2\nid: 3\n\r", "id: N\r\r"),
        ("id: 1\rid: 2\nid: 3\n\n", "id: N\r\n\n"),
    ] {
        let decoded = decode([event.as_bytes()]);
        let rewritten = decoded.events[0].with_id(b"N").expect("legal id");
        assert_eq!(rewritten, expected, "{event:?}");
        assert_eq!(decode([&rewritten[..]]).events[0].id(), Some(&b"N"[..]));
    }
}

#[test]
fn s21_illegal_id_is_refused_and_nothing_is_written() {
    let decoded = decode([&b"data: x\n\n"[..]]);
    let mut out = BytesMut::from("before");
    for id in [&b"1\n"[..], b"\r", b"a\0b", b"1\n\ndata: forged\n\n"] {
        let error = decoded.events[0].write_with_id(id, &mut out);
        assert_eq!(error.map_err(|e| e.kind()), Err(EventErrorKind::InvalidId));
        let error = Event::message("x").with_id(id.to_vec());
        assert_eq!(error.map_err(|e| e.kind()), Err(EventErrorKind::InvalidId));
        assert!(Event::priming(id.to_vec()).is_err());
        let error = Event::new(id.to_vec(), "x");
        assert_eq!(
            error.map_err(|e| e.kind()),
            Err(EventErrorKind::InvalidName)
        );
    }
    assert_eq!(out, "before");
    let error = Event::new("x".repeat(1025), "x");
    assert_eq!(
        error.map_err(|e| e.kind()),
        Err(EventErrorKind::NameTooLong)
    );
    assert!(Event::new("x".repeat(1024), "x").is_ok());
}

#[test]
fn s20_line_breaks_in_data_become_data_lines() {
    for (data, expected) in [
        ("", "data:\n\n"),
        (" x", "data:  x\n\n"),
        ("a\nb\rc\r\nd", "data: a\ndata: b\ndata: c\ndata: d\n\n"),
        ("a\n", "data: a\ndata:\n\n"),
        ("\n\n", "data:\ndata:\ndata:\n\n"),
        (
            "x\n\nid: 1\n\n",
            "data: x\ndata:\ndata: id: 1\ndata:\ndata:\n\n",
        ),
    ] {
        assert_eq!(Event::message(data).encode(), expected);
    }
}

#[test]
fn events_without_data_can_be_written() {
    use std::time::Duration;
    let second = Duration::from_secs(1);
    assert_eq!(sse::retry(second), "retry: 1000\n\n");
    assert_eq!(sse::retry(Duration::ZERO), "retry: 0\n\n");
    assert_eq!(
        sse::retry(Duration::MAX),
        format!("retry: {}\n\n", u64::MAX)
    );
    let event = Event::retry(second).with_id("1").expect("legal id");
    assert_eq!(event.encode(), "id: 1\nretry: 1000\n\n");
    let priming = Event::priming("1").expect("legal id").with_retry(second);
    assert_eq!(priming.encode(), "id: 1\nretry: 1000\ndata:\n\n");
}

#[test]
fn comments_stay_comments() {
    for (text, expected) in [
        ("", ":\n"),
        ("ping", ": ping\n"),
        ("a\n\ndata: x\r\n\r\n", ": a\n:\n: data: x\n:\n:\n"),
    ] {
        assert_eq!(sse::comment(text), expected);
    }
}
