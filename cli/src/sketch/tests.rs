//! Errors of summaries are within their bounds.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{Percentiles, Sample, Top};

proptest! {
    #[test]
    fn percentiles_are_within_two_percent(mut values in prop::collection::vec(0_u64..10_000_000_000, 1..300), percent in 1_u32..=100) {
        let mut percentiles = Percentiles::default();
        for value in &values {
            percentiles.add(*value);
        }
        values.sort_unstable();
        let rank = (values.len() * percent as usize).div_ceil(100);
        let exact = values[rank.max(1) - 1];
        let found = percentiles.at(f64::from(percent));
        prop_assert!(found >= exact && found <= exact + exact / 50 + 1, "{} {}", exact, found);
    }

    #[test]
    fn sums_are_within_their_errors(adds in prop::collection::vec((0_u8..60, 0_u64..100), 1..500), capacity in 1_usize..40) {
        let mut top = Top::new(capacity);
        let mut exact: HashMap<u8, u64> = HashMap::new();
        for (key, amount) in &adds {
            top.add(key, *amount);
            *exact.entry(*key).or_default() += amount;
        }
        let total: u64 = exact.values().sum();
        prop_assert!(top.len() <= capacity);
        for (key, count) in top.iter() {
            prop_assert!(count.sum >= exact[key] && count.sum - count.error <= exact[key]);
            prop_assert!(count.error <= total / capacity as u64);
        }
        for (key, sum) in &exact {
            if *sum > total / capacity as u64 {
                prop_assert!(top.iter().any(|(known, _)| known == key));
            }
        }
    }
}

#[test]
fn samples_are_bounded_and_estimate_keys() {
    let mut sample = Sample::new(1000);
    for number in 0_u128..100_000 {
        // Hashes are spread over all bits.
        let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) ^ (number << 64);
        let key = key
            .wrapping_mul(0xff51_afd7_ed55_8ccd_c4ce_b9fe_1a85_ec53)
            .rotate_right(64);
        sample.get(key, || ());
    }
    assert!(sample.values().count() <= 1000);
    assert!(!sample.is_whole());
    assert!(
        (80_000..120_000).contains(&sample.total()),
        "{}",
        sample.total()
    );
}
