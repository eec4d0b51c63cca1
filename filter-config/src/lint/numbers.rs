//! Numbers that are written as texts.

use crate::error::ValidationErrors;
use crate::json::Json;
use crate::path::Path;
use crate::warning::{Notice, WarningCode};

/// Checks the limits of rates wherever they are. It recurses as deep as documents nest, which the parser bounds.
pub(super) fn check(
    json: &Json,
    path: &Path<'_>,
    is_envoy_yaml: bool,
    errors: &mut ValidationErrors,
) {
    match json {
        Json::Object(entries) => {
            for (name, value) in entries {
                let path = path.field(name);
                match (name.as_str(), value) {
                    ("rates" | "requests", Json::Array(rates)) => {
                        for (position, rate) in rates.iter().enumerate() {
                            limit(rate, &path.item(position), is_envoy_yaml, errors);
                        }
                    }
                    _ => check(value, &path, is_envoy_yaml, errors),
                }
            }
        }
        Json::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                check(item, &path.item(position), is_envoy_yaml, errors);
            }
        }
        _ => {}
    }
}

fn limit(rate: &Json, path: &Path<'_>, is_envoy_yaml: bool, errors: &mut ValidationErrors) {
    let Some(json @ Json::String(text)) = rate.field("limit") else {
        return;
    };
    if json.number().is_none() || (is_envoy_yaml && text.parse::<i32>().is_err()) {
        return;
    }
    let notice = Notice::new(
        WarningCode::NumberAsText,
        format!("found the text {text:?}, which is read as a number and not as an expression"),
        format!("write {text} without quotes, as Kuadrant rejects the text"),
    );
    errors.warn(&path.field("limit"), notice);
}
