//! Conversions: `int(x)`, `string(x)` and the like.

use cel::ExecutionError;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelString, CelTimestamp, CelUInt,
};
use cel::common::value::{CowVal, Val};
use chrono::{DateTime, Datelike, FixedOffset};

use super::scalar::Scalar;
use super::{Evaluated, times};

const I64_MIN: f64 = -9_223_372_036_854_775_808.0;
const I64_END: f64 = 9_223_372_036_854_775_808.0;
const U64_END: f64 = 18_446_744_073_709_551_616.0;

/// The result of a conversion: what a value is converted into, or why it cannot be.
type Converted<T> = Result<T, &'static str>;

const RANGE: &str = "out of range";
const TEXT: &str = "invalid text";

/// Converts a value by the function of this name, or returns the value if the function does not accept it.
pub(super) fn convert<'e, 'v>(
    name: &str,
    value: CowVal<'e, 'v>,
) -> Result<Evaluated<'e, 'v>, CowVal<'e, 'v>> {
    match converted(name, value.as_ref()) {
        Some(Ok(Some(converted))) => Ok(Ok(CowVal::Owned(converted))),
        Some(Ok(None)) => Ok(Ok(value)),
        Some(Err(problem)) => Ok(Err(ExecutionError::function_error(name, problem))),
        None => Err(value),
    }
}

/// Returns the result of a conversion, which can be the value itself.
fn converted<'v>(name: &str, value: &dyn Val) -> Option<Converted<Option<Box<dyn Val + 'v>>>> {
    let scalar = Scalar::of(value)?;
    let converted = match (name, scalar) {
        ("bool", Scalar::Bool(_))
        | ("int", Scalar::Int(_))
        | ("uint", Scalar::Uint(_))
        | ("double", Scalar::Double(_))
        | ("string", Scalar::Text(_))
        | ("bytes", Scalar::Bytes(_))
        | ("timestamp", Scalar::Time(_))
        | ("duration", Scalar::Duration(_)) => return Some(Ok(None)),
        ("bool", Scalar::Text(text)) => boolean(text).map(CelBool::from).map(boxed),
        ("int", scalar) => int(&scalar)?.map(CelInt::from).map(boxed),
        ("uint", scalar) => uint(&scalar)?.map(CelUInt::from).map(boxed),
        ("double", scalar) => double(&scalar)?.map(CelDouble::from).map(boxed),
        ("string", scalar) => string(&scalar)
            .ok_or("bytes that are not UTF-8")
            .map(|text| boxed(CelString::from(text))),
        ("bytes", Scalar::Text(text)) => Ok(boxed(CelBytes::from(text.as_bytes().to_vec()))),
        ("timestamp", scalar) => timestamp(&scalar)?.map(CelTimestamp::from).map(boxed),
        ("duration", Scalar::Text(text)) => times::parse_duration(text)
            .map(|duration| boxed(CelDuration::from(duration)))
            .ok_or(TEXT),
        _ => return None,
    };
    Some(converted.map(Some))
}

fn boxed<'v>(value: impl Val + 'v) -> Box<dyn Val + 'v> {
    Box::new(value)
}

fn boolean(text: &str) -> Converted<bool> {
    match text {
        "1" | "t" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(TEXT),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn int(scalar: &Scalar<'_>) -> Option<Converted<i64>> {
    Some(match scalar {
        Scalar::Uint(uint) => i64::try_from(*uint).map_err(|_| RANGE),
        // The smallest integer is not the value of a double in CEL.
        Scalar::Double(double) if *double > I64_MIN && *double < I64_END => Ok(*double as i64),
        Scalar::Double(_) => Err(RANGE),
        Scalar::Text(text) => text.parse().map_err(|_| TEXT),
        Scalar::Time(time) => Ok(time.timestamp()),
        _ => return None,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked"
)]
fn uint(scalar: &Scalar<'_>) -> Option<Converted<u64>> {
    Some(match scalar {
        Scalar::Int(int) => u64::try_from(*int).map_err(|_| RANGE),
        Scalar::Double(double) if *double >= 0.0 && *double < U64_END => Ok(*double as u64),
        Scalar::Double(_) => Err(RANGE),
        Scalar::Text(text) => text.parse().map_err(|_| TEXT),
        _ => return None,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the closest double is the value of the conversion"
)]
fn double(scalar: &Scalar<'_>) -> Option<Converted<f64>> {
    Some(match scalar {
        Scalar::Int(int) => Ok(*int as f64),
        Scalar::Uint(uint) => Ok(*uint as f64),
        Scalar::Text(text) => text.parse().map_err(|_| TEXT),
        _ => return None,
    })
}

/// Returns a value as a text; `None` for bytes that are not UTF-8.
fn string(scalar: &Scalar<'_>) -> Option<String> {
    Some(match scalar {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(int) => int.to_string(),
        Scalar::Uint(uint) => uint.to_string(),
        Scalar::Double(double) => double.to_string(),
        Scalar::Text(text) => (*text).to_owned(),
        Scalar::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.to_owned(),
        Scalar::Time(time) => times::print(time),
        Scalar::Duration(duration) => times::print_duration(duration),
    })
}

fn timestamp(scalar: &Scalar<'_>) -> Option<Converted<DateTime<FixedOffset>>> {
    let time = match scalar {
        Scalar::Text(text) => match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Some(time),
            Err(_) => return Some(Err(TEXT)),
        },
        Scalar::Int(seconds) => {
            DateTime::from_timestamp(*seconds, 0).map(|time| time.fixed_offset())
        }
        _ => return None,
    };
    let years = 1..=9999;
    let time = time.filter(|time| years.contains(&time.naive_utc().year()));
    Some(time.ok_or(RANGE))
}
