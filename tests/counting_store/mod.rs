use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use shadowcat::{
    sse::StreamKey,
    store::{EventStore, Owner},
};

/// A store that counts how often it is asked to forget somebody.
#[derive(Clone, Debug)]
pub(crate) struct Counting<T> {
    pub(crate) inner: T,
    pub(crate) purges: Arc<AtomicUsize>,
}

impl<T: EventStore> EventStore for Counting<T> {
    type Writer = T::Writer;
    type Open = T::Open;
    type Read = T::Read;
    type Watch = T::Watch;
    type Purge = T::Purge;

    fn open(&self, stream: StreamKey, owner: Owner, about: Bytes) -> T::Open {
        self.inner.open(stream, owner, about)
    }

    fn read(&self, stream: StreamKey, owner: Owner, after: u64, limit: usize) -> T::Read {
        self.inner.read(stream, owner, after, limit)
    }

    fn watch(&self, stream: StreamKey, owner: Owner, after: u64) -> T::Watch {
        self.inner.watch(stream, owner, after)
    }

    fn purge(&self, owner: Owner) -> T::Purge {
        self.purges.fetch_add(1, Relaxed);
        self.inner.purge(owner)
    }
}
