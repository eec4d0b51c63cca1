//! Tests of the evaluator against that of the `cel` crate, and of its fuel.

use std::cell::Cell;

use cel::Value;
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use proptest::prelude::*;
use proptest::sample::select;

use super::Machine;
use crate::expression::assemble::assemble;
use crate::expression::compile::compile;
use crate::expression::missing::{Missing, is_missing};
use crate::expression::testing::{Outcome, UNLIMITED, are_same, evaluated, generated, reference};
use crate::expression::{Expression, Failure, Fuel, FuelLimits, REQUEST_BODY, Role};

/// A request: a text as its path, a list of texts as claims, and a JSON body.
#[derive(Debug)]
struct Request {
    path: String,
    body: serde_json::Value,
}

impl VariableResolver for Request {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let json = match variable {
            "request.path" => serde_json::json!(self.path),
            "request" => serde_json::json!({ "path": self.path }),
            "auth" => serde_json::json!({ "a": self.body, "b": self.path, "n": null }),
            REQUEST_BODY => self.body.clone(),
            _ => return None,
        };
        let value: Value = cel::to_value(json).ok()?;
        value.try_into().ok().map(CowVal::Owned)
    }
}

/// The value where missing values read as null, unless one was read.
fn without_null(source: &str, request: &Request) -> Option<Outcome> {
    let (root, _) = compile(source, Role::Predicate).unwrap();
    let program = assemble(&root).unwrap();
    let was_null_read = Cell::new(false);
    let machine = Machine {
        attributes: request,
        fuel: &Fuel::new(UNLIMITED),
        missing: Missing::ReadsNull(&was_null_read),
    };
    let found = machine.evaluate(&program, None);
    let found = found
        .map(|value| value.as_ref().try_into().unwrap())
        .map_err(|error| is_missing(&error));
    (!was_null_read.get()).then_some(found)
}

fn source() -> impl Strategy<Value = String> {
    let choices = prop::collection::vec(any::<u8>(), 1..40);
    (select(vec!['T', 'I', 'B', 'L', 'E']), choices)
        .prop_map(|(kind, choices)| generated(kind, choices))
        .prop_filter("valid", |source| compile(source, Role::Counter).is_ok())
}

fn request() -> impl Strategy<Value = Request> {
    let body = select(vec![
        serde_json::json!({ "a": [1, 2.5, "a", null, { "a": "b" }] }),
        serde_json::json!({ "a": "a,b" }),
        serde_json::json!(["a", "b,c", -1]),
        serde_json::json!("text"),
        serde_json::json!(null),
    ]);
    ("[a,bé%sd\\[ ]{0,12}", body).prop_map(|(path, body)| Request { path, body })
}

/// The values of an evaluation with this fuel.
fn with_fuel(source: &str, request: &Request, limits: FuelLimits) -> Result<Value, Failure> {
    let source = format!("dyn({source})");
    let expression = Expression::compile(&source, Role::Counter)
        .unwrap_or_else(|errors| panic!("{source}: {errors:?}"));
    let fuel = Fuel::new(limits);
    let value = expression.evaluate(request, &fuel)?;
    Ok(value.as_ref().try_into().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn values_are_those_of_the_library(source in source(), request in request()) {
        let expected = reference(&source, &request).unwrap();
        let found = evaluated(&source, &request, UNLIMITED).unwrap();
        prop_assert!(are_same(&found, &expected), "{}: {:?}, {:?}", source, found, expected);
    }

    #[test]
    fn null_changes_only_what_reads_it(source in source(), request in request()) {
        if let Some(found) = without_null(&source, &request) {
            let expected = evaluated(&source, &request, UNLIMITED).unwrap();
            prop_assert!(are_same(&found, &expected), "{}: {:?}, {:?}", source, found, expected);
        }
    }

    #[test]
    fn less_fuel_yields_the_same_or_exhausts(
        source in source(),
        request in request(),
        steps in 0_u64..60,
        bytes in 0_u64..400,
    ) {
        if let Some(found) = evaluated(&source, &request, FuelLimits { steps, bytes }) {
            let expected = evaluated(&source, &request, UNLIMITED).unwrap();
            prop_assert!(are_same(&found, &expected), "{}: {:?}, {:?}", source, found, expected);
        }
    }
}

/// Values of all types, with those at the bounds of their types.
const VALUES: &[&str] = &[
    "true",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "0u",
    "18446744073709551615u",
    "1.5",
    "-0.0",
    "1e300",
    "9223372036854775807.0",
    "-9223372036854775808.0",
    "18446744073709551615.0",
    "0.0 / 0.0",
    "1.0 / 0.0",
    "-1.0 / 0.0",
    "1e-7",
    "123456789.125",
    "''",
    "'1'",
    "'-1'",
    "'+1'",
    "' 1'",
    "'1.5'",
    "'1e3'",
    "'inf'",
    "'NaN'",
    "'t'",
    "'True'",
    "'truE'",
    "'é'",
    "b''",
    "b'\\xff\\xfea'",
    "b'\\xc3\\xa9'",
    "null",
    "[]",
    "[1, 'a', null, [true]]",
    "{}",
    "{'b': 1, 'a': [2u]}",
    "{1: 'x', true: 1.0}",
    "type(1)",
    "optional.of(1)",
    "optional.none()",
    "duration('1.5s')",
    "duration('-1h')",
    "duration('1ns')",
    "duration('0')",
    "timestamp(0)",
    "timestamp('9999-12-31T23:59:59.999999999Z')",
    "timestamp('0001-01-01T00:00:00Z')",
    "timestamp('2024-02-29T23:59:59.120+05:30')",
    "timestamp(253402300800)",
    "'2024-02-29T12:00:00Z'",
    "'0000-12-31T23:59:59-01:00'",
    "'9999-12-31T23:59:59-01:00'",
    "'2024-02-30T12:00:00Z'",
    "'2016-12-31T23:59:60Z'",
];

const FUNCTIONS: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "string",
    "timestamp",
    "type",
    "uint",
    "size",
    "optional.of",
    "optional.ofNonZeroValue",
    "strings.quote",
];

