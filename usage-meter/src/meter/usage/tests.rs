use super::{Count, Counts, Usage};

fn usage(counts: &[(Count, u64)]) -> Usage {
    let mut report = Counts::default();
    for &(count, tokens) in counts {
        report.set(count, Some(tokens));
    }
    report.usage()
}

#[test]
fn a_cache_beside_the_input_is_added_to_it() {
    let usage = usage(&[
        (Count::Input, 3),
        (Count::CacheRead, 40),
        (Count::CacheWrite, 500),
        (Count::Output, 7),
    ]);
    assert_eq!((usage.input_tokens, usage.total_tokens), (543, 550));
    assert_eq!(
        (usage.cached_tokens, usage.cache_creation_tokens),
        (40, 500)
    );
}

#[test]
fn a_cache_within_the_prompt_is_not() {
    let usage = usage(&[
        (Count::Prompt, 100),
        (Count::CacheRead, 40),
        (Count::Cached, 40),
        (Count::Output, 7),
        (Count::Total, 107),
    ]);
    assert_eq!((usage.input_tokens, usage.total_tokens), (100, 107));
    assert_eq!(usage.cached_tokens, 40);
}

#[test]
fn tool_prompts_and_thoughts_are_added() {
    let usage = usage(&[
        (Count::Prompt, 20),
        (Count::ToolPrompt, 371),
        (Count::Output, 192),
        (Count::Thoughts, 192),
        (Count::Total, 775),
    ]);
    assert_eq!((usage.input_tokens, usage.output_tokens), (391, 384));
    assert_eq!((usage.total_tokens, usage.reasoning_tokens), (775, 192));
}

#[test]
fn reasoning_or_audio_left_out_of_the_parts_is_found_by_the_total() {
    let xai = usage(&[
        (Count::Prompt, 496),
        (Count::Output, 77),
        (Count::Reasoning, 256),
        (Count::Total, 829),
    ]);
    assert_eq!((xai.output_tokens, xai.total_tokens), (333, 829));
    let mistral = usage(&[
        (Count::Prompt, 5),
        (Count::Output, 11),
        (Count::Audio, 375),
        (Count::Total, 391),
    ]);
    assert_eq!((mistral.input_tokens, mistral.total_tokens), (380, 391));
}

#[test]
fn the_total_is_never_below_its_parts_nor_missing() {
    assert_eq!(
        usage(&[(Count::Prompt, 5), (Count::Output, 6)]).total_tokens,
        11
    );
    assert_eq!(
        usage(&[(Count::Prompt, 5), (Count::Output, 6), (Count::Total, 1)]).total_tokens,
        11
    );
    assert_eq!(
        usage(&[(Count::Prompt, u64::MAX), (Count::Output, 6)]).total_tokens,
        u64::MAX
    );
    assert_eq!(usage(&[(Count::Total, 18)]).total_tokens, 18);
}

#[test]
fn billed_units_count_where_nothing_else_does() {
    assert_eq!(usage(&[(Count::BilledInput, 2)]).total_tokens, 2);
    let both = usage(&[
        (Count::BilledInput, 7),
        (Count::BilledOutput, 3),
        (Count::Prompt, 502),
        (Count::Output, 6),
    ]);
    assert_eq!((both.input_tokens, both.output_tokens), (502, 6));
}

#[test]
fn a_later_report_wins_field_by_field() {
    let mut report = Counts::default();
    report.set(Count::Input, Some(11));
    report.set(Count::Output, Some(1));
    let mut later = Counts::default();
    later.set(Count::Output, Some(6));
    report.overlay(&later);
    assert_eq!(
        (report.get(Count::Input), report.get(Count::Output)),
        (Some(11), Some(6))
    );
}
