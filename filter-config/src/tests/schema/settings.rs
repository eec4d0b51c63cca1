//! The schema of the settings beside the policies.

use serde_json::{Value, json};

use super::shapes::{
    cel, described, list, name, object, pointer, pointers, size, text, usd, whole,
};
use crate::replies::extra::RESERVED;
use crate::{
    access, auth, bounds, configuration, memory, pricing, replies, request_body, storage, usage,
    usage_endpoint,
};

/// The pointers to each number.
fn usage_paths() -> Value {
    let pointers = |number: &str| {
        json!({
            "description": format!("JSON pointers to the tokens of {number}, tried in order."),
            "anyOf": [pointer(), pointers(&bounds::USAGE_PATHS)]
        })
    };
    let mut paths = object(
        &usage::PATHS,
        &[],
        &json!({
            "input": pointers("input"),
            "output": pointers("output"),
            "total": pointers("input and output"),
            "cached": pointers("input that were read from a cache")
        }),
    );
    paths["minProperties"] = json!(1);
    paths
}

fn expressions() -> Value {
    object(
        &configuration::EXPRESSIONS,
        &[],
        &json!({
            "steps": described("Steps that one evaluation of an expression may take.", whole(&bounds::EXPRESSION_STEPS)),
            "bytes": described("Bytes of the values that one evaluation may produce.", size(&bounds::EXPRESSION_PRODUCED_BYTES))
        }),
    )
}

fn access_rules() -> Value {
    let otherwise = object(
        &access::ELSE,
        &[],
        &json!({
            "status": described("The status of the reply.", whole(&bounds::REPLY_STATUS)),
            "code": code()
        }),
    );
    let model = json!({ "type": "string", "pattern": "\\S", "maxLength": bounds::NAME_BYTES });
    let rule = object(
        &access::ACCESS,
        &["models"],
        &json!({
            "when": cel("a boolean: whether the rule applies to a request."),
            "models": described("The models that are allowed, as patterns in which * stands for any characters.", list(0, bounds::ACCESS_MODELS, &model)),
            "else": described("The reply to other requests.", otherwise)
        }),
    );
    list(0, bounds::ACCESS_RULES, &rule)
}

fn usage_settings() -> Value {
    object(
        &usage::SCHEMA,
        &[],
        &json!({
            "onMissing": {
                "description": "What a completion without a usage report is charged.",
                "enum": ["estimate", "ignore"],
                "default": "estimate"
            },
            "includeUsage": {
                "description": "Whether the filter requests a usage report for streams whose client did not: \"auto\", unless the upstream rejects it; \"never\"; or a predicate over the request: as \"auto\" where it is true.",
                "anyOf": [{ "enum": ["auto", "never"] }, cel("a boolean")],
                "default": "auto"
            },
            "paths": {
                "description": "JSON pointers to the numbers of tokens in a response.",
                "anyOf": [
                    described("JSON pointers to the total of tokens, tried in order.", pointers(&bounds::USAGE_PATHS)),
                    usage_paths()
                ]
            },
            "backgroundTtl": described(
                "How long the report of a background response is awaited: a duration such as 1h.",
                text(64)
            ),
            "meter": {
                "description": "Which admitted exchanges are metered, and have usage in access logs and metrics: those that a limit applies to, or all.",
                "enum": ["limited", "all"],
                "default": "limited"
            },
            "methods": described(
                "The methods of requests whose responses are charged. By default all but GET, HEAD, DELETE, OPTIONS, TRACE and CONNECT.",
                list(*bounds::METHODS.start(), *bounds::METHODS.end(), &json!({ "type": "string", "maxLength": bounds::METHOD_BYTES, "pattern": "^[A-Z]+$" }))
            )
        }),
    )
}

fn track() -> Value {
    let top = described(
        "How many of the largest counters of each limit are listed at most.",
        whole(&bounds::TRACKED_COUNTERS),
    );
    described(
        "What is tracked for administrators. It needs usageEndpoint and admin.",
        object(&usage_endpoint::TRACK, &["top"], &json!({ "top": top })),
    )
}

