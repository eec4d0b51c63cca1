//! A line chart: the scale of its values, and lines as the paths of SVG.

use std::fmt::Write;

use crate::prometheus::{Series, Span};

/// The longest pause between two samples of a line, in seconds; a longer one interrupts it.
const MAX_PAUSE: f64 = 3.0;

/// The area of a chart, in the units of the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    /// The left edge.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// The width.
    pub width: f64,
    /// The height.
    pub height: f64,
}

/// Returns the end of the axis of values, which begins at 0: 1, 2 or 5 times a power of ten.
pub(super) fn end_of_axis<'a>(series: impl Iterator<Item = &'a Series>) -> f64 {
    let values = series.flat_map(|series| series.samples.iter().map(|(_, value)| *value));
    let highest = values.fold(0.0, f64::max);
    if highest <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(highest.log10().floor());
    let steps = [1.0, 2.0, 5.0];
    let step = steps.into_iter().find(|step| step * power >= highest);
    step.unwrap_or(10.0) * power
}

/// Returns a value with its unit, short enough for an axis.
pub(super) fn label(value: f64, unit: &str) -> String {
    let (value, suffix) = match unit {
        "percentunit" => (value * 100.0, "%"),
        "bytes" if value >= 1_048_576.0 => (value / 1_048_576.0, " MiB"),
        "bytes" => (value / 1024.0, " KiB"),
        "reqps" | "ops" => (value, "/s"),
        _ if value >= 10_000.0 => (value / 1000.0, "k"),
        _ => (value, ""),
    };
    let prefix = if unit == "currencyUSD" { "$" } else { "" };
    let digits = if value >= 10.0 || value.fract() < f64::EPSILON {
        0
    } else {
        2
    };
    format!("{prefix}{value:.digits$}{suffix}")
}

/// Returns the commands of a `path` that draws a line.
pub(super) fn path(series: &Series, span: Span, end_of_axis: f64, area: Area) -> String {
    let mut path = String::new();
    let mut before = f64::NEG_INFINITY;
    for (time, value) in &series.samples {
        let x = area.x + (time - span.0) / (span.1 - span.0) * area.width;
        let y = area.y + (1.0 - value / end_of_axis).clamp(0.0, 1.0) * area.height;
        let command = if time - before > MAX_PAUSE { 'M' } else { 'L' };
        // Writing to a string cannot fail.
        let _ = write!(path, "{command}{x:.1} {y:.1}");
        before = *time;
    }
    path
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn series(samples: &[(f64, f64)]) -> Series {
        Series {
            labels: Value::Null,
            samples: samples.to_vec(),
        }
    }

    #[test]
    fn axis_ends_at_round_number() {
        for (highest, end) in [
            (0.0, 1.0),
            (0.7, 1.0),
            (1.2, 2.0),
            (30.0, 50.0),
            (700.0, 1000.0),
        ] {
            let series = [series(&[(0.0, 0.0), (1.0, highest)])];
            assert_eq!(end_of_axis(series.iter()).to_string(), end.to_string());
        }
    }

    #[test]
    fn line_is_interrupted_where_samples_are_missing() {
        let area = Area {
            x: 0.0,
            y: 0.0,
            width: 100.0,
            height: 10.0,
        };
        let series = series(&[(0.0, 0.0), (1.0, 1.0), (10.0, 0.5)]);
        let path = path(&series, (0.0, 10.0), 1.0, area);
        assert_eq!(path, "M0.0 10.0L10.0 0.0M100.0 5.0");
    }

    #[test]
    fn labels_have_units() {
        assert_eq!(label(0.5, "percentunit"), "50%");
        assert_eq!(label(2_097_152.0, "bytes"), "2 MiB");
        assert_eq!(label(0.25, "reqps"), "0.25/s");
        assert_eq!(label(5.0, "currencyUSD"), "$5");
        assert_eq!(label(20_000.0, "short"), "20k");
    }
}
