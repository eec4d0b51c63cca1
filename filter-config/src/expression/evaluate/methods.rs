//! Methods of texts, lists and optional values.

use cel::ExecutionError;
use cel::common::types::{CelBool, CelInt, CelList, CelOptional, CelString, LIST_TYPE};
use cel::common::value::{CowVal, Val};

use super::operators::text;
use super::scalar::Scalar;
use super::{
    Evaluated, Machine, Scope, Unwrapped, absent, boolean, format, text as texts, times,
    unexpected, unwrap_optional,
};
use crate::expression::program::{Method, MethodCall};

/// The arguments of a method, as far as they are texts and integers.
enum Args<'a> {
    None,
    Text(&'a str),
    Int(i64),
    Ints(i64, i64),
    TextInt(&'a str, i64),
    Texts(&'a str, &'a str),
    TextsInt(&'a str, &'a str, i64),
    Other,
}

// === impl Args ===

impl<'a> Args<'a> {
    fn of(args: &'a [CowVal<'_, '_>]) -> Self {
        let text = |value: &'a CowVal<'_, '_>| text(value.as_ref());
        let int = |value: &CowVal<'_, '_>| value.downcast_ref::<CelInt>().map(|int| *int.inner());
        let known = match args {
            [] => Some(Self::None),
            [one] => text(one)
                .map(Self::Text)
                .or_else(|| int(one).map(Self::Int)),
            [one, other] => match (text(one), text(other), int(one), int(other)) {
                (Some(one), Some(other), ..) => Some(Self::Texts(one, other)),
                (Some(one), _, _, Some(other)) => Some(Self::TextInt(one, other)),
                (_, _, Some(one), Some(other)) => Some(Self::Ints(one, other)),
                _ => None,
            },
            [one, other, third] => match (text(one), text(other), int(third)) {
                (Some(one), Some(other), Some(third)) => Some(Self::TextsInt(one, other, third)),
                _ => None,
            },
            _ => None,
        };
        known.unwrap_or(Self::Other)
    }
}

// === impl Machine ===

impl<'v> Machine<'_, 'v> {
    #[inline(never)]
    pub(super) fn method<'e>(
        self,
        call: &'e MethodCall,
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let mut args = self.all(&call.args, scope)?;
        let target = self.evaluate(&call.target, scope)?;
        if let Some(of_null) = absent::of_method(call.method)
            && self.is_missing(target.as_ref())
        {
            return Ok(of_null);
        }
        match call.method {
            Method::HasValue | Method::Or | Method::OrValue | Method::Value => {
                return of_optional(call, target, args.pop());
            }
            Method::Format | Method::Part(_) => return self.printed(call, &target, &args),
            Method::Size => return self.call("size", vec![target], true),
            Method::Join => {
                let separator = match args.as_slice() {
                    [] => Some(""),
                    [separator] => text(separator.as_ref()),
                    _ => None,
                };
                if let Some(separator) = separator
                    && target.downcast_ref::<CelList<'v>>().is_some()
                {
                    return self.join(target.as_ref(), separator);
                }
            }
            _ => {
                if let Some(subject) = text(target.as_ref())
                    && let Some(result) = self.of_text(call.method, subject, &Args::of(&args))
                {
                    return result;
                }
            }
        }
        Err(no_overload(call, &target, &args))
    }

    /// Calls `format`, or returns a part of a time or a duration.
    fn printed<'e>(
        self,
        call: &MethodCall,
        target: &CowVal<'e, 'v>,
        args: &[CowVal<'e, 'v>],
    ) -> Evaluated<'e, 'v> {
        let operands = std::iter::once(target).chain(args);
        self.pay_for_print(operands.map(AsRef::as_ref))?;
        let arg = args.first().map(AsRef::as_ref);
        let value = match (call.method, text(target.as_ref()), arg) {
            (Method::Format, Some(template), Some(list)) if list.get_type() == &LIST_TYPE => {
                let printed = format::format(template, list)?;
                Some(CowVal::owned(CelString::from(printed)))
            }
            (Method::Part(part), None, zone) => {
                let zone_text = zone.and_then(text);
                let of =
                    Scalar::of(target.as_ref()).filter(|_| zone.is_some() == zone_text.is_some());
                let part = of.and_then(|of| times::part(part, &of, zone_text));
                part.transpose()?
                    .map(|part| CowVal::owned(CelInt::from(part)))
            }
            _ => None,
        };
        value.ok_or_else(|| no_overload(call, target, args))
    }

    /// Calls a method of a text, if it takes these arguments.
    fn of_text<'e>(self, method: Method, text: &str, args: &Args<'_>) -> Option<Evaluated<'e, 'v>> {
        let fuel = self.fuel;
        let produced = |text: Result<String, ExecutionError>| {
            text.map(|text| CowVal::owned(CelString::from(text)))
        };
        let int =
            |int: Result<i64, ExecutionError>| int.map(|int| CowVal::owned(CelInt::from(int)));
        let same_length = |of: &dyn Fn(&str) -> String| {
            let paid = fuel
                .scan(text.len())
                .and_then(|()| fuel.produce(1, text.len()));
            produced(paid.map(|()| of(text)))
        };
        Some(match (method, args) {
            (Method::Contains, Args::Text(part)) => {
                let paid = fuel.scan(text.len().saturating_add(part.len()));
                paid.map(|()| boolean(text.contains(part)))
            }
            (Method::StartsWith, Args::Text(part)) => fuel
                .compare(part.len())
                .map(|()| boolean(text.starts_with(part))),
            (Method::EndsWith, Args::Text(part)) => fuel
                .compare(part.len())
                .map(|()| boolean(text.ends_with(part))),
            (Method::CharAt, Args::Int(index)) => produced(texts::char_at(fuel, text, *index)),
            (Method::IndexOf, Args::Text(part)) => int(texts::index_of(fuel, text, part, None)),
            (Method::IndexOf, Args::TextInt(part, from)) => {
                int(texts::index_of(fuel, text, part, Some(*from)))
            }
            (Method::LastIndexOf, Args::Text(part)) => {
                int(texts::last_index_of(fuel, text, part, None))
            }
            (Method::LastIndexOf, Args::TextInt(part, to)) => {
                int(texts::last_index_of(fuel, text, part, Some(*to)))
            }
            (Method::LowerAscii, Args::None) => same_length(&str::to_ascii_lowercase),
            (Method::UpperAscii, Args::None) => same_length(&str::to_ascii_uppercase),
            (Method::Trim, Args::None) => same_length(&|text| text.trim().to_owned()),
            (Method::Reverse, Args::None) => same_length(&|text| text.chars().rev().collect()),
            (Method::Replace, Args::Texts(from, to)) => {
                produced(texts::replace(fuel, text, from, to, -1))
            }
            (Method::Replace, Args::TextsInt(from, to, times)) => {
                produced(texts::replace(fuel, text, from, to, *times))
            }
            (Method::Split, Args::Text(separator)) => list(texts::split(fuel, text, separator, -1)),
            (Method::Split, Args::TextInt(separator, parts)) => {
                list(texts::split(fuel, text, separator, *parts))
            }
            (Method::Substring, Args::Int(from)) => {
                produced(texts::substring(fuel, text, *from, None))
            }
            (Method::Substring, Args::Ints(from, to)) => {
                produced(texts::substring(fuel, text, *from, Some(*to)))
            }
            _ => return None,
        })
    }

    /// Joins the texts of a list.
    fn join<'e>(self, list: &(dyn Val + 'v), separator: &str) -> Evaluated<'e, 'v> {
        let elements = list.downcast_ref::<CelList<'v>>().map(CelList::inner);
        let elements = elements.unwrap_or_default();
        let mut length = separator.len().saturating_mul(elements.len());
        let mut parts = Vec::new();
        for element in elements {
            self.fuel.step(1)?;
            let Some(part) = text(&**element) else {
                return Err(unexpected(&**element, "string"));
            };
            length = length.saturating_add(part.len());
            parts.push(part);
        }
        self.fuel.produce(1, length)?;
        Ok(CowVal::owned(CelString::from(parts.join(separator))))
    }
}