pub(super) fn long_form() -> Value {
    let request_body = object(
        &request_body::REQUEST_BODY,
        &[],
        &json!({
            "maxBytes": described("Bytes of a request body that are held until the decision.", size(&bounds::REQUEST_BODY_BYTES)),
            "workerBytes": described("Bytes of all request bodies together that a worker holds.", size(&bounds::REQUEST_BODIES_BYTES))
        }),
    );
    let memory = object(
        &memory::MEMORY,
        &[],
        &json!({
            "perWorker": described("The memory that the module may have allocated in a worker.", size(&bounds::WORKER_BYTES))
        }),
    );
    let policy = json!({ "$ref": "#/$defs/policy" });
    object(
        &configuration::LONG_FORM,
        &["policies"],
        &json!({
            "policies": described("The policies.", list(1, bounds::POLICIES, &policy)),
            "routes": described(
                "The routes of the gateway. If given, each policy applies to the route or the rule that it is attached to.",
                list(1, bounds::ROUTES, &json!({ "$ref": "#/$defs/route" }))
            ),
            "storage": described("The storage of the counters.", storage()),
            "failureMode": {
                "description": "The decision on requests whose policy cannot be evaluated.",
                "enum": ["deny", "allow"],
                "default": "deny"
            },
            "auth": described(
                "The sources of the variable auth. The first that has a value is used.",
                list(1, bounds::AUTH_SOURCES, &auth_source())
            ),
            "access": described("The models that requests may name. All rules that apply have to allow a request.", access_rules()),
            "holdHeaders": {
                "description": "Whether request headers are held until the body is read, if a policy needs it.",
                "type": "boolean",
                "default": false
            },
            "requestBody": request_body,
            "memory": memory,
            "expressions": expressions(),
            "usage": described("How usage is found and charged.", usage_settings()),
            "replies": described("The form of rejections, and quota headers.", replies()),
            "accessLog": {
                "description": "The form in which filter state has an exchange, for access logs: a string for each value, one record, or both.",
                "enum": ["keys", "record", "both"],
                "default": "keys"
            },
            "usageEndpoint": described(
                "The endpoint that reports to callers what they have used.",
                object(
                    &usage_endpoint::USAGE_ENDPOINT,
                    &["path"],
                    &json!({ "path": {
                        "description": "The path of the endpoint, without a query.",
                        "type": "string",
                        "minLength": 2,
                        "maxLength": bounds::USAGE_PATH_BYTES,
                        "pattern": "^(/[A-Za-z0-9._~-]+)+$"
                    } })
                )
            ),
            "admin": described(
                "Who administers counters at the usage endpoint.",
                object(
                    &usage_endpoint::ADMIN,
                    &["when"],
                    &json!({ "when": cel("true for requests that may administer counters.") })
                )
            ),
            "track": track(),
            "pricing": prices(),
            "unpriced": {
                "description": "The handling of a model without a price, under a limit that has a budget.",
                "enum": ["reject", "free", "default"]
            },
            "export": {
                "description": "Costs that access logs and other filters can read, by their names.",
                "type": "object",
                "minProperties": 1,
                "maxProperties": bounds::EXPORTS,
                "propertyNames": { "pattern": "^[A-Za-z0-9_-]+$", "maxLength": bounds::NAME_BYTES },
                "additionalProperties": cel("the cost of an exchange.")
            },
            "hitsAddend": described(
                "The name of the cost that Envoy's rate limit filter adds for an exchange.",
                text(bounds::NAME_BYTES)
            )
        }),
    )
}

