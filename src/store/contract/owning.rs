use super::stream::{Stream, assert_kind, fresh_key, fresh_owner};
use crate::store::{End, EventStore, Owner, StoreErrorKind};

/// Nobody reads what is not theirs, or learns that it is there (B20, B24, B30).
///
/// # Panics
///
/// If the store does something else.
pub async fn isolates<T: EventStore>(store: T) {
    let (owner, other) = (fresh_owner(), fresh_owner());
    for (owner, others) in [
        (owner, [other, Owner::ANONYMOUS]),
        (Owner::ANONYMOUS, [owner, other]),
    ] {
        for foreign in others {
            b20_b24_foreign_is_unknown(&store, owner, foreign).await;
        }
    }
    b30_streams_do_not_mix(&store).await;
}

async fn b20_b24_foreign_is_unknown<T: EventStore>(store: &T, owner: Owner, foreign: Owner) {
    let mut stream = Stream::with_events(store, owner, 2).await;
    for end in [None, Some(End::Complete)] {
        if let Some(end) = end {
            stream.close(end).await;
        }
        for after in [0, 1, 2, 3, u64::MAX] {
            let read = store.read(stream.key, foreign, after, 1000).await;
            let unknown = store.read(fresh_key(), foreign, after, 1000).await;
            assert_eq!(
                read.as_ref().map_err(ToString::to_string).err(),
                unknown.as_ref().map_err(ToString::to_string).err(),
                "to read what is foreign and what is unknown should look alike"
            );
            assert_kind(read, StoreErrorKind::NotFound, "to read a foreign stream");

            let watched = store.watch(stream.key, foreign, after).await;
            let why = "to watch a foreign stream";
            assert_kind(watched, StoreErrorKind::NotFound, why);
            let watched = store.watch(fresh_key(), foreign, after).await;
            let why = "to watch an unknown stream";
            assert_kind(watched, StoreErrorKind::NotFound, why);
        }
    }
    stream.check_all().await;
}

async fn b30_streams_do_not_mix<T: EventStore>(store: &T) {
    let (owner, other) = (fresh_owner(), fresh_owner());
    let mut streams = Vec::new();
    for owner in [owner, other, owner, other, Owner::ANONYMOUS] {
        streams.push(Stream::open(store, owner).await);
    }
    for round in 0..20 {
        for (nth, stream) in streams.iter_mut().enumerate() {
            if round % (nth + 1) == 0 {
                stream.append_next().await;
            }
        }
    }
    for stream in &streams {
        stream.check_all().await;
    }
}
