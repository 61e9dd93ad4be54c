//! What holds for the SSE codec on any input: against a parser written for reading, against another
//! crate, and against itself.

use std::{convert::Infallible, task::Poll, time::Duration};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};
use shadowcat::sse::{self, DecodeError, Decoder, Event, Field, Frame, Line, RawEvent};

/// What an event says: id, type, data, retry.
type Said = (
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<u64>,
);

fn said(event: &RawEvent) -> Said {
    (
        event.id().map(<[u8]>::to_vec),
        event.event().map(<[u8]>::to_vec),
        event.data().map(|data| data.into_owned()),
        event.retry(),
    )
}

fn decode(decoder: &mut Decoder, chunks: &[&[u8]]) -> Result<Vec<Frame>, DecodeError> {
    let mut frames = Vec::new();
    for chunk in chunks {
        let mut chunk = Bytes::copy_from_slice(chunk);
        while let Some(frame) = decoder.decode(&mut chunk)? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn events(frames: &[Frame]) -> impl Iterator<Item = &RawEvent> {
    frames.iter().filter_map(|frame| match frame {
        Frame::Event(event) => Some(event),
        Frame::Comment(_) => None,
    })
}

fn raw(frames: &[Frame]) -> Vec<u8> {
    frames
        .iter()
        .flat_map(|frame| frame.raw().to_vec())
        .collect()
}

/// The format in the plainest way: the whole input, line by line, and no bytes kept.
fn parse(stream: &[u8]) -> Vec<Said> {
    let mut rest = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let mut events = Vec::new();
    let mut event: Option<Said> = None;
    while let Some(end) = rest.iter().position(|byte| b"\r\n".contains(byte)) {
        let line = &rest[..end];
        let skip = if rest[end..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + skip..];
        if line.is_empty() {
            events.extend(event.take());
            continue;
        }
        if line[0] == b':' {
            continue;
        }
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
        let (id, kind, data, retry) = event.get_or_insert_default();
        match name {
            b"id" if !value.contains(&0) => *id = Some(value),
            b"event" => *kind = Some(value),
            b"data" => {
                *data = Some(match data.take() {
                    Some(before) => [before, value].join(&b'\n'),
                    None => value,
                });
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let digits = String::from_utf8(value).expect("digits");
                *retry = Some(digits.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }
    events
}

/// Bytes with a fair chance to be a stream that is nearly right.
fn soup(utf8: bool) -> impl Strategy<Value = Vec<u8>> {
    let mut tokens: Vec<&[u8]> = vec![
        b"data",
        b"data: ",
        b"data:",
        b"id",
        b"id: ",
        b"event",
        b"event: ",
        b"retry: ",
        b"foo",
        b":",
        b": ",
        b" ",
        b"x",
        b"7",
        b"\0",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"\r\n\r\n",
        b"\xEF\xBB\xBF",
        "é🦀".as_bytes(),
    ];
    if !utf8 {
        tokens.extend([&b"\xFF"[..], b"\xEF", b"\xEF\xBB"]);
    }
    vec(select(tokens), 0..60).prop_map(|tokens| tokens.concat())
}

/// Cuts `stream` at the given places, taken modulo its length.
fn cut<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.push(stream.len());
    cuts.sort_unstable();
    let starts = std::iter::once(&0).chain(&cuts);
    starts
        .zip(&cuts)
        .map(|(&from, &to)| &stream[from..to])
        .collect()
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(any::<usize>(), 0..12)
}

fn line() -> impl Strategy<Value = &'static str> {
    select(vec![
        "id: 1", "id", "id:\0", "data: x", "data", "data:", "event: e", "retry: 5", ": c", "foo",
        "Id: 2",
    ])
}

fn end() -> impl Strategy<Value = &'static str> {
    select(vec!["\n", "\r", "\r\n"])
}

/// A value that an id or a type may have.
fn name() -> impl Strategy<Value = String> {
    "[^\r\n\0]{0,20}"
}

fn event() -> impl Strategy<Value = Event> {
    let data = prop_oneof![
        vec(any::<u8>(), 0..40),
        vec(select(&b"ab:\r\n \0"[..]), 0..40)
    ];
    let id = proptest::option::of(name());
    let retry = proptest::option::of(any::<u64>().prop_map(Duration::from_millis));
    (proptest::option::of(name()), data, id, retry).prop_map(|(name, data, id, retry)| {
        let mut event = match name {
            Some(name) => Event::new(name, data).expect("legal name"),
            None => Event::message(data),
        };
        if let Some(id) = id {
            event = event.with_id(id).expect("legal id");
        }
        match retry {
            Some(retry) => event.with_retry(retry),
            None => event,
        }
    })
}

/// The line without its terminator.
fn content<'a>(line: &Line<'a>) -> &'a [u8] {
    &line.bytes()[..line.bytes().len() - line.terminator().len()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1024, ..ProptestConfig::default() })]

    /// SS-2, and nothing is lost.
    #[test]
    fn any_chunking_decodes_what_the_plain_parser_reads(stream in soup(false), cuts in cuts()) {
        let mut decoder = Decoder::new();
        let frames = decode(&mut decoder, &cut(&stream, &cuts)).expect("within the cap");
        let events: Vec<Said> = events(&frames).map(said).collect();
        prop_assert_eq!(events, parse(&stream));

        // Frames and what is held are the stream without its byte order mark.
        let content = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&stream);
        let complete = content.len() - decoder.partial_len();
        prop_assert_eq!(&raw(&frames)[..], &content[..complete]);
    }

    #[test]
    fn comment_frames_hold_comments_and_events_do_not_start_with_one(
        stream in soup(false),
        cuts in cuts(),
    ) {
        let frames = decode(&mut Decoder::new(), &cut(&stream, &cuts)).expect("within the cap");
        for frame in &frames {
            match frame {
                Frame::Comment(comment) => prop_assert!(
                    comment
                        .split(|byte| b"\r\n".contains(byte))
                        .all(|line| line.is_empty() || line[0] == b':')
                ),
                Frame::Event(event) => {
                    let lines: Vec<_> = event.lines().collect();
                    let first = lines[0].field();
                    prop_assert!(!matches!(first, Field::Comment | Field::Blank));
                    let blank = lines.iter().position(|line| line.field() == Field::Blank);
                    prop_assert_eq!(blank, Some(lines.len() - 1));
                    let bytes: Vec<u8> = lines.iter().flat_map(Line::bytes).copied().collect();
                    prop_assert_eq!(&bytes[..], &event.raw()[..]);
                }
            }
        }
    }

    /// SS-3: the cap holds at any time, and whether it is hit does not depend on the chunking.
    #[test]
    fn cap_is_never_exceeded(stream in soup(false), cuts in cuts(), cap in 0_usize..40) {
        let mut decoder = Decoder::with_max_event_bytes(cap);
        let mut frames = Ok(Vec::new());
        for chunk in cut(&stream, &cuts) {
            let more = decode(&mut decoder, &[chunk]);
            prop_assert!(decoder.partial_len() <= cap.max(2));
            match (&mut frames, more) {
                (Ok(frames), Ok(more)) => frames.extend(more),
                (Ok(_), Err(error)) => frames = Err(error),
                (Err(error), more) => prop_assert_eq!(&more, &Err(error.clone())),
            }
        }
        let whole = decode(&mut Decoder::with_max_event_bytes(cap), &[&stream]);
        prop_assert_eq!(frames.is_ok(), whole.is_ok());
        for event in frames.iter().flat_map(|frames| events(frames)) {
            let blank = event.lines().last().expect("the blank line");
            prop_assert!(event.raw().len() - blank.bytes().len() <= cap);
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(stream in vec(any::<u8>(), 0..200), cuts in cuts()) {
        let frames = decode(&mut Decoder::new(), &cut(&stream, &cuts)).expect("within the cap");
        prop_assert_eq!(events(&frames).map(said).collect::<Vec<_>>(), parse(&stream));
    }

    /// `sse-stream` differs in three ways, none of which the WHATWG text asks for: it refuses
    /// invalid UTF-8, it ignores a `retry` that does not fit, and it drops blocks that hold no field
    /// it knows. The input has none of the first two; the third is filtered here.
    #[test]
    fn sse_stream_reads_the_same(stream in soup(true), cuts in cuts()) {
        let chunks = cut(&stream, &cuts);
        let frames = decode(&mut Decoder::new(), &chunks).expect("within the cap");
        let ours: Vec<Said> = events(&frames)
            .map(said)
            .filter(|said| *said != (None, None, None, None))
            .collect();

        let mut theirs = Vec::new();
        let body = ReadyBody(chunks.into_iter().map(Bytes::copy_from_slice).collect());
        let mut stream = tokio_test::task::spawn(sse_stream::SseStream::new(body));
        while let Poll::Ready(Some(event)) = stream.poll_next() {
            let sse_stream::Sse { id, event, data, retry } = event.expect("UTF-8");
            let bytes = |text: Option<String>| text.map(String::into_bytes);
            theirs.push((bytes(id), bytes(event), bytes(data), retry));
        }
        prop_assert_eq!(ours, theirs);
    }

    /// SS-1 and SS-4.
    #[test]
    fn what_is_written_reads_as_exactly_that_event(event in event(), cuts in cuts()) {
        let bytes = event.encode();
        let mut decoder = Decoder::new();
        let frames = decode(&mut decoder, &cut(&bytes, &cuts)).expect("within the cap");
        prop_assert!(decoder.is_clean());
        let [Frame::Event(decoded)] = &frames[..] else {
            return Err(TestCaseError::fail(format!("{frames:?}")));
        };
        let (id, name, data, retry) = said(decoded);
        let mut again = match name {
            Some(name) => Event::new(name, data.expect("data")).expect("legal name"),
            None => Event::message(data.expect("data")),
        };
        if let Some(id) = id {
            again = again.with_id(id).expect("legal id");
        }
        if let Some(retry) = retry {
            again = again.with_retry(Duration::from_millis(retry));
        }
        // Equal up to the line ends in the data, so the bytes are equal.
        prop_assert_eq!(again.encode(), &bytes);
        let mut out = bytes::BytesMut::from(&b"before"[..]);
        event.encode_into(&mut out);
        prop_assert_eq!(&out[6..], &bytes[..]);
    }

    #[test]
    fn data_survives_but_for_its_line_ends(data in "[a: \r\n\u{0}é]{0,20}") {
        let frames = decode(&mut Decoder::new(), &[&Event::message(data.clone()).encode()]);
        let frames = frames.expect("within the cap");
        let read: Vec<Said> = events(&frames).map(said).collect();
        let expected = data.replace("\r\n", "\n").replace('\r', "\n").into_bytes();
        prop_assert_eq!(read, [(None, None, Some(expected), None)]);
    }

    #[test]
    fn comments_cannot_break_out(text in "[a:\r\n ]{0,20}", pending in any::<bool>()) {
        let mut decoder = Decoder::new();
        let before: &[u8] = if pending { b"data: half\n" } else { b"" };
        let comment = sse::comment(&text);
        let frames = decode(&mut decoder, &[before, &comment]).expect("within the cap");
        prop_assert_eq!(events(&frames).count(), 0);
        let frames = decode(&mut decoder, &[b"data: x\n\n"]).expect("within the cap");
        let data: &[u8] = if pending { b"half\nx" } else { b"x" };
        let read: Vec<Said> = events(&frames).map(said).collect();
        prop_assert_eq!(read, [(None, None, Some(data.to_vec()), None)]);
    }

    /// The rewriter invariants, on every mix of lines and line ends.
    #[test]
    fn new_id_changes_nothing_but_id_lines(
        lines in vec((line(), end()), 1..8),
        blank in end(),
        id in name(),
    ) {
        let mut stream: String = lines.iter().flat_map(|(line, end)| [*line, *end]).collect();
        // Twice, because the first LF may complete a CR LF.
        stream.extend([blank, "\n"]);
        let frames = decode(&mut Decoder::new(), &[stream.as_bytes()]).expect("within the cap");
        for event in events(&frames) {
            let bytes = event.with_id(id.as_bytes()).expect("legal id");
            let mut decoder = Decoder::new();
            let rewritten = decode(&mut decoder, &[&bytes]).expect("within the cap");
            prop_assert!(decoder.is_clean());
            let [Frame::Event(rewritten)] = &rewritten[..] else {
                return Err(TestCaseError::fail(format!("{rewritten:?} of {bytes:?}")));
            };
            let (_, kind, data, retry) = said(event);
            let expected = (Some(id.clone().into_bytes()), kind, data, retry);
            prop_assert_eq!(said(rewritten), expected);

            let is_id = |line: &Line<'_>| line.field() == Field::Id;
            let before: Vec<_> = event.lines().collect();
            let after: Vec<_> = rewritten.lines().collect();
            // One id line: at the place of the first one, before the first data, or in front.
            let place = before.iter().position(is_id)
                .or_else(|| before.iter().position(|line| line.field() == Field::Data))
                .unwrap_or(0);
            prop_assert_eq!(after.iter().position(is_id), Some(place));
            // A CR that would otherwise swallow the blank line behind it is the one exception.
            let parts = before.iter().filter(|line| is_id(line)).count() > 1;
            let keeps = |before: &Line<'_>, after: &Line<'_>| {
                let ends = (before.terminator(), after.terminator());
                ends.0 == ends.1 || parts && ends == (b"\r", b"\r\n")
            };
            prop_assert!(keeps(&before[place], &after[place]));
            let before: Vec<_> = before.iter().filter(|line| !is_id(line)).collect();
            let after: Vec<_> = after.iter().filter(|line| !is_id(line)).collect();
            prop_assert_eq!(before.len(), after.len());
            for (before, after) in before.into_iter().zip(after) {
                prop_assert_eq!(content(before), content(after));
                prop_assert!(keeps(before, after));
            }
        }
    }

    #[test]
    fn line_breaks_and_nul_are_refused(
        before in name(),
        bad in select(vec!['\r', '\n', '\0']),
        after in name(),
    ) {
        // S21.
        let value = format!("{before}{bad}{after}");
        prop_assert!(Event::new(value.clone(), "x").is_err());
        prop_assert!(Event::message("x").with_id(value.clone()).is_err());
        prop_assert!(Event::priming(value).is_err());
    }
}

/// S16: one event of a megabyte, byte by byte.
#[test]
fn large_event_in_single_bytes_is_put_together() {
    let data = "x".repeat(1 << 20);
    let bytes = Event::message(data.clone()).encode();
    let chunks: Vec<&[u8]> = bytes.chunks(1).collect();
    let frames = decode(&mut Decoder::new(), &chunks).expect("within the cap");
    let read: Vec<Said> = events(&frames).map(said).collect();
    assert_eq!(read, [(None, None, Some(data.into_bytes()), None)]);
}

/// A body that is always ready.
struct ReadyBody(std::collections::VecDeque<Bytes>);

impl http_body::Body for ReadyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(http_body::Frame::data).map(Ok))
    }
}
