//! What is in the store, whatever the layer says.

use shadowcat::sse::StreamKey;
use shadowcat::store::{End, EventStore, Owner};

use super::slow::Slow;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    pub(crate) floor: u64,
    pub(crate) tail: u64,
    pub(crate) end: Option<End>,
}

/// `None` if there is no such stream.
pub(crate) fn read(store: &Slow, key: StreamKey, owner: Owner, after: u64) -> Option<Truth> {
    let page = store.memory.read(key, owner, after, 0).into_inner().ok()?;
    Some(Truth {
        floor: page.floor(),
        tail: page.tail(),
        end: page.end(),
    })
}
