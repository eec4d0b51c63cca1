use proptest::prelude::*;

use super::{Bucket, Histogram, MAX_VALUE};

#[test]
fn empty_histogram_has_no_quantile() {
    assert_eq!(Histogram::new(100).quantile(90), None);
}

#[test]
fn largest_number_has_a_bucket() {
    let mut histogram = Histogram::new(100);
    histogram.add(u64::MAX, 1);
    let bucket = histogram.quantile(50).unwrap();
    assert!((bucket.min..=bucket.max).contains(&MAX_VALUE));
}

#[test]
fn later_numbers_displace_earlier_ones() {
    let mut histogram = Histogram::new(64);
    for _ in 0..10_000 {
        histogram.add(10, 1);
    }
    for _ in 0..200 {
        histogram.add(1_000, 1);
    }
    assert!(histogram.quantile(50).unwrap().min > 800);
}

#[test]
fn weights_are_kept_up_to_the_maximum() {
    let mut histogram = Histogram::new(4);
    histogram.add(10, 1);
    histogram.add(1_000, 3);
    assert_eq!(histogram.total, 4);
    assert!(histogram.quantile(25).unwrap().max < 20);
    histogram.add(1_000, 1);
    assert_eq!(histogram.total, 2);
    assert!(histogram.quantile(25).unwrap().min > 800);
}

proptest! {
    #[test]
    fn bucket_has_its_number_and_is_narrow(value in 1..=MAX_VALUE) {
        let bucket = Bucket::at(Bucket::index(value));
        prop_assert!((bucket.min..=bucket.max).contains(&value), "{bucket:?}");
        prop_assert!(bucket.max - bucket.min <= bucket.min / 8, "{bucket:?}");
    }

    #[test]
    fn quantile_is_within_a_bucket_of_the_exact(
        mut values in prop::collection::vec(1..=MAX_VALUE, 1..200),
        hundredths in 1..=100_u32,
    ) {
        let mut histogram = Histogram::new(1_000);
        for &value in &values {
            histogram.add(value, 1);
        }
        values.sort_unstable();
        let rank = (values.len() * hundredths as usize).div_ceil(100);
        let exact = values[rank - 1];
        let bucket = histogram.quantile(hundredths).unwrap();
        prop_assert!((bucket.min..=bucket.max).contains(&exact), "{exact} in {bucket:?}");
    }

    #[test]
    fn counts_are_bounded(values in prop::collection::vec((any::<u64>(), 0..100_000_u32), 0..200)) {
        let mut histogram = Histogram::new(1 << 18);
        for (value, weight) in values {
            histogram.add(value, weight);
            prop_assert!(histogram.total <= 1 << 18);
            prop_assert_eq!(histogram.total, histogram.counts.iter().sum::<u32>());
        }
    }
}
