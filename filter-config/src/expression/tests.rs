//! Tests of expressions: their attributes, their errors and their values.

mod conformance;
mod documentation;
mod null;
mod pointers;

use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{ExecutionError, Value};

use super::functions::FUNCTIONS;
use super::missing::is_missing;
use super::{
    Attribute, Expression, ExpressionError, Failure, LLM_FIELDS, PROPERTIES, REQUEST_BODY, Role,
    testing,
};

fn predicate(source: &str) -> Expression {
    Expression::compile(source, Role::Predicate)
        .unwrap_or_else(|errors| panic!("{source}: {errors:?}"))
}

/// The names of the attributes that an expression uses.
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
            Attribute::RequestBody(pointer) => format!("body[{pointer}]"),
            Attribute::Usage(_) | Attribute::Response(_) => "after the response".to_owned(),
        })
        .collect()
}

fn errors(source: &str) -> Vec<String> {
    Expression::compile(source, Role::Predicate)
        .err()
        .into_iter()
        .flatten()
        .map(|error: ExpressionError| error.to_string())
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
        .unwrap_or_else(|errors| panic!("{source}: {errors:?}"));
    match testing::run(&root, &Caller) {
        Ok(value) => Ok(value),
        Err(Failure::Execution(error)) => Err(error),
        Err(failure) => panic!("{source}: {failure}"),
    }
}

#[test]
fn every_property_is_a_variable() {
    for property in &PROPERTIES {
        assert_eq!(uses(&format!("{} != null", property.name)), [property.name]);
    }
    for (name, ..) in LLM_FIELDS {
        assert_eq!(uses(&format!("{name} != null")), [name]);
    }
}

#[test]
fn uses_lists_each_attribute_once() {
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
        ("requestBodyJSON('/model') == 'm'", vec!["body[/model]"]),
        (
            "requestBodyJSON('').model == requestBodyJSON('/a/0')",
            vec!["body[]", "body[/a/0]"],
        ),
        (
            "has(llm.model) && llm['stream'] && llm.?api.orValue('') == 'chat'",
            vec!["llm.api", "llm.model", "llm.stream"],
        ),
        (
            "requestBodyJSON(request.query) == 'm'",
            vec!["request.query", "body[]"],
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
fn macro_variables_hide_attributes_inside_only() {
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
        errors("[1].exists(group, true) && group == 1"),
        [
            "unknown variable \"group\", expected \"auth\", \"connection\", \"destination\", \"filter_state\", \"llm\", \"metadata\", \"request\", \"route\", \"source\" or \"xds\""
        ]
    );
    assert_eq!(
        errors("[1].exists(group, gruop == 1)"),
        ["unknown variable \"gruop\", did you mean \"group\"?"]
    );
}

#[test]
fn nested_macros_are_accepted() {
    for source in [
        "['a', 'b'].exists(x, ['b', 'c'].exists(y, x == y))",
        "auth.a.exists(x, auth.b.exists(y, x == y))",
        "auth.a.split(',').exists(g, g in request.headers['x-g'].split(','))",
        "auth.a.exists(x, ['b', 'c'].exists(y, x == y))",
        "auth.a.exists(x, x.b.exists(y, y.c.exists(z, z == 1)))",
        "auth.a.exists(key, auth.a[key].exists(x, x == 1))",
        "auth.a.exists(x, x.split(',').filter(y, y != '').exists(z, z == 'a'))",
        "auth.a.filter(x, x != '').exists(x, x == 'a')",
        "auth.a.exists(x, x == 1) && auth.b.exists(x, x == 1)",
    ] {
        assert_eq!(errors(source), [""; 0], "{source}");
    }
}

#[test]
fn only_body_attributes_need_the_body() {
    assert!(predicate("requestBodyJSON('/stream') == true").needs_body());
    assert!(!predicate("request.path == '/stream'").needs_body());
    for (name, ..) in LLM_FIELDS {
        let at_the_headers = ["llm.provider", "llm.api"].contains(&name);
        let source = format!("has({name})");
        assert_eq!(predicate(&source).needs_body(), !at_the_headers, "{name}");
    }
}

#[test]
fn all_errors_of_an_expression_are_reported() {
    assert_eq!(
        errors("reqest.path == atuh.a && request.pth.splt('/')[0] == requestBodyJSON('model')"),
        [
            "unknown variable \"reqest\", did you mean \"request\"?",
            "unknown variable \"atuh\", did you mean \"auth\"?",
            "unknown function \"splt\", did you mean \"split\"?",
            "unknown field \"pth\" of \"request\", did you mean \"path\"?",
            "invalid JSON pointer \"model\", expected e.g. \"/model\"",
        ]
    );
}

#[test]
fn request_body_json_reads_by_pointer() {
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
fn timestamps_take_utc_and_offsets() {
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
        assert_eq!(errors(&source).len(), 1, "{source}");
    }
}

#[test]
fn absent_and_null_values_are_missing_in_counters() {
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
            Err(error) => assert!(is_missing(&error), "{source}: {error:?}"),
            Ok(value) => panic!("{source}: {value:?}"),
        }
    }
}

#[test]
fn other_errors_are_not_missing() {
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
            Err(error) => assert!(!is_missing(&error), "{source}: {error:?}"),
            Ok(value) => panic!("{source}: {value:?}"),
        }
    }
}

#[test]
fn has_finds_present_values() {
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
