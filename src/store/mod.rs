//! Where events and sessions are kept.
//!
//! An [`EventStore`] keeps one log per stream, so that it can be replayed. Each log belongs to an
//! [`Owner`] and is read by nobody else. A `SessionStore` keeps which session is whose, for
//! `session::SessionLayer`.
//!
//! ```
//! use bytes::Bytes;
//! use shadowcat::{
//!     sse::StreamKey,
//!     store::{End, EventStore, EventWriter, MemoryStore, Owner, StoreErrorKind},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), shadowcat::store::StoreError> {
//! let store = MemoryStore::new();
//! let key = StreamKey::from_bytes([7; 16]); // Random, that is.
//! let alice = Owner::new(Some(b"alice"), None);
//!
//! let mut writer = store.open(key, alice, Bytes::from_static(b"a tool call")).await?;
//! writer.append(1, b"data: one\n\n").await?;
//! writer.append(2, b"data: two\n\n").await?;
//!
//! // What follows event 1, up to 1000 bytes.
//! let page = store.read(key, alice, 1, 1000).await?;
//! assert_eq!(page.events(), b"data: two\n\n");
//! assert_eq!((page.floor(), page.tail(), page.end()), (1, 2, None));
//! assert_eq!(page.about(), "a tool call");
//!
//! // Nobody else learns that the stream is there.
//! let mallory = Owner::new(Some(b"mallory"), None);
//! let error = store.read(key, mallory, 1, 1000).await.unwrap_err();
//! assert_eq!(error.kind(), StoreErrorKind::NotFound);
//!
//! // Whoever has read all waits for more, or for the end.
//! let watch = store.watch(key, alice, 2);
//! writer.close(End::Complete).await?;
//! watch.await?;
//! assert_eq!(store.read(key, alice, 2, 1000).await?.end(), Some(End::Complete));
//! # Ok(())
//! # }
//! ```
//!
//! # What a store promises
//!
//! - A stream has one writer, which numbers its events without a hole. To add one again that is
//!   there changes nothing, so an append that failed may be tried again.
//! - Readers get exactly the events after their cursor, in order. What is forgotten are the oldest
//!   of a stream, and each [`Page`] tells by its floor.
//! - A foreign stream is like one that never was.
//! - What is purged is gone, for its writers too.
//!
//! # Stores
//!
//! | store | keeps | feature |
//! |---|---|---|
//! | [`MemoryStore`] | events in this process, until it ends | `replay` |
//! | [`MemorySessionStore`] | sessions in this process, until it ends | `session` |
//! | [`erased::ErasedStore`] | in another store, chosen at run time | – |
//! | [`faulty::FaultyStore`] | in another store, late or not at all, for tests | `test-util` |
//!
//! Your own store is an [`EventStore`] that passes [`contract::run`], or a [`SessionStore`] that passes
//! [`contract::run_sessions`] and [`contract::run_expiry`].
//!
//! # Limits in memory
//!
//! | limit of [`MemoryStore`] | default |
//! |---|---|
//! | events of a stream | 1,000 |
//! | bytes of a stream's events | 1 MiB |
//! | memory of an owner's streams; not of [`Owner::ANONYMOUS`], who is many | 16 MiB |
//! | memory of all streams | 256 MiB |
//! | time after a stream's end | 5 minutes |
//!
//! Memory is what is allocated, used or not. The last event of a stream is not forgotten to make
//! room for itself, so each limit may be exceeded by one event.
//!
//! A stream that has reached its own limit forgets its oldest events. When an owner's streams, or
//! all, take too much, those that have ended go first, oldest first, each as a whole. Then live ones
//! lose their events, those first that were not written to for a while, but they stay open. A stream
//! that finds nobody else to take from makes room for its next event among its own. If nothing is
//! left to forget, no more streams are opened: `Unavailable`.
//!
//! What has ended is forgotten in time without another call, by one task on the runtime that it
//! ended on, which needs its timer; outside a runtime, with the next call.

#[cfg(feature = "test-util")]
pub mod contract;
pub mod erased;
mod error;
mod event;
#[cfg(feature = "test-util")]
pub mod faulty;
#[cfg(feature = "replay")]
mod memory;
mod owner;
mod page;
#[cfg(feature = "session")]
mod session;

#[cfg(feature = "replay")]
pub use self::memory::{MemoryStats, MemoryStore, MemoryWatch, MemoryWriter};
#[cfg(feature = "session")]
pub(crate) use self::session::now;
#[cfg(feature = "session")]
pub use self::session::{
    Expired, HookKey, MemorySessionStats, MemorySessionStore, SessionKey, SessionLease,
    SessionName, SessionPage, SessionRecord, SessionStore,
};
pub use self::{
    error::{StoreError, StoreErrorKind},
    event::{End, EventStore, EventWriter},
    owner::Owner,
    page::Page,
};
