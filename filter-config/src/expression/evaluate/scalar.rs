//! Values without parts, by their type.

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelString, CelTimestamp, CelUInt, Kind,
};
use cel::common::value::Val;
use chrono::{DateTime, FixedOffset, TimeDelta};

/// A value that has no elements or fields.
pub(super) enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Time(&'a DateTime<FixedOffset>),
    Duration(&'a TimeDelta),
}

// === impl Scalar ===

impl<'a> Scalar<'a> {
    /// Returns a value by its type, if it has no elements or fields.
    pub(super) fn of(value: &'a dyn Val) -> Option<Self> {
        match value.get_type().kind() {
            Kind::Boolean => value
                .downcast_ref::<CelBool>()
                .map(|value| Self::Bool(*value.inner())),
            Kind::Int => value
                .downcast_ref::<CelInt>()
                .map(|value| Self::Int(*value.inner())),
            Kind::UInt => value
                .downcast_ref::<CelUInt>()
                .map(|value| Self::Uint(*value.inner())),
            Kind::Double => value
                .downcast_ref::<CelDouble>()
                .map(|value| Self::Double(*value.inner())),
            Kind::String => value
                .downcast_ref::<CelString<'_>>()
                .map(|value| Self::Text(value.inner())),
            Kind::Bytes => value
                .downcast_ref::<CelBytes<'_>>()
                .map(|value| Self::Bytes(value.inner())),
            Kind::Timestamp => value
                .downcast_ref::<CelTimestamp>()
                .map(|value| Self::Time(value.inner())),
            Kind::Duration => value
                .downcast_ref::<CelDuration>()
                .map(|value| Self::Duration(value.inner())),
            _ => None,
        }
    }
}
