//! What tracking costs a stream, and a replay, polled by hand in this process.

use std::hint::black_box;
use std::num::NonZeroUsize;

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::Body;
use shadowcat::message::{MessageLayer, ReadMessage};
use shadowcat::replay::{Replay, ReplayLayer};
use shadowcat::sse::EventId;
use shadowcat::store::MemoryStore;
use tower::ServiceBuilder;

use super::alloc::allocations;
use super::report::{check, info, median};
use super::script::{self, Frames, Polled, Script, ask, next};

const ROUNDS: usize = 11;

/// Nanoseconds for an event of 300 bytes in a frame of many, from decoding to encoding.
const EVENT_LIMIT: f64 = 160.0;
const EVENT_ALLOCATIONS: f64 = 1.0;
/// With very many streams, or very many events, an event costs at most so many times as much.
const FLAT_LIMIT: f64 = 1.3;
/// A million events per second.
const REPLAY_LIMIT: f64 = 1_000.0;

/// Events in the frame that a merging proxy hands on.
const MERGED: usize = 32 * 1024 / 300;
const STREAMS: usize = 9_000;

type Stack = ReadMessage<Replay<Script, MemoryStore>>;
type Answer = shadowcat::body::ResponseBody<shadowcat::replay::ResponseBody<Frames>>;

fn stack(store: MemoryStore, script: Script) -> Stack {
    ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(ReplayLayer::new(store))
        .service(script)
}

/// Measures everything; has to run within a runtime.
pub(crate) fn measure() {
    frame(1, "one_event_frames");
    frame(MERGED, "merged");
    open();
    json();
    streams();
    retained();
    replay();
}

/// An event in frames of `count`.
fn frame(count: usize, name: &str) {
    let script = Script::stream(Frames::new(script::events(count), usize::MAX));
    let mut bare = vec![Box::pin(script.body.clone())];
    let mut tracked = vec![open_one(&mut stack(MemoryStore::new(), script), 0)];
    // The log is as full as it gets.
    let polls = 110_000 / count;
    poll(&mut tracked, polls);
    let [without, with] = rounds([&mut || poll(&mut bare, polls), &mut || {
        poll(&mut tracked, polls);
    }])
    .map(|time| time / (polls * count) as f64);
    info(&format!("track/{name}/without_ns"), without);
    let name = format!("track/{name}");
    if count > 1 {
        check(&format!("{name}/ns"), with, EVENT_LIMIT);
    } else {
        info(&format!("{name}/ns"), with);
    }
    let allocations = allocations(|| poll(&mut tracked, polls));
    check(
        &format!("{name}/allocations"),
        allocations as f64 / (polls * count) as f64,
        EVENT_ALLOCATIONS,
    );
}

/// What a stream costs that is opened, beside what its response costs anyway.
fn open() {
    let script = Script::stream(Frames::new(script::events(1), usize::MAX));
    let session = script::session(0);
    let mut bare = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .service(script.clone());
    let mut tracking = stack(MemoryStore::new(), script);
    let mut bodies = Vec::with_capacity(2 * STREAMS);
    let mut others = Vec::with_capacity(2 * STREAMS);
    for _ in 0..2 {
        let before = super::alloc::live_bytes();
        let without = allocations(|| {
            for _ in 0..STREAMS {
                others.push(ask(&mut bare, script::call(&session)).into_body());
            }
        });
        let between = super::alloc::live_bytes();
        let with = allocations(|| {
            for _ in 0..STREAMS {
                bodies.push(ask(&mut tracking, script::call(&session)).into_body());
            }
        });
        let after = super::alloc::live_bytes();
        let count = STREAMS as f64;
        info(
            "track/open/allocations",
            (with as f64 - without as f64) / count,
        );
        let bytes = (after - between) - (between - before);
        info("track/open/bytes", bytes / count);
    }
    info(
        "track/open/body_size",
        size_of::<shadowcat::replay::ResponseBody<Frames>>() as f64,
    );
    // Closing them is not measured.
    const CALLS: usize = 100;
    let [without, with] = rounds([
        &mut || {
            for _ in 0..CALLS {
                others.push(ask(&mut bare, script::call(&session)).into_body());
            }
        },
        &mut || {
            for _ in 0..CALLS {
                bodies.push(ask(&mut tracking, script::call(&session)).into_body());
            }
        },
    ]);
    info("track/open/ns", (with - without) / CALLS as f64);
}

/// A response that is no stream.
fn json() {
    const CALLS: usize = 1_000;
    let session = script::session(0);
    let mut bare = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .service(Script::json());
    let mut tracking = stack(MemoryStore::new(), Script::json());
    let mut without = || {
        for _ in 0..CALLS {
            read(ask(&mut bare, script::call(&session)));
        }
    };
    let mut with = || {
        for _ in 0..CALLS {
            read(ask(&mut tracking, script::call(&session)));
        }
    };
    let counted = [allocations(&mut without), allocations(&mut with)];
    let [without, with] = rounds([&mut without, &mut with]);
    info("track/json/ns", (with - without) / CALLS as f64);
    let [without, with] = counted.map(|count| count as f64 / CALLS as f64);
    check("track/json/allocations", with - without, 0.0);
}

fn read<B: Body<Data = Bytes>>(response: Response<B>) {
    let mut body = Box::pin(response.into_body());
    while let Some(frame) = next(&mut body) {
        black_box(frame);
    }
}

