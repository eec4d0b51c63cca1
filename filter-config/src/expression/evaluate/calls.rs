//! Functions, and methods that only the `cel` crate's own evaluator finds.

use std::sync::Arc;
use std::sync::LazyLock;

use cel::common::ast::Expr;
use cel::common::types::{CelDuration, CelInt};
use cel::common::value::CowVal;
use cel::{Context, Env, ExecutionError, Value};

use super::operators::text;
use super::weight::Weight;
use super::{Evaluated, Machine, Scope, boolean, unsupported};
use crate::expression::environment::{JSON_POINTER, environment};
use crate::expression::pattern::Pattern;
use crate::expression::program::{Foreign, Function, Matches};

/// Bytes that a conversion from text reads in a step: parsers take longer than copies, and quote what they reject.
const PARSED_BYTES_OF_STEP: usize = 8;

/// Steps of reading a double, beside one for each byte of its text: one that is near the middle of two is computed
/// with all of its digits.
const STEPS_OF_DOUBLE: usize = 100;

/// Steps for each byte of the text of a duration, each two of which may be a number and its unit.
const STEPS_OF_DURATION_BYTE: usize = 4;

/// Steps of the text of a number, a time or a duration: a double may have 300 digits.
const STEPS_OF_CONVERTED: usize = 10;

/// Steps for each value that `format` prints.
const STEPS_OF_PRINTED: usize = 200;

/// Bytes of a pattern that are compiled in a step.
const COMPILED_BYTES_OF_STEP: usize = 32;

const NANOS_OF_MILLISECOND: i32 = 1_000_000;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(environment);

// === impl Machine ===