/// Returns a list of texts as a value.
fn list<'e, 'v>(parts: Result<Vec<String>, ExecutionError>) -> Evaluated<'e, 'v> {
    let boxed = |part| Box::new(CelString::from(part)) as Box<dyn Val + 'v>;
    let list: Vec<_> = parts?.into_iter().map(boxed).collect();
    Ok(CowVal::owned(CelList::from(list)))
}

/// Calls a method of an optional value.
fn of_optional<'e, 'v>(
    call: &MethodCall,
    target: CowVal<'e, 'v>,
    other: Option<CowVal<'e, 'v>>,
) -> Evaluated<'e, 'v> {
    let is_optional = target
        .downcast_ref::<CelOptional<'v>>()
        .map(CelOptional::option);
    match (call.method, is_optional, other) {
        (Method::HasValue, Some(value), None) => Ok(CowVal::owned(CelBool::from(value.is_some()))),
        (Method::Or, Some(value), Some(other)) => Ok(if value.is_some() { target } else { other }),
        (Method::OrValue, Some(_), Some(other)) => Ok(match unwrap_optional(target) {
            Unwrapped::Some(value) => value,
            Unwrapped::Plain(_) | Unwrapped::None => other,
        }),
        (Method::Value, Some(_), None) => match unwrap_optional(target) {
            Unwrapped::Some(value) => Ok(value),
            Unwrapped::Plain(_) | Unwrapped::None => Err(ExecutionError::function_error(
                "value",
                "optional.none() dereference",
            )),
        },
        (_, _, other) => {
            let args: Vec<_> = other.into_iter().collect();
            Err(no_overload(call, &target, &args))
        }
    }
}

fn no_overload(
    call: &MethodCall,
    target: &CowVal<'_, '_>,
    args: &[CowVal<'_, '_>],
) -> ExecutionError {
    let operands = std::iter::once(target).chain(args);
    let types = operands.map(|operand| operand.get_type().name().to_owned());
    ExecutionError::no_such_member_overload(&call.name, types.collect())
}
