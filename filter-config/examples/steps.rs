//! Prints how long a step of an evaluation takes: expressions of all kinds run on hostile values until their fuel is
//! exhausted.
//!
//! ```text
//! cargo run --profile native -p filter-config --example steps
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, Value};
use filter_config::{Expression, Fuel, FuelLimits, REQUEST_BODY};

/// The values of a request.
struct Request(HashMap<&'static str, Box<dyn Val>>);

impl VariableResolver for Request {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        self.0.get(variable).map(|value| CowVal::Borrowed(&**value))
    }
}

fn request() -> Request {
    let long = "a".repeat(57 << 10);
    let messages: Vec<_> = (0..4000)
        .map(|index| serde_json::json!({ "role": "user", "n": index }))
        .collect();
    let values = [
        ("request.path", serde_json::json!(long)),
        ("request.query", serde_json::json!("é".repeat(28 << 10))),
        ("request.host", serde_json::json!(",".repeat(57 << 10))),
        ("request.id", serde_json::json!("a".repeat(16 << 10))),
        ("request.method", serde_json::json!("a,".repeat(100))),
        ("request.scheme", serde_json::json!("1".repeat(57 << 10))),
        ("request.protocol", serde_json::json!("1h".repeat(28 << 10))),
        (
            "request.useragent",
            serde_json::json!("(?i).*a.*b.*c.*d.*e.*f.*g.*h.*i.*j"),
        ),
        (
            "request.headers",
            serde_json::json!({ "x": long, "y": "a,b,c" }),
        ),
        (REQUEST_BODY, serde_json::json!(messages)),
        (
            "request.referer",
            serde_json::json!("[{\"a\":0},".repeat(4000)),
        ),
    ];
    Request(
        values
            .into_iter()
            .map(|(name, json)| {
                let value: Box<dyn Val> = cel::to_value(json).unwrap().try_into().unwrap();
                (name, value)
            })
            .collect(),
    )
}

