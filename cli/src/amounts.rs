//! Amounts and times as text.

use std::time::Duration;

/// The billionths of a dollar.
const BILLION: u64 = 1_000_000_000;

/// Returns an amount in its unit: `100 tokens`, `$0.25`.
#[must_use]
pub fn amount(unit: &str, amount: u64) -> String {
    match unit {
        "USD" => usd(amount),
        _ if amount == 1 => format!("1 {}", unit.trim_end_matches('s')),
        _ => format!("{amount} {unit}"),
    }
}

/// Returns billionths of a dollar in dollars, with two decimals or as many as there are.
#[must_use]
pub fn usd(billionths: u64) -> String {
    let (whole, rest) = (billionths / BILLION, billionths % BILLION);
    let decimals = format!("{rest:09}");
    let decimals = decimals.trim_end_matches('0');
    format!("${whole}.{decimals:0<2}")
}

/// Returns a duration as configurations write windows: `1m`, `24h`, `90s`.
#[must_use]
pub fn window(nanos: u64) -> String {
    let time = Duration::from_nanos(nanos);
    let seconds = time.as_secs();
    if time.subsec_nanos() > 0 {
        return format!("{}ms", time.as_millis());
    }
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(86_400) && seconds > 86_400 => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}
