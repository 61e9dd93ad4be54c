use super::*;

fn frames(decoder: &mut Decoder, chunk: &'static [u8]) -> Vec<Frame> {
    let mut chunk = Bytes::from_static(chunk);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.decode(&mut chunk).expect("within the cap") {
        frames.push(frame);
    }
    assert!(chunk.is_empty(), "None means that the chunk is used up");
    frames
}

fn event_bytes(frame: &Frame) -> &[u8] {
    match frame {
        Frame::Event(event) => event.raw(),
        Frame::Comment(comment) => panic!("comment {comment:?}"),
    }
}

fn held_capacity(decoder: &Decoder) -> usize {
    let partial = decoder.partial.as_ref();
    partial.map_or(0, |partial| partial.bytes.capacity())
}

#[test]
fn whole_frames_are_slices_of_the_chunk() {
    let chunk = Bytes::from(b": ping\n\ndata: a\n\ndata: b\n\ndata".to_vec());
    let mut rest = chunk.clone();
    let mut decoder = Decoder::new();
    let mut offset = 0;
    while let Some(frame) = decoder.decode(&mut rest).expect("within the cap") {
        assert_eq!(frame.raw().as_ptr(), chunk[offset..].as_ptr());
        offset += frame.raw().len();
    }
    assert_eq!(offset, chunk.len() - b"data".len());
}

#[test]
fn partial_event_does_not_keep_the_chunk_alive() {
    let mut chunk = Bytes::from(b"data: a\n\ndata: b".to_vec());
    let mut decoder = Decoder::new();
    let event = decoder.decode(&mut chunk).expect("within the cap");
    assert_eq!(decoder.decode(&mut chunk).expect("within the cap"), None);
    drop(chunk);
    let raw = event.expect("one event").into_raw();
    assert!(raw.is_unique(), "the decoder holds a slice");
}

#[test]
fn held_memory_never_exceeds_the_cap_and_leaves_with_the_event() {
    // S14, S16, SS-3.
    let max = 100_000;
    let mut decoder = Decoder::with_max_event_bytes(max);
    frames(&mut decoder, b"data: ");
    for _ in 0..max - b"data: \n".len() {
        frames(&mut decoder, b"x");
        assert!(held_capacity(&decoder) <= max);
    }
    assert_eq!(decoder.partial_len(), max - 1);
    let events = frames(&mut decoder, b"\n\n");
    assert_eq!(event_bytes(&events[0]).len(), max + 1);
    assert_eq!(held_capacity(&decoder), 0);
    assert!(decoder.is_clean());
}

#[test]
fn event_keeps_no_more_memory_than_it_has_bytes() {
    let mut decoder = Decoder::new();
    frames(&mut decoder, b"data: x");
    let raw = frames(&mut decoder, b"\n\n").pop().map(Frame::into_raw);
    // A `Bytes` does not tell, but what it becomes does.
    let raw = raw.and_then(|raw| raw.try_into_mut().ok());
    let raw = raw.expect("an event in memory of its own");
    assert_eq!((raw.len(), raw.capacity()), (9, 9));
}

#[test]
fn growth_copies_a_logarithmic_number_of_times() {
    let mut decoder = Decoder::new();
    let mut grown = 0;
    for _ in 0..1 << 20 {
        let before = held_capacity(&decoder);
        frames(&mut decoder, b"x");
        grown += usize::from(held_capacity(&decoder) != before);
    }
    assert!(grown <= 13, "grew {grown} times");
}

#[test]
fn endless_line_fails_and_fuses() {
    // S14: also for a comment, and however the bytes arrive.
    for line in [&b"data: xxxx"[..], b": xxxxxxxx", b"xxxxxxxxxx"] {
        let mut decoder = Decoder::with_max_event_bytes(line.len());
        frames(&mut decoder, b"data: 1\n\n: one\n");
        assert_eq!(decoder.decode(&mut Bytes::from_static(line)), Ok(None));
        let error = decoder.decode(&mut Bytes::from_static(b"x"));
        assert_eq!(error.as_ref().map_err(DecodeError::limit), Err(line.len()));
        assert_eq!((decoder.partial_len(), held_capacity(&decoder)), (0, 0));
        // Fused: not even a new event is taken.
        let mut chunk = Bytes::from_static(b"\n\ndata: y\n\n");
        assert_eq!(decoder.decode(&mut chunk), error);
        assert_eq!(chunk.len(), 11);
    }
}

#[test]
fn events_before_the_one_that_is_too_large_come_out() {
    let mut decoder = Decoder::with_max_event_bytes(8);
    let mut chunk = Bytes::from_static(b"data: 1\n\n: 2345678\n: 23456789\ndata: 3\n\n");
    let first = decoder.decode(&mut chunk).expect("within the cap");
    assert_eq!(first.map(Frame::into_raw), Some(Bytes::from("data: 1\n\n")));
    // S15: comments between events are counted one by one.
    let second = decoder.decode(&mut chunk);
    assert_eq!(
        second.map(|frame| frame.map(Frame::into_raw)),
        Err(DecodeError { limit: 8 })
    );
}