impl<'v> Machine<'_, 'v> {
    #[inline(never)]
    pub(super) fn function<'e>(
        self,
        function: &'e Function,
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let args = self.all(&function.args, scope)?;
        self.call(&function.name, args, false)
    }

    /// Calls a function.
    pub(super) fn call<'e>(
        self,
        name: &str,
        args: Vec<CowVal<'e, 'v>>,
        is_member: bool,
    ) -> Evaluated<'e, 'v> {
        self.pay_for_call(name, &args)?;
        if let ("size", [of]) = (name, args.as_slice())
            && self.is_missing(of.as_ref())
        {
            return Ok(CowVal::owned(CelInt::from(0)));
        }
        if let Some(function) = ENVIRONMENT.find_overload(name, &args) {
            let value = function(args);
            return if name == JSON_POINTER {
                self.or_null(value)
            } else {
                value
            };
        }
        let types = args.iter().map(|arg| arg.get_type().name().to_owned());
        Err(if is_member {
            ExecutionError::no_such_member_overload(name, types.collect())
        } else {
            ExecutionError::no_such_overload(name, types.collect())
        })
    }

    /// Pays for a call of a function of the `cel` crate, and for what it produces.
    fn pay_for_call(self, name: &str, args: &[CowVal<'_, 'v>]) -> Result<(), ExecutionError> {
        let Some(first) = args.first() else {
            return Ok(());
        };
        let length = text(first.as_ref()).map(str::len);
        match name {
            "dyn" | "type" => Ok(()),
            "size" => {
                self.pay_for_names(first.as_ref())?;
                self.fuel.scan(length.unwrap_or_default())
            }
            "bytes" | "string" => {
                let weight = Weight::of_copy(first.as_ref(), self.fuel)?;
                // The elements of a list, which has no text: it was walked, and nothing else makes it cost anything.
                self.fuel.produce(weight.elements.max(1), weight.bytes)?;
                self.steps(if length.is_some() {
                    0
                } else {
                    STEPS_OF_CONVERTED
                })
            }
            "strings.quote" => {
                let length = length.unwrap_or_default();
                self.fuel.scan(length)?;
                self.fuel.produce(1, length.saturating_mul(2))
            }
            "duration" => {
                let length = length.unwrap_or_default();
                self.steps(length.saturating_mul(STEPS_OF_DURATION_BYTE))
            }
            "double" => match length {
                Some(length) => self.steps(length.saturating_add(STEPS_OF_DOUBLE)),
                None => Ok(()),
            },
            "optional.of" | "optional.ofNonZeroValue" => {
                self.pay_for_names(first.as_ref())?;
                self.pay_for_copy(first)
            }
            JSON_POINTER => {
                let pointer = args.get(1).and_then(|pointer| text(pointer.as_ref()));
                let pointer = pointer.unwrap_or_default();
                self.parse(pointer.len())?;
                // A lookup for each segment.
                self.steps(pointer.matches('/').count())?;
                match first {
                    // Only a document of its own is copied from.
                    CowVal::Owned(_) => self.pay_for_copy(first),
                    CowVal::Borrowed(_) => Ok(()),
                }
            }
            // Conversions.
            _ => self.parse(length.unwrap_or_default()),
        }
    }

    fn pay_for_copy(self, value: &CowVal<'_, 'v>) -> Result<(), ExecutionError> {
        let weight = Weight::of_copy(value.as_ref(), self.fuel)?;
        self.fuel.produce(weight.elements, weight.bytes)
    }

    /// Pays for parsing a text.
    fn parse(self, bytes: usize) -> Result<(), ExecutionError> {
        self.steps(bytes / PARSED_BYTES_OF_STEP)
    }

    fn steps(self, steps: usize) -> Result<(), ExecutionError> {
        self.fuel.step(steps as u64)
    }

    #[inline(never)]
    pub(super) fn matches<'e>(
        self,
        matches: &'e Matches,
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let (first, second) = if matches.is_method {
            (&matches.pattern, &matches.text)
        } else {
            (&matches.text, &matches.pattern)
        };
        let (first, second) = (self.evaluate(first, scope)?, self.evaluate(second, scope)?);
        let (subject, pattern) = if matches.is_method {
            (second, first)
        } else {
            (first, second)
        };
        let (Some(subject_text), Some(pattern_text)) =
            (text(subject.as_ref()), text(pattern.as_ref()))
        else {
            return Err(unsupported("matches", [subject.as_ref(), pattern.as_ref()]));
        };
        let found = if let Some(pattern) = &matches.compiled {
            self.search(pattern, subject_text)?
        } else {
            self.parse(pattern_text.len())?;
            let pattern = Pattern::of_request(pattern_text, |bytes| {
                self.steps(bytes / COMPILED_BYTES_OF_STEP)
            })?;
            self.search(&pattern, subject_text)?
        };
        Ok(boolean(found))
    }

    /// Searches a text for a pattern.
    fn search(self, pattern: &Pattern, text: &str) -> Result<bool, ExecutionError> {
        self.fuel.step(pattern.steps(text))?;
        let found = pattern.is_match(text);
        found.ok_or_else(|| ExecutionError::function_error("matches", "text too long"))
    }

    /// Calls a method by the `cel` crate's evaluator, with copies of its operands.
    #[inline(never)]
    pub(super) fn foreign<'e>(
        self,
        foreign: &'e Foreign,
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let args = self.all(&foreign.args, scope)?;
        let target = self.evaluate(&foreign.target, scope)?;
        if let Some(milliseconds) = milliseconds(foreign, &target) {
            return Ok(CowVal::owned(CelInt::from(milliseconds)));
        }
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        for (index, operand) in std::iter::once(target).chain(args).enumerate() {
            // `format` prints each operand once, at most as four characters a byte.
            let weight = Weight::of_content(operand.as_ref(), self.fuel)?;
            let printed = weight.elements.saturating_mul(STEPS_OF_PRINTED);
            self.steps(printed.saturating_add(weight.bytes))?;
            self.fuel
                .produce(weight.elements, weight.bytes.saturating_mul(4))?;
            context.add_variable_as_val(format!("@{index}"), self.owned(operand)?);
        }
        let value = Value::resolve_val(&foreign.call, &context)?;
        Ok(CowVal::Owned(value.into_owned()))
    }
}

/// Returns the result of `getMilliseconds` of a duration, as the specification defines it: the milliseconds beyond its
/// whole seconds. The method of the `cel` crate returns the whole duration. `None` for other methods.
fn milliseconds(foreign: &Foreign, target: &CowVal<'_, '_>) -> Option<i64> {
    let duration = target.downcast_ref::<CelDuration>()?;
    match &foreign.call.expr {
        Expr::Call(call) if call.func_name == "getMilliseconds" && foreign.args.is_empty() => Some(
            i64::from(duration.inner().subsec_nanos() / NANOS_OF_MILLISECOND),
        ),
        _ => None,
    }
}
