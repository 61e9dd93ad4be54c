//! How much is held and for how long, whoever reads or does not; and who is told of changes.

mod intercept_support;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use http_body::Body as _;
use http_body_util::BodyExt;
use intercept_support::{
    CALL, Inner, LIST, LOG, Live, NOTE, RESULT, Server, all, back, events, post, requests,
};
use shadowcat::{
    auth::Principal,
    intercept::{HeldMessage, InterceptLayer, Links, Pause, PauseError, PauseHandle, Verdict},
    jsonrpc::Kind,
};
use tokio::time::{advance, timeout};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service, ServiceExt};

const MINUTE: Duration = Duration::from_secs(60);

fn holding(pause: Pause) -> InterceptLayer<impl Links> {
    InterceptLayer::new(requests(move |_, _| Verdict::Pause(pause)))
}

fn minute() -> Pause {
    Pause::new().with_deadline(MINUTE)
}

fn ids(pauses: &PauseHandle) -> Vec<shadowcat::intercept::PauseId> {
    pauses.list().iter().map(HeldMessage::id).collect()
}

fn by(name: &str) -> Inner {
    let mut request = post(CALL);
    let who = Principal::builder(name).build().expect("a name");
    request.extensions_mut().insert(who);
    request
}

/// A client that does not read holds nothing beyond the deadline, and nobody is told that it does.
#[tokio::test(start_paused = true)]
async fn deadline_of_an_event_passes_also_if_its_client_does_not_read() {
    for (pause, is_released) in [(minute(), false), (minute().or_release(), true)] {
        let layer = InterceptLayer::new(back(move |_, message| match message.kind() {
            Kind::Response => Verdict::Pause(pause),
            _ => Verdict::Continue,
        }))
        .with_max_held(1);
        let (handle, pauses) = (layer.handle(), layer.handle().pauses());
        let (live, say) = Live::new("text/event-stream");
        let Ok(response) = layer.layer(live).oneshot(post(CALL)).await;
        let mut body = spawn(response.into_body());
        say.send(events(&[RESULT, LOG]).into()).expect("it is read");
        assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
        let id = ids(&pauses)[0];
        advance(MINUTE - Duration::from_millis(1)).await;
        assert_eq!(ids(&pauses), [id]);
        advance(Duration::from_millis(1)).await;
        // Nobody has polled it.
        assert!(pauses.list().is_empty());
        assert_eq!(handle.stats().held, 0);
        assert_eq!(pauses.release(id), Err(PauseError::NotHeld));
        assert_eq!(pauses.replace(id, RESULT), Err(PauseError::NotHeld));
        // Its place is free.
        let (other, say_other) = Live::new("text/event-stream");
        let Ok(response) = layer.layer(other).oneshot(post(CALL)).await;
        let mut next = spawn(response.into_body());
        say_other
            .send(events(&[RESULT]).into())
            .expect("it is read");
        assert_pending!(next.enter(|cx, body| body.poll_frame(cx)));
        assert_eq!(ids(&pauses).len(), 1);
        // An hour later it reads.
        advance(60 * MINUTE).await;
        assert!(body.is_woken());
        let frame = assert_ready!(body.enter(|cx, body| body.poll_frame(cx)));
        let data = frame.expect("a frame").expect("no error").into_data();
        let data = data.expect("data");
        assert_eq!(data == events(&[RESULT, LOG]), is_released, "{data:?}");
        assert!(
            is_released
                || data.starts_with(br#"data: {"jsonrpc":"2.0","id":7,"error":{"code":-31403"#)
        );
        assert_eq!(handle.stats().expired_total, 1);
    }
}

/// Its stream goes on without anybody's help, and the order stays.
#[tokio::test(start_paused = true)]
async fn deadline_of_an_event_ends_the_wait_of_a_client_that_reads() {
    let layer = InterceptLayer::new(back(|_, message| match message.kind() {
        Kind::Response => Verdict::Pause(minute().or_release()),
        _ => Verdict::Continue,
    }))
    .with_keep_alive(None);
    let start = tokio::time::Instant::now();
    let server = Server::stream(&events(&[LOG, RESULT, LOG]));
    let Ok(response) = layer.layer(server).oneshot(post(CALL)).await;
    let body = timeout(2 * MINUTE, response.into_body().collect());
    let body = body.await.expect("in time").expect("a body");
    assert_eq!(body.to_bytes(), events(&[LOG, RESULT, LOG]));
    assert_eq!(start.elapsed(), MINUTE);
}

/// A decision that comes in time counts, whenever the message gets to it, and takes no room meanwhile.
#[tokio::test(start_paused = true)]
async fn decision_in_time_counts_after_the_deadline_too() {
    let layer = holding(minute()).with_max_held(1);
    let pauses = layer.handle().pauses();
    let server = Server::json(RESULT);
    let mut call = spawn(layer.layer(server.clone()).call(post(CALL)));
    assert_pending!(call.poll());
    advance(MINUTE - Duration::from_millis(1)).await;
    let id = ids(&pauses)[0];
    pauses.release(id).expect("in time");
    assert_eq!(
        pauses.refuse(id, shadowcat::jsonrpc::ErrorObject::new(-1, "no")),
        Err(PauseError::NotHeld)
    );
    let mut other = spawn(layer.layer(server.clone()).call(post(LIST)));
    assert_pending!(other.poll());
    assert_eq!(pauses.list().len(), 1, "there was room");
    advance(MINUTE).await;
    assert_eq!(
        assert_ready!(call.poll()).expect("infallible").status(),
        200
    );
    assert_eq!(server.one().1, CALL);
    assert_eq!(layer.handle().stats().expired_total, 0);
}

/// A deadline beyond all times is none, and never is one that has passed at once.
#[tokio::test(start_paused = true)]
async fn deadline_may_be_never_or_now() {
    let layer = holding(Pause::new().with_deadline(Duration::MAX));
    let server = Server::json(RESULT);
    let mut call = spawn(layer.layer(server.clone()).call(post(CALL)));
    assert_pending!(call.poll());
    advance(365 * 24 * 60 * MINUTE).await;
    assert_pending!(call.poll());
    let held = layer.handle().pauses().list().remove(0);
    assert!(held.left() > 10_000 * held.age());
    let layer = holding(Pause::new().with_deadline(Duration::ZERO));
    let mut call = spawn(layer.layer(server).call(post(CALL)));
    let Ok(response) = assert_ready!(call.poll());
    assert!(response.headers().contains_key("content-type"));
    assert_eq!(layer.handle().stats().expired_total, 1);
}

/// Not even all of those that may be held are as long as a message may be.
#[tokio::test(start_paused = true)]
async fn no_more_bytes_are_held_than_may_be() {
    let len = CALL.len();
    let layer = holding(minute())
        .with_max_held_per_owner(10)
        .with_max_held(10)
        .with_max_held_bytes(3 * len - 1);
    let (pauses, server) = (layer.handle().pauses(), Server::json(RESULT));
    let mut calls: Vec<_> = (0..3)
        .map(|_| spawn(layer.layer(server.clone()).call(post(CALL))))
        .collect();
    assert_pending!(calls[0].poll());
    assert_pending!(calls[1].poll());
    let _refused = assert_ready!(calls[2].poll());
    assert_eq!(pauses.list().len(), 2);
    assert_eq!(layer.handle().stats().expired_total, 1);
    // What is left fits something shorter, and what was let go fits another.
    let mut list = spawn(layer.layer(server.clone()).call(post(LIST)));
    assert_pending!(list.poll());
    for gone in ["dropped", "decided", "expired"] {
        match gone {
            "dropped" => drop(calls.remove(0)),
            "decided" => pauses.release(ids(&pauses)[0]).expect("held"),
            _ => advance(MINUTE).await,
        }
        let mut next = spawn(layer.layer(server.clone()).call(post(CALL)));
        assert_pending!(next.poll(), "{gone}");
        calls.push(next);
    }
    assert_eq!(pauses.list().len(), 1);
}

/// No client takes all places, or all bytes.
#[tokio::test(start_paused = true)]
async fn no_client_takes_the_place_of_all() {
    // A quarter each.
    let layer = holding(minute()).with_max_held(8);
    let server = Server::json(RESULT);
    let mut calls = Vec::new();
    let mut is_held = |layer: &InterceptLayer<_>, request| {
        let mut call = spawn(layer.layer(server.clone()).call(request));
        let is_held = call.poll().is_pending();
        calls.push(call);
        is_held
    };
    for who in ["alice", "bob"] {
        let held = [(); 3].map(|()| is_held(&layer, by(who)));
        assert_eq!(held, [true, true, false], "{who}");
    }
    // Those whom nobody knows are one.
    assert_eq!(
        [(); 3].map(|()| is_held(&layer, post(CALL))),
        [true, true, false]
    );
    let mut told = layer.clone().with_max_held_per_owner(3);
    assert!(is_held(&told, by("alice")) && !is_held(&told, by("alice")));
    told = told.with_max_held_per_owner(8);
    assert!(
        is_held(&told, by("bob")) && !is_held(&told, by("carol")),
        "eight in all"
    );

    let bytes = holding(minute()).with_max_held_bytes(8 * CALL.len());
    let held = [(); 3].map(|()| is_held(&bytes, by("alice")));
    assert_eq!(held, [true, true, false]);
    assert!(is_held(&bytes, by("bob")));
    // One that is longer than its client's part is held if there is no other.
    let one = holding(minute()).with_max_held_bytes(CALL.len());
    assert!(is_held(&one, by("alice")) && !is_held(&one, by("bob")));
    drop(calls);
    for layer in [layer.handle(), bytes.handle(), one.handle()] {
        assert_eq!(layer.stats().held, 0);
    }
}

/// A message that somebody writes is no longer than one that an interceptor writes.
#[tokio::test(start_paused = true)]
async fn replacement_of_a_held_message_is_no_longer_than_one_may_be() {
    let layer = holding(minute()).with_max_message_bytes(CALL.len() + 2);
    let (pauses, server) = (layer.handle().pauses(), Server::json(RESULT));
    let mut call = spawn(layer.layer(server.clone()).call(post(CALL)));
    assert_pending!(call.poll());
    let id = ids(&pauses)[0];
    let long = CALL.replace("echo", "echo123");
    assert_eq!(pauses.replace(id, long), Err(PauseError::MessageTooLarge));
    assert!(!call.is_woken(), "it is still held");
    let fits = CALL.replace("echo", "echo12");
    pauses.replace(id, fits.clone()).expect("it is held");
    let _response = assert_ready!(call.poll());
    assert_eq!(server.one().1, fits);
}

#[tokio::test(start_paused = true)]
async fn changes_of_what_is_held_can_be_waited_for() {
    let layer = holding(minute());
    let (pauses, server) = (layer.handle().pauses(), Server::json(RESULT));
    let call = || spawn(layer.layer(server.clone()).call(post(CALL)));
    // Between the call and the wait is a change too.
    let changed = pauses.changed();
    let first = call();
    assert_ready!(spawn(changed).poll());
    let mut changed = spawn(pauses.changed());
    assert_pending!(changed.poll(), "what was before is none");
    let mut second = call();
    assert!(changed.is_woken());
    assert_ready!(changed.poll());
    assert_pending!(second.poll());
    let _third = call();
    let mut first = Some(first);
    for what in ["dropped", "decided", "expired"] {
        let mut changed = spawn(pauses.changed());
        assert_pending!(changed.poll());
        match what {
            "dropped" => drop(first.take()),
            "decided" => pauses.release(ids(&pauses)[0]).expect("held"),
            // Nobody polls what it is about.
            _ => advance(MINUTE).await,
        }
        assert!(changed.is_woken(), "{what}");
        assert_ready!(changed.poll());
    }
    assert!(pauses.list().is_empty());
    let mut changed = spawn(pauses.changed());
    advance(MINUTE).await;
    assert_pending!(changed.poll(), "nothing has");
}

/// Whoever polled last is woken, and no other.
#[tokio::test(start_paused = true)]
async fn decision_wakes_the_task_that_polled_last() {
    let layer = holding(minute());
    let mut service = layer.layer(Server::json(RESULT));
    let mut call = Box::pin(service.call(post(CALL)));
    let mut first = spawn(std::future::poll_fn(|cx| call.as_mut().poll(cx)));
    assert_pending!(first.poll());
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    assert!(
        first
            .enter(|_, future| future.poll(&mut Context::from_waker(&waker)))
            .is_pending()
    );
    let pauses = layer.handle().pauses();
    pauses.release(ids(&pauses)[0]).expect("held");
    assert!(flag.0.load(Relaxed));
    assert!(!first.is_woken());
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Looks at what is held when it is dropped, as a waker of a foreign runtime might.
struct Curious(PauseHandle, mpsc::Sender<bool>);

impl Wake for Curious {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Curious {
    fn drop(&mut self) {
        let pauses = self.0.clone();
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || done.send(pauses.list().len()));
        // It would wait for ever.
        let has_seen = is_done.recv_timeout(Duration::from_secs(10)).is_ok();
        self.1.send(has_seen).ok();
    }
}

#[tokio::test(start_paused = true)]
async fn wakers_are_dropped_with_nothing_locked() {
    // With a deadline, its timer would be the last to have the waker.
    let layer = holding(Pause::new().with_deadline(Duration::MAX));
    let mut service = layer.layer(Server::json(RESULT));
    let mut call = Box::pin(service.call(post(CALL)));
    let (sender, seen) = mpsc::channel();
    for _ in 0..2 {
        let curious = Curious(layer.handle().pauses(), sender.clone());
        let waker = Waker::from(Arc::new(curious));
        assert!(
            call.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    assert_eq!(seen.try_recv(), Ok(true), "the first one is gone");
}

/// A notification is let go or not, and there is nobody to tell.
#[tokio::test(start_paused = true)]
async fn notification_that_expires_is_refused() {
    let layer = InterceptLayer::new(all(|_, _| Verdict::Pause(minute())));
    let server = Server::json(RESULT);
    let call = layer.layer(server.clone()).oneshot(post(NOTE));
    let Ok(response) = timeout(2 * MINUTE, call).await.expect("in time");
    assert_eq!(response.status(), 403);
    assert!(!server.was_asked());
}
