use super::{DecoderMemory, SMALL_BYTES, Share};
use crate::DecodeError;

#[test]
fn last_quarter_is_left_to_small_decoders() {
    let memory = DecoderMemory::new(16 << 20);
    let mut large = Share::new(&memory);
    assert_eq!(large.take(12 << 20), Ok(()));
    assert_eq!(large.take(1), Err(DecodeError::Memory));
    let mut small: Vec<Share> = (0..9).map(|_| Share::new(&memory)).collect();
    let taken = small.iter_mut().map(|share| share.take(SMALL_BYTES));
    let taken = taken.flatten().count();
    assert_eq!(taken, 8);
    assert_eq!(memory.used_bytes(), memory.limit_bytes());
    drop(large);
    assert_eq!(memory.used_bytes(), 4 << 20);
}

#[test]
fn lower_limit_stops_growth_and_keeps_shares() {
    let memory = DecoderMemory::new(1 << 20);
    let mut share = Share::new(&memory);
    assert_eq!(share.take(100), Ok(()));
    memory.set_limit_bytes(50);
    assert_eq!(share.take(1), Err(DecodeError::Memory));
    assert_eq!(memory.used_bytes(), 100);
    share.release(60);
    assert_eq!(share.take(1), Ok(()));
}
