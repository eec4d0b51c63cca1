//! What expressions see of requests that are as they should be, and of those that are not.

use super::{Attributes, Body};
use crate::host::Headers;
use crate::host::double::Double;
use cel::common::value::CowVal;
use filter_config::{AuthSource, Expression, Failure, Fuel, FuelLimits};
use prost::Message;
use prost_types::{ListValue, Struct, Value, value::Kind};
use std::collections::BTreeMap;

fn expression(source: &str) -> Expression {
    let policy = serde_json::json!({
        "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
        "metadata": { "name": "p" },
        "spec": {
            "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" },
            "limits": { "l": {
                "rates": [{ "limit": 1, "window": "1m" }],
                "counters": [{ "expression": source }]
            } }
        }
    });
    let mut configuration = filter_config::parse(policy.to_string().as_bytes()).unwrap();
    configuration
        .policies
        .remove(0)
        .limits
        .remove(0)
        .counters
        .remove(0)
}

/// Returns the value of an expression, as text, or why there is none.
fn evaluate(
    attributes: &mut Attributes,
    host: &Double,
    sources: &[AuthSource],
    source: &str,
) -> String {
    let expression = expression(source);
    attributes
        .resolve(host, &sources.to_vec().into(), expression.uses())
        .unwrap();
    let fuel = Fuel::new(FuelLimits::default());
    match expression.evaluate(attributes, &fuel) {
        Ok(value) => format!("{:?}", cel::Value::try_from(value.as_ref()).unwrap()),
        Err(Failure::Missing) => "missing".to_owned(),
        Err(error) => format!("error: {error}"),
    }
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn text(text: &str) -> Value {
    value(Kind::StringValue(text.to_owned()))
}

fn fields(fields: &[(&str, Value)]) -> Struct {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    Struct {
        fields: fields.collect(),
    }
}

/// Returns the property `metadata` with one namespace.
fn metadata(namespace: &str, fields: &Struct) -> Vec<u8> {
    let filter_metadata = BTreeMap::from([(namespace.to_owned(), fields.encode_to_vec())]);
    super::metadata::Metadata { filter_metadata }.encode_to_vec()
}

const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";

fn ext_authz() -> Vec<AuthSource> {
    vec![AuthSource::metadata(EXT_AUTHZ)]
}

#[test]
fn metadata_keeps_types_and_nulls() {
    let host = Double::default();
    let list = ListValue {
        values: vec![text("free"), text("beta")],
    };
    let identity = fields(&[
        ("userid", text("alice")),
        ("eight", text("8 bytes!")),
        ("age", value(Kind::NumberValue(42.0))),
        ("admin", value(Kind::BoolValue(true))),
        ("nothing", value(Kind::NullValue(0))),
        ("groups", value(Kind::ListValue(list))),
    ]);
    let auth = fields(&[("identity", value(Kind::StructValue(identity)))]);
    host.set_property(&["metadata"], &metadata(EXT_AUTHZ, &auth));
    let mut attributes = Attributes::new(Headers::default());
    let mut see = |source: &str| evaluate(&mut attributes, &host, &ext_authz(), source);
    assert_eq!(see("auth.identity.userid"), "String(\"alice\")");
    assert_eq!(see("auth.identity.eight"), "String(\"8 bytes!\")");
    assert_eq!(see("auth.identity.age == 42"), "Bool(true)");
    assert_eq!(see("auth.identity.admin"), "Bool(true)");
    assert_eq!(see("auth.identity.nothing == null"), "Bool(true)");
    assert_eq!(see("size(auth.identity.nothing.split(','))"), "missing");
    assert_eq!(
        see("auth.identity.groups.exists(g, g == 'free')"),
        "Bool(true)"
    );
    assert_eq!(see("auth.identity.nobody"), "missing");
    assert_eq!(see("has(auth.identity.nobody)"), "Bool(false)");
    assert_eq!(
        see("metadata.filter_metadata['envoy.filters.http.ext_authz'].identity.userid"),
        "String(\"alice\")"
    );
    assert_eq!(
        host.count(crate::host::double::Call::Property),
        1,
        "one read"
    );
}

#[test]
fn keys_choose_what_lies_inside_a_namespace() {
    const JWT: &str = "envoy.filters.http.jwt_authn";
    const ISSUER: &str = "https://issuer.example.com";
    let host = Double::default();
    let nested = |name, inner: Struct| fields(&[(name, value(Kind::StructValue(inner)))]);
    let claims = fields(&[("sub", text("alice"))]);
    let deep = nested("a", nested(ISSUER, claims));
    host.set_property(&["metadata"], &metadata(JWT, &deep));
    let source = |keys: &[&str], becomes: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        AuthSource::Metadata {
            namespace: JWT.to_owned(),
            keys: owned(keys),
            becomes: owned(becomes),
        }
    };
    for (source, expression, expected) in [
        (source(&["a", ISSUER], &[]), "auth.sub", "String(\"alice\")"),
        (
            source(&["a", ISSUER], &["identity", "jwt"]),
            "auth.identity.jwt.sub",
            "String(\"alice\")",
        ),
        (
            source(&["a"], &[]),
            "auth['https://issuer.example.com'].sub",
            "String(\"alice\")",
        ),
        (source(&["b"], &[]), "has(auth.sub)", "Bool(false)"),
        (
            source(&["a", ISSUER, "sub"], &[]),
            "has(auth.sub)",
            "Bool(false)",
        ),
    ] {
        let mut attributes = Attributes::new(Headers::default());
        let seen = evaluate(&mut attributes, &host, &[source], expression);
        assert_eq!(seen, expected, "{expression}");
    }
}

