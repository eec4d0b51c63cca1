//! The command line.

use std::path::PathBuf;

use crate::error::Error;

const USAGE: &str = "bench [--rounds N] [--seconds N] [--connections N] [--filter TEXT]... [--workload TEXT]... \
                     [--base MODULE] [--json FILE] [--profile SECONDS] [--keys N]";

/// What is measured, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Rounds that count.
    pub rounds: usize,
    /// Seconds of load for each measurement.
    pub seconds: u64,
    /// Concurrent connections.
    pub connections: u32,
    /// Texts of which the name of a measured filter contains one; all are measured if there are none.
    pub filters: Vec<String>,
    /// The same for the titles of workloads.
    pub workloads: Vec<String>,
    /// Another module, which is measured beside this one.
    pub base: Option<PathBuf>,
    /// The file that has the results as JSON.
    pub json: Option<PathBuf>,
    /// The seconds for which tollgate is profiled instead, under the first workload.
    pub profile: Option<u64>,
    /// The number of callers of a flood, if that is measured instead.
    pub keys: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 5,
            seconds: 1,
            // Enough to keep Envoy's worker busy, so that waking it up is no part of the cost.
            connections: 32,
            filters: Vec::new(),
            workloads: Vec::new(),
            base: None,
            json: None,
            profile: None,
            keys: None,
        }
    }
}

// === impl Options ===

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(Error::Usage(USAGE))?;
            let number = || match value.parse::<u32>() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(Error::Usage(USAGE)),
            };
            match name.as_str() {
                "--rounds" => options.rounds = number()? as usize,
                "--seconds" => options.seconds = number()?.into(),
                "--connections" => options.connections = number()?,
                "--profile" => options.profile = Some(number()?.into()),
                "--keys" => options.keys = Some(number()?.into()),
                "--filter" => options.filters.push(value),
                "--workload" => options.workloads.push(value),
                "--base" => options.base = Some(value.into()),
                "--json" => options.json = Some(value.into()),
                _ => return Err(Error::Usage(USAGE)),
            }
        }
        Ok(options)
    }

    /// Returns whether the filter with this name is measured.
    pub(crate) fn has_filter(&self, name: &str) -> bool {
        is_selected(&self.filters, name)
    }

    /// Returns whether the workload with this title is measured.
    pub(crate) fn has_workload(&self, title: &str) -> bool {
        is_selected(&self.workloads, title)
    }
}

/// Returns whether a name contains one of these texts, or there are none.
fn is_selected(texts: &[String], name: &str) -> bool {
    texts.is_empty() || texts.iter().any(|text| name.contains(text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn parse(line: &str) -> Option<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned)).ok()
    }

    #[test]
    fn texts_select_filters_and_workloads() {
        let options = parse("--filter ratelimit --filter budget --workload JSON").expect("valid");
        assert!(options.has_filter("Envoy's `ratelimit`"));
        assert!(options.has_filter("tollgate, ten limits and a budget"));
        assert!(!options.has_filter("tollgate, two limits"));
        assert!(options.has_workload("JSON 2 kB"));
        assert!(!options.has_workload("SSE 20 kB"));
        assert!(parse("").expect("valid").has_filter("anything"));
    }

    #[test]
    fn unknown_options_are_rejected() {
        for line in ["--round 3", "--rounds 0", "--rounds x", "--json"] {
            assert!(parse(line).is_none(), "{line}");
        }
    }
}