const SOURCES: &[&str] = &[
    // Usual expressions, for comparison.
    "request.headers[\"y\"].split(\",\").exists(g, g == \"c\")",
    "request.headers[\"y\"].split(\",\").exists(g, g in [\"a\", \"b\"]) && request.method != \"GET\"",
    // Nodes.
    "request.method.split(\"\").exists(a, request.method.split(\"\").exists(b, a == b && a != b))",
    "[1, 2, 3, 4].all(a, [1, 2, 3, 4].all(b, [1, 2, 3, 4].all(c, [1, 2, 3, 4].all(d, [1, 2, 3, 4].all(e, [1, 2, 3, 4].all(f, [1, 2, 3, 4].all(g, a + b + c + d + e + f + g > 0)))))))",
    "requestBodyJSON(\"\").exists(a, requestBodyJSON(\"\").exists(b, a.n == b.role))",
    "requestBodyJSON(\"\").exists(a, requestBodyJSON(\"\").exists(b, a == b.role))",
    "requestBodyJSON(\"\").exists(a, requestBodyJSON(\"\")[?5000].hasValue())",
    "requestBodyJSON(\"\").map(a, [a, a, a])",
    "requestBodyJSON(\"\").map(a, {\"a\": a, \"b\": a.n, \"c\": 1})",
    "requestBodyJSON(\"\").exists(a, [a] in [[1], [2], [3]])",
    "requestBodyJSON(\"\").exists(a, requestBodyJSON(\"\") == requestBodyJSON(\"\"))",
    "requestBodyJSON(\"\").exists(a, requestBodyJSON(\"\") < 3)",
    "requestBodyJSON(\"\").exists(a, requestBodyJSON(\"\") - 3 == 1)",
    "requestBodyJSON(\"\").exists(a, string(a.n) == double(\"1.5\"))",
    "requestBodyJSON(\"\").exists(a, has(a.x) || has(a.none.x))",
    "requestBodyJSON(\"\").exists(a, timestamp(a.n).getHours(\"+02:00\") == 100)",
    "requestBodyJSON(\"\").exists(a, \"%s %d %f\".format([a, a.n, 1.5]) == \"\")",
    "requestBodyJSON(\"\").exists(a, type(a) == int || optional.of(a.n).orValue(1) == \"\")",
    // Texts.
    "request.headers.exists(x, request.path.replace(\"a\", request.headers[\"x\"]) == \"\")",
    "request.host.split(\",\").exists(g, g in request.host.split(\",\"))",
    "requestBodyJSON(\"\").exists(g, request.path.contains(\"b\"))",
    "requestBodyJSON(\"\").exists(g, request.path.contains(\"aaaaaaaaaaaaaaaaaaaaaaaaab\"))",
    "requestBodyJSON(\"\").exists(g, request.path == request.headers[\"x\"] + \"\")",
    "requestBodyJSON(\"\").exists(g, request.query.charAt(20000) == \"\")",
    "requestBodyJSON(\"\").exists(g, request.query.indexOf(\"b\") == 1)",
    "requestBodyJSON(\"\").exists(g, request.query.lastIndexOf(\"éa\") == 1)",
    "requestBodyJSON(\"\").exists(g, request.query.substring(1, 20000) == \"a\")",
    "requestBodyJSON(\"\").exists(g, request.query.reverse() == \"a\")",
    "requestBodyJSON(\"\").exists(g, request.path.upperAscii() == \"a\")",
    "requestBodyJSON(\"\").exists(g, request.path.trim() == \"a\")",
    "requestBodyJSON(\"\").exists(g, strings.quote(request.referer) == \"a\")",
    "requestBodyJSON(\"\").exists(g, size(request.query) == 1)",
    "requestBodyJSON(\"\").exists(g, int(request.scheme) == 1)",
    "requestBodyJSON(\"\").exists(g, double(request.scheme) == 1.0)",
    "requestBodyJSON(\"\").exists(g, timestamp(request.referer) == timestamp(0))",
    "requestBodyJSON(\"\").exists(g, duration(request.protocol) == duration(\"1h\"))",
    "requestBodyJSON(\"\").exists(g, duration(request.referer) == duration(\"1h\"))",
    "requestBodyJSON(\"\").exists(g, requestBodyJSON(request.path) == 1)",
    "requestBodyJSON(\"\").exists(g, requestBodyJSON(\"/1/\" + \"n/1/1/1/1/1/1/1\") == 1)",
    "requestBodyJSON(\"\").exists(g, bytes(request.path) == b\"a\")",
    "requestBodyJSON(\"\").map(m, request.headers[\"x\"] + request.path).size() == 1",
    "requestBodyJSON(\"\").map(m, [request.host.split(\",\", 1000)]).size() == 1",
    "requestBodyJSON(\"\").map(m, request.host.split(\",\", 1000).join(\"ab\")).size() == 1",
    "requestBodyJSON(\"\").exists(m, \"%s\".format([request.referer]) == \"\")",
    "requestBodyJSON(\"\").exists(m, \"%x\".format([request.referer]) == \"\")",
    "requestBodyJSON(\"\").exists(m, \"%.100f\".format([1e300]) == \"\")",
    "requestBodyJSON(\"\").exists(m, string(1e300) == \"\")",
    // Regular expressions.
    "request.host.split(\",\").exists(g, g == \"b\")",
    "request.method.split(\",\").exists(g, request.headers[\"y\"].split(\",\").exists(h, g == h + h))",
    "requestBodyJSON(\"\").exists(g, request.id.matches(\"b\"))",
    "requestBodyJSON(\"\").exists(g, request.id.matches(\"(?i).*a.*b.*c.*d.*e.*f.*g.*h.*i.*j\"))",
    "requestBodyJSON(\"\").exists(g, request.id.matches(\"(a?){100}b\"))",
    "requestBodyJSON(\"\").exists(g, request.id.matches(\"(a*){100}b\"))",
    "requestBodyJSON(\"\").exists(g, request.id.matches(\"((((((a|a)|a)|a)|a)|a)*)*b\"))",
    "requestBodyJSON(\"\").exists(g, request.method.matches(\"(x+x+)+y\"))",
    "requestBodyJSON(\"\").exists(g, request.method.matches(request.useragent))",
    "requestBodyJSON(\"\").exists(g, \"\".matches(request.useragent))",
    "requestBodyJSON(\"\").exists(g, \"\".matches(\"a{200}{2}\" + string(g.n)))",
    "requestBodyJSON(\"\").exists(g, \"\".matches(\"(a{50}){50}{50}\" + string(g.n)))",
    "requestBodyJSON(\"\").exists(g, \"\".matches(\"[a-zA-Z0-9_.-]+@[a-z]+\" + string(g.n)))",
];