#[test]
fn first_auth_source_with_value_wins() {
    let host = Double::default();
    let sources = [
        AuthSource::metadata(EXT_AUTHZ),
        AuthSource::FilterState("kuadrant.auth".to_owned()),
        AuthSource::Header(vec![(
            vec!["identity".to_owned(), "userid".to_owned()],
            "x-user".to_owned(),
        )]),
    ];
    let headers = || Attributes::new(Headers::from_pairs([("x-user", b"carol".as_slice())]));
    let userid = "auth.identity.userid";
    assert_eq!(
        evaluate(&mut headers(), &host, &sources, userid),
        "String(\"carol\")"
    );
    let none = &mut Attributes::new(Headers::default());
    assert_eq!(evaluate(none, &host, &sources, userid), "missing");
    // Leaf by leaf, each in JSON, as a filter that calls Authorino itself leaves them.
    let leaf = ["filter_state", "wasm.kuadrant.auth.identity.userid"];
    host.set_property(&leaf, b"\"bob\"");
    let mut attributes = headers();
    assert_eq!(
        evaluate(&mut attributes, &host, &sources, userid),
        "String(\"bob\")"
    );
    host.set_property(&["filter_state", "wasm.kuadrant.auth.identity.age"], b"7");
    assert_eq!(
        evaluate(&mut attributes, &host, &sources, "auth.identity.age + 1"),
        "Int(8)"
    );
    // Whole, as JSON.
    host.set_property(
        &["filter_state", "kuadrant.auth"],
        b"{\"identity\":{\"userid\":\"dave\"}}",
    );
    assert_eq!(
        evaluate(&mut headers(), &host, &sources, userid),
        "String(\"dave\")"
    );
    let auth = fields(&[(
        "identity",
        value(Kind::StructValue(fields(&[("userid", text("eve"))]))),
    )]);
    host.set_property(&["metadata"], &metadata(EXT_AUTHZ, &auth));
    assert_eq!(
        evaluate(&mut headers(), &host, &sources, userid),
        "String(\"eve\")"
    );
}

#[test]
fn request_variables_come_from_headers() {
    let host = Double::default();
    host.set_property(
        &["request", "time"],
        &1_700_000_000_000_000_000_i64.to_le_bytes(),
    );
    host.set_property(&["source", "port"], &443_i64.to_le_bytes());
    host.set_property(&["connection", "mtls"], &[1]);
    let mut attributes = Attributes::new(Headers::from_pairs([
        (":method", b"POST".as_slice()),
        (":path", b"/v1/chat/completions?a=b"),
        (":authority", b"llm.example"),
        ("x-tier", b"gold"),
        ("x-tier", b"beta"),
        ("x-bytes", b"\xe9\xff"),
    ]));
    let mut see = |source: &str| evaluate(&mut attributes, &host, &[], source);
    assert_eq!(see("request.method"), "String(\"POST\")");
    assert_eq!(see("request.path"), "String(\"/v1/chat/completions?a=b\")");
    assert_eq!(see("request.url_path"), "String(\"/v1/chat/completions\")");
    assert_eq!(see("request.query"), "String(\"a=b\")");
    assert_eq!(see("request.host"), "String(\"llm.example\")");
    assert_eq!(see("request.headers['x-tier']"), "String(\"gold,beta\")");
    assert_eq!(see("request.headers['X-Tier']"), "String(\"gold,beta\")");
    assert_eq!(
        see("request.headers['x-bytes']"),
        "String(\"\u{fffd}\u{fffd}\")"
    );
    assert_eq!(see("request.headers['x-none']"), "missing");
    assert_eq!(see("'x-tier' in request.headers"), "Bool(true)");
    assert_eq!(
        see("request.headers.exists(h, h == 'x-tier')"),
        "Bool(true)"
    );
    assert_eq!(see("size(request.headers)"), "Int(5)");
    assert_eq!(see("has(request.useragent)"), "Bool(false)");
    assert_eq!(see("has(request.path)"), "Bool(true)");
    assert_eq!(see("request.time.getFullYear()"), "Int(2023)");
    assert_eq!(see("source.port == 443 && connection.mtls"), "Bool(true)");
    assert_eq!(see("has(source.address)"), "Bool(false)");
    assert_eq!(see("source.address"), "missing");
    assert_eq!(see("source.remote_address"), "missing");
}

