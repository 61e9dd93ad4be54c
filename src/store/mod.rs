//! Where events are kept, so that they can be replayed.
//!
//! An [`EventStore`] keeps one log per stream. Each log belongs to an [`Owner`] and is read by
//! nobody else.
//!
//! # Limits in memory
//!
//! When a [`MemoryStore`] holds too much, streams that have ended go first, oldest first, each as a
//! whole; then live streams lose their events, those first that were not written to for a while, but
//! can be written to as before.

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

#[cfg(feature = "replay")]
pub use self::memory::{MemoryStats, MemoryStore, MemoryWatch, MemoryWriter};
pub use self::{
    error::{StoreError, StoreErrorKind},
    event::{End, EventStore, EventWriter},
    owner::Owner,
    page::Page,
};
