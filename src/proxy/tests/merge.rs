use bytes::Bytes;

use crate::proxy::merge::{Merge, Push};

fn bytes(len: usize) -> Bytes {
    Bytes::from(vec![b'x'; len])
}

#[test]
fn frame_alone_leaves_without_a_copy() {
    let frame = bytes(300);
    let mut merge = Merge::new();
    assert_eq!(merge.push(frame.clone()), Push::Held);
    let taken = merge.take();
    assert_eq!(taken.as_ptr(), frame.as_ptr());
    assert!(merge.is_empty());
}

#[test]
fn large_frame_leaves_at_once_without_a_copy() {
    let frame = bytes(8 * 1024);
    let mut merge = Merge::new();
    let Push::Full(full) = merge.push(frame.clone()) else {
        panic!("a large frame is not held");
    };
    assert_eq!(full.as_ptr(), frame.as_ptr());
    assert!(merge.is_empty());
}

#[test]
fn joined_frames_keep_their_order_and_never_exceed_the_limit() {
    let mut merge = Merge::new();
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
    let mut merge = Merge::new();
    assert_eq!(merge.push(Bytes::from_static(b"first")), Push::Held);
    assert_eq!(
        merge.push(bytes(Merge::MAX_BYTES)),
        Push::Full(Bytes::from_static(b"first"))
    );
    assert_eq!(merge.take().len(), Merge::MAX_BYTES);
}

#[test]
fn number_of_joined_frames_is_bounded() {
    let mut merge = Merge::new();
    for _ in 0..Merge::MAX_FRAMES {
        assert_eq!(merge.push(bytes(1)), Push::Held);
    }
    assert_eq!(
        merge.push(bytes(1)),
        Push::Full(bytes(usize::from(Merge::MAX_FRAMES)))
    );
    assert_eq!(merge.len(), 1);
}
