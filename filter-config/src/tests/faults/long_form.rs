//! Long forms that are wrong.

#![allow(clippy::too_many_lines)] // Tables.

use serde_json::json;

use super::refused;
use crate::tests::{long_form, tutorial};

#[test]
fn long_forms_that_are_wrong() {
    refused(
        &long_form(),
        [
            ("/policies", Some(json!([])), "policies: must not be empty"),
            (
                "/policies",
                Some(tutorial()),
                "policies: expected a list, found an object",
            ),
            (
                "/policies/1",
                Some(tutorial()),
                "policies[1]: the policy \"gateway-system/token-limits\" is given already at policies[0]",
            ),
            (
                "/policies/0/spec/limits/free/rates/0/window",
                Some(json!("0s")),
                "policies[0].spec.limits.free.rates[0].window: a window must be longer than zero, found \"0s\"",
            ),
            (
                "/policies/0/replies",
                Some(json!({})),
                "policies[0].replies: unknown field",
            ),
            (
                "/stroage",
                Some(json!({})),
                "stroage: unknown field, did you mean \"storage\"?",
            ),
            (
                "/storage",
                Some(json!({ "maxCounters": 63 })),
                "storage.maxCounters: expected a whole number from 64 to 16777216, found 63",
            ),
            (
                "/storage",
                Some(json!({ "maxCounters": 16_777_217 })),
                "storage.maxCounters: expected a whole number from 64 to 16777216, found 16777217",
            ),
            (
                "/failureMode",
                Some(json!("open")),
                "failureMode: expected \"deny\" or \"allow\", found \"open\"",
            ),
            ("/auth", Some(json!([])), "auth: must not be empty"),
            (
                "/auth",
                Some(json!([{ "metadata": "a", "filterState": "b" }])),
                "auth[0]: expected exactly one of \"metadata\", \"filterState\" and \"header\", found an object",
            ),
            (
                "/auth",
                Some(json!([{ "metadata": "" }])),
                "auth[0].metadata: must not be empty",
            ),
            (
                "/auth",
                Some(json!([{ "metadata": "a" }, { "metadata": "a" }])),
                "auth[1]: the same source is given already at auth[0]",
            ),
            (
                "/auth",
                Some(json!([{ "jwt": "a" }])),
                "auth[0].jwt: unknown field\n\
             auth[0]: expected exactly one of \"metadata\", \"filterState\" and \"header\", found an object",
            ),
            (
                "/auth",
                Some(json!([{ "header": {} }])),
                "auth[0].header: must not be empty",
            ),
            (
                "/auth",
                Some(json!([{ "header": { "identity.userid": "x user" } }])),
                "auth[0].header[\"identity.userid\"]: not the name of a header",
            ),
            (
                "/auth",
                Some(json!([{ "header": { "identity.userid": ":path" } }])),
                "auth[0].header[\"identity.userid\"]: not the name of a header",
            ),
            (
                "/auth",
                Some(json!([{ "header": { "identity..userid": "x-user" } }])),
                "auth[0].header[\"identity..userid\"]: expected a path below auth, such as \"identity.userid\"",
            ),
            (
                "/auth",
                Some(
                    json!([{ "header": { "identity": "x-user", "identity.groups": "x-groups" } }]),
                ),
                "auth[0].header[\"identity.groups\"]: expected a path apart from \"identity\", found \"identity.groups\"",
            ),
            (
                "/holdHeaders",
                Some(json!("yes")),
                "holdHeaders: expected true or false, found \"yes\"",
            ),
            (
                "/requestBody",
                Some(json!({ "maxBytes": 1_048_576 })),
                "requestBody.maxBytes: expected a whole number from 1 to 786432, found 1048576",
            ),
            (
                "/usage",
                Some(json!({ "onMissing": "guess" })),
                "usage.onMissing: expected \"estimate\" or \"ignore\", found \"guess\"",
            ),
            (
                "/usage",
                Some(json!({ "includeUsage": "always" })),
                "usage.includeUsage: expected \"auto\" or \"never\", found \"always\"",
            ),
            (
                "/usage",
                Some(json!({ "includeusage": "auto" })),
                "usage.includeusage: unknown field, did you mean \"includeUsage\"?",
            ),
            (
                "/usage",
                Some(json!({ "paths": "/usage/total_tokens" })),
                "usage.paths: expected a list, found \"/usage/total_tokens\"",
            ),
            (
                "/usage",
                Some(json!({ "paths": ["usage.total_tokens", 7, "", "/a~b", "/a~1b~0"] })),
                "usage.paths[0]: expected a JSON pointer such as \"/usage/total_tokens\", found \"usage.total_tokens\"\n\
                 usage.paths[1]: expected a string, found 7\n\
                 usage.paths[2]: must not be empty\n\
                 usage.paths[3]: expected a JSON pointer such as \"/usage/total_tokens\", found \"/a~b\"",
            ),
            (
                "/usage",
                Some(json!({ "paths": vec!["/n"; 9] })),
                "usage.paths: too many JSON pointers: 9, at most 8",
            ),
            (
                "/usage",
                Some(json!({ "paths": [format!("/{}", "n".repeat(256))] })),
                "usage.paths[0]: too many bytes: 257, at most 256",
            ),
            (
                "/replies",
                Some(json!({ "status": 200 })),
                "replies.status: expected a whole number from 400 to 599, found 200",
            ),
            (
                "/replies",
                Some(json!({ "contentType": "text/plain\r\nx-evil: 1" })),
                "replies.contentType: a header value must be printable ASCII",
            ),
            (
                "/replies",
                Some(json!({ "body": "x".repeat(65_537) })),
                "replies.body: too many bytes: 65537, at most 65536",
            ),
            (
                "/replies",
                Some(json!({ "error": "ollama" })),
                "replies.error: expected \"auto\", \"openai\", \"anthropic\" or \"gemini\", found \"ollama\"",
            ),
            (
                "/replies",
                Some(json!({ "headers": "all" })),
                "replies.headers: expected \"none\", \"draft-03\", \"ietf\" or \"openai\", found \"all\"",
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
                "replies.headers.retry: unknown field\n\
                 replies.headers.limit: unknown placeholder \"limits\", did you mean \"limit\"?\n\
                 replies.headers.remaining: not the name of a header\n\
                 replies.headers.reset: expected a name that begins like no header with another meaning, such as \"x-ratelimit-\"\n\
                 replies.headers.retryAfter: expected a name that begins like no header with another meaning, such as \"x-ratelimit-\"",
            ),
            (
                "/replies",
                Some(json!({ "headers": { "limit": "x-{limit}\r\nx-evil" } })),
                "replies.headers.limit: not the name of a header",
            ),
        ],
    );
}
