//! Tests of invalid settings of the long form.

#![expect(clippy::too_many_lines, reason = "the tests are tables")]

use serde_json::json;

use crate::fixtures::{assert_errors, errors_of, long_form, tutorial};

#[test]
fn invalid_settings_are_rejected() {
    assert_errors(
        &long_form(),
        [
            ("/policies", Some(json!([])), "policies: must not be empty"),
            (
                "/policies",
                Some(tutorial()),
                "policies: found an object, expected a list",
            ),
            (
                "/policies/1",
                Some(tutorial()),
                "policies[1]: duplicate policy \"gateway-system/token-limits\", already given at policies[0]",
            ),
            (
                "/policies/0/spec/limits/free/rates/0/window",
                Some(json!("0s")),
                "policies[0].spec.limits.free.rates[0].window: invalid duration \"0s\", expected more than zero",
            ),
            (
                "/policies/0/replies",
                Some(json!({})),
                "policies[0].replies: unknown field, expected \"apiVersion\", \"kind\", \"metadata\" or \"spec\"",
            ),
            (
                "/stroage",
                Some(json!({})),
                "stroage: unknown field, did you mean \"storage\"?",
            ),
            (
                "/storage",
                Some(json!({ "maxCounters": 63 })),
                "storage.maxCounters: found 63, expected a whole number from 64 to 16777216",
            ),
            (
                "/storage",
                Some(json!({ "maxCounters": 16_777_217 })),
                "storage.maxCounters: found 16777217, expected a whole number from 64 to 16777216",
            ),
            (
                "/failureMode",
                Some(json!("open")),
                "failureMode: found \"open\", expected \"deny\" or \"allow\"",
            ),
            ("/auth", Some(json!([])), "auth: must not be empty"),
            (
                "/auth",
                Some(json!([{ "metadata": "a", "filterState": "b" }])),
                "auth[0]: found an object, expected exactly one of \"metadata\", \"filterState\" and \"header\"",
            ),
            (
                "/auth",
                Some(json!([{ "metadata": "" }])),
                "auth[0].metadata: must not be empty",
            ),
            (
                "/auth",
                Some(json!([{ "metadata": "a", "key": [] }])),
                "auth[0].key: must not be empty",
            ),
            (
                "/auth",
                Some(json!([{ "metadata": "a", "as": "identity..sub" }])),
                "auth[0].as: invalid path, expected one below \"auth\" such as \"identity.userid\"",
            ),
            (
                "/auth",
                Some(json!([{ "filterState": "a", "key": "payload" }])),
                "auth[0].key: has no effect on this source, remove it or use \"metadata\"",
            ),
            (
                "/auth",
                Some(json!([{ "metadata": "a" }, { "metadata": "a" }])),
                "auth[1]: duplicate source, already given at auth[0]",
            ),
            (
                "/auth",
                Some(json!([{ "jwt": "a" }])),
                "auth[0].jwt: unknown field, expected \"metadata\", \"key\", \"as\", \"filterState\" or \"header\"\n\
             auth[0]: found an object, expected exactly one of \"metadata\", \"filterState\" and \"header\"",
            ),
            (
                "/auth",
                Some(json!([{ "header": {} }])),
                "auth[0].header: must not be empty",
            ),
            (
                "/auth",
                Some(json!([{ "header": { "identity.userid": "x user" } }])),
                "auth[0].header[\"identity.userid\"]: invalid header name, expected a token of RFC 9110 such as \"x-user-id\"",
            ),
            (
                "/auth",
                Some(json!([{ "header": { "identity.userid": ":path" } }])),
                "auth[0].header[\"identity.userid\"]: invalid header name, expected a token of RFC 9110 such as \"x-user-id\"",
            ),
            (
                "/auth",
                Some(json!([{ "header": { "identity..userid": "x-user" } }])),
                "auth[0].header[\"identity..userid\"]: invalid path, expected one below \"auth\" such as \"identity.userid\"",
            ),
            (
                "/auth",
                Some(
                    json!([{ "header": { "identity": "x-user", "identity.groups": "x-groups" } }]),
                ),
                "auth[0].header[\"identity.groups\"]: found \"identity.groups\", expected a path that does not overlap with \"identity\"",
            ),
            (
                "/accessLog",
                Some(json!("typed")),
                "accessLog: found \"typed\", expected \"keys\", \"record\" or \"both\"",
            ),
            (
                "/usageEndpoint",
                Some(json!({ "path": "usage" })),
                "usageEndpoint.path: invalid path, expected one such as \"/.tollgate/usage\": letters, digits, \"-\", \".\", \"_\" and \"~\" between slashes, without a query",
            ),
            (
                "/usageEndpoint",
                Some(json!({ "path": "/a/../b?c" })),
                "usageEndpoint.path: invalid path, expected one such as \"/.tollgate/usage\": letters, digits, \"-\", \".\", \"_\" and \"~\" between slashes, without a query",
            ),
            (
                "/track",
                Some(json!({ "top": 100 })),
                "track: only administrators can list what is tracked, add \"usageEndpoint\" and \"admin\" or remove it",
            ),
            (
                "/track",
                Some(json!({ "top": 1001 })),
                "track.top: found 1001, expected a whole number from 1 to 1000",
            ),
            (
                "/holdHeaders",
                Some(json!("yes")),
                "holdHeaders: found \"yes\", expected true or false",
            ),
            (
                "/requestBody",
                Some(json!({ "maxBytes": 67_108_865 })),
                "requestBody.maxBytes: found 67108865, expected a size from 1 to \"64MiB\", in bytes or e.g. \"64MiB\"",
            ),
            (
                "/requestBody",
                Some(json!({ "workerBytes": "8 MB" })),
                "requestBody.workerBytes: invalid size \"8 MB\", did you mean \"8MiB\"?",
            ),
            (
                "/memory",
                Some(json!({ "perWorker": "64Mi" })),
                "memory.perWorker: invalid size \"64Mi\", did you mean \"64MiB\"?",
            ),
            (
                "/memory",
                Some(json!({ "perWorker": "100 mb" })),
                "memory.perWorker: invalid size \"100 mb\", did you mean \"100MiB\"?",
            ),
            (
                "/memory",
                Some(json!({ "perWorker": "1GiB" })),
                "memory.perWorker: found \"1GiB\", expected a size from \"32MiB\" to \"768MiB\", in bytes or e.g. \"64MiB\"",
            ),
            (
                "/usage",
                Some(json!({ "onMissing": "guess" })),
                "usage.onMissing: found \"guess\", expected \"estimate\" or \"ignore\"",
            ),
            (
                "/usage",
                Some(json!({ "includeUsage": "always" })),
                "usage.includeUsage: found \"always\", expected \"auto\", \"never\" or a CEL predicate",
            ),
            (
                "/usage",
                Some(json!({ "includeUsage": true })),
                "usage.includeUsage: found true, expected \"auto\", \"never\" or a CEL predicate",
            ),
            (
                "/usage",
                Some(json!({ "includeUsage": "llm.model + 'x'" })),
                "usage.includeUsage: found a string, expected a boolean",
            ),
            (
                "/usage",
                Some(json!({ "includeUsage": "usage.total_tokens > 1" })),
                "usage.includeUsage: found `usage`, which is known only after the response; a predicate can only use the request",
            ),
            (
                "/usage",
                Some(json!({ "methods": ["POST", "get", 7] })),
                "usage.methods[1]: found \"get\", expected a method such as \"POST\"\n\
                 usage.methods[2]: found 7, expected a string",
            ),
            (
                "/usage",
                Some(json!({ "methods": [], "paths": {} })),
                "usage.paths: must not be empty\n\
                 usage.methods: must not be empty",
            ),
            (
                "/usage",
                Some(json!({ "paths": [] })),
                "usage.paths: must not be empty",
            ),
            (
                "/usage",
                Some(json!({ "paths": {
                    "total": [],
                    "output": "/meter/out_units + meter/x",
                    "input": ["/a+b", "/a b +c", "/a + /b", "/a +", "/a + b + /c"]
                } })),
                "usage.paths.input[4]: found \"/a + b + /c\", expected a sum in which each pointer begins with \"/\": \"/a + /b + /c\"\n\
                 usage.paths.output: found \"/meter/out_units + meter/x\", expected a sum in which each pointer begins with \"/\": \"/meter/out_units + /meter/x\"\n\
                 usage.paths.total: must not be empty",
            ),
            (
                "/usage",
                Some(json!({ "backgroundTtl": "2d" })),
                "usage.backgroundTtl: found \"2d\", expected a duration from \"1s\" to \"24h\"",
            ),
            (
                "/usage",
                Some(json!({ "includeusage": "auto" })),
                "usage.includeusage: unknown field, did you mean \"includeUsage\"?",
            ),
            (
                "/usage",
                Some(json!({ "paths": "/usage/total_tokens" })),
                "usage.paths: found \"/usage/total_tokens\", expected a list of JSON pointers, or an object",
            ),
            (
                "/usage",
                Some(json!({ "paths": ["usage.total_tokens", 7, "", "/a~b", "/a~1b~0"] })),
                "usage.paths[0]: found \"usage.total_tokens\", expected a JSON pointer such as \"/usage/total_tokens\"\n\
                 usage.paths[1]: found 7, expected a string\n\
                 usage.paths[2]: must not be empty\n\
                 usage.paths[3]: found \"/a~b\", expected a JSON pointer such as \"/usage/total_tokens\"",
            ),
            (
                "/usage",
                Some(
                    json!({ "paths": ["/a/b/c/d/e/f/g/h/i/j/k", "/a/0/0/0/0/0/0/0/0/0", (["/a"; 9].join(" + "))] }),
                ),
                "usage.paths[0]: found 11 keys and indexes, expected at most 10\n\
                 usage.paths[2]: found 9 JSON pointers in a sum, expected at most 8",
            ),
            (
                "/usage",
                Some(
                    json!({ "paths": { "totals": "/n", "total": 7, "input": ["/n", "n + /n"], "output": "n", "cached": vec!["/n"; 9] } }),
                ),
                "usage.paths.totals: unknown field, did you mean \"total\"?\n\
                 usage.paths.input[1]: found \"n + /n\", expected a JSON pointer such as \"/usage/total_tokens\"\n\
                 usage.paths.output: found \"n\", expected a JSON pointer such as \"/usage/total_tokens\"\n\
                 usage.paths.total: found 7, expected a list\n\
                 usage.paths.cached: found 9 JSON pointers, expected at most 8",
            ),
            (
                "/usage",
                Some(json!({ "paths": vec!["/n"; 9] })),
                "usage.paths: found 9 JSON pointers, expected at most 8",
            ),
            (
                "/usage",
                Some(json!({ "paths": [format!("/{}", "n".repeat(1024))] })),
                "usage.paths[0]: found 1025 bytes, expected at most 1024",
            ),
            (
                "/replies",
                Some(json!({ "status": 200 })),
                "replies.status: found 200, expected a whole number from 400 to 599",
            ),
            (
                "/replies",
                Some(json!({ "contentType": "text/plain\r\nx-evil: 1" })),
                "replies.contentType: invalid header value, expected printable ASCII",
            ),
            (
                "/replies",
                Some(json!({ "body": "x".repeat(65_537) })),
                "replies.body: found 65537 bytes, expected at most 65536",
            ),
            (
                "/replies",
                Some(json!({ "error": "google" })),
                "replies.error: found \"google\", expected \"auto\", \"openai\", \"anthropic\", \"gemini\", \"bedrock\", \"ollama\", \"cohere\" or \"mistral\"",
            ),
            (
                "/replies",
                Some(json!({ "headers": "all" })),
                "replies.headers: found \"all\", expected \"none\", \"auto\", \"draft-03\", \"ietf\", \"openai\" or \"anthropic\"",
            ),
            (
                "/replies",
                Some(json!({ "headers": {} })),
                "replies.headers: must not be empty",
            ),
            (
                "/replies",
                Some(json!({ "headers": {
                    "limit": "x-limit-{limits}",
                    "remaining": "x remaining",
                    "reset": "Content-Length",
                    "retryAfter": "{limit}-retry-after",
                    "retry": "x-retry"
                } })),
                "replies.headers.retry: unknown field, expected \"limit\", \"remaining\", \"reset\" or \"retryAfter\"\n\
                 replies.headers.limit: unknown placeholder \"limits\", did you mean \"limit\"?\n\
                 replies.headers.remaining: invalid header name, expected a token of RFC 9110 such as \"x-user-id\"\n\
                 replies.headers.reset: reserved header name, expected another beginning such as \"x-ratelimit-\"\n\
                 replies.headers.retryAfter: reserved header name, expected another beginning such as \"x-ratelimit-\"",
            ),
            (
                "/replies",
                Some(json!({ "headers": { "limit": "x-{limit}\r\nx-evil" } })),
                "replies.headers.limit: invalid header name, expected a token of RFC 9110 such as \"x-user-id\"",
            ),
        ],
    );
}

