//! Evaluation of expressions against the attributes of an exchange.

use super::key::KeyHasher;
use crate::attributes::{AttributeError, Attributes};
use crate::host::Host;
use cel::ExecutionError;
use cel::common::types::{CelBool, CelDouble, CelDuration, CelInt, CelString, CelUInt};
use cel::common::value::CowVal;
use filter_config::{
    Attribute, AuthSource, Compared, Exhausted, Expression, Failure, Fuel, FuelLimits, Number,
    Question, Window,
};
use limits::Nanos;
use std::borrow::Cow;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

/// The largest amount that an expression can yield: what one exchange costs or reserves. It may follow from
/// numbers that a client has chosen.
const MAX_AMOUNT: u64 = usage_meter::MAX_TOKENS;

/// The evaluations of one exchange have together the fuel of this many. Usual expressions take a
/// thousandth of it.
const MAX_FUEL_OF_EXCHANGE: u64 = 2;

/// An evaluator of expressions, which resolves the attributes that they read and runs them.
pub(crate) struct Evaluator {
    host: Rc<dyn Host>,
    /// Where `auth` comes from.
    auth: Arc<[AuthSource]>,
    /// The fuel of one evaluation.
    fuel: FuelLimits,
}

/// Why an expression has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvaluationError {
    /// An attribute could not be read.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// A value is absent or null.
    #[error("no value")]
    Missing,
    /// The computation would take more than one may.
    #[error("the evaluation takes {0}")]
    Exhausted(#[from] Exhausted),
    /// The evaluations of the exchange together take more than they may.
    #[error(
        "evaluations of one exchange take more than {MAX_FUEL_OF_EXCHANGE} times `expressions.steps`"
    )]
    ExchangeExhausted,
    /// The computation failed.
    #[error("{0}")]
    Execution(String),
    /// The result is no plausible amount.
    #[error("{0} is more than 2^40")]
    Implausible(u64),
    /// The result has a type that has no meaning there.
    #[error("expected {expected}, found {found}")]
    Type {
        /// The type that is needed.
        expected: &'static str,
        /// The type of the result.
        found: String,
    },
}

// === impl Evaluator ===

impl Evaluator {
    /// Returns an evaluator that resolves attributes from a host.
    pub(super) fn new(host: Rc<dyn Host>, auth: Vec<AuthSource>, fuel: FuelLimits) -> Self {
        let auth = auth.into();
        Self { host, auth, fuel }
    }

    /// Resolves what an expression reads, so that it can be evaluated when the host no longer has it.
    ///
    /// # Errors
    /// [`EvaluationError::Attribute`] when Envoy fails, or the body cannot be read.
    pub(crate) fn resolve(
        &self,
        attributes: &mut Attributes,
        expression: &Expression,
    ) -> Result<(), EvaluationError> {
        Ok(attributes.resolve(&*self.host, &self.auth, expression.uses())?)
    }

    /// Returns whether `auth` has a value: the caller has an identity. Not if Envoy fails to return it.
    #[must_use]
    pub(crate) fn has_identity(&self, attributes: &mut Attributes) -> bool {
        let whole = [Attribute::Auth(String::new())];
        let resolved = attributes.resolve(&*self.host, &self.auth, &whole);
        resolved.is_ok() && attributes.has_auth()
    }

    /// Returns the value of a predicate, in which a missing value reads as null.
    ///
    /// # Errors
    /// [`EvaluationError`] when there is none, it is not a boolean, or it is false because a value is missing.
    pub(crate) fn predicate(
        &self,
        attributes: &mut Attributes,
        expression: &Expression,
    ) -> Result<bool, EvaluationError> {
        self.resolve(attributes, expression)?;
        if let Some(plain) = expression.plain()
            && let Some(subject) = attributes.text(&plain.subject)
            && let Some(answer) = plain.question.answer(&subject)
        {
            return Ok(answer);
        }
        self.evaluate(attributes, expression, |value| {
            match value.downcast_ref::<CelBool>() {
                Some(bool) => Ok(*bool.inner()),
                None => Err(unexpected("a boolean", value)),
            }
        })
    }

