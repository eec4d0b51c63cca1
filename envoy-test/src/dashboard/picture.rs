//! A picture of panels: a grid of charts, as SVG.

use std::fmt::Write;

use super::chart::{self, Area};
use crate::prometheus::{Series, Span};

/// A panel with the result of its queries.
#[derive(Debug)]
pub(super) struct Drawing {
    /// The title.
    pub title: String,
    /// Grafana's unit of the values.
    pub unit: String,
    /// Lines with their legends.
    pub lines: Vec<(String, Series)>,
}

const COLUMNS: usize = 3;
const WIDTH: f64 = 370.0;
const HEIGHT: f64 = 210.0;
const GAP: f64 = 10.0;

/// The most lines of a panel.
const MAX_LINES: usize = 6;
/// The most characters of the text of a legend.
const MAX_LEGEND: usize = 28;

const COLORS: [&str; MAX_LINES] = [
    "#58a6ff", "#f78166", "#7ee787", "#d2a8ff", "#e3b341", "#79c0ff",
];

/// Returns the picture. Lines whose values are all 0 are drawn last, so that they have no place where there are many.
pub(super) fn svg(drawings: &[Drawing], span: Span) -> String {
    let rows = drawings.len().div_ceil(COLUMNS);
    let extent = |count: usize, length: f64| (0..count).map(|_| length + GAP).sum::<f64>() + GAP;
    let (width, height) = (extent(COLUMNS, WIDTH), extent(rows, HEIGHT));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Panels of the dashboard\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#0d1117\"/>\n\
         <g font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"#8b949e\">\n"
    );
    for (number, drawing) in drawings.iter().enumerate() {
        let x = extent(number % COLUMNS, WIDTH);
        let y = extent(number / COLUMNS, HEIGHT);
        panel(&mut svg, drawing, span, x, y);
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

fn panel(svg: &mut String, drawing: &Drawing, span: Span, x: f64, y: f64) {
    let mut lines: Vec<_> = drawing.lines.iter().collect();
    let is_zero = |samples: &[(f64, f64)]| samples.iter().all(|(_, value)| *value == 0.0);
    lines.sort_by_key(|(_, series)| is_zero(&series.samples));
    lines.truncate(MAX_LINES);
    let legend_rows = lines.len().div_ceil(2);
    let legend_height: f64 = (0..legend_rows).map(|_| 14.0).sum();
    let area = Area {
        x: x + 60.0,
        y: y + 34.0,
        width: WIDTH - 75.0,
        height: HEIGHT - 62.0 - legend_height,
    };
    let end = chart::end_of_axis(lines.iter().map(|(_, series)| series));
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"4\" fill=\"#161b22\" stroke=\"#30363d\"/>\
         <text x=\"{}\" y=\"{}\" font-size=\"13\" fill=\"#c9d1d9\">{}</text>",
        x + 12.0,
        y + 20.0,
        escaped(&drawing.title),
    );
    for part in [0.0, 0.5, 1.0] {
        let level = area.y + (1.0 - part) * area.height;
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {level:.1}h{:.1}\" stroke=\"#30363d\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            area.x,
            area.width,
            area.x - 6.0,
            level + 4.0,
            chart::label(end * part, &drawing.unit),
        );
    }
    let bottom = area.y + area.height + 14.0;
    for (part, anchor) in [(0.0, "start"), (1.0, "end")] {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{bottom:.1}\" text-anchor=\"{anchor}\">{:.0} s</text>",
            area.x + part * area.width,
            part * (span.1 - span.0),
        );
    }
    // The first line is on top.
    for ((_, series), color) in lines.iter().zip(COLORS).rev() {
        let path = chart::path(series, span, end, area);
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>"
        );
    }
    // Two columns of legends.
    let mut left = x + 14.0;
    let mut top = bottom + 15.0;
    for ((legend, _), color) in lines.iter().zip(COLORS) {
        let _ = writeln!(
            svg,
            "<path d=\"M{left:.1} {:.1}h10\" stroke=\"{color}\" stroke-width=\"3\"/>\
             <text x=\"{:.1}\" y=\"{top:.1}\">{}</text>",
            top - 4.0,
            left + 15.0,
            escaped(&shortened(legend)),
        );
        if left > x + WIDTH / 2.0 {
            left = x + 14.0;
            top += 14.0;
        } else {
            left += WIDTH / 2.0;
        }
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= MAX_LEGEND {
        return text.to_owned();
    }
    text.chars().take(MAX_LEGEND - 1).chain(['…']).collect()
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}