#[test]
fn cap_counts_the_event_without_its_blank_line() {
    for (event, fits) in [
        (&b"data: 12\n\n"[..], true),
        (b"data: 12\r\r", true),
        (b"data: 1\r\n\r\n", true),
        (b"data: 123\n\n", false),
        (b"data: 12\r\n\r\n", false),
        // S06: an id counts like anything else, and so does a comment inside.
        (b"id: 12345\n\n", false),
        (b"data\n:23\n\n", true),
        (b"data\n:234\n\n", false),
    ] {
        for step in 1..=event.len() {
            let mut decoder = Decoder::with_max_event_bytes(9);
            let outcome = event.chunks(step).try_for_each(|piece| {
                let mut chunk = Bytes::copy_from_slice(piece);
                while decoder.decode(&mut chunk)?.is_some() {}
                Ok::<_, DecodeError>(())
            });
            let event = event.escape_ascii();
            assert_eq!(outcome.is_ok(), fits, "{event} in steps of {step}");
        }
    }
}

#[test]
fn a_million_comments_between_events_are_free() {
    // S15.
    let mut decoder = Decoder::with_max_event_bytes(64);
    for _ in 0..1_000_000 / 4 {
        assert_eq!(frames(&mut decoder, b":\n: a\n:\r\n\n:\r").len(), 1);
        assert!(decoder.is_clean());
    }
}

#[test]
fn byte_order_mark_is_skipped_once_and_wherever_it_is_split() {
    // SWF-2, S03.
    let stream = b"\xEF\xBB\xBF\xEF\xBB\xBFdata: x\n\n";
    for step in 1..=stream.len() {
        let mut decoder = Decoder::new();
        let mut events = Vec::new();
        for (nth, piece) in stream.chunks(step).enumerate() {
            events.extend(frames(&mut decoder, piece));
            if nth == 0 && step < 3 {
                assert_eq!(decoder.partial_len(), step);
            }
        }
        let [event] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(event_bytes(event), &stream[3..], "steps of {step}");
    }
}

#[test]
fn half_a_byte_order_mark_is_content() {
    for start in [&b"\xEF"[..], b"\xEF\xBB", b"\xEF\xBB\xBE"] {
        let mut decoder = Decoder::new();
        for byte in start {
            let mut chunk = Bytes::copy_from_slice(&[*byte]);
            assert_eq!(decoder.decode(&mut chunk), Ok(None));
        }
        assert_eq!(decoder.partial_len(), start.len());
        let events = frames(&mut decoder, b"x\n\n");
        assert_eq!(event_bytes(&events[0]), [start, b"x\n\n"].concat());
    }
    // It counts, too.
    let mut decoder = Decoder::with_max_event_bytes(1);
    let mut chunk = Bytes::from_static(b"\xEF\xBBx");
    assert_eq!(decoder.decode(&mut chunk), Err(DecodeError { limit: 1 }));
}

#[test]
fn cr_at_the_end_of_a_chunk_ends_its_line_at_once() {
    // SWF-3, S02.
    let mut decoder = Decoder::new();
    assert_eq!(
        frames(&mut decoder, b": ping\r"),
        [Frame::Comment(": ping\r".into())]
    );
    assert_eq!(frames(&mut decoder, b"\n"), [Frame::Comment("\n".into())]);
    assert_eq!(frames(&mut decoder, b"data: x\r"), []);
    assert_eq!(frames(&mut decoder, b"\n"), []);
    let events = frames(&mut decoder, b"\r");
    assert_eq!(event_bytes(&events[0]), b"data: x\r\n\r");
    // The LF that is left joins the comment behind it, and the event behind that is whole.
    let [Frame::Comment(comment), event] = &frames(&mut decoder, b"\n:\ndata\n\n")[..] else {
        panic!("a comment and an event");
    };
    assert_eq!(
        (&comment[..], event_bytes(event)),
        (&b"\n:\n"[..], &b"data\n\n"[..])
    );
    // An empty chunk in between changes nothing.
    assert_eq!(frames(&mut decoder, b"data\r").len(), 0);
    assert_eq!(frames(&mut decoder, b"").len(), 0);
    assert_eq!(frames(&mut decoder, b"\n").len(), 0);
    assert_eq!(frames(&mut decoder, b"\n").len(), 1);
}

#[test]
fn debug_output_does_not_show_the_payload() {
    let mut decoder = Decoder::new();
    frames(&mut decoder, b"data: secret");
    assert!(!format!("{decoder:?}").contains("secret"));
    let events = frames(&mut decoder, b"\nid: secret\nevent: e\n\n");
    let shown = format!("{events:?}");
    assert!(
        shown.contains("\"e\"") && !shown.contains("secret"),
        "{shown}"
    );
}
