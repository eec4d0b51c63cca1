//! The JSON Schema of the configuration, for editors and for checks ahead of the filter's own, made
//! from the tables and the bounds of the readers.
//!
//! `UPDATE_SCHEMA=1 cargo test -p filter-config schema` writes it anew.

use serde_json::{Map, Value, json};

use crate::fields::Schema;
use crate::{
    auth, bounds, budget, configuration, exceeded, limit, policy, pricing, rate, replies, route,
    storage, usage,
};

const WRITTEN: &str = include_str!("../../../docs/configuration.schema.json");

const WINDOW: &str =
    r"^\+?([0-9]+(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h|d|w)|\.[0-9]+(ns|us|µs|μs|ms|s|m|h|d|w))+$";

const POINTER: &str = "^(/([^/~]|~[01])*)+$";

#[test]
fn the_schema_is_that_of_the_readers() {
    let schema = configuration();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../docs/configuration.schema.json"
        );
        std::fs::write(path, format!("{schema:#}\n")).unwrap();
        return;
    }
    let written: Value = serde_json::from_str(WRITTEN).unwrap();
    assert_eq!(
        written, schema,
        "write it anew: UPDATE_SCHEMA=1 cargo test -p filter-config schema"
    );
}

/// An object with the fields that its reader knows, and no others.
fn object(fields: &Schema, required: &[&str], properties: &Value) -> Value {
    let mut properties: Map<String, Value> = properties.as_object().unwrap().clone();
    let mut described: Vec<&str> = properties.keys().map(String::as_str).collect();
    let mut known = fields.known.to_vec();
    described.sort_unstable();
    known.sort_unstable();
    assert_eq!(
        described, known,
        "the fields of the schema and of the reader"
    );
    for ignored in fields.ignored {
        properties.insert((*ignored).to_owned(), json!(true));
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false
    })
}

/// A schema with a text on what it is of.
fn described(text: &str, mut schema: Value) -> Value {
    schema["description"] = json!(text);
    schema
}

fn list(least: usize, most: usize, items: &Value) -> Value {
    json!({ "type": "array", "minItems": least, "maxItems": most, "items": items })
}

fn text(most: usize) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": most })
}

fn name() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": bounds::NAME_BYTES, "pattern": r"^\S+$" })
}

fn resource_name() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": bounds::NAME_BYTES, "pattern": r"^[^\s/]+$" })
}

fn whole(range: &std::ops::RangeInclusive<u64>) -> Value {
    json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
}

fn cel(text: &str) -> Value {
    json!({
        "description": format!("CEL: {text}"),
        "type": "string",
        "minLength": 1,
        "maxLength": bounds::EXPRESSION_BYTES
    })
}

fn pointers(count: &std::ops::RangeInclusive<usize>) -> Value {
    let pointer =
        json!({ "type": "string", "maxLength": bounds::POINTER_BYTES, "pattern": POINTER });
    list(*count.start(), *count.end(), &pointer)
}

fn configuration() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of tollgate",
        "description": "A TokenRateLimitPolicy, or policies with the other settings beside them. Expressions and names are checked further when the filter reads them.",
        "type": "object",
        "if": { "anyOf": [
            { "required": ["kind"] },
            { "required": ["apiVersion"] },
            { "required": ["spec"] }
        ] },
        "then": { "$ref": "#/$defs/policy" },
        "else": { "$ref": "#/$defs/longForm" },
        "$defs": {
            "longForm": long_form(),
            "policy": policy(),
            "route": route(),
            "when": when(),
            "limits": limits(),
            "limit": limit(),
            "rate": rate(),
            "dataExtraction": data_extraction()
        }
    })
}

