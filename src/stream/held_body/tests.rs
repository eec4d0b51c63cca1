use super::{BLOCK_BYTES, HeldBody};
use crate::memory::{Budget, Share};

/// A budget that is not what bounds these tests.
const BUDGET: Budget = Budget::new(usize::MAX);

#[test]
fn pieces_are_joined_in_order() {
    let mut held = HeldBody::default();
    let mut expected = Vec::new();
    for (index, size) in [1, 10, BLOCK_BYTES, 3, 2 * BLOCK_BYTES, 7]
        .into_iter()
        .enumerate()
    {
        let piece = vec![u8::try_from(index).unwrap(); size];
        expected.extend_from_slice(&piece);
        assert!(held.reserve(piece.len(), usize::MAX, BUDGET));
        held.push(piece);
    }
    expected.push(9);
    assert_eq!(held.join(vec![9]).bytes, expected);
}

#[test]
fn tiny_pieces_share_blocks() {
    let mut held = HeldBody::default();
    for _ in 0..BLOCK_BYTES * 2 {
        held.push(vec![b'x']);
    }
    assert_eq!(held.blocks.len(), 2);
}

#[test]
fn all_bodies_share_one_bound() {
    let mut one = HeldBody::default();
    let mut other = HeldBody::default();
    assert!(one.reserve(60, 100, BUDGET));
    assert!(!other.reserve(41, 100, BUDGET));
    assert!(other.reserve(40, 100, BUDGET));
    drop(one);
    assert_eq!(Share::Bodies.used(), 40);
    let whole = other.join(vec![0; 30]).keep(100, BUDGET).unwrap();
    assert_eq!(Share::Bodies.used(), 40, "what is joined was counted");
    drop(whole);
    assert_eq!(Share::Bodies.used(), 0);
    let whole = HeldBody::default().join(vec![0; 30]);
    let whole = whole.keep(30, BUDGET).unwrap();
    assert_eq!(Share::Bodies.used(), 30);
    let another = HeldBody::default().join(vec![0; 1]);
    assert!(another.keep(30, BUDGET).is_none());
    drop(whole);
    assert_eq!(Share::Bodies.used(), 0);
}
