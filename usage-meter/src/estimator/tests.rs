use std::time::Duration;

use proptest::prelude::*;

use super::{
    Estimator, HALF_LIFE, MAX_MODELS, MAX_PLAUSIBLE_TOKENS, Observation, START_OUTPUT_TOKENS,
    START_PLAUSIBLE_TOKENS, START_RATE, START_WEIGHT,
};
use crate::usage::Usage;

fn observation(input: (u64, u64), output: (u64, u64)) -> Observation {
    let (input_bytes, input_tokens) = input;
    let (output_bytes, output_tokens) = output;
    Observation {
        input_bytes,
        input_parts: 0,
        output_bytes,
        usage: Usage {
            input_tokens,
            output_tokens,
            total_tokens: input_tokens + output_tokens,
            ..Usage::default()
        },
        is_bounded: false,
        duration: None,
        ended_at: Duration::from_secs(1_000_000),
    }
}

/// Returns a response of so many output tokens to a request without a bound.
fn unbounded(tokens: u64) -> Observation {
    observation((400, 100), (0, tokens))
}

/// Returns a response of so many output tokens that took so long.
fn timed(tokens: u64, milliseconds: u64) -> Observation {
    Observation {
        duration: Some(Duration::from_millis(milliseconds)),
        ..unbounded(tokens)
    }
}

fn learn(estimator: &Estimator, count: usize, observation: &Observation) {
    for _ in 0..count {
        estimator.learn(Some("m"), observation);
    }
}

fn expected(estimator: &Estimator) -> u64 {
    estimator.expected_output_tokens(Some("m"))
}

fn in_a_second(estimator: &Estimator) -> u64 {
    estimator.generated_tokens(Some("m"), Duration::from_secs(1))
}

#[test]
fn tokens_are_rounded_up() {
    let estimator = Estimator::default();
    assert_eq!(estimator.input_tokens(None, 0), 0);
    assert_eq!(estimator.output_tokens(Some("m"), 1), 1);
    assert_eq!(estimator.input_tokens(None, 4_500), 1_000);
}

#[test]
fn ratios_are_learned_per_model() {
    let estimator = Estimator::default();
    for _ in 0..50 {
        estimator.learn(Some("dense"), &observation((2_000, 1_000), (1_000, 1_000)));
    }
    assert!((950..1_050).contains(&estimator.input_tokens(Some("dense"), 2_000)));
    assert!((950..1_100).contains(&estimator.output_tokens(Some("dense"), 1_000)));
    assert!((1_000..1_130).contains(&estimator.expected_output_tokens(Some("dense"))));
    let other = estimator.expected_output_tokens(Some("other"));
    assert_eq!(other, START_OUTPUT_TOKENS);
}

#[test]
fn short_responses_do_not_lower_start_value() {
    let estimator = Estimator::default();
    learn(&estimator, 10_000, &unbounded(1));
    assert_eq!(expected(&estimator), START_OUTPUT_TOKENS);
}

#[test]
fn bounded_responses_do_not_change_expected_output() {
    let estimator = Estimator::default();
    let bounded = |tokens| Observation {
        is_bounded: true,
        ..unbounded(tokens)
    };
    learn(&estimator, 100, &bounded(5_000));
    assert_eq!(expected(&estimator), START_OUTPUT_TOKENS);
    learn(&estimator, 100, &unbounded(5_000));
    let learned = expected(&estimator);
    learn(&estimator, 100, &bounded(1));
    assert_eq!(expected(&estimator), learned);
}

#[test]
fn nine_in_ten_stay_below_expected_output() {
    let estimator = Estimator::default();
    for round in 0..40 {
        for tenth in 1..=10 {
            learn(&estimator, 1, &unbounded(tenth * 1_000 + round));
        }
    }
    assert!((9_000..10_300).contains(&expected(&estimator)));
}

#[test]
fn one_long_response_does_not_raise_expected_output() {
    let estimator = Estimator::default();
    learn(&estimator, 1, &unbounded(100_000));
    assert_eq!(expected(&estimator), START_OUTPUT_TOKENS);
}

