use super::{Count, Counts};
use crate::usage::Usage;

fn usage(counts: &[(Count, u64)]) -> Usage {
    let mut report = Counts::default();
    for &(count, tokens) in counts {
        report.set(count, Some(tokens));
    }
    report.normalize()
}

#[test]
fn extra_cache_tokens_are_added_to_input() {
    let usage = usage(&[
        (Count::InputWithoutCache, 3),
        (Count::CacheReadExtra, 40),
        (Count::CacheWriteExtra, 500),
        (Count::Output, 7),
    ]);
    assert_eq!((usage.input_tokens, usage.total_tokens), (543, 550));
    assert_eq!(
        (usage.cached_tokens, usage.cache_creation_tokens),
        (40, 500)
    );
}

#[test]
fn included_cache_tokens_are_not_added() {
    let usage = usage(&[
        (Count::InputWithCache, 100),
        (Count::CacheReadExtra, 40),
        (Count::CacheReadIncluded, 40),
        (Count::Output, 7),
        (Count::Total, 107),
    ]);
    assert_eq!((usage.input_tokens, usage.total_tokens), (100, 107));
    assert_eq!(usage.cached_tokens, 40);
}

#[test]
fn tool_prompts_and_extra_reasoning_are_added() {
    let usage = usage(&[
        (Count::InputWithCache, 20),
        (Count::ToolPromptExtra, 371),
        (Count::Output, 192),
        (Count::ReasoningExtra, 192),
        (Count::Total, 775),
    ]);
    assert_eq!((usage.input_tokens, usage.output_tokens), (391, 384));
    assert_eq!((usage.total_tokens, usage.reasoning_tokens), (775, 192));
}

#[test]
fn total_reveals_excluded_reasoning_or_audio() {
    let xai = usage(&[
        (Count::InputWithCache, 496),
        (Count::Output, 77),
        (Count::ReasoningIncluded, 256),
        (Count::Total, 829),
    ]);
    assert_eq!((xai.output_tokens, xai.total_tokens), (333, 829));
    let mistral = usage(&[
        (Count::InputWithCache, 5),
        (Count::Output, 11),
        (Count::AudioInput, 375),
        (Count::Total, 391),
    ]);
    assert_eq!((mistral.input_tokens, mistral.total_tokens), (380, 391));
}

#[test]
fn total_is_at_least_its_parts() {
    assert_eq!(
        usage(&[(Count::InputWithCache, 5), (Count::Output, 6)]).total_tokens,
        11
    );
    assert_eq!(
        usage(&[
            (Count::InputWithCache, 5),
            (Count::Output, 6),
            (Count::Total, 1)
        ])
        .total_tokens,
        11
    );
    assert_eq!(
        usage(&[(Count::InputWithCache, u64::MAX), (Count::Output, 6)]).total_tokens,
        u64::MAX
    );
    assert_eq!(usage(&[(Count::Total, 18)]).total_tokens, 18);
}

#[test]
fn billed_units_are_used_without_other_counts() {
    assert_eq!(usage(&[(Count::BilledInput, 2)]).total_tokens, 2);
    let both = usage(&[
        (Count::BilledInput, 7),
        (Count::BilledOutput, 3),
        (Count::InputWithCache, 502),
        (Count::Output, 6),
    ]);
    assert_eq!((both.input_tokens, both.output_tokens), (502, 6));
}

#[test]
fn later_report_wins_field_by_field() {
    let mut report = Counts::default();
    report.set(Count::InputWithoutCache, Some(11));
    report.set(Count::Output, Some(1));
    let mut later = Counts::default();
    later.set(Count::Output, Some(6));
    report.overlay(&later);
    assert_eq!(
        (
            report.get(Count::InputWithoutCache),
            report.get(Count::Output)
        ),
        (Some(11), Some(6))
    );
}
