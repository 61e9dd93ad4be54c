//! A store whose type is chosen when the program runs.
//!
//! [`ErasedStore`] is any [`EventStore`] behind a pointer. It costs a virtual call; a future that is
//! ready at once is handed on as it is, and only one that has to wait is boxed. A
//! [`MemoryStore`](super::MemoryStore) costs what it does by itself.
//!
//! ```
//! use bytes::Bytes;
//! use shadowcat::{
//!     sse::StreamKey,
//!     store::{EventStore, EventWriter, MemoryStore, Owner, erased::ErasedStore},
//! };
//!
//! /// As configured, with one type for whatever that is.
//! fn store(kind: &str) -> Option<ErasedStore> {
//!     match kind {
//!         "memory" => Some(ErasedStore::new(MemoryStore::new())),
//!         _ => None,
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), shadowcat::store::StoreError> {
//! let store = store("memory").unwrap();
//! let (key, owner) = (StreamKey::from_bytes([7; 16]), Owner::ANONYMOUS);
//! let mut writer = store.open(key, owner, Bytes::new()).await?;
//! writer.append(1, b"data: one\n\n").await?;
//! assert_eq!(store.read(key, owner, 0, 1000).await?.events(), b"data: one\n\n");
//! # Ok(())
//! # }
//! ```

mod future;
mod object;

use std::{fmt, sync::Arc};

use bytes::Bytes;

use self::object::{StoreObject, WriterObject};
use super::{End, EventStore, EventWriter, Owner, Page};
use crate::sse::StreamKey;

pub use self::future::ErasedFuture;

/// Any store. A clone is the same one.
#[derive(Clone)]
pub struct ErasedStore {
    kind: StoreKind,
}

/// Writes one stream of an [`ErasedStore`].
pub struct ErasedWriter {
    kind: WriterKind,
}

#[derive(Clone)]
enum StoreKind {
    /// The one that most run with is as fast as if it had been named.
    #[cfg(feature = "replay")]
    Memory(super::MemoryStore),
    Other(Arc<dyn StoreObject>),
}

enum WriterKind {
    #[cfg(feature = "replay")]
    Memory(super::MemoryWriter),
    Other(Box<dyn WriterObject>),
}

impl ErasedStore {
    /// Forgets which store it is.
    #[must_use]
    pub fn new(store: impl EventStore) -> Self {
        #[cfg(feature = "replay")]
        if let Some(memory) = (&store as &dyn std::any::Any).downcast_ref() {
            return Self {
                kind: StoreKind::Memory(super::MemoryStore::clone(memory)),
            };
        }
        Self {
            kind: StoreKind::Other(Arc::new(store)),
        }
    }

    fn object(&self) -> &dyn StoreObject {
        match &self.kind {
            #[cfg(feature = "replay")]
            StoreKind::Memory(memory) => memory,
            StoreKind::Other(store) => &**store,
        }
    }
}

impl ErasedWriter {
    fn object(&self) -> &dyn WriterObject {
        match &self.kind {
            #[cfg(feature = "replay")]
            WriterKind::Memory(memory) => memory,
            WriterKind::Other(writer) => &**writer,
        }
    }
}

impl EventStore for ErasedStore {
    type Writer = ErasedWriter;
    type Open = ErasedFuture<ErasedWriter>;
    type Read = ErasedFuture<Page>;
    type Watch = ErasedFuture<()>;
    type Purge = ErasedFuture<()>;

    fn open(&self, stream: StreamKey, owner: Owner, about: Bytes) -> Self::Open {
        match &self.kind {
            #[cfg(feature = "replay")]
            StoreKind::Memory(memory) => {
                ErasedFuture::new(EventStore::open(memory, stream, owner, about), |writer| {
                    ErasedWriter {
                        kind: WriterKind::Memory(writer),
                    }
                })
            }
            StoreKind::Other(store) => store.open(stream, owner, about),
        }
    }

    fn read(&self, stream: StreamKey, owner: Owner, after: u64, limit: usize) -> Self::Read {
        self.object().read(stream, owner, after, limit)
    }

    fn watch(&self, stream: StreamKey, owner: Owner, after: u64) -> Self::Watch {
        self.object().watch(stream, owner, after)
    }

    fn purge(&self, owner: Owner) -> Self::Purge {
        self.object().purge(owner)
    }
}

impl EventWriter for ErasedWriter {
    type Append = ErasedFuture<()>;
    type Close = ErasedFuture<()>;

    #[inline]
    fn append(&mut self, sequence: u64, event: &[u8]) -> Self::Append {
        match &mut self.kind {
            #[cfg(feature = "replay")]
            WriterKind::Memory(memory) => WriterObject::append(memory, sequence, event),
            WriterKind::Other(writer) => writer.append(sequence, event),
        }
    }

    #[inline]
    fn prepare(&self) {
        match &self.kind {
            #[cfg(feature = "replay")]
            WriterKind::Memory(memory) => EventWriter::prepare(memory),
            WriterKind::Other(writer) => WriterObject::prepare(&**writer),
        }
    }

    fn close(&mut self, end: End) -> Self::Close {
        match &mut self.kind {
            #[cfg(feature = "replay")]
            WriterKind::Memory(memory) => WriterObject::close(memory, end),
            WriterKind::Other(writer) => writer.close(end),
        }
    }
}

impl fmt::Debug for ErasedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ErasedStore").field(&self.object()).finish()
    }
}

impl fmt::Debug for ErasedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ErasedWriter").field(&self.object()).finish()
    }
}
