use std::time::{Duration, SystemTime};

use super::*;
use crate::auth::jwt::{Algorithm, key::KeySet, sample};

fn key() -> Arc<Key> {
    Arc::new(Key::new(&sample::jwk(), Algorithm::ALL).expect("a key"))
}

fn digest(nth: u32) -> Digest {
    let [a, b] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03].map(|odd: u64| {
        let mixed = u64::from(nth + 1).wrapping_mul(odd);
        (mixed ^ mixed >> 29).wrapping_mul(odd).to_be_bytes()
    });
    [a, b].concat().try_into().expect("16 bytes")
}

fn principal(subject: &str, claims: usize) -> Principal {
    let builder = Principal::builder(subject)
        .with_issuer("https://login.example.com")
        .with_scopes(["tools:read", "tools:call"])
        .with_expiry(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
        .with_claims(" ".repeat(claims));
    builder.build().expect("it has a name")
}

fn verdict(subject: &str, key: &Arc<Key>) -> Verdict {
    Verdict {
        principal: principal(subject, 400),
        key: Arc::clone(key),
        start: 1_000,
        end: 2_000,
    }
}

fn find(verdicts: &Verdicts, nth: u32, now: i64) -> Option<String> {
    let principal = verdicts.get(&digest(nth), now)?;
    Some(principal.subject().to_owned())
}

#[test]
fn b38_c45_a_verdict_counts_while_its_token_does() {
    let (verdicts, key) = (Verdicts::new(1 << 20), key());
    verdicts.insert(&digest(1), verdict("alice", &key), 1_000);
    for now in [1_000, 1_999, 1_500, 1_000] {
        assert_eq!(find(&verdicts, 1, now).as_deref(), Some("alice"), "{now}");
    }
    assert_eq!(find(&verdicts, 2, 1_500), None);
    // Wherever the clock jumps to.
    for now in [999, 0, i64::MIN, 2_000, i64::MAX] {
        verdicts.insert(&digest(1), verdict("alice", &key), 1_000);
        assert_eq!(find(&verdicts, 1, now), None, "{now}");
        assert_eq!(verdicts.stats().0, 0, "it is judged again");
    }
}

#[test]
fn t27_a_verdict_goes_with_its_key() {
    let verdicts = Verdicts::new(1 << 20);
    let mut keys = KeySet::new(&[sample::jwk()], Algorithm::ALL).expect("a key");
    let (going, staying) = (keys.find(None).expect("one"), key());
    verdicts.insert(&digest(1), verdict("alice", going), 1_000);
    verdicts.insert(&digest(2), verdict("bob", &staying), 1_000);
    assert!(find(&verdicts, 1, 1_500).is_some());
    keys.replace(KeySet::default());
    assert_eq!(find(&verdicts, 1, 1_500), None);
    assert_eq!(find(&verdicts, 2, 1_500).as_deref(), Some("bob"));
}

#[test]
fn no_more_bytes_are_taken_than_may_be() {
    const MAX: usize = 256 * 1024;

    let (verdicts, key) = (Verdicts::new(MAX), key());
    let mut most = 0;
    for nth in 0..20_000 {
        let mut verdict = verdict("alice", &key);
        verdict.principal = principal("alice", nth as usize % 2_000);
        verdicts.insert(&digest(nth), verdict, 1_000);
        let (_, bytes, _) = verdicts.stats();
        assert!(bytes <= MAX, "{bytes} after {nth}");
        most = most.max(bytes);
    }
    assert!(most > MAX / 2, "the room is used: {most}");
    let (len, ..) = verdicts.stats();
    let found = (0..20_000).filter(|nth| find(&verdicts, *nth, 1_500).is_some());
    assert_eq!(found.count(), len, "each is found under its digest");
    // What would take much of it is not kept, and drives nothing out.
    let mut large = verdict("alice", &key);
    large.principal = principal("alice", 16 * 1024);
    verdicts.insert(&digest(30_000), large, 1_000);
    assert_eq!(verdicts.stats().0, len);
    assert_eq!(find(&verdicts, 30_000, 1_500), None);
}

#[test]
fn what_is_in_use_stays() {
    let (verdicts, key) = (Verdicts::new(128 * 1024), key());
    verdicts.insert(&digest(0), verdict("alice", &key), 1_000);
    for nth in 1..10_000 {
        verdicts.insert(&digest(nth), verdict("other", &key), 1_000);
        assert_eq!(find(&verdicts, 0, 1_500).as_deref(), Some("alice"), "{nth}");
    }
}

#[test]
fn without_room_nothing_is_kept() {
    let (verdicts, key) = (Verdicts::new(0), key());
    verdicts.insert(&digest(1), verdict("alice", &key), 1_000);
    assert_eq!(find(&verdicts, 1, 1_500), None);
    assert_eq!(verdicts.stats().0, 0);
}

#[test]
fn a_newer_verdict_takes_the_place_of_an_older_one() {
    let (verdicts, key) = (Verdicts::new(1 << 20), key());
    for _ in 0..100 {
        verdicts.insert(&digest(1), verdict("alice", &key), 1_000);
    }
    verdicts.insert(&digest(1), verdict("bob", &key), 1_000);
    assert_eq!(verdicts.stats().0, 1);
    assert_eq!(find(&verdicts, 1, 1_500).as_deref(), Some("bob"));
}
