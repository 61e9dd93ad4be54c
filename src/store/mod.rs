//! Where events are kept, so that they can be replayed.
//!
//! An [`EventStore`] keeps one log per stream. Each log belongs to an [`Owner`] and is read by
//! nobody else.

mod error;
mod event;
mod owner;
mod page;

pub use self::{
    error::{StoreError, StoreErrorKind},
    event::{End, EventStore, EventWriter},
    owner::Owner,
    page::Page,
};
