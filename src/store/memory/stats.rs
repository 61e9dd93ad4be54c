/// What a [`MemoryStore`](super::MemoryStore) holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Streams that can be read: live ones, and ended ones that are still kept.
    pub streams: usize,
    /// Bytes of memory, used or not, with what a stream costs before its first event.
    pub bytes: usize,
    /// Events that were forgotten because a limit was reached, since the store was made. Those of
    /// a stream that only has to make room for its own are counted a few at a time.
    pub evicted: u64,
}