#[test]
fn waits_and_headers_of_replies_are_bounded() {
    let too_many: serde_json::Map<_, _> = (0..17).map(|n| (format!("x-{n}"), json!("v"))).collect();
    let reserved = "reserved header name, expected one that does not describe the body, the connection or the retry";
    for (replies, error) in [
        (
            json!({ "maxRetryAfter": "367d" }),
            "replies.maxRetryAfter: found \"367d\", expected a duration from \"1s\" to \"366d\"".to_owned(),
        ),
        (
            json!({ "maxRetryAfter": 60 }),
            "replies.maxRetryAfter: invalid duration 60, did you mean \"60s\"?".to_owned(),
        ),
        (
            json!({ "upstreamHeaders": "drop" }),
            "replies.upstreamHeaders: found \"drop\", expected \"keep\", \"replace\" or \"prefix\"".to_owned(),
        ),
        (
            json!({ "extra": too_many }),
            "replies.extra: found 17 headers, expected at most 16".to_owned(),
        ),
        (
            json!({ "extra": { "x-a": "line\r\nx-evil: 1" } }),
            "replies.extra.x-a: invalid header value, expected printable ASCII".to_owned(),
        ),
        (
            json!({ "extra": { "x a": "v" } }),
            "replies.extra[\"x a\"]: invalid header name, expected a token of RFC 9110 such as \"x-user-id\"".to_owned(),
        ),
        (
            json!({ "extra": { "X-A": "v", "x-a": "w" } }),
            "replies.extra.x-a: duplicate field, expected it once".to_owned(),
        ),
        (
            json!({ "extra": { "x-a": "v".repeat(1025) } }),
            "replies.extra.x-a: found 1025 bytes, expected at most 1024".to_owned(),
        ),
        (
            json!({ "extra": { "Content-Language": "en" } }),
            format!("replies.extra.Content-Language: {reserved}"),
        ),
        (
            json!({ "extra": { "transfer-encoding": "chunked" } }),
            format!("replies.extra.transfer-encoding: {reserved}"),
        ),
        (
            json!({ "extra": { "retry-after": "3600" } }),
            format!("replies.extra.retry-after: {reserved}"),
        ),
    ] {
        let mut document = long_form();
        document["replies"] = replies;
        assert_eq!(errors_of(document.to_string().as_bytes()), error);
    }
}

