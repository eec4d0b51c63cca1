//! Recorded responses of real services, if the corpus is present.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{BedrockCounts, Meter, ResponseHead};

/// Returns the corpus: `TOLLGATE_CORPUS`, else `shared/corpus` beside the repository or above it.
fn corpus() -> Option<PathBuf> {
    let has_cases = |path: &PathBuf| path.join("cases").is_dir();
    if let Some(path) = std::env::var_os("TOLLGATE_CORPUS") {
        return Some(PathBuf::from(path)).filter(has_cases);
    }
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|directory| directory.join("shared/corpus"))
        .find(has_cases)
}

/// A recorded response.
struct Case {
    id: String,
    status: u16,
    headers: Vec<(String, String)>,
    path: String,
    body: Vec<u8>,
    expected: Value,
}

impl Case {
    fn read(directory: &Path) -> Self {
        let read = |name| fs::read_to_string(directory.join(name)).unwrap();
        let headers: Vec<(String, String)> = read("response.headers")
            .lines()
            .filter_map(|line| line.rsplit_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let expected: Value = serde_json::from_str(&read("expected.json")).unwrap();
        let url = fs::read(directory.join("request.json"))
            .ok()
            .and_then(|request| serde_json::from_slice::<Value>(&request).ok())
            .and_then(|request| Some(request["url"].as_str()?.to_owned()))
            .unwrap_or_default();
        let path = url
            .split_once("://")
            .and_then(|(_, rest)| Some(format!("/{}", rest.split_once('/')?.1)))
            .unwrap_or_default();
        Self {
            id: expected["id"].as_str().unwrap().to_owned(),
            status: expected["status"].as_u64().unwrap().try_into().unwrap(),
            headers,
            path,
            body: fs::read(directory.join("response.body")).unwrap(),
            expected,
        }
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_bytes())
    }

    fn meter(&self) -> Meter {
        Meter::new(&ResponseHead {
            status: self.status,
            content_type: self.header("content-type"),
            content_encoding: self.header("content-encoding"),
            path: self.path.as_bytes(),
            bedrock_counts: BedrockCounts {
                input: self.header("x-amzn-bedrock-input-token-count"),
                output: self.header("x-amzn-bedrock-output-token-count"),
                cache_read_input: self.header("x-amzn-bedrock-cache-read-input-token-count"),
                cache_write_input: self.header("x-amzn-bedrock-cache-write-input-token-count"),
            },
        })
    }

    /// Returns input, output, total and cached tokens; `None` if the response has no usage.
    fn expectation(&self) -> Option<[u64; 4]> {
        let normalized = &self.expected["normalized"];
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let header = &self.expected["header_usage"];
        if self.expected["usage_present"] == false && header.is_object() {
            let (input, output) = (number(&header["input"]), number(&header["output"]));
            return Some([input, output, input + output, 0]);
        }
        self.expected["usage_present"].as_bool().unwrap().then(|| {
            [
                number(&normalized["input_tokens"]),
                number(&normalized["output_tokens"]),
                number(&normalized["total_tokens"]),
                number(&self.expected["cached_tokens"]),
            ]
        })
    }

    /// Describes the difference between the result of a split and the expectation, if any.
    fn difference(&self, split: &str, meter: &Meter) -> Option<String> {
        let found = meter.usage().map(|usage| {
            [
                usage.input_tokens,
                usage.output_tokens,
                usage.total_tokens,
                usage.cached_tokens,
            ]
        });
        let expected = self.expectation();
        (found != expected).then(|| format!("{} ({split}): {found:?} for {expected:?}", self.id))
    }
}

#[test]
fn recorded_responses_are_metered_exactly() {
    let Some(corpus) = corpus() else {
        println!("recorded_responses_are_metered_exactly: skipped, there is no corpus");
        return;
    };
    let mut failures = Vec::new();
    let mut count = 0;
    // A fixed seed, so that failures are reproducible.
    let mut random = fastrand::Rng::with_seed(0x9e37_79b9_7f4a_7c15);
    for directory in fs::read_dir(corpus.join("cases")).unwrap() {
        let case = Case::read(&directory.unwrap().path());
        if case.expected["ambiguous"] == true {
            continue;
        }
        count += 1;
        let mut meter = case.meter();
        meter.push(&case.body);
        // A final result must not change.
        let early = meter.is_likely_final().then(|| meter.usage());
        meter.finish();
        if early.is_some_and(|early| early != meter.usage()) {
            failures.push(format!("{}: final too early", case.id));
        }
        failures.extend(case.difference("whole", &meter));

        let mut meter = case.meter();
        for byte in &case.body {
            let before = meter.is_likely_final().then(|| meter.usage());
            meter.push(&[*byte]);
            if before.is_some_and(|before| before != meter.usage()) {
                failures.push(format!("{}: changed after it was final", case.id));
            }
        }
        meter.finish();
        failures.extend(case.difference("byte by byte", &meter));

        for longest in [7, 100, 1_400, 16_384] {
            let mut meter = case.meter();
            let mut rest = case.body.as_slice();
            while !rest.is_empty() {
                let length = random.usize(1..=longest);
                let (piece, tail) = rest.split_at(length.min(rest.len()));
                meter.push(piece);
                rest = tail;
            }
            meter.finish();
            failures.extend(case.difference("random", &meter));
        }
    }
    println!("{count} cases");
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn output_bytes_approximate_skipped_events() {
    let Some(corpus) = corpus() else {
        println!("output_bytes_approximate_skipped_events: skipped, there is no corpus");
        return;
    };
    let mut failures = Vec::new();
    let mut count = 0;
    for directory in fs::read_dir(corpus.join("cases")).unwrap() {
        let case = Case::read(&directory.unwrap().path());
        if case.expected["container"] != "sse" || case.header("content-encoding").is_some() {
            continue;
        }
        // Nothing is skipped in single bytes.
        let mut every_byte = case.meter();
        let mut from = 0;
        for tenths in 1..10 {
            let cut = case.body.len() * tenths / 10;
            for byte in case.body[from..cut].chunks(1) {
                every_byte.push(byte);
            }
            from = cut;
            let exact = every_byte.output_bytes();
            for piece in [1_400, 4_096, 16_384] {
                let mut meter = case.meter();
                for piece in case.body[..cut].chunks(piece) {
                    meter.push(piece);
                }
                meter.finish();
                let found = meter.output_bytes();
                count += 1;
                assert!(
                    found.abs_diff(exact) <= exact / 2,
                    "{}: {found} for {exact}",
                    case.id
                );
                if found.abs_diff(exact) > exact / 4 {
                    failures.push(format!(
                        "{} at {cut} by {piece}: {found} for {exact}",
                        case.id
                    ));
                }
            }
        }
    }
    // An estimate for skipped events: nearly always within a quarter.
    assert!(
        failures.len() * 100 <= count,
        "{count} prefixes, too many differ:\n{}",
        failures.join("\n")
    );
}