/// One stream against very many that have their turns.
fn streams() {
    for (count, name) in [
        (1, "one_event_frames"),
        (10, "ten_event_frames"),
        (MERGED, "merged"),
    ] {
        let script = Script::stream(Frames::new(script::events(count), usize::MAX));
        let mut bare_one = vec![Box::pin(script.body.clone())];
        let mut bare_many: Vec<_> = (0..STREAMS)
            .map(|_| Box::pin(script.body.clone()))
            .collect();
        // As many events as all streams may hold together: what is measured is not eviction.
        let events = NonZeroUsize::new(64).expect("not zero");
        let store = MemoryStore::new().with_max_events(events);
        let mut stack = stack(store, script);
        let mut one = vec![open_one(&mut stack, 0)];
        let mut many: Vec<_> = (1..=STREAMS).map(|n| open_one(&mut stack, n)).collect();
        let polls = STREAMS * 110usize.div_ceil(count).min(4);
        // All logs are as full as they get.
        poll(&mut many, STREAMS * 128usize.div_ceil(count));
        let times = rounds([
            &mut || poll(&mut bare_one, polls),
            &mut || poll(&mut bare_many, polls),
            &mut || poll(&mut one, polls),
            &mut || poll(&mut many, polls),
        ]);
        let [bare_one, bare_many, one, many] = times.map(|time| time / (polls * count) as f64);
        let name = format!("track/streams/{name}");
        info(&format!("{name}/1/without_ns"), bare_one);
        info(&format!("{name}/{STREAMS}/without_ns"), bare_many);
        info(&format!("{name}/1/ns"), one);
        info(&format!("{name}/{STREAMS}/ns"), many);
        let ratio = many / one;
        if count == MERGED {
            check(&format!("{name}/ratio"), ratio, FLAT_LIMIT);
        } else {
            info(&format!("{name}/ratio"), ratio);
        }
    }
}

/// A log that keeps nothing but the last event against one that keeps a thousand.
fn retained() {
    let polls = 1_000;
    let script = Script::stream(Frames::new(script::events(MERGED), usize::MAX));
    let store = MemoryStore::new().with_max_events(NonZeroUsize::MIN);
    let mut empty = vec![open_one(&mut stack(store, script.clone()), 0)];
    let mut full = vec![open_one(&mut stack(MemoryStore::new(), script), 0)];
    poll(&mut full, polls);
    let [empty, full] = rounds([&mut || poll(&mut empty, polls), &mut || {
        poll(&mut full, polls);
    }])
    .map(|time| time / (polls * MERGED) as f64);
    info("track/retained/1/ns", empty);
    info("track/retained/1000/ns", full);
    check("track/retained/ratio", full / empty, FLAT_LIMIT);

    // A whole life: the log grows from nothing.
    let body = Frames::new(script::events(10), 100).then(script::answer());
    let mut stack = stack(MemoryStore::new(), Script::stream(body));
    let session = script::session(0);
    let [life] = rounds([&mut || {
        for _ in 0..10 {
            read(ask(&mut stack, script::call(&session)));
        }
    }]);
    info("track/life_of_1000_events/ns", life / 10_010.0);
}

/// What a client has missed, from the request to the last event.
fn replay() {
    const EVENTS: usize = 999;
    const RESUMES: usize = 20;
    let body = Frames::new(script::events(1), EVENTS).then(script::answer());
    let mut stack = stack(MemoryStore::new(), Script::stream(body));
    let session = script::session(0);
    let mut body = Box::pin(ask(&mut stack, script::call(&session)).into_body());
    let key = script::stream_of(&next(&mut body).expect("an event"));
    while next(&mut body).is_some() {}
    let all = (EVENTS + 1) as u64;
    for missed in [all, 100, 1] {
        let [time] = rounds([&mut || {
            for _ in 0..RESUMES {
                let cursor = EventId::new(key, all - missed);
                let response = ask(&mut stack, script::resume(&session, cursor));
                assert_eq!(response.status(), 200);
                let mut body = Box::pin(response.into_body());
                let mut len = 0;
                while let Some(frame) = next(&mut body) {
                    len += frame.len();
                }
                // Each has its line with an id.
                assert_eq!(len, missed as usize * (300 + "id: \n".len() + EventId::LEN));
            }
        }]);
        let time = time / RESUMES as f64;
        let name = format!("replay/{missed}_events");
        info(&format!("{name}/resume_us"), time / 1_000.0);
        if missed == all {
            let each = time / missed as f64;
            check(&format!("{name}/ns_per_event"), each, REPLAY_LIMIT);
        }
    }
}

fn open_one(stack: &mut Stack, number: usize) -> Polled<Answer> {
    let session: HeaderValue = script::session(number);
    Box::pin(ask(stack, script::call(&session)).into_body())
}

/// Takes `polls` frames, from all bodies in turn.
fn poll<B: Body<Data = Bytes>>(bodies: &mut [Polled<B>], polls: usize) {
    let mut left = polls;
    while left > 0 {
        for body in &mut bodies[..] {
            if left == 0 {
                break;
            }
            left -= 1;
            black_box(next(body).expect("endless"));
        }
    }
}

/// Runs the workloads in turn and returns the median of each, in nanoseconds.
// A benchmark measures real time; a paused clock would make it pointless.
#[allow(clippy::disallowed_types)]
fn rounds<const N: usize>(mut workloads: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut times = [[0.0; ROUNDS]; N];
    // One round more, first, to warm up.
    for round in 0..=ROUNDS {
        for (workload, times) in workloads.iter_mut().zip(&mut times) {
            let start = std::time::Instant::now();
            workload();
            times[round.saturating_sub(1)] = start.elapsed().as_nanos() as f64;
        }
    }
    times.map(|mut times| median(&mut times))
}