#[test]
fn too_many_pointers_in_all_are_rejected() {
    let mut document = long_form();
    let policies = (0..4).map(|policy| {
        let pointers: Vec<String> = (0..8).map(|n| format!("/p{policy}/n{n}")).collect();
        let mut document = tutorial();
        document["metadata"]["name"] = json!(format!("p{policy}"));
        document["spec"]["dataExtraction"] = json!({ "response": { "totalTokens": pointers } });
        document
    });
    document["policies"] = policies.collect();
    document["usage"] = json!({ "paths": ["/p0/n0"] });
    let errors = |document: &serde_json::Value| errors_of(document.to_string().as_bytes());
    assert_eq!(errors(&document), "accepted");
    document["usage"] = json!({ "paths": ["/other"] });
    assert_eq!(
        errors(&document),
        "usage.paths: found 33 distinct JSON pointers in \"policies\" and \"usage.paths\", expected at most 32"
    );
    document["usage"] =
        json!({ "paths": { "input": "/p0/n0 + /p0/n1 + /p3/n7", "output": ["/p1/n0"] } });
    assert_eq!(errors(&document), "accepted");
    document["usage"] = json!({ "paths": { "input": "/p0/n0 + /p0/n1/0" } });
    assert!(errors(&document).starts_with("usage.paths: found 33 distinct JSON pointers"));
}
