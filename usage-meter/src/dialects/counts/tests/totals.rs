//! A total beside its parts, and what a gap between them is.

use super::{
    AudioInput, CacheReadExtra, CacheReadIncluded, CacheWriteExtra, CacheWriteIncluded,
    ConnectorInput, Count, InputWithCache, InputWithoutCache, MAX_TOKENS, Output, ReasoningExtra,
    ReasoningIncluded, Total, overlaid, parts, usage,
};

#[test]
fn gap_to_total_is_what_a_part_excludes() {
    for (report, expected) in [
        // xAI: reasoning. Mistral: audio, prompts of connectors.
        (
            &[
                (InputWithCache, 496),
                (Output, 277),
                (ReasoningIncluded, 256),
                (Total, 1_029),
            ][..],
            (496, 533, 1_029),
        ),
        (
            &[
                (InputWithCache, 5),
                (Output, 11),
                (AudioInput, 375),
                (Total, 391),
            ],
            (380, 11, 391),
        ),
        (
            &[
                (InputWithCache, 188),
                (Output, 55),
                (ConnectorInput, 7_112),
                (Total, 7_355),
            ],
            (7_300, 55, 7_355),
        ),
        // A gateway that names Anthropic's input after OpenAI's: cache reads, writes, both.
        (
            &[
                (InputWithCache, 100),
                (Output, 9),
                (CacheReadExtra, 50),
                (CacheReadIncluded, 50),
                (Total, 159),
            ],
            (150, 9, 159),
        ),
        (
            &[
                (InputWithCache, 100),
                (Output, 9),
                (CacheWriteIncluded, 70),
                (Total, 179),
            ],
            (170, 9, 179),
        ),
        (
            &[
                (InputWithCache, 100),
                (Output, 9),
                (CacheReadExtra, 50),
                (CacheWriteExtra, 70),
                (Total, 229),
            ],
            (220, 9, 229),
        ),
        (
            &[
                (InputWithCache, 10),
                (Output, 9),
                (CacheReadExtra, 5),
                (ReasoningIncluded, 8),
                (Total, 32),
            ],
            (15, 17, 32),
        ),
        // They are included if there is no gap.
        (
            &[
                (InputWithCache, 7_300),
                (Output, 55),
                (ConnectorInput, 7_112),
                (Total, 7_355),
            ],
            (7_300, 55, 7_355),
        ),
        // The cache was added before the total was compared.
        (
            &[
                (InputWithoutCache, 10),
                (CacheReadExtra, 40),
                (Output, 5),
                (Total, 95),
            ],
            (50, 45, 95),
        ),
    ] {
        assert_eq!(parts(usage(report)), expected, "{report:?}");
    }
    let without_total = [(InputWithCache, 188), (Output, 55), (ConnectorInput, 7_112)];
    assert_eq!(parts(usage(&without_total)), (7_300, 55, 7_355));
}

#[test]
fn other_gap_is_the_missing_part_or_output() {
    for (report, expected) in [
        (&[(Output, 5), (Total, 25)][..], (20, 5, 25)),
        (
            &[(InputWithCache, 0), (Output, 5), (Total, 25)],
            (20, 5, 25),
        ),
        (&[(InputWithCache, 20), (Total, 25)], (20, 5, 25)),
        (
            &[(InputWithCache, 20), (Output, 424), (Total, 1_016)],
            (20, 996, 1_016),
        ),
        (&[(Total, 18)], (0, 0, 18)),
    ] {
        assert_eq!(parts(usage(report)), expected, "{report:?}");
    }
}

#[test]
fn total_shows_whether_output_includes_extra_reasoning() {
    for (output, reasoning, total, expected) in [
        (20, 5, 30, (10, 20, 30)),
        (20, 5, 35, (10, 25, 35)),
        (20, 20, 30, (10, 20, 30)),
        // It cannot be a part of less output, whatever the total is.
        (5, 20, 15, (10, 25, 35)),
    ] {
        let usage = usage(&[
            (InputWithCache, 10),
            (Output, output),
            (ReasoningExtra, reasoning),
            (Total, total),
        ]);
        assert_eq!(parts(usage), expected, "{output} {reasoning} {total}");
    }
}

#[test]
fn total_is_at_least_its_parts() {
    for (report, total) in [
        (&[(InputWithCache, 5), (Output, 6)][..], 11),
        (&[(InputWithCache, 5), (Output, 6), (Total, 1)], 11),
        (
            &[(InputWithCache, MAX_TOKENS), (Output, MAX_TOKENS)],
            2 * MAX_TOKENS,
        ),
    ] {
        assert_eq!(usage(report).total_tokens, total, "{report:?}");
    }
}

#[test]
fn gap_is_any_sum_of_parts_of_the_input() {
    for gap in 0..16 {
        let usage = usage(&[
            (InputWithCache, 100),
            (Output, 50),
            (AudioInput, 1),
            (ConnectorInput, 2),
            (CacheReadIncluded, 4),
            (CacheWriteIncluded, 8),
            (Total, 150 + gap),
        ]);
        assert_eq!(parts(usage), (100 + gap, 50, 150 + gap));
    }
}

#[test]
fn total_stays_where_no_part_of_it_changes() {
    let report = [(InputWithCache, 3), (Output, 4), (Total, 10)];
    assert_eq!(overlaid(&[&report, &[(Output, 4)]]), (3, 7, 10));
    assert_eq!(overlaid(&[&report, &[(Output, 5)]]), (3, 5, 8));
    assert_eq!(overlaid(&[&report, &[(Output, 5), (Total, 9)]]), (3, 6, 9));
}

#[test]
fn gap_is_one_of_several_parts() {
    let report = [
        (Count::InputWithCache, 10),
        (Count::Output, 5),
        (Count::AudioInput, 3),
        (Count::CacheReadIncluded, 4),
    ];
    for (total, expected) in [
        (18, (13, 5, 18)),
        (19, (14, 5, 19)),
        (22, (17, 5, 22)),
        (20, (10, 10, 20)),
    ] {
        let report = [&report[..], &[(Count::Total, total)]].concat();
        assert_eq!(parts(usage(&report)), expected, "{total}");
    }
}