fn expression(source: &str) -> Expression {
    let policy = serde_json::json!({
        "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
        "metadata": { "name": "p" },
        "spec": {
            "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" },
            "limits": { "l": {
                "rates": [{ "limit": 1, "window": "1m" }],
                "counters": [{ "expression": format!("dyn({source})") }]
            } }
        }
    });
    let mut configuration = filter_config::parse(policy.to_string().as_bytes())
        .unwrap_or_else(|errors| panic!("{source}: {errors}"));
    let mut limit = configuration.policies.remove(0).limits.remove(0);
    limit.counters.remove(0)
}

/// Searches whose fuel is not bounded, as each exceeds it.
const SEARCHES: &[&str] = &[
    "request.id.matches(\"b\")",
    "request.id.matches(\"^/v1/(chat/completions|messages)$\")",
    "request.id.matches(\"[^a]\")",
    "request.id.matches(\"(?i).*a.*b.*c.*d.*e.*f.*g.*h.*i.*j\")",
    "request.id.matches(\".*a.*a.*a.*a.*a.*a.*a.*a.*a.*b\")",
    "request.id.matches(\"(a?){100}b\")",
    "request.id.matches(\"(a*){100}b\")",
    "request.id.matches(\"a{500}b\")",
    "request.id.matches(\"((((((a|a)|a)|a)|a)|a)*)*b\")",
    "request.id.matches(\"([a-zA-Z0-9_.+-]+|[a-z]+|[^b])*b\")",
    "request.id.matches(\"(a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a)*b\")",
    "request.id.matches(\"(((a*)*)*)*b\")",
];

fn main() {
    let request = request();
    let unbounded = FuelLimits {
        steps: u64::MAX,
        bytes: u64::MAX,
    };
    measure(&request, SOURCES, FuelLimits::default(), 15);
    for source in SOURCES.iter().take(2) {
        by_library(source, &request);
    }
    measure(&request, SEARCHES, unbounded, 1);
}

/// Prints how long the evaluator of the `cel` crate takes.
fn by_library(source: &str, request: &Request) {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::strings).unwrap();
    let program = env.compile(source).unwrap();
    let env = Arc::new(env);
    let took = (0..1000).map(|_| {
        let start = Instant::now();
        let mut context = Context::with_env(Arc::clone(&env));
        context.set_variable_resolver(request);
        let value = Value::resolve_val(program.expression(), &context);
        drop(value);
        start.elapsed()
    });
    let took = took.min().unwrap_or_default();
    println!("{:8.1}  by the library: {source}", took.as_secs_f64() * 1e6);
}

fn measure(request: &Request, sources: &[&str], limits: FuelLimits, times: usize) {
    println!("{:>8}  {:>8}  {:>7}  expression", "µs", "steps", "ns/step");
    for source in sources {
        let expression = expression(source);
        let mut best = (Duration::MAX, 0, String::new());
        for _ in 0..times {
            let fuel = Fuel::new(limits);
            let start = Instant::now();
            let value = expression.evaluate(request, &fuel);
            let result = match &value {
                Ok(_) => "value".to_owned(),
                Err(error) => error.to_string(),
            };
            drop(value);
            let took = start.elapsed();
            let used = limits.steps - fuel.steps();
            if took < best.0 {
                best = (took, used, result);
            }
        }
        let (took, steps, result) = best;
        #[expect(clippy::cast_precision_loss, reason = "a statistic")]
        let each = took.as_nanos() as f64 / steps.max(1) as f64;
        println!(
            "{:8.1}  {steps:8}  {each:7.1}  {source} -> {}",
            took.as_secs_f64() * 1e6,
            result.chars().take(48).collect::<String>(),
        );
    }
}
