use proptest::prelude::*;

use super::{Estimator, INITIAL, MAX_MODELS, Observation};
use crate::usage::Usage;

fn observation(input: (u64, u64), output: (u64, u64)) -> Observation {
    let (input_bytes, input_tokens) = input;
    let (output_bytes, output_tokens) = output;
    Observation {
        input_bytes,
        output_bytes,
        usage: Usage {
            input_tokens,
            output_tokens,
            total_tokens: input_tokens + output_tokens,
            ..Usage::default()
        },
    }
}

#[test]
fn tokens_are_rounded_up() {
    let estimator = Estimator::default();
    assert_eq!(estimator.input_tokens(None, 0), 0);
    assert_eq!(estimator.output_tokens(Some("m"), 1), 1);
    assert_eq!(estimator.input_tokens(None, 4_500), 1_000);
}

#[test]
fn ratios_are_learnt_per_model() {
    let estimator = Estimator::default();
    for _ in 0..50 {
        estimator.learn(Some("dense"), &observation((2_000, 1_000), (1_000, 1_000)));
    }
    assert!((950..1_050).contains(&estimator.input_tokens(Some("dense"), 2_000)));
    assert!((950..1_100).contains(&estimator.output_tokens(Some("dense"), 1_000)));
    assert!((950..1_050).contains(&estimator.mean_output_tokens(Some("dense"))));
    assert_eq!(
        estimator.mean_output_tokens(Some("other")),
        INITIAL.output_tokens.value
    );
}

#[test]
fn number_of_models_is_bounded() {
    let estimator = Estimator::default();
    for model in 0..10_000 {
        estimator.learn(
            Some(&model.to_string()),
            &observation((400, 100), (400, 100)),
        );
    }
    assert_eq!(estimator.models.borrow().len(), MAX_MODELS);
}

proptest! {
    #[test]
    fn any_observations_keep_estimates_plausible(
        exchanges in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>()), 0..20)
    ) {
        let estimator = Estimator::default();
        for (input_bytes, output_bytes, input_tokens, output_tokens) in exchanges {
            let observation =
                observation((input_bytes, input_tokens.into()), (output_bytes, output_tokens.into()));
            estimator.learn(Some("m"), &observation);
        }
        let tokens = estimator.input_tokens(Some("m"), 32_000);
        prop_assert!((1_000..=64_000).contains(&tokens), "{tokens}");
    }
}
