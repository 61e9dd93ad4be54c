use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, ready},
    vec,
};

use bytes::Bytes;
use pin_project_lite::pin_project;

use super::{
    Context, Direction, Links, Message,
    context::Exchange,
    judge::Judge,
    layer::Shared,
    ruling::{Ruling, Settled},
    work::{Progress, Work},
};

/// The ruling on a request that takes its time.
pub(super) type Deliberating = Pin<Box<dyn Future<Output = Ruling> + Send>>;

pin_project! {
    /// Has the messages of a request judged, one after another.
    struct Deliberation<L>
    where
        L: Links,
    {
        shared: Arc<Shared<L>>,
        exchange: Arc<Exchange>,
        body: Bytes,
        is_batch: bool,
        all: Vec<Message>,
        left: vec::IntoIter<Message>,
        settled: Vec<Settled>,
        // The length of all texts in `settled`.
        len: usize,
        #[pin]
        judge: Judge<L::Future>,
    }
}

/// Where a message of a request is about to go.
fn context(exchange: &Arc<Exchange>) -> Context {
    Context::of(Arc::clone(exchange), Direction::ToServer, None)
}

/// A ruling, or when it will be there.
pub(super) enum Ruled {
    Now(Ruling),
    Later(Deliberating),
}

/// Rules on a request with these messages.
pub(super) fn deliberate<L: Links>(
    shared: &Arc<Shared<L>>,
    exchange: &Arc<Exchange>,
    body: &Bytes,
    all: Vec<Message>,
    is_batch: bool,
) -> Ruled {
    let mut judge = None;
    if let [message] = &all[..]
        && !is_batch
    {
        let mut work = Work::new(context(exchange), message.clone(), &*shared.links);
        let progress = shared.advance(&mut work);
        // Nearly always it is there at once, and needs no box.
        if let Progress::Done(outcome) = progress {
            let settled = Settled::new(&work, outcome);
            return Ruled::Now(Ruling::single(body, message, settled));
        }
        judge = Some((work, progress));
    }
    let mut left = all.clone().into_iter();
    if judge.is_some() {
        left.next();
    }
    let mut deliberation = Box::pin(Deliberation {
        shared: Arc::clone(shared),
        exchange: Arc::clone(exchange),
        body: body.clone(),
        is_batch,
        settled: Vec::with_capacity(all.len()),
        len: 0,
        left,
        all,
        judge: Judge::new(),
    });
    if let Some((work, progress)) = judge {
        deliberation.as_mut().project().judge.start(work, progress);
    }
    Ruled::Later(deliberation)
}

impl<L: Links> Future for Deliberation<L> {
    type Output = Ruling;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Ruling> {
        let mut this = self.project();
        loop {
            let (work, outcome) = if this.judge.is_waiting() {
                ready!(this.judge.as_mut().poll(this.shared, cx))
            } else if let Some(message) = this.left.next() {
                let mut work = Work::new(context(this.exchange), message, &*this.shared.links);
                let progress = this.shared.advance(&mut work);
                match this.judge.as_mut().start(work, progress) {
                    Some(done) => done,
                    None => continue,
                }
            } else {
                break;
            };
            let settled = Settled::new(&work, outcome);
            *this.len += settled.len();
            this.settled.push(settled);
            // Each was judged when it was replaced.
            if this.settled.len() > 1 && *this.len > this.shared.config.max_message_bytes {
                return Poll::Ready(Ruling::too_long(this.body));
            }
        }
        let mut settled = std::mem::take(this.settled);
        Poll::Ready(if *this.is_batch {
            Ruling::batch(this.body, this.all, settled)
        } else {
            match (this.all.first(), settled.pop()) {
                (Some(message), Some(settled)) => Ruling::single(this.body, message, settled),
                _ => Ruling::Forward(None),
            }
        })
    }
}
