//! `text.format(list)` and `strings.quote(text)`.

use std::fmt::Write as _;

use cel::ExecutionError;
use cel::common::types::{CelType, Kind};
use cel::common::value::Val;
use chrono::TimeDelta;

use super::scalar::Scalar;
use super::{absent, times};

/// Digits after the point in `%f` and `%e`, unless they are given.
const PRECISION: usize = 6;

/// The most digits after the point, which bounds the length of the result.
const MAX_PRECISION: usize = 100;

/// The result of printing, or what cannot be printed.
type Printed<T> = Result<T, &'static str>;

/// Returns a format with its clauses replaced by the elements of a list. `list` is of a type that can be iterated.
pub(super) fn format(format: &str, list: &dyn Val) -> Result<String, ExecutionError> {
    let print = || {
        let mut items = list.as_iterable().ok_or("expected a list")?.iter();
        let mut printed = String::with_capacity(format.len());
        let mut rest = format;
        while let Some((before, clause)) = rest.split_once('%') {
            printed.push_str(before);
            if let Some(after) = clause.strip_prefix('%') {
                printed.push('%');
                rest = after;
                continue;
            }
            let item = items.next().ok_or("too few arguments")?;
            let (precision, clause) = precision(clause)?;
            let mut characters = clause.chars();
            let verb = characters.next().ok_or("unexpected end of the format")?;
            self::clause(&mut printed, verb, precision, item)?;
            rest = characters.as_str();
        }
        printed.push_str(rest);
        Ok(printed)
    };
    print().map_err(|problem: &str| ExecutionError::function_error("format", problem))
}

/// Reads the precision that a clause may begin with.
fn precision(clause: &str) -> Printed<(usize, &str)> {
    let Some(clause) = clause.strip_prefix('.') else {
        return Ok((PRECISION, clause));
    };
    let rest = clause.trim_start_matches(|character: char| character.is_ascii_digit());
    let digits = clause.strip_suffix(rest).unwrap_or_default();
    let precision = digits.parse().ok();
    let precision = precision.filter(|precision| *precision <= MAX_PRECISION);
    Ok((
        precision.ok_or("invalid precision, expected at most 100")?,
        rest,
    ))
}

/// Prints a value by a clause such as `%d`.
fn clause(printed: &mut String, verb: char, precision: usize, value: &dyn Val) -> Printed<()> {
    if verb == 's' {
        return string(printed, value);
    }
    let scalar = Scalar::of(value);
    let written = match (verb, &scalar) {
        ('d', Some(Scalar::Int(int))) => write!(printed, "{int}"),
        ('d', Some(Scalar::Uint(uint))) => write!(printed, "{uint}"),
        ('d', Some(Scalar::Double(number))) => double(printed, *number),
        ('f' | 'e', scalar) => {
            let number = number(scalar.as_ref()).ok_or("expected a number")?;
            match non_finite(number) {
                Some(text) => printed.write_str(text),
                None if verb == 'f' => write!(printed, "{number:.precision$}"),
                None => scientific(printed, number, precision),
            }
        }
        ('b', Some(Scalar::Bool(value))) => write!(printed, "{}", u8::from(*value)),
        ('b', Some(Scalar::Int(int))) => write!(printed, "{}{:b}", sign(*int), int.unsigned_abs()),
        ('b', Some(Scalar::Uint(uint))) => write!(printed, "{uint:b}"),
        ('o', Some(Scalar::Int(int))) => write!(printed, "{}{:o}", sign(*int), int.unsigned_abs()),
        ('o', Some(Scalar::Uint(uint))) => write!(printed, "{uint:o}"),
        ('x', Some(Scalar::Int(int))) => write!(printed, "{}{:x}", sign(*int), int.unsigned_abs()),
        ('X', Some(Scalar::Int(int))) => write!(printed, "{}{:X}", sign(*int), int.unsigned_abs()),
        ('x', Some(Scalar::Uint(uint))) => write!(printed, "{uint:x}"),
        ('X', Some(Scalar::Uint(uint))) => write!(printed, "{uint:X}"),
        ('x' | 'X', Some(Scalar::Text(text))) => hex(printed, text.as_bytes(), verb),
        ('x' | 'X', Some(Scalar::Bytes(bytes))) => hex(printed, bytes, verb),
        _ => return Err("unknown clause, or one that does not print values of this type"),
    };
    written.map_err(|_| "failed to print")
}

