use super::{DecoderMemory, Holding, SMALL_BYTES};
use crate::DecodeError;

#[test]
fn last_quarter_is_left_to_small_decoders() {
    let memory = DecoderMemory::new(16 << 20);
    let mut large = Holding::new(&memory);
    assert_eq!(large.take(12 << 20), Ok(()));
    assert_eq!(large.take(1), Err(DecodeError::Memory));
    let mut small: Vec<Holding> = (0..9).map(|_| Holding::new(&memory)).collect();
    let taken = small.iter_mut().map(|holding| holding.take(SMALL_BYTES));
    let taken = taken.flatten().count();
    assert_eq!(taken, 8);
    assert_eq!(memory.used_bytes(), memory.limit_bytes());
    drop(large);
    assert_eq!(memory.used_bytes(), 4 << 20);
}

#[test]
fn lower_limit_stops_growth_and_keeps_holdings() {
    let memory = DecoderMemory::new(1 << 20);
    let mut holding = Holding::new(&memory);
    assert_eq!(holding.take(100), Ok(()));
    memory.set_limit_bytes(50);
    assert_eq!(holding.take(1), Err(DecodeError::Memory));
    assert_eq!(memory.used_bytes(), 100);
    holding.release(60);
    assert_eq!(holding.take(1), Ok(()));
}