#[test]
fn remote_address_omits_port() {
    for (peer, address) in [
        ("1.2.3.4:5", "1.2.3.4"),
        ("[::1]:5", "::1"),
        ("[fe80::1%2]:65535", "fe80::1%2"),
        ("::1", "::1"),
        ("1.2.3.4", "1.2.3.4"),
        ("/run/socket:5", "/run/socket:5"),
        ("@abstract", "@abstract"),
        ("1.2.3.4:99999", "1.2.3.4:99999"),
        ("", ""),
    ] {
        let host = Double::default();
        host.set_property(&["source", "address"], peer.as_bytes());
        let mut attributes = Attributes::new(Headers::default());
        let seen = evaluate(&mut attributes, &host, &[], "source.remote_address");
        assert_eq!(seen, format!("String({address:?})"));
        let both = "source.remote_address + ' of ' + source.address";
        let seen = evaluate(&mut attributes, &host, &[], both);
        assert_eq!(
            seen,
            format!("String({:?})", format!("{address} of {peer}"))
        );
    }
}

#[test]
fn body_fields_are_read_by_pointer() {
    let host = Double::default();
    let mut attributes = Attributes::new(Headers::default());
    let body =
        b"\xef\xbb\xbf{\"model\":\"m\\ud83d\",\"n\":[1,2.5,null,1e400],\"a/b\":{\"~\":true}}";
    let named = [
        "/model", "/n/0", "/n/1", "/n/2", "/n/3", "/n", "/a~1b/~0", "/none",
    ];
    // Beside a computed pointer, the document itself is at hand.
    let with_document = [&named[..], &[""]].concat();
    for pointers in [&named[..], &with_document] {
        attributes.body = Body::parse(body, true, pointers);
        let mut see = |source: &str| evaluate(&mut attributes, &host, &[], source);
        if pointers.len() == named.len() {
            assert_eq!(see("requestBodyJSON('/model')"), "String(\"m\u{fffd}\")");
            assert_eq!(see("requestBodyJSON('/n/3')"), "Float(inf)");
            assert_eq!(see("requestBodyJSON('/a' + '')"), "missing");
        }
        assert_eq!(see("requestBodyJSON('/n/0')"), "Int(1)");
        assert_eq!(see("requestBodyJSON('/n/1')"), "Float(2.5)");
        assert_eq!(see("requestBodyJSON('/n/2') == null"), "Bool(true)");
        assert_eq!(see("requestBodyJSON('/a~1b/~0')"), "Bool(true)");
        assert_eq!(see("requestBodyJSON('/none')"), "missing");
    }
    let document = br#"{"model":"m","n":[1,2]}"#;
    attributes.body = Body::parse(document, true, &["", "/model"]);
    let mut see = |source: &str| evaluate(&mut attributes, &host, &[], source);
    assert_eq!(see("requestBodyJSON('/mod' + 'el')"), "String(\"m\")");
    assert_eq!(see("requestBodyJSON('').n.size()"), "Int(2)");
    assert_eq!(see("requestBodyJSON('/model')"), "String(\"m\")");
    for (bytes, is_json) in [
        (b"".as_slice(), true),
        (b" ", true),
        (b"--boundary", false),
        (b"\0\0\0\0\x05", false),
    ] {
        let mut attributes = Attributes::new(Headers::default());
        attributes.body = Body::parse(bytes, is_json, &["/model"]);
        let seen = evaluate(&mut attributes, &host, &[], "requestBodyJSON('/model')");
        assert_eq!(seen, "missing", "{bytes:?}");
    }
}

#[test]
fn malformed_json_body_is_an_error() {
    let host = Double::default();
    let uses = expression("requestBodyJSON('/model')");
    let deep = format!("{{\"model\":\"x\",\"a\":{}", "[".repeat(100_000));
    for (bytes, is_json) in [
        (b"not json".as_slice(), true),
        (b"{\"model\":\"x\",\"a\":NaN}", false),
        (b"{\"model\":\"x\"} x", true),
        (b"{\"model\":\"x\",\"a\":\"\xff\"}", true),
        (b"\xff\xfe{\0", true),
        (deep.as_bytes(), false),
    ] {
        let mut attributes = Attributes::new(Headers::default());
        attributes.body = Body::parse(bytes, is_json, &["/model"]);
        assert!(
            attributes
                .resolve(&host, &Vec::new().into(), uses.uses())
                .is_err(),
            "{is_json}"
        );
    }
}

