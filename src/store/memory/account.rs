use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    sync::{Arc, atomic::AtomicUsize},
};

use crate::store::Owner;

/// What the streams of one owner hold together.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) owner: Owner,
    pub(super) bytes: AtomicUsize,
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