fn storage() -> Value {
    let duration = |text: &str, default: &str| json!({ "description": text, "type": "string", "maxLength": 64, "default": default });
    let counters = whole(&bounds::MAX_COUNTERS);
    let cluster = json!({
        "description": "The Envoy cluster of the service.",
        "type": "string",
        "minLength": 1,
        "maxLength": bounds::CLUSTER_BYTES,
        "pattern": r"^\S+$"
    });
    let timeout = duration("The time after which a call fails.", "100ms");
    let flush = duration(
        "The time for which settlements are collected to be sent together.",
        "0s",
    );
    let failure_mode = json!({
        "description": "The decision on requests while the service is unavailable.",
        "enum": ["local", "allow", "deny"],
        "default": "local"
    });
    let lease = object(
        &storage::LEASE,
        &["amount"],
        &json!({
            "amount": described("The most tokens of a slice.", whole(&bounds::LEASE_AMOUNT)),
            "requests": described("The most requests of a slice.", whole(&bounds::LEASE_REQUESTS)),
            "ttl": duration("The time for which a worker admits requests from a slice.", "10s")
        }),
    );
    let local = object(
        &storage::LOCAL,
        &[],
        &json!({
            "type": { "const": "local", "default": "local" },
            "maxCounters": described("The number of counters that are kept.", counters.clone())
        }),
    );
    let limitador = object(
        &storage::LIMITADOR,
        &["type", "cluster"],
        &json!({
            "type": { "const": "limitador" },
            "cluster": cluster,
            "protocol": { "enum": ["reserve", "check-report"], "default": "reserve" },
            "domain": described("The namespace of the limits, for all policies.", name()),
            "timeout": timeout,
            "failureMode": failure_mode,
            "flush": flush,
            "maxCounters": described("The number of counters that this Envoy itself keeps.", counters.clone()),
            "lease": described("Slices of busy counters that a worker reserves, to admit requests without a call; only with protocol reserve.", lease)
        }),
    );
    let envoy_rls = object(
        &storage::ENVOY_RLS,
        &["type", "cluster", "domain"],
        &json!({
            "type": { "const": "envoy-rls" },
            "cluster": cluster,
            "domain": described("The domain of the limits, for all policies.", name()),
            "timeout": timeout,
            "failureMode": failure_mode,
            "flush": flush,
            "maxCounters": described("The number of counters that this Envoy itself keeps.", counters)
        }),
    );
    json!({ "oneOf": [local, limitador, envoy_rls] })
}

fn replies() -> Value {
    object(
        &replies::SCHEMA,
        &[],
        &json!({
            "status": described("The status of a rejection.", whole(&bounds::REPLY_STATUS)),
            "contentType": {
                "type": "string",
                "minLength": 1,
                "maxLength": bounds::REPLY_CONTENT_TYPE_BYTES,
                "pattern": "^[ -~]+$"
            },
            "body": { "type": "string", "maxLength": bounds::REPLY_BODY_BYTES },
            "error": {
                "description": "The provider whose error format the default body has.",
                "enum": ["auto", "openai", "anthropic", "gemini", "bedrock", "ollama", "cohere", "mistral"],
                "default": "auto"
            },
            "headers": {
                "description": "Quota headers.",
                "oneOf": [{ "enum": ["none", "auto", "draft-03", "ietf", "openai", "anthropic"] }, header_names()]
            },
            "maxRetryAfter": {
                "description": "The longest wait that a rejection requests: a duration such as 60s. Where it would be longer, clients are told not to retry.",
                "type": "string",
                "maxLength": 64,
                "default": "60s"
            },
            "upstreamHeaders": {
                "description": "The handling of the upstream's own quota headers. By default they are replaced where the filter writes quota headers, and kept where it does not.",
                "enum": ["keep", "replace", "prefix"]
            },
            "extra": reply_headers("Headers of every reply that the filter itself sends.")
        }),
    )
}

fn header_names() -> Value {
    let name = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": bounds::HEADER_NAME_BYTES,
        "pattern": r"^([!#$%&'*+\-.^_`|~0-9A-Za-z]|\{[a-z]+\})+$"
    });
    let mut names = object(
        &replies::HEADER_NAMES,
        &[],
        &json!({ "limit": name, "remaining": name, "reset": name, "retryAfter": name }),
    );
    names["minProperties"] = json!(1);
    names
}

fn prices() -> Value {
    let price = object(
        &pricing::PRICE,
        &["input", "output"],
        &json!({
            "input": usd("Input."),
            "cachedInput": usd("Input that is read from a cache; by default the price of input."),
            "cacheWrite": usd("Input that is written to a cache; by default the price of input."),
            "output": usd("Output."),
            "reasoning": usd("Reasoning; by default the price of output.")
        }),
    );
    json!({
        "description": "The prices of a million tokens in US dollars, by patterns of model names in which * stands for any text; default is the price of all other models.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": bounds::PRICES,
        "propertyNames": name(),
        "additionalProperties": price
    })
}

