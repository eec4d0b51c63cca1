mod totals;

use super::{Count, Counts, MAX_TOKENS};
use crate::json::number::Reported;
use crate::usage::Usage;

use Count::{
    AudioInput, BilledInput, BilledOutput, CacheReadExtra, CacheReadIncluded, CacheWriteExtra,
    CacheWriteIncluded, ConnectorInput, InputWithCache, InputWithoutCache, Output, OutputAtStart,
    ReasoningExtra, ReasoningIncluded, SnapshotTotal, ToolPromptExtra, Total,
};

fn counts(counts: &[(Count, u64)]) -> Counts {
    let mut report = Counts::default();
    for &(count, tokens) in counts {
        report.read(count, Reported::Tokens(tokens));
    }
    report
}

fn usage(report: &[(Count, u64)]) -> Usage {
    counts(report).normalize()
}

/// Returns input, output and total tokens.
fn parts(usage: Usage) -> (u64, u64, u64) {
    (usage.input_tokens, usage.output_tokens, usage.total_tokens)
}

/// Returns input, output and total tokens of several reports of one response.
fn overlaid(reports: &[&[(Count, u64)]]) -> (u64, u64, u64) {
    let mut report = Counts::default();
    for later in reports {
        report.overlay(&counts(later));
    }
    parts(report.normalize())
}

#[test]
fn extra_cache_tokens_are_added_to_input() {
    let usage = usage(&[
        (InputWithoutCache, 3),
        (CacheReadExtra, 40),
        (CacheWriteExtra, 500),
        (Output, 7),
    ]);
    assert_eq!((usage.input_tokens, usage.total_tokens), (543, 550));
    assert_eq!(
        (usage.cached_tokens, usage.cache_creation_tokens),
        (40, 500)
    );
    let cache_alone = counts(&[(CacheReadExtra, 40), (CacheWriteExtra, 500), (Output, 7)]);
    assert_eq!(parts(cache_alone.normalize()), (540, 7, 547));
}

#[test]
fn included_cache_tokens_are_not_added() {
    let usage = usage(&[
        (InputWithCache, 100),
        (CacheReadExtra, 40),
        (CacheReadIncluded, 40),
        (Output, 7),
        (Total, 107),
    ]);
    assert_eq!((usage.input_tokens, usage.total_tokens), (100, 107));
    assert_eq!(usage.cached_tokens, 40);
}

#[test]
fn tool_prompts_and_extra_reasoning_are_added() {
    let usage = usage(&[
        (InputWithCache, 20),
        (ToolPromptExtra, 371),
        (Output, 192),
        (ReasoningExtra, 192),
        (Total, 775),
    ]);
    assert_eq!((usage.input_tokens, usage.output_tokens), (391, 384));
    assert_eq!((usage.total_tokens, usage.reasoning_tokens), (775, 192));
}

#[test]
fn reasoning_above_output_is_no_part_of_it() {
    let perplexity = [
        (InputWithCache, 108),
        (Output, 3_256),
        (Total, 3_364),
        (ReasoningIncluded, 73_248),
    ];
    assert_eq!(parts(usage(&perplexity)), (108, 76_504, 76_612));
    let whole = [
        (InputWithCache, 21),
        (Output, 0),
        (Total, 81),
        (ReasoningIncluded, 60),
    ];
    assert_eq!(parts(usage(&whole)), (21, 60, 81));
    let equal = [(InputWithCache, 21), (Output, 60), (ReasoningIncluded, 60)];
    assert_eq!(parts(usage(&equal)), (21, 60, 81));
}

#[test]
fn billed_units_are_used_without_other_counts() {
    assert_eq!(usage(&[(BilledInput, 2)]).total_tokens, 2);
    let images = [(BilledInput, 2), (Count::BilledImages, 271)];
    assert_eq!(parts(usage(&images)), (273, 0, 273));
    let zero = [
        (BilledInput, 7),
        (BilledOutput, 3),
        (InputWithCache, 0),
        (Output, 0),
    ];
    assert_eq!(parts(usage(&zero)), (7, 3, 10));
    let both = usage(&[
        (BilledInput, 7),
        (BilledOutput, 3),
        (InputWithCache, 502),
        (Output, 6),
    ]);
    assert_eq!((both.input_tokens, both.output_tokens), (502, 6));
}

#[test]
fn alias_never_lowers_a_number() {
    let mut report = counts(&[(Output, 44), (Output, 0)]);
    report.read(Output, Reported::None);
    assert_eq!(report.get(Output), Some(44));
    assert_eq!(counts(&[(Output, 0), (Output, 44)]).get(Output), Some(44));
    assert_eq!(counts(&[(Output, 0)]).get(Output), Some(0));
}

#[test]
fn implausible_number_makes_report_unreadable() {
    for (value, is_unreadable) in [
        (Reported::Tokens(MAX_TOKENS), false),
        (Reported::Tokens(MAX_TOKENS + 1), true),
        (Reported::Negative, true),
        (Reported::None, false),
    ] {
        let mut read = Counts::default();
        read.read(Output, value);
        assert_eq!(read.is_unreadable(), is_unreadable, "{value:?}");
        let mut added = Counts::default();
        added.add(Output, value);
        assert_eq!(added.is_unreadable(), is_unreadable, "{value:?}");
    }
    let mut sum = Counts::default();
    for _ in 0..2 {
        assert!(!sum.is_unreadable());
        sum.add(Output, Reported::Tokens(MAX_TOKENS));
    }
    assert!(sum.is_unreadable());
}

