//! Evaluates expressions against the attributes of an exchange.

use super::EvaluationError;
use crate::attributes::Attributes;
use crate::plugin::{KeyHasher, Plugin};
use cel::common::types::{CelBool, CelDouble, CelDuration, CelInt, CelString, CelUInt};
use cel::common::value::CowVal;
use cel::{Context, ExecutionError};
use filter_config::{Expression, Number, Question, Window};
use std::borrow::Cow;

/// The value of a predicate.
///
/// # Errors
/// [`EvaluationError`] when there is none, or it is not a boolean.
pub(super) fn predicate(
    plugin: &Plugin,
    attributes: &mut Attributes,
    expression: &Expression,
) -> Result<bool, EvaluationError> {
    attributes.resolve(&*plugin.host, &plugin.configuration.auth, expression.uses())?;
    if let Some(plain) = expression.plain()
        && let Some(subject) = attributes.text(&plain.subject)
        && let Some(answer) = plain.question.answer(&subject)
    {
        return Ok(answer);
    }
    evaluate(plugin, attributes, expression, |value| {
        match value.downcast_ref::<CelBool>() {
            Some(bool) => Ok(*bool.inner()),
            None => Err(unexpected("a boolean", value)),
        }
    })
}

/// Adds the value of a counter to the key that it is part of.
///
/// # Errors
/// [`EvaluationError`] when there is none, or it has no text.
pub(super) fn counter(
    plugin: &Plugin,
    attributes: &mut Attributes,
    expression: &Expression,
    key: &mut KeyHasher,
) -> Result<(), EvaluationError> {
    attributes.resolve(&*plugin.host, &plugin.configuration.auth, expression.uses())?;
    if let Some(plain) = expression.plain()
        && plain.question == Question::Value
        && let Some(subject) = attributes.text(&plain.subject)
    {
        key.value(subject.as_bytes());
        return Ok(());
    }
    evaluate(plugin, attributes, expression, |value| {
        key.value(text_of(value)?.as_bytes());
        Ok(())
    })
}

/// The value of a counter as text.
///
/// # Errors
/// [`EvaluationError`] when there is none, or it has no text.
pub(super) fn text(
    plugin: &Plugin,
    attributes: &mut Attributes,
    expression: &Expression,
) -> Result<String, EvaluationError> {
    evaluate(plugin, attributes, expression, |value| {
        text_of(value).map(Cow::into_owned)
    })
}

/// Numbers and booleans count as their text, as they would in the descriptor of a rate limit
/// service.
fn text_of<'a>(value: &'a CowVal<'_, '_>) -> Result<Cow<'a, str>, EvaluationError> {
    if let Some(string) = value.downcast_ref::<CelString>() {
        Ok(Cow::Borrowed(string.inner()))
    } else if let Some(int) = value.downcast_ref::<CelInt>() {
        Ok(Cow::Owned(int.inner().to_string()))
    } else if let Some(uint) = value.downcast_ref::<CelUInt>() {
        Ok(Cow::Owned(uint.inner().to_string()))
    } else if let Some(double) = value.downcast_ref::<CelDouble>() {
        Ok(Cow::Owned(double.inner().to_string()))
    } else if let Some(bool) = value.downcast_ref::<CelBool>() {
        Ok(Cow::Owned(bool.inner().to_string()))
    } else {
        Err(unexpected("a string, number or boolean", value))
    }
}

/// The number of tokens that an expression yields: none for less than none, fractions rounded up.
///
/// # Errors
/// [`EvaluationError`] when it yields none.
pub(crate) fn tokens(
    plugin: &Plugin,
    attributes: &mut Attributes,
    expression: &Expression,
) -> Result<u64, EvaluationError> {
    if let Some(formula) = expression.formula()
        && let Some(number) = attributes.compute(formula)
        && let Some(tokens) = whole(number, f64::ceil)
    {
        return Ok(tokens);
    }
    evaluate(plugin, attributes, expression, |value| {
        rounded(value, f64::ceil)
    })
}

