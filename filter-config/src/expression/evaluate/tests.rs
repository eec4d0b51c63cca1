//! Tests of the evaluator against that of the `cel` crate, and of its fuel.

use std::cell::Cell;

use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Value};
use proptest::prelude::*;
use proptest::sample::select;

use super::Machine;
use crate::expression::assemble::assemble;
use crate::expression::compile::compile;
use crate::expression::missing::{Missing, is_missing};
use crate::expression::testing::{UNLIMITED, reference_environment, run};
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

/// Whether an evaluation failed because a value is missing, or otherwise.
type Outcome = Result<Value, bool>;

/// The value by the evaluator of the `cel` crate.
fn reference(source: &str, request: &Request) -> Outcome {
    let (root, _) = compile(source, Role::Counter).unwrap();
    let mut context = Context::with_env(reference_environment());
    context.set_variable_resolver(request);
    Value::resolve(&root, &context).map_err(|error| is_missing(&error))
}

fn evaluated(source: &str, request: &Request) -> Outcome {
    let (root, _) = compile(source, Role::Counter).unwrap();
    run(&root, request).map_err(|failure| match failure {
        Failure::Missing => true,
        Failure::Execution(error) => is_missing(&error),
        Failure::Exhausted(exhausted) => panic!("{source}: {exhausted}"),
    })
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

/// Returns values in a form in which numbers that are not equal to themselves are.
fn printed(outcome: &Outcome) -> String {
    match outcome {
        Ok(Value::Map(map)) => {
            let entries = map.map.iter();
            let mut entries: Vec<_> = entries
                .map(|(key, value)| format!("{key:?}: {}", printed(&Ok(value.clone()))))
                .collect();
            entries.sort();
            format!("{entries:?}")
        }
        Ok(Value::List(list)) => {
            let elements = list.iter().map(|value| printed(&Ok(value.clone())));
            format!("{:?}", elements.collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    }
}

/// Forms of expressions of a type: leaves, then those with parts. `T`, `I`, `B`, `L` and `E` stand for a text, an
/// integer, a boolean, a list, and any expression.
struct Forms {
    kind: char,
    leaves: &'static str,
    larger: &'static str,
}

const FORMS: [Forms; 5] = [
    Forms {
        kind: 'T',
        leaves: "'' ; 'a' ; ',' ; 'aXé,b' ; request.path ; auth.b ; '%s' ; 'a.*b'",
        larger: "T + T ; T.trim() ; T.lowerAscii() ; T.upperAscii() ; T.reverse() ; T.charAt(I) ; \
            T.substring(I) ; T.substring(I, I) ; T.replace(T, T) ; T.replace(T, T, I) ; L.join(T) ; \
            T.split(T).join() ; string(E) ; strings.quote(T) ; B ? T : T ; T.format([E]) ; \
            T.split(T)[0] ; optional.of(T).orValue(E) ; auth.?b.or(optional.of(T)).value()",
    },
    Forms {
        kind: 'I',
        leaves: "0 ; 1 ; -1 ; 3 ; 9223372036854775807",
        larger: "I + I ; I - I ; I * I ; I / I ; I % I ; -I ; size(E) ; T.size() ; L.size() ; \
            T.indexOf(T) ; T.indexOf(T, I) ; T.lastIndexOf(T) ; T.lastIndexOf(T, I) ; int(E) ; \
            B ? I : I ; L[I] ; [I, I][I]",
    },
    Forms {
        kind: 'B',
        leaves: "true ; false ; request.path == 'a' ; has(auth.a) ; has(auth.none)",
        larger: "E == E ; E != E ; T == T ; L == L ; I < I ; T <= T ; I > I ; T >= T ; E < E ; \
            E in E ; E in L ; T in {'a': E, T: E} ; B && B ; B || B ; E && B ; E || B ; B && E ; !B ; \
            T.contains(T) ; T.startsWith(T) ; T.endsWith(T) ; T.matches(T) ; matches(T, T) ; \
            T.matches('a.*b') ; L.exists(x, x == E) ; L.all(x, x != E) ; L.exists(x, B) ; \
            L.all(y, E) ; L.exists_one(x, x == T) ; L.exists_one(y, E) ; optional.of(E).hasValue() ; \
            E.?a.hasValue() ; has(E.a) ; bool(E) ; L.exists(x, L.exists(y, x == y)) ; \
            type(E) == type(E)",
    },
    Forms {
        kind: 'L',
        leaves: "[] ; [1, 2] ; ['a', 'b,a'] ; ['a', null] ; auth.a ; [?auth.?b] ; x",
        larger: "L + L ; [E, E] ; [E, ?E] ; [E, ?optional.of(E)] ; T.split(T) ; T.split(T, I) ; \
            L.map(x, E) ; L.map(x, [x, E]) ; L.filter(x, B) ; L.filter(y, y == E) ; L.map(x, B, E) ; \
            B ? L : L ; {E: E, 'k': L}.k ; {T: I}.map(x, x)",
    },
    Forms {
        kind: 'E',
        leaves: "2u ; 1.0 ; 1.5 ; -2.5 ; b'a' ; null ; {} ; {'a': 'b'} ; auth.n ; \
            {2u: 'y'} ; duration('1m') ; timestamp(0) ; int ; type(1) ; \
            optional.of('a') ; optional.none() ; auth.none ; requestBodyJSON('') ; y ; \
            requestBodyJSON('/a') ; request ; google.protobuf.Timestamp ; \
            {?'a': optional.none()} ; request.path.getHours()",
        larger: "T ; T ; I ; I ; B ; B ; L ; L ; E.a ; E.?a ; E[E] ; E[?E] ; E['a'] ; E[0] ; E[0.0] ; \
            E[0.5] ; {E: E} ; {E: E, E: E}[E] ; {E: E, E: E} == {E: E} ; {?'a': E} ; E + E ; E - E ; E * E ; E / E ; E % E ; -E ; !E ; \
            optional.of(E) ; optional.ofNonZeroValue(E) ; E.or(E) ; E.orValue(E) ; E.value() ; \
            E.hasValue() ; uint(E) ; double(E) ; bytes(E) ; duration(E) ; timestamp(E) ; dyn(E) ; \
            type(E) ; timestamp(0).getHours(T) ; E.getHours() ; E ? E : E ; E.exists(x, E) ; \
            E.map(x, x) ; E.join(E) ; E.split(E) ; timestamp(I) - timestamp(I) ; \
            timestamp(I) + duration('1h') ; {'a': E}.?a ; {'a': E}.?a.b ; has(E.a.b)",
    },
];

/// Adds an expression of a type that the choices determine.
fn add(source: &mut String, kind: char, depth: usize, choices: &mut impl Iterator<Item = u8>) {
    let forms = FORMS.iter().find(|forms| forms.kind == kind).unwrap();
    let choice = usize::from(choices.next().unwrap_or(0));
    let of = if depth == 0 || choice % 4 == 0 {
        forms.leaves
    } else {
        forms.larger
    };
    let of: Vec<&str> = of.split(" ; ").collect();
    for character in of[choice / 4 % of.len()].chars() {
        if "TIBLE".contains(character) {
            source.push('(');
            add(source, character, depth.saturating_sub(1), choices);
            source.push(')');
        } else {
            source.push(character);
        }
    }
}

fn source() -> impl Strategy<Value = String> {
    let choices = prop::collection::vec(any::<u8>(), 1..40);
    (select(vec!['T', 'I', 'B', 'L', 'E']), choices)
        .prop_map(|(kind, choices)| {
            // `x` and `y` are variables of macros.
            let mut source = "[['a,b', 2]].map(x, [1].map(y, ".to_owned();
            add(&mut source, kind, 3, &mut choices.into_iter());
            source + "))"
        })
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
        let expected = reference(&source, &request);
        let found = evaluated(&source, &request);
        match (&expected, &found) {
            (Err(expected), Err(found)) => prop_assert_eq!(found, expected, "{}", source),
            (Ok(found), Ok(expected)) if found == expected => {}
            _ => prop_assert_eq!(printed(&found), printed(&expected), "{}", source),
        }
    }

    #[test]
    fn null_changes_only_what_reads_it(source in source(), request in request()) {
        if let Some(found) = without_null(&source, &request) {
            let expected = evaluated(&source, &request);
            prop_assert_eq!(printed(&found), printed(&expected), "{}", source);
        }
    }

    #[test]
    fn less_fuel_yields_the_same_or_exhausts(
        source in source(),
        request in request(),
        steps in 0_u64..60,
        bytes in 0_u64..400,
    ) {
        let (root, _) = compile(&source, Role::Counter).unwrap();
        let program = assemble(&root).unwrap();
        let fuel = Fuel::new(FuelLimits { steps, bytes });
        let missing = Missing::Fails;
        let machine = Machine { attributes: &request, fuel: &fuel, missing };
        let found = machine.evaluate(&program, None);
        let found = found
            .map(|value| value.as_ref().try_into().unwrap())
            .map_err(|error| is_missing(&error));
        if fuel.exhausted().is_none() {
            let expected = evaluated(&source, &request);
            prop_assert_eq!(printed(&found), printed(&expected), "{}", source);
        }
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
