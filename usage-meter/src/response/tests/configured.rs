//! The numbers at configured pointers.

use super::{JSON, SSE, head, tokens};
use crate::{DecoderMemory, Meter, TooManyPointers, Usage, UsageNumber, UsagePaths, UsagePointer};

use UsageNumber::{Cached, Input, Output, Total};

fn paths(pointers: &[(UsageNumber, &str)]) -> Result<UsagePaths, TooManyPointers> {
    let pointers: Vec<(UsageNumber, UsagePointer)> = pointers
        .iter()
        .map(|(number, pointer)| (*number, pointer.parse().unwrap()))
        .collect();
    UsagePaths::new(pointers.iter().map(|(number, pointer)| (*number, pointer)))
}

/// Reads a body, whole and in single bytes.
fn read(content_type: &str, pointers: &[(UsageNumber, &str)], body: &str) -> Option<Usage> {
    let paths = paths(pointers).unwrap();
    let read = |size: usize| {
        let mut meter = Meter::with_paths(&head(content_type), &paths, &DecoderMemory::default());
        for piece in body.as_bytes().chunks(size) {
            meter.push(piece);
        }
        meter.finish();
        meter.usage()
    };
    let whole = read(body.len());
    assert_eq!(read(1), whole, "{body}");
    whole
}

/// Returns input, output, total and cached tokens.
fn numbers(usage: Usage) -> [u64; 4] {
    [
        usage.input_tokens,
        usage.output_tokens,
        usage.total_tokens,
        usage.cached_tokens,
    ]
}

