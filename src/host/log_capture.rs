//! Log lines of the current thread, for tests.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::RefCell;
use std::sync::Once;

/// A line's level and text.
pub(crate) type Line = (Level, String);

/// Records the lines that the current thread logs while it lives. Captures of one thread may
/// overlap; each has the lines since its start.
#[derive(Debug)]
pub(crate) struct LogCapture {
    start: usize,
}

#[derive(Debug, Default)]
struct Recorded {
    captures: usize,
    lines: Vec<Line>,
}

struct Recorder;

thread_local! {
    static RECORDED: RefCell<Recorded> = RefCell::default();
}

// === impl LogCapture ===

impl LogCapture {
    /// Begins to record.
    #[must_use]
    pub(crate) fn start() -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            // Where a program has a logger of its own, nothing is recorded.
            if log::set_logger(&Recorder).is_ok() {
                log::set_max_level(LevelFilter::Trace);
            }
        });
        RECORDED.with_borrow_mut(|recorded| {
            recorded.captures = recorded.captures.saturating_add(1);
            Self {
                start: recorded.lines.len(),
            }
        })
    }

    /// Returns the lines logged since the start.
    #[must_use]
    pub(crate) fn lines(&self) -> Vec<Line> {
        RECORDED.with_borrow(|recorded| recorded.lines.iter().skip(self.start).cloned().collect())
    }
}

impl Drop for LogCapture {
    fn drop(&mut self) {
        RECORDED.with_borrow_mut(|recorded| {
            recorded.captures = recorded.captures.saturating_sub(1);
            if recorded.captures == 0 {
                recorded.lines.clear();
            }
        });
    }
}

// === impl Recorder ===

impl Log for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        RECORDED.with_borrow(|recorded| recorded.captures > 0)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = (record.level(), record.args().to_string());
            RECORDED.with_borrow_mut(|recorded| recorded.lines.push(line));
        }
    }

    fn flush(&self) {}
}
