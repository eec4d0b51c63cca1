//! Tests of templates.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::template::{BODY_PLACEHOLDERS, NAME_PLACEHOLDERS};
use super::{HeaderNames, Placeholder, QuotaHeaders, Template};
use crate::fixtures::long_form;

fn body(text: &str) -> Template {
    let mut document = long_form();
    document["replies"] = json!({ "body": text });
    let configuration = crate::parse(document.to_string().as_bytes()).unwrap();
    configuration.replies.body.unwrap()
}

fn names(headers: &Value) -> Result<HeaderNames, String> {
    let mut document = long_form();
    document["replies"] = json!({ "headers": headers });
    match crate::parse(document.to_string().as_bytes()) {
        Ok(configuration) => match configuration.replies.headers {
            Some(QuotaHeaders::Named(names)) => Ok(names),
            other => Err(format!("{other:?}")),
        },
        Err(errors) => Err(errors.to_string()),
    }
}

fn write(placeholder: Placeholder, text: &mut String) {
    text.push_str(match placeholder {
        Placeholder::Limit => "Free tier/1",
        Placeholder::Policy => "llm",
        Placeholder::Period => "minute",
        _ => "7",
    });
}

#[test]
fn bodies_keep_text_and_replace_placeholders() {
    for (text, rendered) in [
        ("", ""),
        ("slow down", "slow down"),
        (r#"{"message": "slow down"}"#, r#"{"message": "slow down"}"#),
        ("{message", "{message"),
        ("{}{unknown}{{limit}}", "{}{unknown}{Free tier/1}"),
        (
            r#"{"limit": "{limit}", "wait": {retryAfter}}"#,
            r#"{"limit": "Free tier/1", "wait": 7}"#,
        ),
        ("{Limit} {limit }", "{Limit} {limit }"),
        ("größer {max}€", "größer 7€"),
    ] {
        assert_eq!(body(text).render(write), rendered, "{text}");
    }
}

#[test]
fn header_names_are_checked() {
    let names = names(&json!({
        "limit": "X-AI-RateLimit-Limit-{period}-{policy}",
        "reset": "x-{limit}-reset",
        "retryAfter": "Retry-After"
    }))
    .unwrap();
    let name = |template: &Option<Template>| template.as_ref().map(|name| name.render_name(write));
    assert_eq!(
        name(&names.limit).unwrap(),
        "x-ai-ratelimit-limit-minute-llm"
    );
    assert_eq!(name(&names.reset).unwrap(), "x-free-tier-1-reset");
    assert_eq!(name(&names.retry_after).unwrap(), "retry-after");
    assert_eq!(names.remaining, None);
}

proptest! {
    #[test]
    fn accepted_names_render_as_safe_headers(
        text in r"([-a-zA-Z: \r\n{}]|\{limit\}|\{window\}|content-|length|é){1,12}",
        value in any::<String>(),
    ) {
        if let Ok(names) = names(&json!({ "limit": text })) {
            let name = names.limit.unwrap().render_name(|_, name| name.push_str(&value));
            let is_safe = |byte: u8| byte.is_ascii_graphic()
                && !byte.is_ascii_uppercase()
                && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            prop_assert!(!name.is_empty() && name.bytes().all(is_safe), "{name:?}");
            prop_assert!(name != "content-length" && name != "te" && name != "connection");
        }
    }

    #[test]
    fn templates_keep_all_text(text in r"([a-z {}]|\{limit\}|\{max\}){0,20}") {
        let back = body(&text).render(|placeholder, text| {
            let (name, _) = BODY_PLACEHOLDERS
                .iter()
                .find(|(_, known)| *known == placeholder)
                .unwrap();
            text.push_str(&["{", name, "}"].concat());
        });
        prop_assert_eq!(back, text);
    }
}

#[test]
fn placeholder_names_are_unique() {
    for (position, (name, _)) in NAME_PLACEHOLDERS.iter().enumerate() {
        let known = &NAME_PLACEHOLDERS[..position];
        assert!(known.iter().all(|(other, _)| other != name), "{name}");
    }
}
