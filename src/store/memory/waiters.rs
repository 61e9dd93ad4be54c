use std::task::Waker;

/// Who wants to know when a stream goes on. One word as long as nobody ever did.
#[derive(Debug, Default)]
pub(super) struct Waiters(Option<Box<List>>);

#[derive(Debug, Default)]
struct List {
    /// Tells waiters apart that wait in the same task.
    next: u64,
    wakers: Vec<(u64, Waker)>,
}

impl Waiters {
    /// Waits as `ticket`, which is made if there is none.
    pub(super) fn register(&mut self, ticket: &mut Option<u64>, waker: &Waker) {
        let list = self.0.get_or_insert_default();
        let mine = *ticket.get_or_insert_with(|| {
            list.next += 1;
            list.next
        });
        match list.wakers.iter_mut().find(|(other, _)| *other == mine) {
            Some((_, known)) => known.clone_from(waker),
            None => list.wakers.push((mine, waker.clone())),
        }
    }

    /// Waits no more.
    pub(super) fn deregister(&mut self, ticket: u64) -> Option<Waker> {
        let list = self.0.as_mut()?;
        let at = list.wakers.iter().position(|(other, _)| *other == ticket)?;
        Some(list.wakers.swap_remove(at).1)
    }

    /// Whom to wake once the lock is released. They register again if they still wait.
    pub(super) fn take(&mut self) -> Woken {
        match &mut self.0 {
            Some(list) => Woken(std::mem::take(&mut list.wakers)),
            None => Woken(Vec::new()),
        }
    }
}

/// Those who were waiting.
#[must_use]
#[derive(Debug)]
pub(super) struct Woken(Vec<(u64, Waker)>);

impl Woken {
    pub(super) fn wake(self) {
        for (_, waker) in self.0 {
            waker.wake();
        }
    }
}