fn long_form() -> Value {
    let request_body = object(
        &configuration::REQUEST_BODY,
        &[],
        &json!({
            "maxBytes": described("How much of a request body is held for inspection.", whole(&bounds::REQUEST_BODY_BYTES))
        }),
    );
    let usage = object(
        &usage::SCHEMA,
        &[],
        &json!({
            "onMissing": {
                "description": "What a completion without a usage report costs.",
                "enum": ["estimate", "ignore"],
                "default": "estimate"
            },
            "includeUsage": {
                "description": "Whether streams that did not ask for a usage report are made to bring one.",
                "enum": ["auto", "never"],
                "default": "auto"
            },
            "paths": described("JSON pointers to the total of tokens, tried in order.", pointers(&bounds::USAGE_PATHS))
        }),
    );
    let policy = json!({ "$ref": "#/$defs/policy" });
    object(
        &configuration::LONG_FORM,
        &["policies"],
        &json!({
            "policies": described("The policies.", list(1, bounds::POLICIES, &policy)),
            "routes": described(
                "The routes of the gateway; with them, policies are enforced where they are attached.",
                list(1, bounds::ROUTES, &json!({ "$ref": "#/$defs/route" }))
            ),
            "storage": described("Where the counters are.", storage()),
            "failureMode": {
                "description": "What an exchange meets whose policy cannot be evaluated.",
                "enum": ["deny", "allow"],
                "default": "deny"
            },
            "auth": described(
                "Where the variable auth comes from; the first that has a value wins.",
                list(1, bounds::AUTH_SOURCES, &auth_source())
            ),
            "holdHeaders": {
                "description": "Whether request headers wait for the body where a policy needs it.",
                "type": "boolean",
                "default": false
            },
            "requestBody": request_body,
            "usage": described("How usage is found.", usage),
            "replies": described("How refusals look.", replies()),
            "pricing": prices(),
            "unpriced": {
                "description": "What becomes of a model without a price, under a limit that has a budget.",
                "enum": ["refuse", "free", "default"]
            },
            "export": {
                "description": "Costs that access logs and other filters are told of, by their names.",
                "type": "object",
                "minProperties": 1,
                "maxProperties": bounds::EXPORTS,
                "propertyNames": { "pattern": "^[A-Za-z0-9_-]+$", "maxLength": bounds::NAME_BYTES },
                "additionalProperties": cel("what an exchange costs.")
            },
            "hitsAddend": described(
                "The name of the cost that Envoy's rate limit filter is to add for an exchange.",
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
    let timeout = duration("How long a call may take.", "100ms");
    let flush = duration(
        "For how long settlements are kept to be sent together.",
        "0s",
    );
    let failure_mode = json!({
        "description": "How requests are decided on while the service does not answer.",
        "enum": ["local", "allow", "deny"],
        "default": "local"
    });
    let local = object(
        &storage::LOCAL,
        &[],
        &json!({
            "type": { "const": "local", "default": "local" },
            "maxCounters": described("How many counters there is room for.", counters.clone())
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
            "maxCounters": described("How many counters there is room for in this Envoy.", counters.clone())
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
            "maxCounters": described("How many counters there is room for in this Envoy.", counters)
        }),
    );
    json!({ "oneOf": [local, limitador, envoy_rls] })
}

fn replies() -> Value {
    object(
        &replies::SCHEMA,
        &[],
        &json!({
            "status": described("The status of a refusal.", whole(&bounds::REPLY_STATUS)),
            "contentType": {
                "type": "string",
                "minLength": 1,
                "maxLength": bounds::REPLY_CONTENT_TYPE_BYTES,
                "pattern": "^[ -~]+$"
            },
            "body": { "type": "string", "maxLength": bounds::REPLY_BODY_BYTES },
            "error": {
                "description": "Whose errors the default body looks like.",
                "enum": ["auto", "openai", "anthropic", "gemini"],
                "default": "auto"
            },
            "headers": {
                "description": "Quota headers.",
                "oneOf": [{ "enum": ["none", "draft-03", "ietf", "openai"] }, header_names()]
            }
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

/// An amount of US dollars.
fn usd(text: &str) -> Value {
    json!({
        "description": text,
        "anyOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,9})?$" }
        ]
    })
}

fn prices() -> Value {
    let price = object(
        &pricing::PRICE,
        &["input", "output"],
        &json!({
            "input": usd("Of input."),
            "cachedInput": usd("Of input that is read from a cache; as input where it is not given."),
            "cacheWrite": usd("Of input that is written to a cache; as input where it is not given."),
            "output": usd("Of output."),
            "reasoning": usd("Of reasoning; as output where it is not given.")
        }),
    );
    json!({
        "description": "What a million tokens of a model cost in US dollars, by names of models in which * stands for any text; default is that of every other model.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": bounds::PRICES,
        "propertyNames": name(),
        "additionalProperties": price
    })
}

fn auth_source() -> Value {
    let header = json!({
        "description": "Paths below auth, and the header that each is in.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": bounds::AUTH_HEADERS,
        "propertyNames": {
            "pattern": r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
            "maxLength": bounds::NAME_BYTES
        },
        "additionalProperties": {
            "type": "string",
            "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
            "maxLength": bounds::HEADER_NAME_BYTES
        }
    });
    let mut source = object(
        &auth::SCHEMA,
        &[],
        &json!({
            "metadata": described("A namespace of the dynamic metadata.", name()),
            "filterState": described("A key of the filter state that holds a JSON object.", name()),
            "header": header
        }),
    );
    source["minProperties"] = json!(1);
    source["maxProperties"] = json!(1);
    source
}

fn policy() -> Value {
    let metadata = object(
        &policy::METADATA,
        &["name"],
        &json!({ "name": resource_name(), "namespace": resource_name() }),
    );
    let target = object(
        &policy::TARGET,
        &["group", "kind", "name"],
        &json!({
            "group": { "const": "gateway.networking.k8s.io" },
            "kind": { "enum": ["Gateway", "HTTPRoute"] },
            "name": resource_name(),
            "sectionName": resource_name()
        }),
    );
    let rules = object(
        &policy::RULES,
        &["limits"],
        &json!({
            "strategy": { "enum": ["atomic", "merge"], "default": "atomic" },
            "limits": { "$ref": "#/$defs/limits" },
            "when": { "$ref": "#/$defs/when" },
            "dataExtraction": { "$ref": "#/$defs/dataExtraction" }
        }),
    );
    let mut spec = object(
        &policy::SPEC,
        &["targetRef"],
        &json!({
            "targetRef": described("What the policy is attached to.", target),
            "limits": { "$ref": "#/$defs/limits" },
            "when": { "$ref": "#/$defs/when" },
            "dataExtraction": { "$ref": "#/$defs/dataExtraction" },
            "defaults": rules,
            "overrides": rules
        }),
    );
    let alone = json!({ "when": false, "dataExtraction": false });
    spec["oneOf"] = json!([
        { "required": ["limits"] },
        { "required": ["defaults"], "properties": alone },
        { "required": ["overrides"], "properties": alone }
    ]);
    object(
        &policy::POLICY,
        &["apiVersion", "kind", "metadata", "spec"],
        &json!({
            "apiVersion": { "const": "kuadrant.io/v1alpha1" },
            "kind": { "const": "TokenRateLimitPolicy" },
            "metadata": metadata,
            "spec": spec
        }),
    )
}

fn route() -> Value {
    let metadata = object(
        &policy::METADATA,
        &["name"],
        &json!({ "name": resource_name(), "namespace": resource_name() }),
    );
    let label = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?";
    let hostname = json!({
        "type": "string",
        "maxLength": bounds::NAME_BYTES,
        "pattern": format!(r"^(\*\.)?{label}(\.{label})*$")
    });
    let value = text(bounds::ROUTE_VALUE_BYTES);
    let path = object(
        &route::PATH,
        &[],
        &json!({
            "type": {
                "enum": ["Exact", "PathPrefix", "RegularExpression"],
                "default": "PathPrefix"
            },
            "value": value
        }),
    );
    let named = object(
        &route::NAMED,
        &["name", "value"],
        &json!({
            "type": { "enum": ["Exact", "RegularExpression"], "default": "Exact" },
            "name": name(),
            "value": value
        }),
    );
    let named = list(0, bounds::ROUTE_NAMED, &named);
    let found = object(
        &route::MATCH,
        &[],
        &json!({ "path": path, "method": name(), "headers": named, "queryParams": named }),
    );
    let rule = object(
        &route::RULE,
        &[],
        &json!({ "name": resource_name(), "matches": list(0, bounds::ROUTE_MATCHES, &found) }),
    );
    let spec = object(
        &route::SPEC,
        &[],
        &json!({
            "hostnames": list(0, bounds::ROUTE_HOSTNAMES, &hostname),
            "rules": list(0, bounds::ROUTE_RULES, &rule)
        }),
    );
    object(
        &route::ROUTE,
        &["apiVersion", "kind", "metadata", "spec"],
        &json!({
            "apiVersion": { "const": "gateway.networking.k8s.io/v1" },
            "kind": { "const": "HTTPRoute" },
            "metadata": metadata,
            "spec": spec
        }),
    )
}

fn data_extraction() -> Value {
    let response = object(
        &policy::RESPONSE,
        &[],
        &json!({
            "totalTokens": described("JSON pointers to the total of tokens, tried in order.", pointers(&bounds::TOTAL_TOKENS))
        }),
    );
    object(
        &policy::DATA_EXTRACTION,
        &[],
        &json!({ "response": response }),
    )
}

fn when() -> Value {
    let predicate = cel("has to hold for the limits to apply.");
    let predicate = object(
        &limit::PREDICATE,
        &["predicate"],
        &json!({ "predicate": predicate }),
    );
    list(0, bounds::PREDICATES, &predicate)
}

fn limits() -> Value {
    json!({
        "description": "The limits by their names.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": bounds::LIMITS,
        "propertyNames": name(),
        "additionalProperties": { "$ref": "#/$defs/limit" }
    })
}

fn limit() -> Value {
    let expression = cel("a part of the key that is counted under.");
    let counter = object(
        &limit::COUNTER,
        &["expression"],
        &json!({ "expression": expression }),
    );
    let reservation = object(
        &limit::RESERVATION,
        &[],
        &json!({
            "amount": cel("the number of tokens that a request holds."),
            "ttl": described("For how long it is held at most: a duration such as 30s.", text(64))
        }),
    );
    let rate = json!({ "$ref": "#/$defs/rate" });
    let budget = object(
        &budget::BUDGET,
        &["usd", "window"],
        &json!({
            "usd": usd("What may be spent in a window, in US dollars."),
            "window": {
                "description": "A duration such as 1h, 24h or 30d.",
                "type": "string",
                "maxLength": 64,
                "pattern": WINDOW
            },
            "algorithm": algorithm()
        }),
    );
    let [least, most] = [bounds::ALERT_AT.start(), bounds::ALERT_AT.end()]
        .map(|parts| f64::from(*parts) / 1_000_000.0);
    let mut limit = object(
        &limit::LIMIT,
        &[],
        &json!({
            "rates": described("Each is enforced, of what exchanges cost.", list(1, bounds::RATES, &rate)),
            "requests": described("Each is enforced, of requests.", list(1, bounds::RATES, &rate)),
            "budgets": described("Each is enforced, of money.", list(1, bounds::RATES, &budget)),
            "cost": cel("what one exchange costs of the rates; its total of tokens where it is not given."),
            "whenMissing": {
                "description": "What becomes of a request for which a counter has no value; where it is not given, failureMode decides.",
                "enum": ["skip", "refuse"]
            },
            "when": { "$ref": "#/$defs/when" },
            "counters": list(0, bounds::COUNTERS, &counter),
            "concurrency": described("The most requests in flight for each key.", whole(&bounds::CONCURRENCY)),
            "alertAt": {
                "description": "The fraction of the limit past which its use is told.",
                "type": "number",
                "minimum": least,
                "maximum": most
            },
            "shadow": {
                "description": "Count and report, and never refuse.",
                "type": "boolean",
                "default": false
            },
            "onExceeded": on_exceeded(),
            "reservation": described("What a request holds until its usage is known.", reservation)
        }),
    );
    limit["anyOf"] = json!([
        { "required": ["rates"] },
        { "required": ["requests"] },
        { "required": ["budgets"] },
        { "required": ["concurrency"] }
    ]);
    limit
}

fn on_exceeded() -> Value {
    let queue = object(
        &exceeded::QUEUE,
        &["depth", "timeout"],
        &json!({
            "depth": described("The most requests that wait at one counter.", whole(&bounds::QUEUE_DEPTH)),
            "timeout": {
                "description": "For how long a request waits at most: a duration such as 5s.",
                "type": "string",
                "maxLength": 64,
                "pattern": WINDOW
            }
        }),
    );
    let value = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": bounds::HEADER_VALUE_BYTES,
        "pattern": "^[ -~]+$"
    });
    let mut alternative = object(
        &exceeded::ALTERNATIVE,
        &[],
        &json!({
            "model": {
                "description": "The model that is asked instead.",
                "type": "string",
                "minLength": 1,
                "maxLength": bounds::NAME_BYTES,
                "pattern": "^[!-~]+$"
            },
            "headers": {
                "description": "Headers that are set, by their names.",
                "type": "object",
                "minProperties": 1,
                "maxProperties": bounds::ALTERNATIVE_HEADERS,
                "propertyNames": {
                    "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
                    "maxLength": bounds::HEADER_NAME_BYTES
                },
                "additionalProperties": value
            }
        }),
    );
    alternative["minProperties"] = json!(1);
    let alternatives = described(
        "Changes to the request, tried in order.",
        list(1, bounds::ALTERNATIVES, &alternative),
    );
    let mut action = object(
        &exceeded::EXCEEDED,
        &[],
        &json!({
            "queue": described("The request waits for room, in order of arrival.", queue),
            "alternatives": alternatives
        }),
    );
    action["minProperties"] = json!(1);
    action["maxProperties"] = json!(1);
    json!({
        "description": "What becomes of a request for which there is no room.",
        "default": "deny",
        "anyOf": [{ "enum": ["deny", "allow"] }, action]
    })
}

fn algorithm() -> Value {
    json!({
        "description": "When windows begin, and how they follow each other.",
        "enum": ["fixed", "calendar", "sliding", "bucket"],
        "default": "fixed"
    })
}

fn rate() -> Value {
    object(
        &rate::RATE,
        &["limit", "window"],
        &json!({
            "limit": {
                "description": "The most in a window.",
                "anyOf": [whole(&bounds::LIMIT), cel("the most in a window.")]
            },
            "min": described("The least that a limit that is an expression yields.", whole(&bounds::LIMIT)),
            "max": {
                "description": "The most that a limit that is an expression yields; none for any.",
                "anyOf": [whole(&bounds::LIMIT), { "const": "none" }]
            },
            "window": {
                "description": "A duration such as 1m, 1h30m or 7d, or CEL that yields one or a number of seconds.",
                "type": "string",
                "minLength": 1,
                "maxLength": bounds::EXPRESSION_BYTES
            },
            "minWindow": {
                "description": "The shortest window that an expression yields.",
                "type": "string",
                "maxLength": 64,
                "pattern": WINDOW
            },
            "algorithm": algorithm()
        }),
    )
}
