use std::fmt;

use bytes::Bytes;

use super::{ErasedFuture, ErasedWriter, WriterKind};
use crate::{
    sse::StreamKey,
    store::{End, EventStore, EventWriter, Owner, Page},
};

/// [`EventStore`] without associated types.
pub(super) trait StoreObject: fmt::Debug + Send + Sync {
    fn open(&self, stream: StreamKey, owner: Owner, about: Bytes) -> ErasedFuture<ErasedWriter>;
    fn read(&self, stream: StreamKey, owner: Owner, after: u64, limit: usize)
    -> ErasedFuture<Page>;
    fn watch(&self, stream: StreamKey, owner: Owner, after: u64) -> ErasedFuture<()>;
    fn purge(&self, owner: Owner) -> ErasedFuture<()>;
}

impl<T: EventStore> StoreObject for T {
    fn open(&self, stream: StreamKey, owner: Owner, about: Bytes) -> ErasedFuture<ErasedWriter> {
        ErasedFuture::new(EventStore::open(self, stream, owner, about), |writer| {
            ErasedWriter {
                kind: WriterKind::Other(Box::new(writer)),
            }
        })
    }

    fn read(
        &self,
        stream: StreamKey,
        owner: Owner,
        after: u64,
        limit: usize,
    ) -> ErasedFuture<Page> {
        ErasedFuture::new(EventStore::read(self, stream, owner, after, limit), same)
    }

    fn watch(&self, stream: StreamKey, owner: Owner, after: u64) -> ErasedFuture<()> {
        ErasedFuture::new(EventStore::watch(self, stream, owner, after), same)
    }

    fn purge(&self, owner: Owner) -> ErasedFuture<()> {
        ErasedFuture::new(EventStore::purge(self, owner), same)
    }
}

/// [`EventWriter`] without associated types.
pub(super) trait WriterObject: fmt::Debug + Send {
    fn append(&mut self, sequence: u64, event: &[u8]) -> ErasedFuture<()>;
    fn prepare(&self);
    fn close(&mut self, end: End) -> ErasedFuture<()>;
}

impl<W: EventWriter> WriterObject for W {
    fn append(&mut self, sequence: u64, event: &[u8]) -> ErasedFuture<()> {
        ErasedFuture::new(EventWriter::append(self, sequence, event), same)
    }

    fn prepare(&self) {
        EventWriter::prepare(self);
    }

    fn close(&mut self, end: End) -> ErasedFuture<()> {
        ErasedFuture::new(EventWriter::close(self, end), same)
    }
}

fn same<T>(value: T) -> T {
    value
}
