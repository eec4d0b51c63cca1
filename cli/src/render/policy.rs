//! The plugin configuration, as a document of the output carries it.

#[cfg(test)]
mod tests;

use filter_config::Json;

use super::yaml::{List, Map, Yaml, json_text};

/// The longest object or list on one line of a JSON text.
const WIDTH: usize = 80;

/// Returns the configuration as YAML, for resources of Kubernetes, whose numbers and texts keep their types.
pub(super) fn yaml(json: &Json) -> Yaml {
    match json {
        Json::String(text) => Yaml::from(text),
        Json::Array(items) => {
            let list = items.iter().map(yaml).fold(List::default(), List::item);
            Yaml::List(list).compact()
        }
        Json::Object(fields) => {
            let map = fields.iter();
            let map = map.fold(Map::default(), |map, (name, value)| {
                map.field(name, yaml(value))
            });
            Yaml::Map(map).compact()
        }
        scalar => Yaml::Word(word(scalar)),
    }
}

/// Returns the configuration as JSON, which Envoy passes on as it is.
pub(super) fn text(json: &Json) -> String {
    let mut text = String::new();
    write(json, 0, &mut text);
    text.push('\n');
    text
}

fn write(json: &Json, indent: usize, text: &mut String) {
    let line = line(json);
    let (open, close, parts): (_, _, Vec<(String, &Json)>) = match json {
        Json::Array(items) if line.len() > WIDTH => (
            '[',
            ']',
            items.iter().map(|item| (String::new(), item)).collect(),
        ),
        Json::Object(fields) if line.len() > WIDTH => {
            let field = |(name, value)| (format!("{}: ", json_text(name)), value);
            (
                '{',
                '}',
                fields
                    .iter()
                    .map(|(name, value)| field((name, value)))
                    .collect(),
            )
        }
        _ => return text.push_str(&line),
    };
    text.push(open);
    for (position, (name, value)) in parts.into_iter().enumerate() {
        text.push_str(if position > 0 { ",\n" } else { "\n" });
        text.extend(std::iter::repeat_n(' ', indent + 2));
        text.push_str(&name);
        write(value, indent + 2, text);
    }
    text.push('\n');
    text.extend(std::iter::repeat_n(' ', indent));
    text.push(close);
}

/// Returns a value on one line.
fn line(json: &Json) -> String {
    let join = |parts: Vec<String>, open, close| {
        if parts.is_empty() {
            format!("{open}{close}")
        } else {
            format!("{open} {} {close}", parts.join(", "))
        }
    };
    match json {
        Json::String(text) => json_text(text),
        Json::Array(items) => join(items.iter().map(line).collect(), '[', ']'),
        Json::Object(fields) => {
            let field =
                |(name, value): &(String, Json)| format!("{}: {}", json_text(name), line(value));
            join(fields.iter().map(field).collect(), '{', '}')
        }
        scalar => word(scalar),
    }
}

/// Returns a number, a boolean or null.
fn word(json: &Json) -> String {
    match json {
        Json::Bool(value) => value.to_string(),
        Json::Whole(value) => value.to_string(),
        // A number of JSON is finite; it is written with as few digits as identify it.
        Json::Number(value) => serde_json::Number::from_f64(*value)
            .map_or_else(|| "null".to_owned(), |number| number.to_string()),
        _ => "null".to_owned(),
    }
}
