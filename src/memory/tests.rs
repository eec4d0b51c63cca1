use super::{Budget, Lease, Need, Share, allocate_slice, allocated, measured};

const MEBIBYTE: usize = 1 << 20;

#[test]
fn allocated_bytes_follow_what_is_kept() {
    let before = allocated();
    let mut kept = vec![0_u8; MEBIBYTE];
    let with_one = allocated();
    assert!((MEBIBYTE..MEBIBYTE + 64).contains(&(with_one - before)));
    kept.resize(3 * MEBIBYTE, 0);
    assert!(allocated() - before >= 3 * MEBIBYTE);
    kept.truncate(1);
    kept.shrink_to_fit();
    assert!(allocated() - before < 64);
    drop(kept);
    assert_eq!(allocated(), before);
}

#[test]
fn slice_beyond_memory_is_null() {
    let before = allocated();
    for size in [usize::MAX, isize::MAX.unsigned_abs()] {
        assert!(allocate_slice(size).is_null(), "{size}");
    }
    assert_eq!(allocated(), before);
    for size in [0, 100] {
        let slice = std::ptr::slice_from_raw_parts_mut(allocate_slice(size), size);
        assert!(!slice.is_null());
        // SAFETY: it was allocated with this size, and may have any bytes.
        drop(unsafe { Box::from_raw(slice as *mut [std::mem::MaybeUninit<u8>]) });
    }
    assert_eq!(allocated(), before);
}

#[test]
fn small_pieces_count_as_what_they_take() {
    let before = allocated();
    let pieces: Vec<Box<u8>> = (0..100).map(|_| Box::new(0)).collect();
    assert!(allocated() - before >= 100 * 16);
    drop(pieces);
}

#[test]
fn estimates_end_before_decisions_and_requests() {
    let budget = Budget::new(allocated() + 16 * MEBIBYTE);
    let first = |need| (0..=17).find(|more| !budget.has_room(need, more * MEBIBYTE));
    let [estimate, decision, request] = [Need::Estimate, Need::Decision, Need::Request].map(first);
    assert!(
        estimate < decision && decision < request,
        "{estimate:?} {decision:?} {request:?}"
    );
    assert!(request <= Some(16));
}

#[test]
fn kept_bytes_exhaust_the_budget() {
    let budget = Budget::new(allocated() + MEBIBYTE);
    assert!(budget.has_room(Need::Request, 0));
    let kept = vec![0_u8; MEBIBYTE];
    assert!(!budget.has_room(Need::Request, 0));
    drop(kept);
    assert!(budget.has_room(Need::Request, 0));
}

#[test]
fn a_share_ends_before_the_budget() {
    let budget = Budget::new(allocated() + 64 * MEBIBYTE);
    let mut values = Lease::of(Share::Values);
    let mut headers = Lease::of(Share::Headers);
    assert!(values.keep(12 * MEBIBYTE, budget));
    assert!(!values.keep(8 * MEBIBYTE, budget));
    assert!(headers.keep(8 * MEBIBYTE, budget));
    assert_eq!(Share::Values.used(), 12 * MEBIBYTE);
    values.release();
    assert!(values.keep(15 * MEBIBYTE, budget));
    drop(values);
    assert_eq!(Share::Values.used(), 0);
}

#[test]
fn decoders_have_a_share_and_what_is_left() {
    let budget = Budget::new(allocated() + 64 * MEBIBYTE);
    assert!(budget.for_decoders(0).abs_diff(16 * MEBIBYTE) < MEBIBYTE);
    let others = vec![0_u8; 46 * MEBIBYTE];
    assert!(budget.for_decoders(0) <= 2 * MEBIBYTE);
    let decoders = vec![0_u8; MEBIBYTE];
    assert!(budget.for_decoders(MEBIBYTE) <= 2 * MEBIBYTE);
    drop((others, decoders));
}

#[test]
fn growth_of_what_is_kept_is_measured() {
    let (kept, bytes) = measured(|| vec![0_u8; MEBIBYTE]);
    assert!((MEBIBYTE..MEBIBYTE + 64).contains(&bytes));
    let ((), bytes) = measured(|| drop(kept));
    assert_eq!(bytes, 0);
}