/// The limit that an expression yields: none for less than none, fractions rounded down.
///
/// # Errors
/// [`EvaluationError`] when it yields none.
pub(super) fn limit(
    plugin: &Plugin,
    attributes: &mut Attributes,
    expression: &Expression,
) -> Result<u64, EvaluationError> {
    evaluate(plugin, attributes, expression, |value| {
        rounded(value, f64::floor)
    })
}

/// The nanoseconds of a window that an expression yields: a duration, its text, or a number of
/// seconds.
///
/// # Errors
/// [`EvaluationError`] when it yields none.
pub(super) fn window(
    plugin: &Plugin,
    attributes: &mut Attributes,
    expression: &Expression,
) -> Result<u64, EvaluationError> {
    const SECOND: u64 = 1_000_000_000;
    evaluate(plugin, attributes, expression, |value| {
        if let Some(text) = value.downcast_ref::<CelString>() {
            let window = text.inner().parse().map(|window: Window| window.as_nanos());
            window.map_err(|_| unexpected("a duration", value))
        } else if let Some(duration) = value.downcast_ref::<CelDuration>() {
            let nanos = duration.inner().num_nanoseconds();
            Ok(nanos.map_or(u64::MAX, |nanos| u64::try_from(nanos).unwrap_or(0)))
        } else {
            Ok(rounded(value, f64::ceil)?.saturating_mul(SECOND))
        }
    })
}

/// A number as a whole one; none for less than none.
fn rounded(value: &CowVal<'_, '_>, round: fn(f64) -> f64) -> Result<u64, EvaluationError> {
    let number = Number::of(value).and_then(|number| whole(number, round));
    number.ok_or_else(|| unexpected("a number", value))
}

/// A number as a whole one, none for less than none; `None` for what is no number.
fn whole(number: Number, round: fn(f64) -> f64) -> Option<u64> {
    match number {
        Number::Whole(whole) => Some(u64::try_from(whole.max(0)).unwrap_or(u64::MAX)),
        Number::Fraction(fraction) if fraction.is_nan() => None,
        // Casts of doubles saturate.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Number::Fraction(fraction) => Some(round(fraction) as u64),
    }
}

/// Takes from the host what an expression reads, so that it can be evaluated when that is gone.
///
/// # Errors
/// [`EvaluationError::Attribute`] when Envoy fails, or the body cannot be read.
pub(crate) fn resolve(
    plugin: &Plugin,
    attributes: &mut Attributes,
    expression: &Expression,
) -> Result<(), EvaluationError> {
    let auth = &plugin.configuration.auth;
    Ok(attributes.resolve(&*plugin.host, auth, expression.uses())?)
}

fn evaluate<T>(
    plugin: &Plugin,
    attributes: &mut Attributes,
    expression: &Expression,
    read: impl FnOnce(&CowVal<'_, '_>) -> Result<T, EvaluationError>,
) -> Result<T, EvaluationError> {
    resolve(plugin, attributes, expression)?;
    let mut context = Context::with_env(filter_config::environment());
    context.set_variable_resolver(attributes);
    let value = cel::Value::resolve_val(expression.root(), &context);
    read(&value.map_err(|error| execution(&error))?)
}

/// What is wrong, in words that quote nothing of the request: they go into the log.
fn execution(error: &ExecutionError) -> EvaluationError {
    if filter_config::missing(error) {
        return EvaluationError::Missing;
    }
    EvaluationError::Execution(match error {
        ExecutionError::NoSuchOverload(error) => error.to_string(),
        ExecutionError::UnexpectedType { .. } => error.to_string(),
        ExecutionError::FunctionError { function, .. } => format!("{function}() has no result"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "overflow".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "index out of bounds".to_owned(),
        _ => "the values do not go together".to_owned(),
    })
}

/// A value of the wrong type; a null is a missing one.
fn unexpected(expected: &'static str, value: &CowVal<'_, '_>) -> EvaluationError {
    let found = value.get_type().name();
    if found == "null_type" {
        return EvaluationError::Missing;
    }
    EvaluationError::Type {
        expected,
        found: found.to_owned(),
    }
}
