//! Results as XML of `JUnit`, which systems for continuous integration read.

use std::fmt::Write;

use super::run::Report;

/// Returns the XML of all files.
pub(super) fn xml(suites: &[(String, Vec<Report>)]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (file, reports) in suites {
        // Writing to a string does not fail.
        let _ = suite(&mut xml, file, reports);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn suite(xml: &mut String, file: &str, reports: &[Report]) -> std::fmt::Result {
    let count = |is: fn(&Report) -> bool| reports.iter().filter(|report| is(report)).count();
    let failures = count(|report| !report.mismatches.is_empty());
    let skipped = count(|report| report.is_skipped);
    writeln!(
        xml,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\">",
        escaped(file),
        reports.len()
    )?;
    for report in reports {
        let time = report
            .time
            .map_or_else(String::new, |time| format!(", time {time}"));
        let name = format!("{}. {}{time}", report.step, report.why);
        let (class, name) = (escaped(&report.title), escaped(&name));
        write!(xml, "    <testcase classname=\"{class}\" name=\"{name}\"")?;
        if report.is_skipped {
            writeln!(xml, "><skipped/></testcase>")?;
        } else if report.mismatches.is_empty() {
            writeln!(xml, "/>")?;
        } else {
            let message = escaped(&report.mismatches.join("\n"));
            writeln!(xml, "><failure message=\"{message}\"/></testcase>")?;
        }
    }
    writeln!(xml, "  </testsuite>")
}

/// Returns text as it can be in an attribute. What XML cannot have is replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            char if char.is_control() => escaped.push('\u{fffd}'),
            char => escaped.push(char),
        }
    }
    escaped
}
