use super::*;

fn established() -> SessionRecord {
    let record = SessionRecord::new(Owner::ANONYMOUS, Owner::ANONYMOUS);
    let upstream = HeaderValue::from_static("up");
    assert!(record.set_name(SessionName::new(
        SessionKey::new(1, [1; 16]),
        [2; 16],
        upstream
    )));
    assert!(record.establish());
    record
}

#[test]
fn d10_d11_what_is_leased_does_not_end_unleased() {
    let record = established();
    let lease = record.lease().expect("it is established");
    assert!(!record.end_unleased());
    assert!(!record.is_ended());
    drop(lease);
    assert!(record.end_unleased());
    assert!(record.is_ended() && record.lease().is_none());
    assert!(!record.end_unleased(), "once");
}

#[test]
fn nobody_waits_for_an_end_that_was() {
    let record = established();
    let mut ticket = None;
    assert!(record.register(&mut ticket, Waker::noop()));
    record.end();
    assert!(!record.register(&mut None, Waker::noop()));
    record.deregister(ticket.expect("it had one"));
}

#[test]
fn end_is_seen_to_by_one_and_a_delete_by_one_at_a_time() {
    let record = established();
    assert!(record.claim_end() && !record.claim_end());
    assert!(!record.release_end());
    assert!(record.claim_end());
    record.end();
    assert!(!record.owe_end(), "one asks already");
    assert!(record.release_end(), "and has to tell");
    for _ in 0..2 {
        assert!(!record.claim_end() && !record.owe_end());
    }
    let record = established();
    assert!(record.owe_end() && !record.claim_end());
    assert!(record.settle_end() && !record.settle_end());
}

#[test]
fn versions_flags_and_leases_do_not_mix() {
    let record = established();
    let lease = record.lease().expect("it is established");
    assert_eq!(record.version(), None);
    for version in ProtocolVersion::ALL {
        record.set_version(*version);
        assert_eq!(record.version(), Some(*version));
        assert_eq!(record.leases(), 1);
        assert!(record.is_established() && !record.is_ended());
    }
    record.end();
    drop(lease);
    assert_eq!(record.leases(), 0);
    assert_eq!(record.version(), ProtocolVersion::ALL.last().copied());
    assert!(record.is_ended());
}