#[test]
fn later_report_wins_unless_it_is_zero() {
    for (reports, expected) in [
        (
            &[&[(InputWithoutCache, 11), (Output, 1)][..], &[(Output, 6)]][..],
            (11, 6, 17),
        ),
        (
            &[
                &[(InputWithCache, 11), (Output, 6)],
                &[(InputWithCache, 0), (Output, 0), (Total, 0)],
            ],
            (11, 6, 17),
        ),
        (
            &[
                &[(InputWithCache, 40), (Output, 30), (Total, 70)],
                &[(InputWithCache, 40), (Output, 6), (Total, 46)],
            ],
            (40, 6, 46),
        ),
        // A total that is not repeated is that of other parts.
        (
            &[
                &[(InputWithCache, 40), (Output, 30), (Total, 70)],
                &[(Output, 6)],
            ],
            (40, 6, 46),
        ),
        (
            &[&[(Output, 9), (Total, 42)], &[(InputWithCache, 33)]],
            (33, 9, 42),
        ),
        (
            &[
                &[(InputWithCache, 33)],
                &[(Output, 7)],
                &[(Output, 9), (Total, 42)],
            ],
            (33, 9, 42),
        ),
    ] {
        assert_eq!(overlaid(reports), expected, "{reports:?}");
    }
}

#[test]
fn input_and_cache_are_replaced_together() {
    let start: &[(Count, u64)] = &[
        (InputWithoutCache, 10),
        (CacheReadExtra, 0),
        (CacheWriteExtra, 500),
        (OutputAtStart, 1),
    ];
    for (later, expected) in [
        // All absent or zero, or the same input: nothing is new.
        (&[(Output, 6)][..], (510, 6, 516)),
        (
            &[(InputWithoutCache, 0), (CacheReadExtra, 0), (Output, 6)],
            (510, 6, 516),
        ),
        (&[(InputWithoutCache, 10), (Output, 6)], (510, 6, 516)),
        // The same prompt, divided otherwise.
        (
            &[
                (InputWithoutCache, 10),
                (CacheReadExtra, 500),
                (CacheWriteExtra, 0),
                (Output, 6),
            ],
            (510, 6, 516),
        ),
        (
            &[(InputWithoutCache, 0), (CacheReadExtra, 510), (Output, 6)],
            (510, 6, 516),
        ),
        (&[(InputWithoutCache, 510), (Output, 6)], (510, 6, 516)),
    ] {
        assert_eq!(overlaid(&[start, later]), expected, "{later:?}");
    }
}

#[test]
fn snapshot_replaces_report_if_it_adds_up() {
    let inner: &[(Count, u64)] = &[
        (InputWithCache, 900),
        (Output, 300),
        (ReasoningExtra, 40),
        (ToolPromptExtra, 5),
        (SnapshotTotal, 1_245),
    ];
    for (reports, expected) in [
        (
            &[
                inner,
                &[(InputWithCache, 100), (Output, 20), (SnapshotTotal, 120)],
            ][..],
            (100, 20, 120),
        ),
        // In parts: the prompt, then the rest.
        (
            &[
                &[(InputWithCache, 10), (SnapshotTotal, 10)],
                &[(Output, 5), (SnapshotTotal, 15)],
            ],
            (10, 5, 15),
        ),
        // A prompt alone is no reason to forget output.
        (
            &[
                &[(InputWithCache, 10), (Output, 5), (SnapshotTotal, 15)],
                &[(InputWithCache, 10), (SnapshotTotal, 10)],
            ],
            (10, 5, 15),
        ),
        // One that does not add up changes what it has.
        (
            &[inner, &[(Output, 310), (SnapshotTotal, 1_255)]],
            (905, 350, 1_255),
        ),
    ] {
        assert_eq!(overlaid(reports), expected, "{reports:?}");
    }
}

#[test]
fn iteration_without_output_is_not_billed() {
    let mut sum = Counts::default();
    for (input, output) in [(1_000, 0), (1_210, 300), (40, 2)] {
        sum.add_iteration(&counts(&[(InputWithoutCache, input), (Output, output)]));
    }
    assert_eq!(parts(sum.normalize()), (1_250, 302, 1_552));
}

#[test]
fn unreadable_part_makes_report_unreadable() {
    let mut unreadable = Counts::default();
    unreadable.read(Count::Output, Reported::Negative);
    for merge in [Counts::raise, Counts::add_all, Counts::add_iteration] {
        let mut report = counts(&[(Count::Output, 3)]);
        merge(&mut report, &counts(&[(Count::Output, 4)]));
        assert!(!report.is_unreadable());
        merge(&mut report, &unreadable);
        assert!(report.is_unreadable());
        merge(&mut report, &counts(&[(Count::Output, 4)]));
        assert!(report.is_unreadable(), "whatever is merged later");
    }
}

#[test]
fn other_cache_of_the_same_input_replaces_the_first() {
    let input = (Count::InputWithoutCache, 10);
    let (read, write) = ((Count::CacheReadExtra, 5), (Count::CacheWriteExtra, 4));
    assert_eq!(overlaid(&[&[input, read], &[input, write]]), (14, 0, 14));
    assert_eq!(overlaid(&[&[input, write], &[input, read]]), (15, 0, 15));
    assert_eq!(overlaid(&[&[input, read], &[input]]), (15, 0, 15));
}
