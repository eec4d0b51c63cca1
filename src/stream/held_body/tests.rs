use super::{BLOCK_BYTES, HELD, HeldBody};

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
        assert!(held.reserve(piece.len(), usize::MAX));
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
    assert!(one.reserve(60, 100));
    assert!(!other.reserve(41, 100));
    assert!(other.reserve(40, 100));
    drop(one);
    assert_eq!(HELD.get(), 40);
    let mut whole = other.join(vec![0; 30]);
    whole.keep();
    assert_eq!(HELD.get(), 40, "what is joined was counted");
    drop(whole);
    assert_eq!(HELD.get(), 0);
    let mut whole = HeldBody::default().join(vec![0; 30]);
    whole.keep();
    assert_eq!(HELD.get(), 30);
}
