use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{runtime::Handle, time};

use super::{asked::Asked, layer::Config, purge::SlowPurges, stream::Stream, whose::HookKey};
use crate::{sse::StreamKey, store::Owner};

/// What all services of one layer share: its streams, and one task that looks after them.
pub(super) struct Hub {
    pub(super) config: Config,
    limits: Limits,
    table: Mutex<Table>,
    /// The clock of the streams, which counts beats.
    now: AtomicU32,
    serial: AtomicU64,
    /// Streams that wait for a client, in all and of each owner.
    waiting: AtomicUsize,
    waiting_by_owner: Mutex<HashMap<Owner, u32>>,
    /// How often streams were forgotten. Changes under the table's lock.
    purges: AtomicU64,
    pub(super) slow_purges: SlowPurges,
    closing: OnceLock<Duration>,
    /// By which sessions know that they have been asked to tell of their end.
    pub(super) end_key: HookKey,
    pub(super) counters: Counters,
}

#[derive(Debug, Default)]
struct Table {
    streams: HashSet<ByKey, BuildHasherDefault<KeyHasher>>,
    /// The detached GET stream of an owner, which a new one has to replace (AMB-7).
    standalone: HashMap<Owner, StreamKey>,
    /// Whose streams are being forgotten.
    purging: Vec<Owner>,
    /// Whose were, the last ones.
    purged: VecDeque<Owner>,
    /// Whether a task looks after them.
    has_heart: bool,
}

/// A stream that is found by its key, so that the table need not have a second copy of it.
#[derive(Debug)]
struct ByKey(Arc<Stream>);

impl ByKey {
    fn clone_stream(&self) -> Arc<Stream> {
        Arc::clone(&self.0)
    }
}

impl Borrow<StreamKey> for ByKey {
    fn borrow(&self) -> &StreamKey {
        &self.0.key
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

/// Times in beats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) keep_alive: Option<u32>,
    pub(super) stall: Option<u32>,
    pub(super) detached: u32,
    /// A client that stays so long may come back often.
    pub(super) patience: u32,
    pub(super) polling: Option<Polling>,
}

/// When a quiet client is sent away, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Polling {
    pub(super) after: u32,
    pub(super) retry: Duration,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("config", &self.config)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) tracked: AtomicU64,
    pub(super) resumed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) gaps: AtomicU64,
    pub(super) stalled: AtomicU64,
    pub(super) lost: AtomicU64,
}

/// A resume that takes longer than so many purges has to be tried again.
const REMEMBERED_PURGES: usize = 1_024;

const PATIENCE: Duration = Duration::from_secs(60);

/// The longest time between two beats.
const SLOWEST_BEAT: Duration = Duration::from_secs(15);
const FASTEST_BEAT: Duration = Duration::from_millis(5);

impl Hub {
    pub(super) fn new(config: Config) -> Self {
        let beat = beat(&config);
        let ticks = |time: Duration| {
            let ticks = time.as_nanos().div_ceil(beat.as_nanos());
            u32::try_from(ticks).unwrap_or(u32::MAX / 2).max(1)
        };
        Self {
            limits: Limits {
                keep_alive: config.keep_alive.map(ticks),
                stall: config.stall.map(ticks),
                detached: ticks(config.max_detached_for),
                patience: ticks(PATIENCE),
                polling: config.polling.map(|(after, retry)| Polling {
                    after: ticks(after),
                    retry,
                }),
            },
            config,
            table: Mutex::default(),
            now: AtomicU32::new(0),
            serial: AtomicU64::new(1),
            waiting: AtomicUsize::new(0),
            waiting_by_owner: Mutex::default(),
            purges: AtomicU64::new(0),
            slow_purges: SlowPurges::default(),
            closing: OnceLock::new(),
            end_key: HookKey::new(),
            counters: Counters::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u32 {
        self.now.load(Relaxed)
    }

    pub(super) const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Relaxed)
    }

    /// Set once all clients are to be sent away. A state, not an event: a stream that is opened later
    /// finds it too (D29).
    pub(super) fn closing(&self) -> Option<Duration> {
        self.closing.get().copied()
    }

