//! Tests of expressions: what they use, what is refused, and how they evaluate.

mod documentation;

use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, ExecutionError, Value};

use super::functions::FUNCTIONS;
use super::{
    Attribute, Expression, ExpressionFault, LLM_FIELDS, PROPERTIES, REQUEST_BODY, Role,
    environment, missing,
};

fn predicate(source: &str) -> Expression {
    Expression::compile(source, Role::Predicate)
        .unwrap_or_else(|faults| panic!("{source}: {faults:?}"))
}

/// The names of what an expression uses.
fn uses(source: &str) -> Vec<String> {
    predicate(source)
        .uses()
        .iter()
        .map(|attribute| match attribute {
            Attribute::Property(property) => property.name.to_owned(),
            Attribute::Auth(path) if path.is_empty() => "auth".to_owned(),
            Attribute::Auth(path) => format!("auth.{path}"),
            Attribute::FilterState(key) => format!("filter_state[{key}]"),
            Attribute::Llm(field) => LLM_FIELDS
                .iter()
                .find(|(_, known, _)| known == field)
                .map(|(name, ..)| (*name).to_owned())
                .unwrap(),
            Attribute::RequestBody => "body".to_owned(),
            Attribute::Usage(_) | Attribute::Response(_) => "after the response".to_owned(),
        })
        .collect()
}

fn faults(source: &str) -> Vec<String> {
    Expression::compile(source, Role::Predicate)
        .err()
        .into_iter()
        .flatten()
        .map(|fault: ExpressionFault| fault.to_string())
        .collect()
}

/// A caller with some claims, one of them null, and a JSON body.
struct Caller;

impl VariableResolver for Caller {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let json = match variable {
            "auth" => serde_json::json!({
                "identity": { "userid": "alice", "groups": null, "roles": ["a", "b"] }
            }),
            "request" => serde_json::json!({ "headers": { "x-tier": "gold" }, "path": "/v1" }),
            "llm.model" => serde_json::json!("gpt-4o"),
            "llm" => serde_json::json!({ "model": "gpt-4o", "stream": true }),
            REQUEST_BODY => serde_json::json!({
                "model": "m", "stream": null, "a/b": 1, "m~n": 2,
                "messages": [{ "role": "user" }]
            }),
            _ => return None,
        };
        let value: Value = cel::to_value(json).ok()?;
        value.try_into().ok().map(CowVal::Owned)
    }
}

fn evaluate(source: &str) -> Result<Value, ExecutionError> {
    let (root, _) = super::compile::compile(source, Role::Counter)
        .unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
    let caller = Caller;
    let mut context = Context::with_env(environment());
    context.set_variable_resolver(&caller);
    Value::resolve(&root, &context)
}

#[test]
fn the_environment_can_be_declared() {
    assert!(super::environment::declare().is_ok());
}

#[test]
fn every_property_can_be_read_by_its_name() {
    for property in &PROPERTIES {
        assert_eq!(uses(&format!("{} != null", property.name)), [property.name]);
    }
    for (name, ..) in LLM_FIELDS {
        assert_eq!(uses(&format!("{name} != null")), [name]);
    }
}

