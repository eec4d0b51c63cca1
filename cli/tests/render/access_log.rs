//! The access log of Envoy's form.

use serde_json::{Value, json};

use crate::{FORMS, HEADERS, POLICY, documents, in_process};

#[test]
fn access_log_has_what_configuration_writes() {
    for (setting, expected) in [
        ("", ".total_tokens:PLAIN)"),
        ("accessLog: both\n", ".total_tokens:PLAIN)"),
        ("accessLog: record\n", ":TYPED)"),
    ] {
        let configuration = format!("{POLICY}{setting}");
        let output = in_process(FORMS[0], "--identity none", &configuration).text;
        let logged: Vec<&str> = output
            .split("%FILTER_STATE(wasm.tollgate")
            .skip(1)
            .collect();
        assert!(
            logged.iter().any(|found| found.starts_with(expected)),
            "{setting}: {output}"
        );
        let is_record = setting.contains("record");
        assert_eq!(logged.len() == 1, is_record, "{setting}: {output}");
    }
}

#[test]
fn access_log_has_exported_costs() {
    let exports = "export: { custom_cost: 'total_tokens * 2', output: output_tokens }\n";
    for setting in ["", "accessLog: record\n"] {
        let configuration = format!("{POLICY}{exports}{setting}");
        let format = access_log(&in_process(FORMS[0], "--identity none", &configuration).text);
        for name in ["custom_cost", "output"] {
            assert_eq!(
                format[format!("cost.{name}")],
                format!("%FILTER_STATE(wasm.tollgate.cost.{name}:PLAIN)%")
            );
        }
    }
}

#[test]
fn access_log_has_the_caller() {
    let jwt =
        "--identity jwt --issuer https://issuer.example.com --jwks https://issuer.example.com/jwks";
    let headers = "--identity headers --trusted-proxy 10.0.0.0/8";
    let claims = |key| format!("%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:{key}:sub)%");
    let key = "auth: [ { metadata: envoy.filters.http.jwt_authn, key: claims, as: identity } ]\n";
    for (flags, settings, expected) in [
        (jwt, "", Some(json!(claims("identity")))),
        (jwt, key, Some(json!(claims("claims")))),
        // A colon divides the path of the metadata.
        (jwt, &key.replace("claims", "'a:b'"), None),
        (
            headers,
            "auth: [ { header: { identity.sub: x-sub } } ]\n",
            Some(json!("%REQ(x-sub)%")),
        ),
        (
            headers,
            HEADERS,
            Some(json!({ "x-sub": "%REQ(x-sub)%", "x-tier": "%REQ(x-tier)%" })),
        ),
        ("--identity ext-authz --authz-service authz:9000", "", None),
        ("--identity none", "", None),
    ] {
        let rendered = in_process(FORMS[0], flags, &format!("{POLICY}{settings}"));
        let format = access_log(&rendered.text);
        assert_eq!(format.get("user"), expected.as_ref(), "{flags} {settings}");
        let is_noted = rendered.text.contains("# Reports per user need");
        let is_needed = expected.is_none() && flags != "--identity none";
        assert_eq!(is_noted, is_needed, "{flags} {settings}");
    }
}

/// Returns the format of the access log of Envoy's form.
fn access_log(yaml: &str) -> Value {
    let listener = &documents(yaml)[0]["static_resources"]["listeners"][0];
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    manager["access_log"][0]["typed_config"]["log_format"]["json_format"].clone()
}