    /// Runs evaluations that the exchange does not pay for. They have the fuel of one evaluation together.
    pub(crate) fn apart<T>(
        &self,
        attributes: &mut Attributes,
        run: impl FnOnce(&mut Attributes) -> T,
    ) -> T {
        let of_others = MAX_FUEL_OF_EXCHANGE.saturating_sub(1);
        let others = self.fuel.steps.saturating_mul(of_others);
        let paid = mem::replace(&mut attributes.fuel_used, others);
        let result = run(attributes);
        attributes.fuel_used = paid;
        result
    }

    /// Adds the value of a counter expression to the key of its counter.
    ///
    /// # Errors
    /// [`EvaluationError`] when there is none, or it has no text.
    pub(crate) fn hash_counter(
        &self,
        attributes: &mut Attributes,
        expression: &Expression,
        key: &mut KeyHasher,
    ) -> Result<(), EvaluationError> {
        self.resolve(attributes, expression)?;
        if let Some(plain) = expression.plain()
            && plain.question == Question::Value
            && let Some(subject) = attributes.text(&plain.subject)
        {
            key.value(subject.as_bytes());
            return Ok(());
        }
        self.evaluate(attributes, expression, |value| {
            key.value(text_of(value)?.as_bytes());
            Ok(())
        })
    }

    /// Returns the value of a counter expression as text.
    ///
    /// # Errors
    /// [`EvaluationError`] when there is none, or it has no text.
    pub(crate) fn text(
        &self,
        attributes: &mut Attributes,
        expression: &Expression,
    ) -> Result<String, EvaluationError> {
        self.evaluate(attributes, expression, |value| {
            text_of(value).map(Cow::into_owned)
        })
    }

    /// Returns an amount, such as a cost: 0 for negative numbers, fractions rounded up.
    ///
    /// # Errors
    /// [`EvaluationError`] when the expression yields no number, or one above [`MAX_AMOUNT`].
    pub(crate) fn amount(
        &self,
        attributes: &mut Attributes,
        expression: &Expression,
    ) -> Result<u64, EvaluationError> {
        if let Some(formula) = expression.formula()
            && let Some(number) = attributes.compute(formula)
            && let Some(amount) = whole(number, f64::ceil)
            && amount <= MAX_AMOUNT
        {
            return Ok(amount);
        }
        let amount = self.evaluate(attributes, expression, |value| rounded(value, f64::ceil))?;
        if amount > MAX_AMOUNT {
            return Err(EvaluationError::Implausible(amount));
        }
        Ok(amount)
    }

    /// Returns a limit: 0 for negative numbers, fractions rounded down.
    ///
    /// # Errors
    /// [`EvaluationError`] when the expression yields no number.
    pub(crate) fn limit(
        &self,
        attributes: &mut Attributes,
        expression: &Expression,
    ) -> Result<u64, EvaluationError> {
        self.evaluate(attributes, expression, |value| rounded(value, f64::floor))
    }

    /// Returns a window, which expressions yield as a duration, its text, or a number of seconds.
    ///
    /// # Errors
    /// [`EvaluationError`] when the expression yields none of these.
    pub(crate) fn window(
        &self,
        attributes: &mut Attributes,
        expression: &Expression,
    ) -> Result<Nanos, EvaluationError> {
        let nanos = self.evaluate(attributes, expression, |value| {
            if let Some(text) = value.downcast_ref::<CelString>() {
                let window = text.inner().parse().map(|window: Window| window.as_nanos());
                window.map_err(|_| unexpected("a duration", value))
            } else if let Some(duration) = value.downcast_ref::<CelDuration>() {
                let nanos = duration.inner().num_nanoseconds();
                Ok(nanos.map_or(u64::MAX, |nanos| u64::try_from(nanos).unwrap_or(0)))
            } else {
                let seconds = rounded(value, f64::ceil)?;
                Ok(seconds.saturating_mul(Nanos::SECOND.as_u64()))
            }
        })?;
        Ok(Nanos::new(nanos))
    }