    /// Returns what clients are told; a second call changes nothing.
    pub(super) fn close(&self, retry: Duration) -> Duration {
        *self.closing.get_or_init(|| retry)
    }

    pub(super) fn insert(self: &Arc<Self>, stream: Arc<Stream>, runtime: &Handle) {
        self.counters.tracked.fetch_add(1, Relaxed);
        let mut table = self.table();
        table.streams.insert(ByKey(stream));
        let has_heart = mem::replace(&mut table.has_heart, true);
        drop(table);
        if !has_heart {
            runtime.spawn(Heart::beat(Arc::downgrade(self), beat(&self.config)));
        }
    }

    /// Whether there is nothing to look after, so that the task may end.
    fn may_rest(&self) -> bool {
        let mut table = self.table();
        table.has_heart = !table.streams.is_empty();
        !table.has_heart
    }

    pub(super) fn get(&self, key: &StreamKey) -> Option<Arc<Stream>> {
        let table = self.table();
        table.streams.get(key).map(ByKey::clone_stream)
    }

    pub(super) fn remove(&self, key: &StreamKey) {
        let mut table = self.table();
        let stream = table.streams.take(key).map(|ByKey(stream)| stream);
        if let Some(stream) = &stream
            && table.standalone.get(&stream.owner) == Some(key)
        {
            table.standalone.remove(&stream.owner);
        }
        drop(table);
        drop(stream);
    }

    pub(super) fn streams(&self) -> Vec<Arc<Stream>> {
        let table = self.table();
        table.streams.iter().map(ByKey::clone_stream).collect()
    }

    fn streams_of(&self, owner: &Owner) -> Vec<Arc<Stream>> {
        let table = self.table();
        let all = table.streams.iter();
        all.filter(|ByKey(stream)| stream.owner == *owner)
            .map(ByKey::clone_stream)
            .collect()
    }

    /// Notes that the streams of an owner are to be forgotten, until [`purged`](Self::purged).
    pub(super) fn purge(&self, owner: &Owner) -> Vec<Arc<Stream>> {
        let mut table = self.table();
        self.purges.fetch_add(1, Relaxed);
        table.purging.push(*owner);
        if table.purged.len() == REMEMBERED_PURGES {
            table.purged.pop_front();
        }
        table.purged.push_back(*owner);
        drop(table);
        self.streams_of(owner)
    }

    pub(super) fn purged(&self, owner: &Owner) {
        let mut table = self.table();
        let at = table.purging.iter().position(|one| one == owner);
        at.map(|at| table.purging.swap_remove(at));
    }

    /// How often streams were forgotten; `None` while those of `owner` are.
    pub(super) fn purges(&self, owner: &Owner) -> Option<u64> {
        let table = self.table();
        (!table.purging.contains(owner)).then(|| self.purge_count())
    }

    /// How often streams were forgotten, whoever owned them.
    pub(super) fn purge_count(&self) -> u64 {
        self.purges.load(Relaxed)
    }

    /// Whether streams of `owner` were forgotten, or may have been, since there were so many purges.
    pub(super) fn was_purged(&self, owner: &Owner, since: u64) -> bool {
        if self.purge_count() == since {
            return false;
        }
        let table = self.table();
        let new = usize::try_from(self.purge_count() - since).unwrap_or(usize::MAX);
        new > table.purged.len() || table.purged.iter().rev().take(new).any(|one| one == owner)
    }

    /// Whether one more stream of `owner` may wait for a client.
    pub(super) fn may_wait(&self, owner: &Owner) -> bool {
        let config = &self.config;
        if config.max_detached_for == Duration::ZERO
            || self.waiting.load(Relaxed) >= config.max_detached
        {
            return false;
        }
        // Nobody in particular is not one client, but many.
        owner.is_anonymous()
            || self
                .waiting_by_owner()
                .get(owner)
                .is_none_or(|waiting| (*waiting as usize) < config.max_detached_per_owner)
    }

