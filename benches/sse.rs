//! How fast the SSE decoder is: against another decoder, and against itself in other chunkings.
//!
//! Everything is measured in alternating rounds of one run and compared by medians, so a noisy
//! machine shifts both sides.

use std::{
    convert::Infallible,
    hint::black_box,
    pin::Pin,
    process::ExitCode,
    task::{Context, Poll, Waker},
    time::Duration,
};

// A benchmark measures real time; a paused clock would make it pointless.
#[allow(clippy::disallowed_types)]
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use shadowcat::sse::{Decoder, Event, Frame};
use sse_stream::SseStream;
use tokio_stream::Stream as _;

#[path = "support/report.rs"]
mod report;

const ROUNDS: usize = 15;
const MIB: usize = 1024 * 1024;
/// What one read from a socket brings.
const READ: usize = 16 * 1024;

fn main() -> ExitCode {
    for data_len in [100, 300, 4096] {
        against_sse_stream(data_len);
    }
    renumber();
    encode();
    event_size();
    chunk_size();
    report::finish()
}

/// The same reads through both decoders; each event's id, type and data are looked at.
fn against_sse_stream(data_len: usize) {
    let (stream, events) = events(data_len, 2 * MIB);
    let reads: Vec<Bytes> = chunks(&stream, READ).collect();
    let [ours, theirs, lines] = rounds([
        &mut || assert_eq!(decode(reads.iter().cloned()), events),
        &mut || assert_eq!(decode_with_sse_stream(&reads), events),
        &mut || {
            black_box(reads.iter().map(|read| line_scan(read)).sum::<usize>());
        },
    ])
    .map(|time| time / events as f64);
    let name = format!("sse/decode/{data_len}B");
    report::info(&format!("{name}/ns"), ours);
    report::info(&format!("{name}/sse-stream_ns"), theirs);
    report::info(&format!("{name}/memchr_lines_ns"), lines);
    match data_len {
        100 | 300 => report::check(&format!("{name}/ratio"), ours / theirs, 0.5),
        _ => report::info(&format!("{name}/ratio"), ours / theirs),
    }
}

fn renumber() {
    let (stream, events) = events(300, MIB);
    let mut decoder = Decoder::new();
    let mut chunk = stream;
    let mut raw = Vec::new();
    while let Some(frame) = decoder.decode(&mut chunk).expect("within the cap") {
        if let Frame::Event(event) = frame {
            raw.push(event);
        }
    }
    let [time] = rounds([&mut || {
        for event in &raw {
            black_box(event.with_id(b"Zm9vYmFyYmF6cXV4-000123").expect("legal id"));
        }
    }]);
    report::info("sse/with_id/300B/ns", time / events as f64);
}

fn encode() {
    let event = Event::message("x".repeat(300))
        .with_id("Zm9vYmFyYmF6cXV4-000123")
        .expect("legal id");
    let [time] = rounds([&mut || {
        for _ in 0..1000 {
            black_box(black_box(&event).encode());
        }
    }]);
    report::info("sse/encode/300B/ns", time / 1000.0);
}

/// One event that spans many reads, against merely putting the reads together: the allocator and
/// the page faults of fresh memory are the same, and grow faster than the event does.
fn event_size() {
    let small = one_event(MIB);
    let large = one_event(10 * MIB);
    let [small, small_concat, large, large_concat] = rounds([
        &mut || assert_eq!(decode(chunks(&small, READ)), 1),
        &mut || assert_eq!(concat(chunks(&small, READ)).len(), small.len()),
        &mut || assert_eq!(decode(chunks(&large, READ)), 1),
        &mut || assert_eq!(concat(chunks(&large, READ)).len(), large.len()),
    ]);
    report::info("sse/event/1MiB/ns_per_KiB", small / 1024.0);
    report::info("sse/event/10MiB/ns_per_KiB", large / 10240.0);
    report::info("sse/event/1MiB/vs_concat", small / small_concat);
    report::check("sse/event/10MiB/vs_concat", large / large_concat, 2.0);
}

