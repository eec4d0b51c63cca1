use super::{Budget, Need, allocated};

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
fn kept_bytes_use_up_the_budget() {
    let budget = Budget::new(allocated() + MEBIBYTE);
    assert!(budget.has_room(Need::Request, 0));
    let kept = vec![0_u8; MEBIBYTE];
    assert!(!budget.has_room(Need::Request, 0));
    drop(kept);
    assert!(budget.has_room(Need::Request, 0));
}