#[test]
fn first_pointer_with_a_number_sets_the_total() {
    let body = r#"{"x":{"y/z":[{"n":7},{"m":"8"}],"~":null},"usage":{"prompt_tokens":1,"completion_tokens":3,"total_tokens":4}}"#;
    for (pointers, expected) in [
        (&[][..], [1, 3, 4, 0]),
        (&[(Total, "/usage/total_tokens")], [1, 3, 4, 0]),
        (&[(Total, "/usage/completion_tokens")], [1, 3, 3, 0]),
        (
            &[(Total, "/none"), (Total, "/x/~0"), (Total, "/x/y~1z/0/n")],
            [1, 3, 7, 0],
        ),
        (
            &[(Total, "/x/y~1z/1/m"), (Total, "/usage/total_tokens")],
            [1, 3, 8, 0],
        ),
        (
            &[(Total, "/x/y~1z/0/m"), (Total, "/x/y~1z/1/n")],
            [1, 3, 4, 0],
        ),
    ] {
        let usage = read(JSON, pointers, body).map(numbers);
        assert_eq!(usage, Some(expected), "{pointers:?}");
    }
    let total = |body| read(JSON, &[(Total, "/n")], body).map(numbers);
    assert_eq!(total(r#"{"n":5}"#), Some([0, 0, 5, 0]));
    assert_eq!(total(r#"{"n":null}"#), None);
}

#[test]
fn each_number_has_pointers_of_its_own() {
    let body = r#"{"meter":{"in":[20,4],"out":{"text":6,"thoughts":"3"},"all":40,"hits":9}}"#;
    for (pointers, expected) in [
        (&[(Input, "/meter/in/0")][..], [20, 0, 20, 0]),
        (&[(Output, "/meter/out/text")], [0, 6, 6, 0]),
        (
            &[
                (Input, "/meter/in/0 + /meter/in/1"),
                (Output, "/none"),
                (Output, "/meter/out/text + /meter/out/thoughts + /none"),
                (Cached, "/meter/hits"),
            ],
            [24, 9, 33, 9],
        ),
        (
            &[(Input, "/meter/in/0"), (Total, "/meter/all")],
            [20, 20, 40, 0],
        ),
        (
            &[(Output, "/meter/out/text"), (Total, "/meter/all")],
            [34, 6, 40, 0],
        ),
        (&[(Cached, "/meter/hits")], [0, 0, 0, 9]),
        // In another order than in the body.
        (
            &[(Cached, "/meter/hits"), (Input, "/meter/in/0")],
            [20, 0, 20, 9],
        ),
    ] {
        let usage = read(JSON, pointers, body).map(numbers);
        assert_eq!(usage, Some(expected), "{pointers:?}");
    }
}

#[test]
fn configured_numbers_replace_those_of_the_dialect() {
    let body = r#"{"choices":[{}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"extra":[{"n":30}]}}"#;
    for (pointers, expected) in [
        (
            &[(Input, "/usage/prompt_tokens + /usage/extra/0/n")][..],
            [40, 5, 45, 0],
        ),
        (&[(Cached, "/usage/extra/0/n")], [10, 5, 15, 30]),
        (&[(Total, "/usage/extra/0/n")], [10, 5, 30, 0]),
        (&[(Total, "/usage/extra/1/n")], [10, 5, 15, 0]),
    ] {
        let usage = read(JSON, pointers, body).map(numbers);
        assert_eq!(usage, Some(expected), "{pointers:?}");
    }
}

#[test]
fn total_without_parts_stays() {
    let body = r#"{"choices":[],"usage":{"total_tokens":7},"hits":2}"#;
    let usage = read(JSON, &[(Cached, "/hits")], body).map(numbers);
    assert_eq!(usage, Some([0, 0, 7, 2]));
}

#[test]
fn zero_beside_text_and_outdated_numbers_are_partial() {
    let all = [(Input, "/n/in"), (Output, "/n/out")];
    let total = [(Total, "/n/all")];
    for (pointers, documents, is_partial) in [
        (&total[..], &[r#"{"answer":"hi","n":{"all":0}}"#][..], true),
        (&total, &[r#"{"answer":"","n":{"all":0}}"#], false),
        (&total, &[r#"{"answer":"hi","n":{"all":7}}"#], false),
        (&all, &[r#"{"answer":"hi","n":{"in":5,"out":0}}"#], true),
        (&all, &[r#"{"answer":"hi","n":{"in":0,"out":5}}"#], true),
        (&all, &[r#"{"answer":"hi","n":{"in":5,"out":5}}"#], false),
        (&all, &[r#"{"vector":[],"n":{"in":5,"out":0}}"#], false),
        (
            &all,
            &[
                r#"{"answer":"hi","n":{"in":5,"out":5}}"#,
                r#"{"n":{"in":1e400,"out":6}}"#,
            ],
            true,
        ),
        (
            &total,
            &[r#"{"answer":"hi","n":{"all":7}}"#, r#"{"n":{"all":1e400}}"#],
            true,
        ),
        (
            &total,
            &[r#"{"answer":"hi","n":{"all":-1}}"#, r#"{"n":{"all":7}}"#],
            false,
        ),
    ] {
        let body = documents.concat();
        let mut meter = Meter::with_paths(
            &head(JSON),
            &paths(pointers).unwrap(),
            &DecoderMemory::default(),
        );
        meter.push(body.as_bytes());
        meter.finish();
        assert!(meter.usage().is_some(), "{body}");
        assert_eq!(meter.is_partial(), is_partial, "{body}");
    }
}

#[test]
fn pointers_read_every_event() {
    let chunk = |n: u32| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"x\"}}}}],\"tokens\":[0,{n}]}}\n\n"
        )
    };
    let body: String = (1..=40).map(chunk).collect();
    let body = body + "data: {\"choices\":[],\"tokens\":[0,0]}\n\ndata: [DONE]\n\n";
    let usage = read(SSE, &[(Total, "/tokens/1")], &body);
    assert_eq!(usage.map(numbers), Some([0, 0, 40, 0]));
    let body = "data: {\"start\":{\"in\":8}}\n\ndata: {\"end\":[{\"out\":3}]}\n\n";
    let usage = read(SSE, &[(Input, "/start/in"), (Output, "/end/0/out")], body);
    assert_eq!(usage.map(numbers), Some([8, 3, 11, 0]));
}

#[test]
fn pointers_below_usage_skip_events() {
    let body: Vec<u8> = (1..=400)
        .flat_map(|n: u32| {
            format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"x\"}}}}],\"usage\":{{\"x\":[{n}]}}}}\n\n").into_bytes()
        })
        .collect();
    let mut meter = Meter::with_paths(
        &head(SSE),
        &paths(&[(Total, "/usage/x/0")]).unwrap(),
        &DecoderMemory::default(),
    );
    meter.push(&body);
    meter.finish();
    assert_eq!(tokens(&meter), Some((0, 0, 400)));
}

#[test]
fn value_without_a_number_is_no_report() {
    for (value, usage, is_unreadable) in [
        ("null", None, false),
        ("\"many\"", None, false),
        ("true", None, false),
        ("7", Some((0, 0, 7)), false),
        ("\"7\"", Some((0, 0, 7)), false),
        ("-7", None, true),
        ("1e30", None, true),
    ] {
        let paths = paths(&[(Total, "/billing/x")]).unwrap();
        let mut meter = Meter::with_paths(&head(JSON), &paths, &DecoderMemory::default());
        meter.push(format!("{{\"choices\":[],\"billing\":{{\"x\":{value}}}}}").as_bytes());
        meter.finish();
        assert_eq!(tokens(&meter), usage, "{value}");
        assert_eq!(meter.has_unreadable_counts(), is_unreadable, "{value}");
    }
}

#[test]
fn events_are_skipped_only_if_they_mention_usage() {
    for (pointers, may_skip) in [
        (&[][..], true),
        (&["/usage/x"], true),
        (&["/a/0/usage_total", "/usage/x"], true),
        (&["/billing/tokens"], false),
        (&["/usage/x", "/billing/tokens"], false),
    ] {
        let pointers: Vec<_> = pointers.iter().map(|text| (Total, *text)).collect();
        let paths = paths(&pointers).unwrap();
        assert_eq!(paths.are_below_usage(), may_skip, "{pointers:?}");
    }
}

#[test]
fn distinct_pointers_are_bounded() {
    let pointers: Vec<String> = (0..33).map(|n| format!("/n{n}")).collect();
    let with = |count: usize| {
        let pointers = pointers.iter().take(count);
        let pointers: Vec<_> = pointers.map(|text| (Total, text.as_str())).collect();
        paths(&pointers).map(|_| ())
    };
    assert_eq!(with(32), Ok(()));
    assert_eq!(with(33), Err(TooManyPointers));
    assert!(paths(&[(Total, "/x"); 40]).is_ok());
    let sum = pointers[..8].join(" + ");
    let sums: Vec<(UsageNumber, String)> = (0..5)
        .map(|n| (Input, sum.replace("/n", &format!("/{n}"))))
        .collect();
    let sums: Vec<_> = sums
        .iter()
        .map(|(number, text)| (*number, text.as_str()))
        .collect();
    assert!(paths(&sums[..4]).is_ok());
    assert!(paths(&sums).is_err());
}