/// One event in chunks of one byte: ten times the bytes must take ten times as long (`S16`).
fn chunk_size() {
    // Static bytes, so that a chunk costs no reference count.
    let [small, large] =
        [MIB, 10 * MIB].map(|len| Bytes::from_static(Vec::from(one_event(len)).leak()));
    let [small, large, coarse] = rounds([
        &mut || assert_eq!(decode(chunks(&small, 1)), 1),
        &mut || assert_eq!(decode(chunks(&large, 1)), 1),
        &mut || assert_eq!(decode(chunks(&large, 64 * 1024)), 1),
    ]);
    let bytes = (10 * MIB) as f64;
    report::info("sse/chunk/1B/ns_per_byte", large / bytes);
    report::info("sse/chunk/64KiB/ns_per_byte", coarse / bytes);
    report::check(
        "sse/chunk/1B/10MiB_vs_1MiB/ratio",
        large / small / 10.0,
        2.0,
    );
}

/// Runs the workloads in turn and returns the median of each, in nanoseconds.
#[allow(clippy::disallowed_types)]
fn rounds<const N: usize>(mut workloads: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut times = [[0.0; ROUNDS]; N];
    // One round more, first, to warm up.
    for round in 0..=ROUNDS {
        for (workload, times) in workloads.iter_mut().zip(&mut times) {
            let start = Instant::now();
            workload();
            let time: Duration = start.elapsed();
            times[round.saturating_sub(1)] = time.as_nanos() as f64;
        }
    }
    times.map(|mut times| report::median(&mut times))
}

fn decode(chunks: impl Iterator<Item = Bytes>) -> usize {
    let mut decoder = Decoder::new();
    let mut events = 0;
    for mut chunk in chunks {
        while let Some(frame) = decoder.decode(&mut chunk).expect("within the cap") {
            if let Frame::Event(event) = &frame {
                black_box((event.id(), event.event(), event.data()));
                events += 1;
            }
        }
    }
    events
}

fn decode_with_sse_stream(reads: &[Bytes]) -> usize {
    let mut stream = SseStream::new(ReadyBody(reads.iter()));
    // As cheaply as a stream can be polled: nothing has to be woken.
    let mut cx = Context::from_waker(Waker::noop());
    let mut events = 0;
    while let Poll::Ready(Some(event)) = Pin::new(&mut stream).poll_next(&mut cx) {
        let event = event.expect("UTF-8");
        black_box((&event.id, &event.event, &event.data));
        events += 1;
    }
    events
}

fn concat(chunks: impl Iterator<Item = Bytes>) -> Bytes {
    let mut whole = Vec::new();
    chunks.for_each(|chunk| whole.extend_from_slice(&chunk));
    Bytes::from(whole.into_boxed_slice())
}

/// The least that any decoder does: find every line end.
fn line_scan(bytes: &[u8]) -> usize {
    memchr::memchr2_iter(b'\r', b'\n', bytes).count()
}

/// A body that is always ready.
struct ReadyBody<'a>(std::slice::Iter<'a, Bytes>);

impl http_body::Body for ReadyBody<'_> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().cloned().map(http_body::Frame::data).map(Ok))
    }
}

/// About `len` bytes of events as MCP servers send them, and their number.
fn events(data_len: usize, len: usize) -> (Bytes, usize) {
    let mut stream = BytesMut::new();
    let mut events = 0;
    while stream.len() < len {
        let event = Event::new("message", "x".repeat(data_len))
            .and_then(|event| event.with_id(format!("stream-{events}")))
            .expect("legal name and id");
        event.encode_into(&mut stream);
        events += 1;
    }
    (stream.freeze(), events)
}

fn one_event(len: usize) -> Bytes {
    Event::message("x".repeat(len)).encode()
}

fn chunks(stream: &Bytes, size: usize) -> impl Iterator<Item = Bytes> {
    (0..stream.len())
        .step_by(size)
        .map(move |start| stream.slice(start..stream.len().min(start + size)))
}
