//! Tests of invalid expressions.

#![expect(clippy::too_many_lines, reason = "the tests are tables")]

use serde_json::json;

use crate::fixtures::{assert_errors, tutorial};

#[test]
fn invalid_expressions_are_rejected() {
    for (predicate, expected) in [
        (
            "atuh.identity.a == 1",
            "unknown variable \"atuh\", did you mean \"auth\"?",
        ),
        (
            "tokens == 1",
            "unknown variable \"tokens\", expected \"auth\", \"connection\", \"destination\", \"filter_state\", \"llm\", \"metadata\", \"request\", \"route\", \"source\" or \"xds\"",
        ),
        (
            "request.pth == '/'",
            "unknown field \"pth\" of \"request\", did you mean \"path\"?",
        ),
        (
            "request.auth.claims.sub == 'alice'",
            "unknown field \"auth\" of \"request\", the identity of the caller is `auth.identity`",
        ),
        (
            "request['pth'] == '/'",
            "unknown field \"pth\" of \"request\", did you mean \"path\"?",
        ),
        (
            "xds.node.idd == ''",
            "unknown field \"idd\" of \"xds.node\", did you mean \"id\"?",
        ),
        (
            "metadata.filter_metdata.a == ''",
            "unknown field \"filter_metdata\" of \"metadata\", did you mean \"filter_metadata\"?",
        ),
        (
            "request == {}",
            "found \"request\" as a whole, expected one of its fields such as \"request.method\"",
        ),
        (
            "size(request) == 1",
            "found \"request\" as a whole, expected one of its fields such as \"request.method\"",
        ),
        (
            "filter_state.exists(key, true)",
            "found \"filter_state\" as a whole, expected one of its fields such as \"filter_state.key\"",
        ),
        (
            "request[auth.field] == ''",
            "found a computed field of \"request\", expected a name or a string literal",
        ),
        (
            "filter_state[auth.field] == ''",
            "found a computed field of \"filter_state\", expected a name or a string literal",
        ),
        (
            "usage.total_tokens > 1",
            "found `usage`, which is known only after the response; a predicate can only use the request",
        ),
        (
            "response.code == 200",
            "found `response`, which is known only after the response; a predicate can only use the request",
        ),
        (
            "responseBodyJSON('/id') == ''",
            "found `responseBodyJSON`, which is known only after the response; a predicate can only use the request",
        ),
        (
            "llm.modle == ''",
            "unknown field \"modle\" of \"llm\", did you mean \"model\"?",
        ),
        (
            "has(llm.max_tokens)",
            "unknown field \"max_tokens\" of \"llm\", expected \"api\", \"estimated_input_tokens\", \"max_output_tokens\", \"model\", \"provider\" or \"stream\"",
        ),
        (
            "llm == {}",
            "found \"llm\" as a whole, expected one of its fields such as \"llm.provider\"",
        ),
        (
            "llm[request.path] == ''",
            "found a computed field of \"llm\", expected a name or a string literal",
        ),
        (
            "lm.model == ''",
            "unknown variable \"lm\", did you mean \"llm\"?",
        ),
        (
            "request.path.splt('/') == []",
            "unknown function \"splt\", did you mean \"split\"?",
        ),
        (
            "split(request.path, '/') == []",
            "\"split\" must be called as a method, as in `x.f()`",
        ),
        (
            "request.path.int() == 1",
            "\"int\" must be called as a function, as in `f(x)`",
        ),
        (
            "request.path.startsWith() == true",
            "found 0 arguments to \"startsWith\", expected 1 argument",
        ),
        (
            "request.path.split('/', 1, 2) == []",
            "found 3 arguments to \"split\", expected 1 or 2 arguments",
        ),
        (
            "auth.groups.exists(auth.group) == true",
            "found 1 argument to \"exists\", expected 2 arguments",
        ),
        (
            "request.headers.x-tier == 'gold'",
            "found a subtraction; for a name with dashes write `request.headers[\"x-tier\"]`",
        ),
        (
            "auth.identity.user-agent-id == 'gold'",
            "found a subtraction; for a name with dashes write `auth.identity[\"user-agent-id\"]`",
        ),
        (
            "auth.identity.level - tier > 1",
            "found a subtraction; for a name with dashes write `auth.identity[\"level-tier\"]`",
        ),
        (
            "requestBodyJSON() == 'a'",
            "found 0 arguments to \"requestBodyJSON\", expected 1 argument",
        ),
        (
            "requestBodyJSON('model') == 'a'",
            "invalid JSON pointer \"model\", expected e.g. \"/model\"",
        ),
        (
            "request.time.getHours('Europe/Berlin') < 8",
            "unknown time zone \"Europe/Berlin\", expected \"UTC\" or an offset such as \"+02:00\"",
        ),
        (
            "request.time.getDayOfWeek('CET') == 0",
            "unknown time zone \"CET\", expected \"UTC\" or an offset such as \"+02:00\"",
        ),
        (
            "request.time.getMinutes('+24:00') == 0",
            "unknown time zone \"+24:00\", expected \"UTC\" or an offset such as \"+02:00\"",
        ),
        (
            "request.path.matches('(')",
            "invalid regular expression \"(\": found open group without closing ')'",
        ),
        (
            "Account{id: 1}.id == 1",
            "found a message of type \"Account\", expected none: messages are not supported",
        ),
        ("'true'", "found a string, expected a boolean"),
        ("1", "found a number, expected a boolean"),
        ("null", "found null, expected a boolean"),
        ("[true]", "found a list, expected a boolean"),
        ("request.path", "found a string, expected a boolean"),
        (
            "request.headers['x-free']",
            "found a string, expected a boolean",
        ),
        (
            "request.headers[?'x-free'].orValue('')",
            "found a string, expected a boolean",
        ),
        ("1 + 1", "found a number, expected a boolean"),
        ("'a' + auth.tier", "found a string, expected a boolean"),
        ("size(auth.groups)", "found a number, expected a boolean"),
        (
            "auth.groups.filter(g, g == 'free')",
            "found a list, expected a boolean",
        ),
        ("auth.is_free ? 1 : 2", "found a number, expected a boolean"),
        ("request.time", "found a timestamp, expected a boolean"),
        (
            "request.path = '/'",
            "invalid CEL at line 1, column 14: unexpected \"=\", did you mean \"==\"?",
        ),
        (
            "request.path == '/' and auth.is_free",
            "invalid CEL at line 1, column 21: unexpected \"and\", did you mean \"&&\"?",
        ),
        (
            "request.path.lower() == '/'",
            "unknown function \"lower\", did you mean \"lowerAscii\"?",
        ),
        (
            "request.path == '/",
            "invalid CEL at line 1, column 17: found a literal without an end or with an unknown escape",
        ),
        (
            "((((((((((((((((((((((((((true))))))))))))))))))))))))))",
            "nested too deeply, expected at most 23 nested brackets and 256 operands in a row",
        ),
    ] {
        let expected = format!("spec.limits.free.when[0].predicate: {expected}");
        let pointer = "/spec/limits/free/when/0/predicate";
        assert_errors(
            &tutorial(),
            [(pointer, Some(json!(predicate)), expected.as_str())],
        );
    }
}
