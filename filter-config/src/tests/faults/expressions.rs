//! Expressions that cannot be used.

#![allow(clippy::too_many_lines)] // Tables.

use serde_json::json;

use super::refused;
use crate::tests::tutorial;

#[test]
fn expressions_that_cannot_be_used() {
    for (predicate, expected) in [
        (
            "atuh.identity.a == 1",
            "unknown variable \"atuh\", did you mean \"auth\"?",
        ),
        ("tokens == 1", "unknown variable \"tokens\""),
        (
            "request.pth == '/'",
            "unknown field \"pth\" of \"request\", did you mean \"path\"?",
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
            "\"request\" cannot be used as a whole, only its fields can, such as \"request.method\"",
        ),
        (
            "size(request) == 1",
            "\"request\" cannot be used as a whole, only its fields can, such as \"request.method\"",
        ),
        (
            "filter_state.exists(key, true)",
            "\"filter_state\" cannot be used as a whole, only its fields can, such as \"filter_state.key\"",
        ),
        (
            "request[auth.field] == ''",
            "the field of \"request\" has to be a name or a string literal",
        ),
        (
            "filter_state[auth.field] == ''",
            "the field of \"filter_state\" has to be a name or a string literal",
        ),
        (
            "usage.total_tokens > 1",
            "`usage` is known only after the response; a predicate sees only the request",
        ),
        (
            "response.code == 200",
            "`response` is known only after the response; a predicate sees only the request",
        ),
        (
            "responseBodyJSON('/id') == ''",
            "`responseBodyJSON` is known only after the response; a predicate sees only the request",
        ),
        (
            "llm.modle == ''",
            "unknown field \"modle\" of \"llm\", did you mean \"model\"?",
        ),
        (
            "has(llm.max_tokens)",
            "unknown field \"max_tokens\" of \"llm\"",
        ),
        (
            "llm == {}",
            "\"llm\" cannot be used as a whole, only its fields can, such as \"llm.provider\"",
        ),
        (
            "llm[request.path] == ''",
            "the field of \"llm\" has to be a name or a string literal",
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
            "the function \"split\" has to be called as a method, as in `x.f()`",
        ),
        (
            "request.path.int() == 1",
            "the function \"int\" has to be called as a function, as in `f(x)`",
        ),
        (
            "request.path.startsWith() == true",
            "the function \"startsWith\" takes 1 argument, found 0",
        ),
        (
            "request.path.split('/', 1, 2) == []",
            "the function \"split\" takes 1 or 2 arguments, found 3",
        ),
        (
            "auth.groups.exists(auth.group) == true",
            "the function \"exists\" takes 2 arguments, found 1",
        ),
        (
            "requestBodyJSON() == 'a'",
            "the function \"requestBodyJSON\" takes 1 argument, found 0",
        ),
        (
            "requestBodyJSON('model') == 'a'",
            "\"model\" is not a JSON pointer, expected one such as \"/model\"",
        ),
        (
            "request.time.getHours('Europe/Berlin') < 8",
            "\"Europe/Berlin\" is not a time zone that tollgate has, expected \"UTC\" or an offset such as \"+02:00\"",
        ),
        (
            "request.time.getDayOfWeek('CET') == 0",
            "\"CET\" is not a time zone that tollgate has, expected \"UTC\" or an offset such as \"+02:00\"",
        ),
        (
            "request.time.getMinutes('+24:00') == 0",
            "\"+24:00\" is not a time zone that tollgate has, expected \"UTC\" or an offset such as \"+02:00\"",
        ),
        (
            "request.path.matches('(')",
            "\"(\" is not a regular expression: found open group without closing ')'",
        ),
        ("Account{id: 1}.id == 1", "unknown type \"Account\""),
        (
            "'true'",
            "a predicate has to be true or false, this is a string",
        ),
        ("1", "a predicate has to be true or false, this is a number"),
        ("null", "a predicate has to be true or false, this is null"),
        (
            "[true]",
            "a predicate has to be true or false, this is a list",
        ),
        (
            "request.path",
            "a predicate has to be true or false, this is a string",
        ),
        (
            "request.headers['x-free']",
            "a predicate has to be true or false, this is a string",
        ),
        (
            "request.headers[?'x-free'].orValue('')",
            "a predicate has to be true or false, this is a string",
        ),
        (
            "1 + 1",
            "a predicate has to be true or false, this is a number",
        ),
        (
            "'a' + auth.tier",
            "a predicate has to be true or false, this is a string",
        ),
        (
            "size(auth.groups)",
            "a predicate has to be true or false, this is a number",
        ),
        (
            "auth.groups.filter(g, g == 'free')",
            "a predicate has to be true or false, this is a list",
        ),
        (
            "auth.is_free ? 1 : 2",
            "a predicate has to be true or false, this is a number",
        ),
        (
            "request.time",
            "a predicate has to be true or false, this is a timestamp",
        ),
        (
            "request.path = '/'",
            "not CEL, line 1, column 14: token recognition error at: '= '",
        ),
        (
            "request.path == '/",
            "not CEL, line 1, column 17: a literal that does not end, or has an unknown escape",
        ),
        (
            "((((((((((((((((((((((((((true))))))))))))))))))))))))))",
            "nested too deeply, at most 24 brackets within one another and 256 names in a row",
        ),
    ] {
        let expected = format!("spec.limits.free.when[0].predicate: {expected}");
        let pointer = "/spec/limits/free/when/0/predicate";
        refused(
            &tutorial(),
            [(pointer, Some(json!(predicate)), expected.as_str())],
        );
    }
}
