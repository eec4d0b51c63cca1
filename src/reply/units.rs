//! Units, windows and numbers, as responses write them.

use crate::policies::Unit;
use limits::Nanos;

/// Returns the name of a quota unit.
pub(super) const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Tokens(_) => "tokens",
        Unit::Requests(_) => "requests",
        Unit::Usd(_) => "usd",
        Unit::InFlight => "concurrent-requests",
    }
}

/// Returns the seconds of a window; `None` for units that have none.
pub(super) fn window(unit: Unit, counters: limits::Rate) -> Option<u64> {
    (unit != Unit::InFlight).then(|| seconds(counters.window().length))
}

/// Returns the whole seconds of a length of time, rounded up.
pub(super) const fn seconds(length: Nanos) -> u64 {
    length.as_u64().div_ceil(Nanos::SECOND.as_u64())
}

/// Appends a number to a text.
pub(super) fn push(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}