#[test]
fn an_expression_uses_what_it_reads_once_each() {
    for (source, expected) in [
        ("true", vec![]),
        ("request.path == '/v1'", vec!["request.path"]),
        ("request['path'] == '/v1'", vec!["request.path"]),
        ("request.?path.orValue('') == '/v1'", vec!["request.path"]),
        ("request[?'path'].hasValue()", vec!["request.path"]),
        (".request.path == '/v1'", vec!["request.path"]),
        ("has(request.referer)", vec!["request.referer"]),
        ("has(request.headers.cookie)", vec!["request.headers"]),
        (
            "request.headers['x'] == request.headers['y'] && request.time > timestamp(0)",
            vec!["request.headers", "request.time"],
        ),
        (
            "auth.identity.groups.split(',').exists(g, g == 'free')",
            vec!["auth", "auth.identity", "auth.identity.groups"],
        ),
        ("has(auth.identity)", vec!["auth", "auth.identity"]),
        ("auth == {}", vec!["auth"]),
        ("metadata.filter_metadata['a.b'].c == 1", vec!["metadata"]),
        (
            "route.metadata.filter_metadata.a.b == 1",
            vec!["route.metadata"],
        ),
        (
            "xds.node.id == 'a' && xds.route_name == ''",
            vec!["xds.route_name", "xds.node.id"],
        ),
        (
            "filter_state['wasm.a'] == '' || filter_state.b == ''",
            vec!["filter_state[b]", "filter_state[wasm.a]"],
        ),
        ("requestBodyJSON('/model') == 'm'", vec!["body"]),
        (
            "has(llm.model) && llm['stream'] && llm.?api.orValue('') == 'chat'",
            vec!["llm.api", "llm.model", "llm.stream"],
        ),
        (
            "requestBodyJSON(request.query) == 'm'",
            vec!["request.query", "body"],
        ),
        ("type(request.size) == int", vec!["request.size"]),
        (
            "type(request.time) == google.protobuf.Timestamp",
            vec!["request.time"],
        ),
        (
            "optional.of(1).hasValue() && strings.quote('') == ''",
            vec![],
        ),
    ] {
        let mut expected = expected;
        expected.sort_unstable();
        let mut used = uses(source);
        used.sort_unstable();
        assert_eq!(used, expected, "{source}");
    }
}

#[test]
fn a_variable_of_a_macro_hides_the_hosts_within_the_macro_only() {
    assert_eq!(
        uses("[{'path': 1}].exists(request, request.path == 1)"),
        [""; 0]
    );
    let below = ["auth", "auth.a"];
    assert_eq!(uses("[1].exists(auth, auth == 1) && auth.a"), below);
    assert_eq!(uses("[1].exists(auth, .auth.a == auth)"), below);
    assert_eq!(
        uses("request.headers.exists(request, request == 'a')"),
        ["request.headers"]
    );
    assert_eq!(
        faults("[1].exists(group, true) && group == 1"),
        ["unknown variable \"group\""]
    );
    assert_eq!(
        faults("[1].exists(group, gruop == 1)"),
        ["unknown variable \"gruop\", did you mean \"group\"?"]
    );
}

#[test]
fn a_macro_within_another_goes_over_a_part_of_what_the_other_goes_over() {
    for source in [
        "auth.a.exists(x, ['b', 'c'].exists(y, x == y))",
        "auth.a.exists(x, x.b.exists(y, y.c.exists(z, z == 1)))",
        "auth.a.exists(key, auth.a[key].exists(x, x == 1))",
        "auth.a.exists(x, x.split(',').filter(y, y != '').exists(z, z == 'a'))",
        "auth.a.filter(x, x != '').exists(x, x == 'a')",
        "auth.a.exists(x, x == 1) && auth.b.exists(x, x == 1)",
    ] {
        assert_eq!(faults(source), [""; 0], "{source}");
    }
}

#[test]
fn only_an_expression_that_reads_the_body_needs_it() {
    assert!(predicate("requestBodyJSON('/stream') == true").needs_body());
    assert!(!predicate("request.path == '/stream'").needs_body());
    for (name, ..) in LLM_FIELDS {
        let at_the_headers = ["llm.provider", "llm.api"].contains(&name);
        let source = format!("has({name})");
        assert_eq!(predicate(&source).needs_body(), !at_the_headers, "{name}");
    }
}

#[test]
fn all_faults_of_an_expression_are_told() {
    assert_eq!(
        faults("reqest.path == atuh.a && request.pth.splt('/')[0] == requestBodyJSON('model')"),
        [
            "unknown variable \"reqest\", did you mean \"request\"?",
            "unknown variable \"atuh\", did you mean \"auth\"?",
            "unknown function \"splt\", did you mean \"split\"?",
            "unknown field \"pth\" of \"request\", did you mean \"path\"?",
            "\"model\" is not a JSON pointer, expected one such as \"/model\"",
        ]
    );
}

