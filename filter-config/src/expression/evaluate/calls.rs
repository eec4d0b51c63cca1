//! Functions.

use cel::ExecutionError;
use cel::common::traits::{Sizer, Zeroer};
use cel::common::types::{CelInt, CelOptional, CelString, CelType, Kind};
use cel::common::value::{CowVal, Val};

use super::operators::text;
use super::weight::Weight;
use super::{Evaluated, Machine, Scope, boolean, conversions, format, unsupported};
use crate::expression::environment::JSON_POINTER;
use crate::expression::pattern::Pattern;
use crate::expression::pointer;
use crate::expression::program::{Function, Matches};

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
        let args = match self.apply(name, args) {
            Ok(value) => return value,
            Err(args) => args,
        };
        let types = args.iter().map(|arg| arg.get_type().name().to_owned());
        Err(if is_member {
            ExecutionError::no_such_member_overload(name, types.collect())
        } else {
            ExecutionError::no_such_overload(name, types.collect())
        })
    }

    /// Calls a function, or returns the arguments if the function does not accept them.
    fn apply<'e>(
        self,
        name: &str,
        mut args: Vec<CowVal<'e, 'v>>,
    ) -> Result<Evaluated<'e, 'v>, Vec<CowVal<'e, 'v>>> {
        if let (JSON_POINTER, [_, pointer]) = (name, args.as_slice())
            && text(pointer.as_ref()).is_some()
        {
            return Ok(self.or_null(pointer::walk(args)));
        }
        if args.len() > 1 {
            return Err(args);
        }
        let Some(value) = args.pop() else {
            return match name {
                "optional.none" => Ok(Ok(CowVal::owned(CelOptional::none()))),
                _ => Err(args),
            };
        };
        let is_zero = |value: &CowVal<'_, '_>| {
            let zeroer = value.as_zeroer();
            zeroer.is_some_and(Zeroer::is_zero_value)
        };
        let result = match name {
            "dyn" => Some(Ok(value.clone())),
            "type" => Some(Ok(CowVal::owned(CelType::new(
                value.get_type().name().to_owned(),
            )))),
            "size" => size(value.as_ref()).map(|size| Ok(CowVal::owned(size))),
            "optional.ofNonZeroValue" if is_zero(&value) => {
                Some(Ok(CowVal::owned(CelOptional::none())))
            }
            "optional.of" | "optional.ofNonZeroValue" => {
                return Ok(Ok(CowVal::owned(CelOptional::of(value.into_owned()))));
            }
            "strings.quote" => text(value.as_ref())
                .map(|text| Ok(CowVal::owned(CelString::from(format::quote(text))))),
            _ => return conversions::convert(name, value).map_err(|value| vec![value]),
        };
        result.ok_or_else(|| vec![value])
    }

    /// Pays for a call of a function, and for what it produces.
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

    /// Pays for printing operands: `format` prints each once, at most as four characters a byte.
    pub(super) fn pay_for_print<'a>(
        self,
        operands: impl Iterator<Item = &'a dyn Val>,
    ) -> Result<(), ExecutionError> {
        for operand in operands {
            let weight = Weight::of_content(operand, self.fuel)?;
            let printed = weight.elements.saturating_mul(STEPS_OF_PRINTED);
            self.steps(printed.saturating_add(weight.bytes))?;
            self.fuel
                .produce(weight.elements, weight.bytes.saturating_mul(4))?;
        }
        Ok(())
    }
}

/// Returns the size of a text, of bytes, or of a list or a map.
fn size(value: &dyn Val) -> Option<CelInt> {
    let is_sized = matches!(
        value.get_type().kind(),
        Kind::String | Kind::Bytes | Kind::List | Kind::Map
    );
    is_sized.then(|| value.as_sizer().map(Sizer::size))?
}
