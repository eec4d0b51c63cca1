//! Responses in files, which lie beside the repository where they are present.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{HeaderCounts, Meter, RequestPath, ResponseHead};

/// Returns the cases of a set of responses: in the directory that an environment variable names, else in
/// `shared/<name>` beside the repository or above it. `None` where there are none.
pub(super) fn cases(variable: &str, name: &str) -> Option<impl Iterator<Item = Case>> {
    let has_cases = |path: &PathBuf| path.join("cases").is_dir();
    let directory = match std::env::var_os(variable) {
        Some(path) => Some(PathBuf::from(path)).filter(has_cases),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|directory| directory.join("shared").join(name))
            .find(has_cases),
    };
    let directories = fs::read_dir(directory?.join("cases")).unwrap();
    Some(directories.map(|directory| Case::read(&directory.unwrap().path())))
}

/// A response, and the usage that it reports.
pub(super) struct Case {
    pub(super) id: String,
    status: u16,
    headers: Vec<(String, String)>,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    pub(super) expected: Value,
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
        let request: Value = fs::read(directory.join("request.json"))
            .ok()
            .and_then(|request| serde_json::from_slice(&request).ok())
            .unwrap_or_default();
        let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
        let url = text("url");
        let path = url
            .split_once("://")
            .and_then(|(_, rest)| Some(format!("/{}", rest.split_once('/')?.1)))
            .unwrap_or_default();
        Self {
            id: expected["id"].as_str().unwrap().to_owned(),
            status: expected["status"].as_u64().unwrap().try_into().unwrap(),
            headers,
            method: text("method"),
            path,
            body: fs::read(directory.join("response.body")).unwrap(),
            expected,
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_bytes())
    }

    pub(super) fn meter(&self) -> Meter {
        Meter::new(&ResponseHead {
            status: self.status,
            content_type: self.header("content-type"),
            content_encoding: self.header("content-encoding"),
            path: RequestPath::of(self.path.as_bytes()),
            header_counts: HeaderCounts::read(|name| self.header(name)),
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
    pub(super) fn difference(&self, split: &str, meter: &Meter) -> Option<String> {
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