    pub(super) fn count_waiting(&self, owner: &Owner, did: bool, does: bool) {
        match (did, does) {
            (false, true) => {
                self.waiting.fetch_add(1, Relaxed);
                if !owner.is_anonymous() {
                    *self.waiting_by_owner().entry(*owner).or_default() += 1;
                }
            }
            (true, false) => {
                self.waiting.fetch_sub(1, Relaxed);
                let mut owners = self.waiting_by_owner();
                if let Some(waiting) = owners.get_mut(owner) {
                    *waiting -= 1;
                    if *waiting == 0 {
                        owners.remove(owner);
                    }
                }
            }
            _ => {}
        }
    }

    fn waiting_by_owner(&self) -> MutexGuard<'_, HashMap<Owner, u32>> {
        let owners = self.waiting_by_owner.lock();
        owners.unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a GET stream that waits for its client.
    pub(super) fn note_detached(&self, stream: &Stream) {
        if stream.about.is_get && stream.about.is_mcp && !stream.owner.is_anonymous() {
            let mut table = self.table();
            // It may be over already.
            if table.streams.contains(&stream.key) {
                table.standalone.insert(stream.owner, stream.key);
            }
        }
    }

    /// Makes way for a new GET stream of a session, if an old one waits for its client: the server
    /// would refuse another one.
    ///
    /// The old one is ended, or, if no client has had an event of it, returned: then the client could
    /// not have asked for it, and what it has recorded would be lost in silence.
    pub(super) fn replace_standalone(&self, asked: &Asked) -> Option<StreamKey> {
        let mut table = self.table();
        if table.standalone.is_empty() {
            return None;
        }
        let stream = table
            .standalone
            .remove(&asked.session()?)
            .and_then(|key| table.streams.get(&key).map(ByKey::clone_stream));
        drop(table);
        let stream = stream?;
        if stream.is_unheard() {
            return Some(stream.key);
        }
        stream.terminate_detached();
        None
    }

    pub(super) fn count_gap(&self) {
        self.counters.gaps.fetch_add(1, Relaxed);
    }

    pub(super) fn count_resumed(&self) {
        self.counters.resumed.fetch_add(1, Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.counters.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn count_stalled(&self) {
        self.counters.stalled.fetch_add(1, Relaxed);
    }

    pub(super) fn count_lost(&self) {
        self.counters.lost.fetch_add(1, Relaxed);
    }
}

/// A beat is short enough that every time is kept within a quarter of itself.
fn beat(config: &Config) -> Duration {
    let times = [
        config.keep_alive,
        config.stall,
        config.polling.map(|(after, _)| after),
        Some(config.max_detached_for),
    ];
    let shortest = times
        .into_iter()
        .flatten()
        .filter(|time| !time.is_zero())
        .min();
    let beat = shortest.map_or(SLOWEST_BEAT, |time| time / 4);
    beat.clamp(FASTEST_BEAT, SLOWEST_BEAT)
}

/// The task that looks after the streams of a hub, as long as there are any.
struct Heart {
    /// Without a hub, it has stopped in good order.
    hub: Weak<Hub>,
}

impl Heart {
    async fn beat(hub: Weak<Hub>, every: Duration) {
        let mut heart = Self { hub };
        let mut beats = time::interval(every);
        beats.set_missed_tick_behavior(time::MissedTickBehavior::Skip);
        // The first tick is at once.
        beats.tick().await;
        loop {
            beats.tick().await;
            let Some(hub) = heart.hub.upgrade() else {
                return;
            };
            let now = hub.now.fetch_add(1, Relaxed) + 1;
            for stream in hub.streams() {
                stream.beat(now);
            }
            if hub.may_rest() {
                heart.hub = Weak::new();
                return;
            }
        }
    }
}

/// Also if its runtime is shut down: then the next stream starts another.
impl Drop for Heart {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.table().has_heart = false;
        }
    }
}

/// Between `delay` and twice that, so that clients who were sent away together do not come back
/// together (C59). The same for a stream each time; its key is random.
pub(super) fn jittered(delay: Duration, key: &StreamKey) -> Duration {
    let delay = delay.min(LONGEST_RETRY);
    let [a, b, ..] = *key.as_bytes();
    delay + delay * u32::from(u16::from_be_bytes([a, b])) / u32::from(u16::MAX)
}

/// Nobody is sent away for longer than this, or twice that.
const LONGEST_RETRY: Duration = Duration::from_secs(24 * 60 * 60);

/// Keys are random already.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(word);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}
