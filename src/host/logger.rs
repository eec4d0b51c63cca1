//! The `log` facade on Envoy's log.

use super::abi;
use log::{Level, LevelFilter, Log, Metadata, Record};

/// Writes log records to Envoy's log, which names the plugin in each line.
#[derive(Debug)]
struct AbiLogger;

static LOGGER: AbiLogger = AbiLogger;

/// Makes the macros of `log` write to Envoy's log. Called once, when the module is initialized.
pub(crate) fn install() {
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
}

/// Returns the level's number in the ABI.
const fn number(level: Level) -> u32 {
    match level {
        Level::Trace => 0,
        Level::Debug => 1,
        Level::Info => 2,
        Level::Warn => 3,
        Level::Error => 4,
    }
}

// === impl AbiLogger ===

impl Log for AbiLogger {
    /// Reads Envoy's level for every line, because it can be changed while Envoy runs; lines are rare.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        number(metadata.level()) >= abi::log_level().unwrap_or(number(Level::Info))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            abi::log(number(record.level()), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}