#[test]
fn flood_of_short_responses_lowers_slowly() {
    let estimator = Estimator::default();
    learn(&estimator, 20, &unbounded(4_000));
    let learned = expected(&estimator);
    assert!(learned >= 4_000);
    let mut short = unbounded(1);
    learn(&estimator, 5_000, &short);
    assert_eq!(expected(&estimator), learned, "within an hour");
    short.ended_at += HALF_LIFE;
    learn(&estimator, 5_000, &short);
    assert_eq!(expected(&estimator), learned / 2, "after an hour");
    for _ in 0..10 {
        short.ended_at += HALF_LIFE;
        learn(&estimator, 1, &short);
    }
    assert_eq!(expected(&estimator), START_OUTPUT_TOKENS);
}

#[test]
fn longest_response_bounds_what_is_plausible() {
    let estimator = Estimator::default();
    let plausible = |model| estimator.plausible_output_tokens(Some(model));
    assert_eq!(plausible("m"), START_PLAUSIBLE_TOKENS);
    learn(&estimator, 1, &unbounded(START_PLAUSIBLE_TOKENS / 2));
    assert_eq!(plausible("m"), START_PLAUSIBLE_TOKENS);
    let bounded = Observation {
        is_bounded: true,
        ..unbounded(40_000)
    };
    learn(&estimator, 1, &bounded);
    assert_eq!(plausible("m"), 80_000);
    learn(&estimator, 1_000, &unbounded(1));
    assert_eq!(plausible("m"), 80_000, "short ones do not lower it");
    learn(&estimator, 1, &unbounded(1 << 40));
    assert_eq!(plausible("m"), MAX_PLAUSIBLE_TOKENS);
    assert_eq!(plausible("other"), START_PLAUSIBLE_TOKENS);
}

#[test]
fn rate_is_learned_from_duration() {
    let estimator = Estimator::default();
    assert_eq!(in_a_second(&estimator), START_RATE);
    learn(&estimator, 3, &timed(600, 2_000));
    let rate = in_a_second(&estimator);
    assert!((260..=300).contains(&rate), "{rate}");
    let half = estimator.generated_tokens(Some("m"), Duration::from_millis(500));
    assert_eq!(half, rate / 2);
}

#[test]
fn implausible_rates_are_ignored() {
    let estimator = Estimator::default();
    // Too short, from a cache, stalled, and without a clock.
    for observed in [timed(15, 1), timed(5_000, 3), timed(100, 200_000)] {
        learn(&estimator, 1, &observed);
    }
    learn(&estimator, 1, &timed(1_000, 0));
    assert_eq!(in_a_second(&estimator), START_RATE);
}

#[test]
fn slow_short_responses_do_not_lower_rate() {
    let estimator = Estimator::default();
    learn(&estimator, 5, &timed(1_000, 10_000));
    let learned = in_a_second(&estimator);
    learn(&estimator, 40, &timed(16, 8_000));
    learn(&estimator, 1_000, &timed(1, 8_000));
    assert_eq!(in_a_second(&estimator), learned);
}

#[test]
fn short_responses_are_not_learned_from() {
    // Of so few tokens, neither the rate nor the bytes per token say anything about a model.
    for (tokens, is_learned) in [(1, false), (15, false), (16, true)] {
        let estimator = Estimator::default();
        let bytes = 10 * tokens;
        let response = Observation {
            duration: Some(Duration::from_secs(1)),
            ..observation((bytes, tokens), (bytes, tokens))
        };
        learn(&estimator, 1, &response);
        let bytes_per_token = |known: u64| if is_learned { 10_000 } else { known };
        assert_eq!(
            (
                estimator.input_tokens(Some("m"), 90_000),
                estimator.output_tokens(Some("m"), 86_000),
                in_a_second(&estimator),
            ),
            (
                90_000_000 / bytes_per_token(4_500),
                86_000_000 / bytes_per_token(4_300),
                if is_learned { tokens } else { START_RATE },
            ),
            "{tokens}"
        );
    }
}

