//! Units, windows and numbers, as responses write them.

use crate::policies::Unit;

/// Returns the name of a quota unit.
pub(crate) const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Tokens(_) => "tokens",
        Unit::Requests(_) => "requests",
        Unit::Usd(_) => "usd",
        Unit::InFlight => "concurrent-requests",
    }
}

/// Returns the seconds of a window; `None` for units that have none.
pub(super) fn window(unit: Unit, counters: limits::Rate) -> Option<u64> {
    (unit != Unit::InFlight).then(|| counters.window().length.as_secs_rounded_up())
}

/// Appends a number to a text.
pub(super) fn push(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}