/// Prints a value as `%s` does, with its elements. It recurses as deep as values nest, which is bounded.
fn string(printed: &mut String, value: &dyn Val) -> Printed<()> {
    if let Some(scalar) = Scalar::of(value) {
        let written = match scalar {
            Scalar::Bool(value) => write!(printed, "{value}"),
            Scalar::Int(int) => write!(printed, "{int}"),
            Scalar::Uint(uint) => write!(printed, "{uint}"),
            Scalar::Double(number) => double(printed, number),
            Scalar::Text(text) => printed.write_str(text),
            Scalar::Bytes(bytes) => printed.write_str(&lossy(bytes)),
            Scalar::Time(time) => printed.write_str(&times::print(time)),
            Scalar::Duration(duration) => {
                double(printed, seconds(duration)).and_then(|()| printed.write_str("s"))
            }
        };
        return written.map_err(|_| "failed to print");
    }
    if absent::is_null(value) {
        printed.push_str("null");
    } else if let Some(name) = value.downcast_ref::<CelType>() {
        printed.push_str(name.name());
    } else if value.get_type().kind() == Kind::List
        && let Some(list) = value.as_iterable()
    {
        let mut items = list.iter();
        let mut separator = "[";
        while let Some(item) = items.next() {
            printed.push_str(separator);
            string(printed, item)?;
            separator = ", ";
        }
        printed.push_str(if separator == "[" { "[]" } else { "]" });
    } else if value.get_type().kind() == Kind::Map
        && let (Some(keys), Some(values)) = (value.as_iterable(), value.as_indexer())
    {
        let mut keys = keys.iter();
        let mut entries = Vec::new();
        while let Some(key) = keys.next() {
            let value = values.get(key).map_err(|_| "failed to read a map")?;
            let mut entry = [String::new(), String::new()];
            let [name, text] = &mut entry;
            string(name, key)?;
            string(text, value.as_ref())?;
            entries.push(entry);
        }
        entries.sort();
        let entries: Vec<String> = entries.iter().map(|entry| entry.join(": ")).collect();
        printed.push('{');
        printed.push_str(&entries.join(", "));
        printed.push('}');
    } else {
        return Err("expected a value that has a text");
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the closest double is what is printed"
)]
fn number(scalar: Option<&Scalar<'_>>) -> Option<f64> {
    match scalar? {
        Scalar::Int(int) => Some(*int as f64),
        Scalar::Uint(uint) => Some(*uint as f64),
        Scalar::Double(double) => Some(*double),
        _ => None,
    }
}

/// Returns the text of an infinite double or of NaN.
fn non_finite(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        Some("NaN")
    } else if number.is_infinite() {
        Some(if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        })
    } else {
        None
    }
}

/// Prints a double in the fewest digits that identify it, without an exponent.
fn double(printed: &mut String, number: f64) -> std::fmt::Result {
    match non_finite(number) {
        Some(text) => printed.write_str(text),
        None => write!(printed, "{number}"),
    }
}

/// Prints a double with an exponent of a sign and at least two digits, which Rust does not print.
fn scientific(printed: &mut String, number: f64, precision: usize) -> std::fmt::Result {
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    write!(printed, "{mantissa}e{sign}{exponent:0>2}")
}

/// Returns the sign of an integer whose digits are printed without it.
fn sign(int: i64) -> &'static str {
    if int < 0 { "-" } else { "" }
}

fn hex(printed: &mut String, bytes: &[u8], verb: char) -> std::fmt::Result {
    bytes.iter().try_for_each(|byte| {
        if verb == 'X' {
            write!(printed, "{byte:02X}")
        } else {
            write!(printed, "{byte:02x}")
        }
    })
}

/// Returns bytes as a text, in which one character replaces a run that is not UTF-8.
fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut was_invalid = false;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        was_invalid &= chunk.valid().is_empty();
        if !chunk.invalid().is_empty() && !was_invalid {
            text.push(char::REPLACEMENT_CHARACTER);
            was_invalid = true;
        }
    }
    text
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the closest double is what is printed"
)]
fn seconds(duration: &TimeDelta) -> f64 {
    duration.num_seconds() as f64 + f64::from(duration.subsec_nanos()) / 1e9
}

/// Returns a text in quotes, with escapes.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for character in text.chars() {
        let escape = match character {
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\u{b}' => 'v',
            '\\' | '"' => character,
            other => {
                quoted.push(other);
                continue;
            }
        };
        quoted.extend(['\\', escape]);
    }
    quoted.push('"');
    quoted
}
