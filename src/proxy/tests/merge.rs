use bytes::Bytes;

use crate::proxy::merge::{Merge, Push};

fn bytes(len: usize) -> Bytes {
    Bytes::from(vec![b'x'; len])
}

#[test]
fn frame_alone_leaves_without_a_copy() {
    let frame = bytes(300);
    let mut merge = Merge::default();
    assert_eq!(merge.push(frame.clone()), Push::Held);
    let taken = merge.take();
    assert_eq!(taken.as_ptr(), frame.as_ptr());
    assert!(merge.is_empty());
}

#[test]
fn large_frame_leaves_at_once_without_a_copy() {
    let frame = bytes(8 * 1024);
    let mut merge = Merge::default();
    let Push::Full(full) = merge.push(frame.clone()) else {
        panic!("a large frame is not held");
    };
    assert_eq!(full.as_ptr(), frame.as_ptr());
    assert!(merge.is_empty());
}

#[test]
fn joined_frames_keep_their_order_and_never_exceed_the_limit() {
    let mut merge = Merge::default();
    let mut sent = Vec::new();
    let mut seen = Vec::new();
    for index in 0..1_000_u32 {
        let frame = Bytes::from(vec![
            b'a' + (index % 26) as u8;
            1 + (index as usize * 37) % 900
        ]);
        sent.extend_from_slice(&frame);
        if let Push::Full(full) = merge.push(frame) {
            assert!(full.len() <= Merge::MAX_BYTES);
            assert!(full.len() > Merge::MAX_BYTES / 2, "left too early");
            seen.extend_from_slice(&full);
        }
    }
    seen.extend_from_slice(&merge.take());
    assert_eq!(seen, sent);
}

#[test]
fn large_frame_does_not_overtake_what_is_held() {
    let mut merge = Merge::default();
    assert_eq!(merge.push(Bytes::from_static(b"first")), Push::Held);
    assert_eq!(
        merge.push(bytes(Merge::MAX_BYTES)),
        Push::Full(Bytes::from_static(b"first"))
    );
    assert_eq!(merge.take().len(), Merge::MAX_BYTES);
}

#[test]
fn yields_are_bounded_and_granted_anew_to_a_new_frame() {
    let mut merge = Merge::default();
    let yields = |merge: &mut Merge| (0..100).take_while(|_| merge.should_yield()).count();
    assert_eq!(merge.push(bytes(1)), Push::Held);
    let granted = yields(&mut merge);
    assert!((1..=4).contains(&granted), "{granted} yields in a row");
    assert_eq!(yields(&mut merge), 0);
    assert_eq!(merge.push(bytes(1)), Push::Held);
    assert_eq!(yields(&mut merge), granted);
}

#[test]
fn number_of_joined_frames_is_bounded() {
    let mut merge = Merge::default();
    for _ in 0..Merge::MAX_FRAMES {
        assert_eq!(merge.push(bytes(1)), Push::Held);
    }
    assert_eq!(
        merge.push(bytes(1)),
        Push::Full(bytes(usize::from(Merge::MAX_FRAMES)))
    );
    assert_eq!(merge.len(), 1);
}

#[test]
fn stream_whose_frames_come_alone_is_not_held_until_it_is_fast_again() {
    let mut merge = Merge::default();
    let mut held = 0;
    for _ in 0..100 {
        if merge.push(bytes(300)) == Push::Held {
            held += 1;
            assert_eq!(merge.take().len(), 300);
        }
    }
    assert!((10..=25).contains(&held), "held {held} of 100 lone frames");
    // The next probe finds company, and from then on frames are held.
    while merge.push(bytes(300)) != Push::Held {}
    for _ in 0..10 {
        assert_eq!(merge.push(bytes(300)), Push::Held);
    }
    assert_eq!(merge.take().len(), 3_300);
    assert_eq!(merge.push(bytes(300)), Push::Held);
}
