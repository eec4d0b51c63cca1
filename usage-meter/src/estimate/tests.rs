//! What is estimated before anything is known, and after.

use super::{Estimates, MOST_MODELS, START};
use crate::meter::Usage;
use proptest::prelude::*;

fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
    Usage {
        input_tokens,
        output_tokens,
        total_tokens: input_tokens + output_tokens,
        ..Usage::default()
    }
}

#[test]
fn nothing_costs_nothing_and_a_byte_costs_a_token() {
    let estimates = Estimates::default();
    assert_eq!(estimates.input_tokens(None, 0), 0);
    assert_eq!(estimates.output_tokens(Some("m"), 1), 1);
    assert_eq!(estimates.input_tokens(None, 4_500), 1_000);
}

#[test]
fn what_a_model_reports_is_learnt_for_that_model() {
    let estimates = Estimates::default();
    for _ in 0..50 {
        estimates.learn(Some("dense"), 2_000, 1_000, &usage(1_000, 1_000));
    }
    assert!((950..1_050).contains(&estimates.input_tokens(Some("dense"), 2_000)));
    assert!((950..1_100).contains(&estimates.output_tokens(Some("dense"), 1_000)));
    assert!((950..1_050).contains(&estimates.mean_output(Some("dense"))));
    assert_eq!(estimates.mean_output(Some("other")), START.mean_output);
}

#[test]
fn a_flood_of_models_is_bounded() {
    let estimates = Estimates::default();
    for model in 0..10_000 {
        estimates.learn(Some(&model.to_string()), 400, 400, &usage(100, 100));
    }
    assert_eq!(estimates.models.borrow().len(), MOST_MODELS);
}

proptest! {
    #[test]
    fn no_report_makes_an_estimate_absurd(
        reports in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>()), 0..20)
    ) {
        let estimates = Estimates::default();
        for (request, output, input_tokens, output_tokens) in reports {
            let usage = usage(input_tokens.into(), output_tokens.into());
            estimates.learn(Some("m"), request, output, &usage);
        }
        let tokens = estimates.input_tokens(Some("m"), 32_000);
        prop_assert!((1_000..=64_000).contains(&tokens), "{tokens}");
    }
}