fn auth_source() -> Value {
    let claim_path = json!({
        "type": "string",
        "pattern": r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
        "maxLength": bounds::NAME_BYTES
    });
    let header = json!({
        "description": "Paths below auth, each with the header that has its value.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": bounds::AUTH_HEADERS,
        "propertyNames": claim_path,
        "additionalProperties": {
            "type": "string",
            "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
            "maxLength": bounds::HEADER_NAME_BYTES
        }
    });
    let key = || text(bounds::NAME_BYTES);
    let mut source = object(
        &auth::SCHEMA,
        &[],
        &json!({
            "metadata": described("A namespace of the dynamic metadata.", name()),
            "key": {
                "description": "The key in the namespace whose value is read, or a list of keys, each within the one before it.",
                "anyOf": [key(), list(1, bounds::AUTH_PATH_SEGMENTS, &key())]
            },
            "as": described("The path below auth that the value becomes, by default auth itself.", claim_path),
            "filterState": described("A key of the filter state that holds a JSON object.", name()),
            "header": header
        }),
    );
    source["oneOf"] = json!([
        { "required": ["metadata"] },
        { "required": ["filterState"] },
        { "required": ["header"] }
    ]);
    source["dependentRequired"] = json!({ "key": ["metadata"], "as": ["metadata"] });
    source
}

/// Headers of replies.
fn reply_headers(description: &str) -> Value {
    json!({
        "description": description,
        "type": "object",
        "maxProperties": bounds::REPLY_EXTRA_HEADERS,
        "propertyNames": {
            "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
            "maxLength": bounds::HEADER_NAME_BYTES,
            "not": { "pattern": reserved_names() }
        },
        "additionalProperties": {
            "type": "string",
            "minLength": 1,
            "maxLength": bounds::HEADER_VALUE_BYTES,
            "pattern": "^[ -~]+$"
        }
    })
}

/// The names of headers that a reply cannot have, in any case.
fn reserved_names() -> String {
    let any_case = |name: &str| -> String {
        let letter = |c: char| match c {
            'a'..='z' => format!("[{}{c}]", c.to_ascii_uppercase()),
            _ => c.to_string(),
        };
        name.chars().map(letter).collect()
    };
    let names = RESERVED.map(any_case).join("|");
    format!("^({names}|{}.*)$", any_case("content-"))
}

#[test]
fn reserved_names_are_rejected_by_schema_and_reader() {
    let pattern = regex_lite::Regex::new(&reserved_names()).unwrap();
    let long_form = |extra: &str, own: &str| {
        let limit = json!({
            "rates": [{ "limit": 1, "window": "1m" }], "reply": { "headers": { own: "a" } },
        });
        let policy = crate::fixtures::policy("llm", &json!({ "limits": { "a": limit } }));
        json!({ "policies": [policy], "replies": { "extra": { extra: "a" } } })
    };
    let errors = |extra: &str, own: &str| {
        let parsed = crate::parse(&serde_json::to_vec(&long_form(extra, own)).unwrap());
        parsed
            .err()
            .map(|errors| errors.to_string())
            .unwrap_or_default()
    };
    for name in RESERVED.into_iter().chain(["content-type", "content-x"]) {
        for name in [name.to_owned(), name.to_ascii_uppercase()] {
            assert!(pattern.is_match(&name), "{name}");
            assert!(errors(&name, "x-a").contains("replies.extra"), "{name}");
            assert!(errors("x-a", &name).contains("reply.headers"), "{name}");
        }
    }
    for name in ["x-content-type", "location", "retry-after-seconds", "te-x"] {
        assert!(!pattern.is_match(name), "{name}");
        assert_eq!(errors(name, name), "", "{name}");
    }
}

/// A code in the body of a reply.
fn code() -> Value {
    json!({ "description": "The code in the body of the reply.", "type": "string", "pattern": "^[A-Za-z0-9_.-]+$", "maxLength": bounds::REPLY_CODE_BYTES })
}

pub(super) fn limit_reply() -> Value {
    object(
        &replies::LIMIT_REPLY,
        &[],
        &json!({
            "status": described("The status of a rejection.", whole(&bounds::REPLY_STATUS)),
            "code": code(),
            "body": { "type": "string", "maxLength": bounds::REPLY_BODY_BYTES },
            "headers": reply_headers("Further headers of a rejection.")
        }),
    )
}