#[test]
fn the_body_is_read_by_pointer() {
    for (source, expected) in [
        ("requestBodyJSON('/model')", Value::from("m")),
        ("requestBodyJSON('/messages/0/role')", Value::from("user")),
        ("requestBodyJSON('').model", Value::from("m")),
        ("requestBodyJSON('/a~1b')", Value::from(1_i64)),
        ("requestBodyJSON('/m~0n')", Value::from(2_i64)),
        ("requestBodyJSON('/mod' + 'el')", Value::from("m")),
        ("requestBodyJSON('/stream') == null", Value::from(true)),
    ] {
        assert_eq!(evaluate(source), Ok(expected), "{source}");
    }
}

#[test]
fn a_time_is_read_in_utc_or_at_an_offset_from_it() {
    for (zone, expected) in [
        ("", 22),
        ("'UTC'", 22),
        ("''", 22),
        ("'+02:00'", 0),
        ("'02:00'", 0),
        ("'-05:30'", 16),
        ("'+' + '02:00'", 0),
    ] {
        let source = format!("timestamp('2026-01-01T22:15:00Z').getHours({zone})");
        assert_eq!(evaluate(&source), Ok(Value::from(expected)), "{source}");
    }
    for function in FUNCTIONS
        .iter()
        .filter(|function| function.name.starts_with("get"))
    {
        let source = format!("request.time.{}('Mars/Base') == 1", function.name);
        assert_eq!(faults(&source).len(), 1, "{source}");
    }
}

#[test]
fn a_value_that_is_absent_or_null_is_missing() {
    for source in [
        "auth.identity.age",
        "auth.identity['age'] == 1",
        "auth.org.name",
        "auth.identity.groups.split(',')",
        "auth.identity.groups.exists(g, g == 'a')",
        "auth.identity.groups.name",
        "auth.identity.groups['name']",
        "auth.identity.groups + 'a'",
        "auth.identity.groups > 1",
        "1 > auth.identity.groups",
        "'a' in auth.identity.groups",
        "size(auth.identity.groups)",
        "-auth.identity.groups",
        "!auth.identity.groups",
        "auth.identity.groups && true",
        "auth.identity.groups ? 1 : 2",
        "int(auth.identity.groups)",
        "auth.identity.userid.contains(auth.identity.groups)",
        "request.headers['x-user']",
        "request.referer",
        "metadata.filter_metadata.a",
        "filter_state['a']",
        "llm.max_output_tokens > 1",
        "llm['api']",
        "requestBodyJSON('/none')",
        "requestBodyJSON('/model/deeper')",
        "requestBodyJSON('/messages/1')",
        "requestBodyJSON('/messages/-')",
        "requestBodyJSON(auth.identity.groups)",
    ] {
        match evaluate(source) {
            Err(error) => assert!(missing(&error), "{source}: {error:?}"),
            Ok(value) => panic!("{source}: {value:?}"),
        }
    }
}

#[test]
fn any_other_fault_is_not_missing() {
    for source in [
        "1 / 0 == 1",
        "int('x') == 1",
        "auth.identity.userid > 1",
        "auth.identity.userid + 1",
        "auth.identity.userid.exists(g, true)",
        "auth.identity.roles.split(',')",
        "requestBodyJSON('mod' + 'el')",
        "timestamp('x') == request.path",
        "duration('x') == request.path",
        "'a'.matches('(' + '')",
        "9223372036854775807 + 1",
        "'abc'.substring(5)",
    ] {
        match evaluate(source) {
            Err(error) => assert!(!missing(&error), "{source}: {error:?}"),
            Ok(value) => panic!("{source}: {value:?}"),
        }
    }
}

#[test]
fn has_tells_whether_a_value_is_there() {
    for (source, expected) in [
        ("has(auth.identity.userid)", true),
        ("has(auth.identity.age)", false),
        ("has(request.headers.cookie)", false),
        ("has(request.path)", true),
        ("has(request.referer)", false),
        ("has(llm.model)", true),
        ("has(llm.max_output_tokens)", false),
        ("llm.model.startsWith('gpt-') && llm.stream", true),
        ("llm.?max_output_tokens.orValue(256) == 256", true),
        ("auth.?org.?name.orValue('none') == 'none'", true),
    ] {
        assert_eq!(evaluate(source), Ok(Value::from(expected)), "{source}");
    }
}
