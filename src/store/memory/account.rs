use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::store::Owner;

/// What the streams of one owner hold together.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) owner: Owner,
    pub(super) balance: Balance,
}

/// Bytes that are held, or about to be.
#[derive(Debug, Default)]
pub(super) struct Balance {
    all: AtomicUsize,
    /// By streams that have ended, of which any may go.
    ended: AtomicUsize,
}

impl Balance {
    pub(super) fn all(&self) -> usize {
        self.all.load(Relaxed)
    }

    /// By streams that are written. About right while others are at it.
    pub(super) fn live(&self) -> usize {
        self.all().saturating_sub(self.ended.load(Relaxed))
    }

    pub(super) fn charge(&self, bytes: usize) {
        self.all.fetch_add(bytes, Relaxed);
    }

    pub(super) fn release(&self, bytes: usize) {
        self.all.fetch_sub(bytes, Relaxed);
    }

    /// Notes that a stream which holds so much has ended.
    pub(super) fn end(&self, bytes: usize) {
        self.ended.fetch_add(bytes, Relaxed);
    }

    /// Releases what a stream held that had ended.
    pub(super) fn release_ended(&self, bytes: usize) {
        // In this order: what is live is never taken for less than it is.
        self.ended.fetch_sub(bytes, Relaxed);
        self.release(bytes);
    }
}

/// An account that is found by its owner, so that a map need not have a second copy of it.
#[derive(Debug)]
pub(super) struct ByOwner(pub(super) Arc<Account>);

impl Borrow<Owner> for ByOwner {
    fn borrow(&self) -> &Owner {
        &self.0.owner
    }
}

impl Hash for ByOwner {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.owner.hash(state);
    }
}

impl PartialEq for ByOwner {
    fn eq(&self, other: &Self) -> bool {
        self.0.owner == other.0.owner
    }
}

impl Eq for ByOwner {}
