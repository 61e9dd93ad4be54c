//! A store that is slow and fails, when a test wants it to.
//!
//! [`FaultyStore`] does what another store does, but late, or not at all, as its [`Faults`] say. It
//! knows no clock and no chance: the same test sees the same faults.
//!
//! ```
//! use bytes::Bytes;
//! use shadowcat::{
//!     sse::StreamKey,
//!     store::{
//!         EventStore, EventWriter, MemoryStore, Owner, StoreErrorKind,
//!         faulty::{FaultyStore, Moment, Operation},
//!     },
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), shadowcat::store::StoreError> {
//! let store = FaultyStore::new(MemoryStore::new());
//! let (key, owner) = (StreamKey::from_bytes([7; 16]), Owner::ANONYMOUS);
//! let mut writer = store.open(key, owner, Bytes::new()).await?;
//!
//! // The event is added, but the store never says so.
//! store.faults().fail_next(Operation::Append, Moment::After);
//! let error = writer.append(1, b"data: one\n\n").await.unwrap_err();
//! assert_eq!(error.kind(), StoreErrorKind::Unavailable);
//!
//! // Trying again adds it no second time.
//! writer.append(1, b"data: one\n\n").await?;
//! assert_eq!(store.read(key, owner, 0, 1000).await?.events(), b"data: one\n\n");
//! # Ok(())
//! # }
//! ```

mod faults;
#[cfg(feature = "session")]
mod session;
mod writer;

use std::{future::Future, pin::Pin};

use bytes::Bytes;

use super::{EventStore, Owner, Page, StoreError};
use crate::sse::StreamKey;

pub use self::{
    faults::{Faults, Moment, Operation},
    writer::FaultyWriter,
};

/// The futures of a [`FaultyStore`].
pub type FaultyFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Another store, with faults. A clone has the same ones.
#[derive(Clone, Debug)]
pub struct FaultyStore<T> {
    inner: T,
    faults: Faults,
}

impl<T> FaultyStore<T> {
    /// A store that does what `inner` does, until it is told to do worse.
    #[must_use]
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            faults: Faults::default(),
        }
    }

    /// What is wrong with it.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The store behind it.
    #[must_use]
    pub const fn get_ref(&self) -> &T {
        &self.inner
    }
}

impl<T: EventStore> EventStore for FaultyStore<T> {
    type Writer = FaultyWriter<T::Writer>;
    type Open = FaultyFuture<Self::Writer>;
    type Read = FaultyFuture<Page>;
    type Watch = FaultyFuture<()>;
    type Purge = FaultyFuture<()>;

    fn open(&self, stream: StreamKey, owner: Owner, about: Bytes) -> Self::Open {
        let (inner, faults) = (self.inner.clone(), self.faults.clone());
        self.faults.apply(Operation::Open, move || {
            let open = inner.open(stream, owner, about);
            async move { Ok(FaultyWriter::new(open.await?, faults)) }
        })
    }

    fn read(&self, stream: StreamKey, owner: Owner, after: u64, limit: usize) -> Self::Read {
        let inner = self.inner.clone();
        self.faults.apply(Operation::Read, move || {
            inner.read(stream, owner, after, limit)
        })
    }

    fn watch(&self, stream: StreamKey, owner: Owner, after: u64) -> Self::Watch {
        let inner = self.inner.clone();
        self.faults
            .apply(Operation::Watch, move || inner.watch(stream, owner, after))
    }

    fn purge(&self, owner: Owner) -> Self::Purge {
        let inner = self.inner.clone();
        self.faults
            .apply(Operation::Purge, move || inner.purge(owner))
    }
}
