use super::stream::{ABOUT, Stream, assert_kind, fresh_owner};
use crate::store::{EventStore, EventWriter, Owner, StoreErrorKind};

/// One stream per key; events one after the other, each once (RPL-12).
///
/// # Panics
///
/// If the store does something else.
pub async fn appends<T: EventStore>(store: T) {
    a_key_is_opened_once(&store).await;
    events_are_numbered_without_a_hole(&store).await;
    rpl12_an_event_that_is_there_is_not_added_again(&store).await;
    events_of_any_length_are_kept(&store).await;
    an_event_is_copied(&store).await;
}

async fn a_key_is_opened_once<T: EventStore>(store: &T) {
    let mut stream = Stream::with_events(store, fresh_owner(), 1).await;
    for (owner, why) in [
        (stream.owner, "a second stream of the same key"),
        (fresh_owner(), "a stream of a key that another owner has"),
        (Owner::ANONYMOUS, "a stream of a key that an owner has"),
    ] {
        let opened = store.open(stream.key, owner, ABOUT).await;
        assert_kind(opened, StoreErrorKind::Conflict, why);
    }
    stream.append_next().await;
    stream.check_all().await;
}

async fn events_are_numbered_without_a_hole<T: EventStore>(store: &T) {
    let mut stream = Stream::open(store, fresh_owner()).await;
    for wrong in [0, 2, 3, u64::MAX] {
        let why = format!("event {wrong} of a new stream");
        stream.refuses(wrong, StoreErrorKind::Conflict, &why).await;
        stream.check(0, 1000).await;
    }
    for _ in 0..5 {
        stream.append_next().await;
        for ahead in [2, 3, u64::MAX - 7] {
            let sequence = stream.tail() + ahead;
            let why = format!("event {sequence} after {}", stream.tail());
            stream
                .refuses(sequence, StoreErrorKind::Conflict, &why)
                .await;
        }
        stream.check_all().await;
    }
}

async fn rpl12_an_event_that_is_there_is_not_added_again<T: EventStore>(store: &T) {
    let mut stream = Stream::open(store, fresh_owner()).await;
    for _ in 0..4 {
        stream.append_next().await;
        for _ in 0..2 {
            let (sequence, event) = (
                stream.tail(),
                stream.events[stream.events.len() - 1].clone(),
            );
            let again = stream.writer().append(sequence, &event).await;
            again.expect("an event that is there already should be added once more in vain");
            stream.check_all().await;
        }
    }
    let event = stream.events[2].clone();
    let again = stream.writer().append(3, &event).await;
    again.expect("an older event should be added once more in vain");
    stream.check_all().await;
}

async fn events_of_any_length_are_kept<T: EventStore>(store: &T) {
    let mut stream = Stream::open(store, fresh_owner()).await;
    for len in [0, 1, 0, 0, 4095, 4096, 1024 * 1024, 0, 7, 300_000] {
        let event: Vec<u8> = (0..len).map(|at: u32| (at ^ at >> 8) as u8).collect();
        stream.append(&event).await;
        let before = stream.tail() - 1;
        stream.check(before, 0).await;
        stream.check(0, usize::MAX).await;
    }
}

async fn an_event_is_copied<T: EventStore>(store: &T) {
    let mut stream = Stream::open(store, fresh_owner()).await;
    let mut buffer = b"data: as it was\n\n".to_vec();
    let append = stream.writer().append(1, &buffer);
    stream.events.push(buffer.clone());
    buffer.fill(b'!');
    append.await.expect("the first event should be appended");
    buffer.fill(b'?');
    stream.check_all().await;
}
