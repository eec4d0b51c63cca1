//! The command line.

use crate::error::Error;

const USAGE: &str = "bench [--rounds N] [--seconds N] [--connections N] [--workloads N] [--keys N]";

/// What is measured, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Rounds that count.
    pub rounds: usize,
    /// Seconds of load for each measurement.
    pub seconds: u64,
    /// Concurrent connections.
    pub connections: u32,
    /// How many of the workloads are measured, from the first.
    pub workloads: usize,
    /// The number of callers of a flood, if that is measured instead.
    pub keys: Option<u64>,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut options = Self {
            rounds: 7,
            seconds: 2,
            // Enough to keep Envoy's worker busy, so that waking it up is no part of the cost.
            connections: 32,
            workloads: usize::MAX,
            keys: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().and_then(|value| value.parse().ok());
            let value: u32 = value
                .filter(|value| *value > 0)
                .ok_or(Error::Usage(USAGE))?;
            match name.as_str() {
                "--rounds" => options.rounds = value as usize,
                "--seconds" => options.seconds = value.into(),
                "--connections" => options.connections = value,
                "--workloads" => options.workloads = value as usize,
                "--keys" => options.keys = Some(value.into()),
                _ => return Err(Error::Usage(USAGE)),
            }
        }
        Ok(options)
    }
}