#[test]
fn responses_without_output_do_not_lower_what_is_expected() {
    let estimator = Estimator::default();
    learn(&estimator, 100, &unbounded(4_000));
    let before = expected(&estimator);
    assert!(before >= 4_000);
    for hour in 1..10 {
        let empty = Observation {
            ended_at: Duration::from_secs(1_000_000) + HALF_LIFE * hour,
            ..unbounded(0)
        };
        learn(&estimator, 100, &empty);
    }
    assert_eq!(expected(&estimator), before);
}

#[test]
fn model_in_use_outlives_others() {
    let estimator = Estimator::default();
    let learned = observation((1_000, 1_000), (0, 1));
    let tokens = |model: &str| estimator.input_tokens(Some(model), 1_000);
    for number in 0..1_000 {
        estimator.learn(Some(&number.to_string()), &learned);
        if number % 50 == 0 {
            for _ in 0..100 {
                estimator.learn(Some("used"), &learned);
            }
        }
    }
    let unknown = tokens("unknown");
    assert!(tokens("used") > unknown, "it is still known");
    assert!(tokens("999") > unknown, "so is the newest");
    assert_eq!(tokens("0"), unknown);
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
    let long = "m".repeat(10_000);
    let estimator = Estimator::default();
    estimator.learn(Some(&long), &unbounded(1));
    assert!(estimator.models.borrow().is_empty());
}

proptest! {
    #[test]
    fn any_observations_keep_estimates_plausible(
        exchanges in prop::collection::vec(
            (any::<(u64, u64)>(), any::<(u32, u32)>(), any::<(bool, u64, u64)>()), 0..60
        )
    ) {
        let estimator = Estimator::default();
        for (bytes, tokens, (is_bounded, nanos, ended_at)) in exchanges {
            let observation = Observation {
                is_bounded,
                duration: Some(Duration::from_nanos(nanos)),
                ended_at: Duration::from_secs(ended_at),
                ..observation((bytes.0, tokens.0.into()), (bytes.1, tokens.1.into()))
            };
            estimator.learn(Some("m"), &observation);
            prop_assert!(expected(&estimator) >= START_OUTPUT_TOKENS);
            let rate = in_a_second(&estimator);
            prop_assert!((1..=10_000).contains(&rate), "{rate}");
        }
        let tokens = estimator.input_tokens(Some("m"), 32_000);
        prop_assert!((1_000..=64_000).contains(&tokens), "{tokens}");
        let _ = estimator.generated_tokens(Some("m"), Duration::MAX);
    }

    #[test]
    fn nine_in_ten_of_any_responses_stay_below(
        responses in prop::collection::vec(1..100_000_u64, 1..300)
    ) {
        let estimator = Estimator::default();
        for &tokens in &responses {
            estimator.learn(Some("m"), &unbounded(tokens));
        }
        let expected = expected(&estimator);
        let above = responses.iter().filter(|tokens| **tokens > expected).count();
        // The start value counts for the first responses.
        prop_assert!(above * 10 <= responses.len() + START_WEIGHT as usize + 10, "{above}");
    }
}

#[test]
fn parts_are_learned_apart_from_text() {
    let estimator = Estimator::default();
    assert_eq!(estimator.part_tokens(Some("m"), 0), 0);
    assert_eq!(estimator.part_tokens(Some("m"), 3), 3_000);
    let with_parts = |parts: u64, tokens: u64| Observation {
        input_parts: parts,
        ..observation((4_500, tokens), (0, 0))
    };
    // 4,500 bytes of text are 1,000 tokens.
    learn(&estimator, 20, &with_parts(2, 1_000 + 2 * 1_500));
    assert_eq!(estimator.input_tokens(Some("m"), 4_500), 1_000);
    assert!((1_490..=1_500).contains(&estimator.part_tokens(Some("m"), 1)));
    assert_eq!(estimator.part_tokens(Some("n"), 1), 1_000);
    learn(&estimator, 99, &with_parts(1, 1));
    let least = estimator.part_tokens(Some("m"), 1);
    assert!((250..=260).contains(&least), "{least}");
    learn(&estimator, 99, &with_parts(1, u64::MAX));
    assert!(estimator.part_tokens(Some("m"), 1) <= 16_000);
}