#[test]
fn malformed_metadata_is_an_error() {
    let host = Double::default();
    host.set_property(&["metadata"], b"\xff\xff\xff");
    let uses = expression("auth.user");
    let mut attributes = Attributes::new(Headers::default());
    attributes
        .resolve(&host, &ext_authz().into(), uses.uses())
        .unwrap_err();
}

#[test]
fn llm_variables_come_from_request() {
    let host = Double::default();
    let mut attributes = Attributes::new(Headers::default());
    attributes.body = Body::Opaque;
    attributes.llm = super::Llm {
        provider: Some("openai"),
        model: Some("gpt-4o".into()),
        stream: Some(true),
        max_output_tokens: Some(u64::MAX),
        ..super::Llm::default()
    };
    let mut see = |source: &str| evaluate(&mut attributes, &host, &[], source);
    assert_eq!(see("llm.model.startsWith('gpt-4')"), "Bool(true)");
    assert_eq!(
        see("llm.stream && llm.max_output_tokens > 1000"),
        "Bool(true)"
    );
    assert_eq!(see("llm.provider"), "String(\"openai\")");
    assert_eq!(see("has(llm.api)"), "Bool(false)");
    assert_eq!(see("llm.estimated_input_tokens"), "missing");

    let mut attributes = Attributes::new(Headers::default());
    attributes.body = Body::Malformed;
    let uses = expression("llm.model");
    assert!(
        attributes
            .resolve(&host, &Vec::new().into(), uses.uses())
            .is_err()
    );
}

/// Returns the steps that an evaluation takes, of a request with this many headers beside `x-user`.
fn steps(headers: usize, source: &str) -> u64 {
    let names: Vec<String> = (0..headers).map(|index| format!("x-{index}")).collect();
    let others = names.iter().map(|name| (name.as_str(), b"1".as_slice()));
    let pairs = others.chain([("x-user", b"alice".as_slice())]);
    let mut attributes = Attributes::new(Headers::from_pairs(pairs));
    let expression = expression(source);
    let claims = vec![(vec!["user".to_owned()], "x-user".to_owned())];
    let sources = vec![AuthSource::Header(claims)].into();
    attributes
        .resolve(&Double::default(), &sources, expression.uses())
        .unwrap();
    let fuel = Fuel::new(FuelLimits::default()).searching(attributes.entries());
    let _ = expression.evaluate(&attributes, &fuel);
    FuelLimits::default().steps - fuel.steps()
}

#[test]
fn each_search_pays_for_the_headers_searched() {
    for (source, entries) in [
        ("request.headers['x-user']", 1600 / 16),
        ("request.headers['none']", 1600 / 16),
        ("'x-user' in request.headers", 1600 / 16),
        ("request.useragent", 1600 / 16),
        ("auth.user", 1600 / 16),
        ("size(request.headers)", 1600),
        ("request.headers.exists(name, true)", 1600),
        ("string(request.headers == request.headers)", 1600),
    ] {
        assert!(
            steps(1600, source) >= steps(0, source) + entries,
            "{source}"
        );
    }
}

#[test]
fn claims_in_headers_are_copied_once() {
    let claims = [("user", "x-user"), ("tier", "x-tier")];
    let claims = claims.map(|(claim, header)| (vec![claim.to_owned()], header.to_owned()));
    let headers = Headers::from_pairs([("x-user", b"alice".as_slice())]);
    let mut attributes = Attributes::new(headers);
    let sources = vec![AuthSource::Header(claims.to_vec())].into();
    let expression = expression("auth.tier");
    let host = Double::default();
    attributes
        .resolve(&host, &sources, expression.uses())
        .unwrap();
    let whole =
        |attributes: &Attributes| match cel::context::VariableResolver::resolve(attributes, "auth")
        {
            Some(CowVal::Borrowed(value)) => Some(std::ptr::from_ref(value).cast::<u8>()),
            _ => None,
        };
    let first = whole(&attributes);
    assert!(first.is_some() && first == whole(&attributes));
}

#[test]
fn copies_of_maps_share_their_values() {
    let map = super::object::value([("text".to_owned(), super::value::string("long"))].into_iter());
    let copy = map.clone();
    let [one, other] = [&map, &copy].map(|map| super::object::at(map, "text").unwrap());
    assert!(std::ptr::eq(one, other));
}
