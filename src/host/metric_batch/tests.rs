//! Tests of batched metrics.

use super::MetricBatch;
use crate::host::{HostError, MetricId};
use std::cell::RefCell;

fn flushed(batch: &MetricBatch) -> Vec<(u32, i64)> {
    let written = RefCell::default();
    batch.flush(|metric, amount| {
        let mut written: std::cell::RefMut<'_, Vec<_>> = written.borrow_mut();
        written.push((metric.0, amount));
        Ok(())
    });
    written.into_inner()
}

#[test]
fn changes_of_a_metric_are_one_call() {
    let batch = MetricBatch::new();
    for amount in [5, 7, -2] {
        batch.add(MetricId(3), amount);
    }
    batch.add(MetricId(1), 1);
    assert_eq!(flushed(&batch), [(3, 10), (1, 1)]);
    assert_eq!(flushed(&batch), []);
}

#[test]
fn changes_that_cancel_out_are_no_call() {
    let batch = MetricBatch::new();
    batch.add(MetricId(2), 500);
    batch.add(MetricId(2), -500);
    assert_eq!(flushed(&batch), []);
}

#[test]
fn failed_metric_does_not_withhold_the_others() {
    let batch = MetricBatch::new();
    batch.add(MetricId(1), 1);
    batch.add(MetricId(2), i64::MAX);
    batch.add(MetricId(2), i64::MAX);
    let written = RefCell::new(Vec::new());
    batch.flush(|metric, amount| {
        written.borrow_mut().push((metric.0, amount));
        Err(HostError::NotFound)
    });
    assert_eq!(written.into_inner(), [(2, i64::MAX), (1, 1)]);
}
