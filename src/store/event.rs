use std::{fmt, future::Future};

use bytes::Bytes;

use super::{Owner, Page, StoreError};
use crate::sse::StreamKey;

/// Keeps the events of streams, so that they can be replayed.
///
/// A stream has one writer, which numbers its events 1, 2, 3 … without a hole, and any number of
/// readers. The store may forget the oldest events of a stream, never one in the middle.
///
/// The futures are `Unpin`, so that a caller which holds one needs no box for it: a store in memory
/// answers with [`std::future::Ready`], others with a channel's receiver or a `Pin<Box<_>>`. A future
/// that is dropped half way may or may not have had its effect; nothing is left locked. A caller may
/// look first with a waker that wakes nobody, and wait with another.
///
/// Whether a store keeps this contract is for `store::contract` to check.
pub trait EventStore: Clone + fmt::Debug + Send + Sync + 'static {
    /// Writes one stream.
    type Writer: EventWriter;
    /// The future of [`open`](Self::open).
    type Open: Future<Output = Result<Self::Writer, StoreError>> + Send + Unpin + 'static;
    /// The future of [`read`](Self::read).
    type Read: Future<Output = Result<Page, StoreError>> + Send + Unpin + 'static;
    /// The future of [`watch`](Self::watch).
    type Watch: Future<Output = Result<(), StoreError>> + Send + Unpin + 'static;
    /// The future of [`purge`](Self::purge).
    type Purge: Future<Output = Result<(), StoreError>> + Send + Unpin + 'static;

    /// Starts the log of a new stream. `about` is what the caller wants to know of the stream when it
    /// reads it: a few bytes, kept as long as the stream.
    ///
    /// # Errors
    ///
    /// `Conflict` if there is a stream of that key, whoever owns it.
    fn open(&self, stream: StreamKey, owner: Owner, about: Bytes) -> Self::Open;

    /// The events that follow number `after`, oldest first: as many as have `limit` bytes, but at
    /// least one if there is one.
    ///
    /// If the event after `after` is forgotten, the page starts with the first that is kept, and
    /// [`Page::floor`] tells. If `after` is past the last event, the page is empty, and
    /// [`Page::tail`] tells.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such stream, or it is not `owner`'s.
    fn read(&self, stream: StreamKey, owner: Owner, after: u64, limit: usize) -> Self::Read;

    /// Completes once the stream has an event after `after`, or has ended.
    ///
    /// # Errors
    ///
    /// `NotFound` as for [`read`](Self::read), also if the stream is purged meanwhile.
    fn watch(&self, stream: StreamKey, owner: Owner, after: u64) -> Self::Watch;

    /// Forgets all streams of `owner`, for good: their writers fail with `NotFound` from then on.
    ///
    /// # Errors
    ///
    /// If the store cannot promise that.
    fn purge(&self, owner: Owner) -> Self::Purge;
}

/// Writes the log of one stream, which is its owner's: nobody else can append to it (`B30`).
///
/// Dropped before [`close`](Self::close), it ends the stream with [`End::Lost`], at once or as soon as
/// the store can tell.
pub trait EventWriter: fmt::Debug + Send + 'static {
    /// The future of [`append`](Self::append).
    type Append: Future<Output = Result<(), StoreError>> + Send + Unpin + 'static;
    /// The future of [`close`](Self::close).
    type Close: Future<Output = Result<(), StoreError>> + Send + Unpin + 'static;

    /// Adds the event with that number, which has to be the next one. Once this has succeeded, the
    /// event is read until it is forgotten.
    ///
    /// `event` is copied: the store keeps nothing of the caller's memory. Adding an event once more
    /// that is there already changes nothing and succeeds (RPL-12).
    ///
    /// # Errors
    ///
    /// `Conflict` if an event is left out, or the stream is closed; `NotFound` if it was purged.
    fn append(&mut self, sequence: u64, event: &[u8]) -> Self::Append;

    /// Says that an event may be about to come, before it is known whether one does. By default nothing
    /// happens; a store in memory has its log brought into the processor's cache meanwhile.
    fn prepare(&self) {}

    /// Says that no event follows, and why. Only the first end counts.
    ///
    /// # Errors
    ///
    /// `NotFound` if the stream was purged.
    fn close(&mut self, end: End) -> Self::Close;
}

/// Why a stream has no more events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// It came to its end.
    Complete,
    /// It broke, and its last event says so if anybody waited for an answer.
    Failed,
    /// Its writer is gone, or could not record what followed.
    Lost,
}