    /// Returns the value that a request has for the condition at a position of a predicate; `None` if only an evaluation
    /// of each predicate with such a condition shows whether it holds.
    pub(super) fn compared(
        &self,
        attributes: &mut Attributes,
        expression: &Expression,
        position: usize,
    ) -> Option<Compared> {
        self.resolve(attributes, expression).ok()?;
        if let Some(plain) = expression.plain()
            && let Some(subject) = attributes.text(&plain.subject)
        {
            match &plain.question {
                Question::Equals(_) => return Some(Compared::Texts(vec![subject.into_owned()])),
                Question::Splits { separator, .. } => {
                    let parts = subject.split(separator.as_str()).map(str::to_owned);
                    return Some(Compared::Texts(parts.collect()));
                }
                _ => {}
            }
        }
        let (compared, _) = self.with_fuel(attributes, |attributes, fuel| {
            expression.compared(position, attributes, fuel)
        });
        compared
    }

    fn evaluate<T>(
        &self,
        attributes: &mut Attributes,
        expression: &Expression,
        read: impl FnOnce(&CowVal<'_, '_>) -> Result<T, EvaluationError>,
    ) -> Result<T, EvaluationError> {
        self.resolve(attributes, expression)?;
        let (value, steps) = self.with_fuel(attributes, |attributes, fuel| {
            match expression.evaluate(attributes, fuel) {
                Ok(value) => read(&value),
                Err(Failure::Missing) => Err(EvaluationError::Missing),
                Err(Failure::Execution(error)) => Err(execution_error(&error)),
                Err(Failure::Exhausted(exhausted)) => Err(exhausted.into()),
            }
        });
        match value {
            Err(EvaluationError::Exhausted(Exhausted::Steps)) if steps < self.fuel.steps => {
                Err(EvaluationError::ExchangeExhausted)
            }
            value => value,
        }
    }

    /// Evaluates with the fuel that an exchange has left. Returns the steps that were left, too.
    fn with_fuel<T>(
        &self,
        attributes: &mut Attributes,
        evaluate: impl FnOnce(&Attributes, &Fuel) -> T,
    ) -> (T, u64) {
        let of_exchange = self.fuel.steps.saturating_mul(MAX_FUEL_OF_EXCHANGE);
        let left = of_exchange.saturating_sub(attributes.fuel_used);
        let limits = FuelLimits {
            steps: self.fuel.steps.min(left),
            bytes: self.fuel.bytes,
        };
        let fuel = Fuel::new(limits).searching(attributes.entries());
        let value = evaluate(attributes, &fuel);
        let used = limits.steps.saturating_sub(fuel.steps());
        attributes.fuel_used = attributes.fuel_used.saturating_add(used);
        (value, left)
    }
}

/// Returns the text of a counter value. Numbers and booleans count as their text, as they would in
/// the descriptor of a rate limit service.
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

/// Returns a number as a whole one; 0 for negative numbers.
fn rounded(value: &CowVal<'_, '_>, round: fn(f64) -> f64) -> Result<u64, EvaluationError> {
    let number = Number::of(value).and_then(|number| whole(number, round));
    number.ok_or_else(|| unexpected("a number", value))
}

/// Returns a number as a whole one, 0 for negative numbers; `None` for not-a-number.
fn whole(number: Number, round: fn(f64) -> f64) -> Option<u64> {
    match number {
        Number::Whole(whole) => Some(u64::try_from(whole.max(0)).unwrap_or(u64::MAX)),
        Number::Fraction(fraction) if fraction.is_nan() => None,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "casts of doubles saturate"
        )]
        Number::Fraction(fraction) => Some(round(fraction) as u64),
    }
}

/// Converts an error of the CEL evaluator. The result goes into the log: it quotes nothing of the
/// request.
fn execution_error(error: &ExecutionError) -> EvaluationError {
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

/// Returns the error for a result of the wrong type; a null is a missing value.
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
