//! The lines that a test logs.

use log::{LevelFilter, Log, Metadata, Record};
use std::cell::RefCell;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A logger that keeps the lines of each thread.
struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// Returns the lines that a function logs.
pub(super) fn of(run: impl FnOnce()) -> Vec<String> {
    // Another test may have set it.
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Trace);
    LINES.take();
    run();
    LINES.take()
}