const PARTS: &[&str] = &[
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMinutes",
    "getMonth",
    "getSeconds",
];

fn compared(source: &str) -> Result<(), TestCaseError> {
    let request = Request {
        path: "a".to_owned(),
        body: serde_json::Value::Null,
    };
    // Operands that the role of a counter does not allow.
    let Some(expected) = reference(source, &request) else {
        return Ok(());
    };
    let found = evaluated(source, &request, UNLIMITED).unwrap();
    prop_assert!(
        are_same(&found, &expected),
        "{}: {:?}, {:?}",
        source,
        found,
        expected
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn conversions_are_those_of_the_library(function in select(FUNCTIONS), value in select(VALUES)) {
        compared(&format!("{function}({value})"))?;
        compared(&format!("string({function}({value}))"))?;
    }

    #[test]
    fn durations_are_those_of_the_library(text in "[-+]{0,2}([0-9.e+-]{0,4}(h|m|s|ms|us|ns|x|)){0,3}") {
        compared(&format!("string(duration({text:?}))"))?;
    }

    #[test]
    fn formats_are_those_of_the_library(
        template in "(%(\\.[0-9]{0,3})?[sdfebxXoq%]|é|%){0,3}",
        values in prop::collection::vec(select(VALUES), 0..4),
    ) {
        compared(&format!("{template:?}.format([{}])", values.join(", ")))?;
    }

    #[test]
    fn parts_of_times_are_those_of_the_library(
        part in select(PARTS),
        seconds in -62_135_596_800_i64..253_402_300_800,
        zone in "(|UTC|Atlantis|[-+]?[0-9]{0,3}:[-+]?[0-9]{1,2})",
    ) {
        compared(&format!("timestamp({seconds}).{part}()"))?;
        compared(&format!("timestamp({seconds}).{part}('' + {zone:?})"))?;
        compared(&format!("duration('{seconds}s').{part}()"))?;
        compared(&format!("string(timestamp({seconds}))"))?;
    }
}

/// A request whose path has as many bytes, and whose body is a list of as many objects.
fn large(bytes: usize, objects: usize) -> Request {
    Request {
        path: "a,".repeat(bytes / 2),
        body: serde_json::json!(vec![serde_json::json!({ "": { "": 0 } }); objects]),
    }
}

#[test]
fn work_beyond_the_fuel_is_an_error() {
    let request = large(56 << 10, 4000);
    for source in [
        "request.path.replace('a', request.path)",
        "requestBodyJSON('').map(m, request.path + request.path)",
        "requestBodyJSON('').map(m, requestBodyJSON(''))",
        "requestBodyJSON('').map(m, [m, m].map(m, [m, m]))",
        "[request.path].map(x, [x, x]).map(x, [x, x]).map(x, [x, x]).map(x, [x, x]).map(x, [x, x])",
        "requestBodyJSON('').map(m, request.path).join()",
        "request.path.split(',').exists(g, g in request.path.split(','))",
        "requestBodyJSON('').exists(a, requestBodyJSON('').exists(b, a != b && b == 1))",
        "requestBodyJSON('').exists(a, requestBodyJSON('') == requestBodyJSON('') && a == 1)",
        "requestBodyJSON('').exists(a, request.path.charAt(50000) == 'x')",
        "requestBodyJSON('').exists(a, request.path.contains('b'))",
        "requestBodyJSON('').exists(a, request.path == request.path + 'b')",
        "requestBodyJSON('').exists(a, 'b' in request.path.split(','))",
        "requestBodyJSON('').all(a, request.path - a == 1)",
        "requestBodyJSON('').exists(a, '%s'.format([requestBodyJSON('')]) == '')",
        "'%.100f%.100f%.100f'.format([1e300, 1e300, request.path])",
        "duration(request.path) == duration('1h')",
        "request.path.matches('(?i).*a.*b.*c.*d.*e.*f.*g')",
        "request.path.matches('(a{0,9}){9}b')",
        "requestBodyJSON('').exists(a, ''.matches('(a{50}){50}{50}' + 'b'))",
        "requestBodyJSON('').exists(a, has(request.path) && a == 1)",
    ] {
        let found = with_fuel(source, &request, FuelLimits::default());
        let is_exhausted = matches!(found, Err(Failure::Exhausted(_)));
        assert!(is_exhausted, "{source}: {found:?}");
    }
}

#[test]
fn conversion_of_a_list_pays_for_its_elements() {
    let request = Request {
        path: ",".repeat(10_000),
        body: serde_json::Value::Null,
    };
    // The list alone takes some 10,000 steps.
    let limits = FuelLimits {
        steps: 16_000,
        bytes: 64 << 20,
    };
    for source in [
        "string(request.path.split(',')) == 'x'",
        "bytes(request.path.split(',')) == b'x'",
    ] {
        let found = with_fuel(source, &request, limits);
        let is_exhausted = matches!(found, Err(Failure::Exhausted(_)));
        assert!(is_exhausted, "{source}: {found:?}");
    }
    let list = with_fuel("size(request.path.split(',')) == 10001", &request, limits);
    assert!(list.is_ok(), "{list:?}");
}

#[test]
fn exhaustion_is_an_error_whatever_the_value() {
    let request = large(56 << 10, 4000);
    for source in [
        "requestBodyJSON('').exists(a, request.path.contains('b')) || true",
        "true || requestBodyJSON('').exists(a, request.path.contains('b'))",
        "!(requestBodyJSON('').exists(a, request.path.contains('b')) && false)",
        "requestBodyJSON('').map(a, request.path)[?0].orValue('') == ''",
    ] {
        let found = with_fuel(source, &request, FuelLimits::default());
        let is_decided_early = source.starts_with("true");
        assert_eq!(
            found == Ok(Value::Bool(true)),
            is_decided_early,
            "{source}: {found:?}"
        );
        assert_eq!(
            matches!(found, Err(Failure::Exhausted(_))),
            !is_decided_early,
            "{source}: {found:?}"
        );
    }
}

#[test]
fn usual_expressions_take_few_steps() {
    let request = large(100, 20);
    for source in [
        "request.path.split(',').exists(g, g == 'free')",
        "request.path.startsWith('/v1/') && request.path.endsWith('/chat')",
        "request.path.matches('^/v1/(chat/completions|messages)$')",
        "['a', 'b'].exists(a, ['c', 'd'].exists(d, a == d))",
        "request.path.split(',').exists(a, auth.b.split(',').exists(b, a == 'x' && b == 'y'))",
        "requestBodyJSON('').map(m, m)",
        "duration('1h') > duration('30m')",
        "'%s of %s'.format([request.path, auth.b])",
    ] {
        let limits = FuelLimits {
            steps: 20_000,
            ..FuelLimits::default()
        };
        let found = with_fuel(source, &request, limits);
        assert!(found.is_ok(), "{source}: {found:?}");
    }
}

#[test]
fn long_texts_are_not_searched() {
    let request = large(17 << 10, 1);
    let unlimited = with_fuel("request.path.matches('b')", &request, UNLIMITED);
    assert!(
        matches!(unlimited, Err(Failure::Execution(_))),
        "{unlimited:?}"
    );
}
