//! YAML with comments.
//!
//! Texts are quoted unless they are the same text in YAML 1.1, which Kubernetes and Envoy read in parts, and in YAML 1.2.

#[cfg(test)]
mod tests;

/// The longest line of a comment, and of a list or an object on one line.
const WIDTH: usize = 110;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Yaml {
    /// A number, a boolean or null, as it is written.
    Word(String),
    Text(String),
    /// A text of several lines, written as it is.
    Block(String),
    List(List),
    Map(Map),
    /// A list or an object on one line, without comments.
    Flow(Box<Yaml>),
}

/// An object. Its fields keep their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    fields: Vec<Field>,
    notes: Notes,
}

/// A list.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    items: Vec<(Notes, Yaml)>,
    notes: Notes,
}

#[derive(Clone, Debug)]
struct Field {
    notes: Notes,
    key: String,
    value: Yaml,
}

/// Comments before a field, an item, or the end.
#[derive(Clone, Debug, Default)]
struct Notes(Vec<String>);

/// The text that is written.
#[derive(Default)]
struct Writer {
    text: String,
}

/// Returns a stream of documents, each with a comment before it.
pub(super) fn stream(documents: &[(String, Map)]) -> String {
    let mut writer = Writer::default();
    for (position, (comment, document)) in documents.iter().enumerate() {
        if position > 0 {
            writer.text.push_str("---\n");
        }
        writer.notes(&Notes(vec![comment.clone()]), 0);
        writer.map(document, 0);
    }
    writer.text
}

// === impl Yaml ===

impl Yaml {
    /// Writes a list or an object on one line.
    pub(super) fn on_one_line(self) -> Self {
        Self::Flow(Box::new(self))
    }

    /// Writes a list or an object on one line if all that it contains is short and on one line.
    pub(super) fn compact(self) -> Self {
        let values: Vec<&Self> = match &self {
            Self::List(list) => list.items.iter().map(|(_, item)| item).collect(),
            Self::Map(map) => map.fields.iter().map(|field| &field.value).collect(),
            _ => return self,
        };
        let is_leaf = |value: &&Self| match value {
            Self::Word(_) => true,
            Self::Text(text) => !is_literal(text),
            _ => false,
        };
        if values.iter().all(is_leaf) && flow(&self).len() <= WIDTH / 2 {
            return self.on_one_line();
        }
        self
    }
}

impl From<&str> for Yaml {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Yaml {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Yaml {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<bool> for Yaml {
    fn from(value: bool) -> Self {
        Self::Word(value.to_string())
    }
}

impl From<u64> for Yaml {
    fn from(value: u64) -> Self {
        Self::Word(value.to_string())
    }
}

impl From<u16> for Yaml {
    fn from(value: u16) -> Self {
        Self::Word(value.to_string())
    }
}

impl From<Map> for Yaml {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

impl From<List> for Yaml {
    fn from(list: List) -> Self {
        Self::List(list)
    }
}

// === impl Map ===

impl Map {
    /// Adds a field.
    pub(super) fn field(mut self, key: &str, value: impl Into<Yaml>) -> Self {
        self.fields.push(Field {
            notes: std::mem::take(&mut self.notes),
            key: key.to_owned(),
            value: value.into(),
        });
        self
    }

    /// Adds a field if it has a value.
    pub(super) fn field_if(self, key: &str, value: Option<impl Into<Yaml>>) -> Self {
        match value {
            Some(value) => self.field(key, value),
            None => self,
        }
    }

    /// Adds a comment before the field that follows, or at the end.
    pub(super) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.0.push(text.into());
        self
    }

    /// Adds a comment if a condition holds.
    pub(super) fn note_if(self, condition: bool, text: &str) -> Self {
        if condition { self.note(text) } else { self }
    }

    /// Adds the fields and comments of another object.
    pub(super) fn extend(mut self, mut other: Self) -> Self {
        if let Some(first) = other.fields.first_mut() {
            let mut notes = std::mem::take(&mut self.notes);
            notes.0.append(&mut first.notes.0);
            first.notes = notes;
        }
        self.fields.append(&mut other.fields);
        self.notes.0.append(&mut other.notes.0);
        self
    }

    /// Writes it on one line.
    pub(super) fn on_one_line(self) -> Yaml {
        Yaml::Map(self).on_one_line()
    }
}

// === impl List ===

impl List {
    /// Adds an item.
    pub(super) fn item(mut self, value: impl Into<Yaml>) -> Self {
        let notes = std::mem::take(&mut self.notes);
        self.items.push((notes, value.into()));
        self
    }

    /// Adds items.
    pub(super) fn items<V: Into<Yaml>>(self, values: impl IntoIterator<Item = V>) -> Self {
        values.into_iter().fold(self, Self::item)
    }

    /// Adds a comment before the item that follows, or at the end.
    pub(super) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.0.push(text.into());
        self
    }

    /// Adds a comment if a condition holds.
    pub(super) fn note_if(self, condition: bool, text: &str) -> Self {
        if condition { self.note(text) } else { self }
    }

    /// Writes it on one line.
    pub(super) fn on_one_line(self) -> Yaml {
        Yaml::List(self).on_one_line()
    }
}

// === impl Writer ===

impl Writer {
    fn map(&mut self, map: &Map, indent: usize) {
        for field in &map.fields {
            self.notes(&field.notes, indent);
            self.indent(indent);
            self.field(field, indent);
        }
        self.notes(&map.notes, indent);
    }

    fn list(&mut self, list: &List, indent: usize) {
        for (notes, item) in &list.items {
            self.notes(notes, indent);
            // What is written about the first field of an object belongs before the item.
            let first = match item {
                Yaml::Map(map) => map.fields.first(),
                _ => None,
            };
            if let Some(first) = first {
                self.notes(&first.notes, indent);
            }
            self.indent(indent);
            self.text.push_str("- ");
            match item {
                Yaml::Map(map) => self.item(map, indent + 2),
                value => self.scalar(value, indent),
            }
        }
        self.notes(&list.notes, indent);
    }

    /// Writes an object whose first field is on a line that has begun.
    fn item(&mut self, map: &Map, indent: usize) {
        let Some((first, others)) = map.fields.split_first() else {
            self.text.push_str("{}\n");
            return;
        };
        self.field(first, indent);
        for field in others {
            self.notes(&field.notes, indent);
            self.indent(indent);
            self.field(field, indent);
        }
        self.notes(&map.notes, indent);
    }

    /// Writes a field on a line that has begun.
    fn field(&mut self, field: &Field, indent: usize) {
        self.text.push_str(&scalar(&field.key));
        self.text.push(':');
        match &field.value {
            Yaml::Map(map) if !map.fields.is_empty() => {
                self.text.push('\n');
                self.map(map, indent + 2);
            }
            // A list is no deeper than its key.
            Yaml::List(list) if !list.items.is_empty() => {
                self.text.push('\n');
                self.list(list, indent);
            }
            value => {
                self.text.push(' ');
                self.scalar(value, indent);
            }
        }
    }

    /// Writes a value that begins on a line that has begun.
    fn scalar(&mut self, value: &Yaml, indent: usize) {
        let literal = match value {
            Yaml::Block(text) => Some(text),
            Yaml::Text(text) => is_literal(text).then_some(text),
            _ => None,
        };
        let Some(text) = literal else {
            self.text.push_str(&flow(value));
            self.text.push('\n');
            return;
        };
        self.text
            .push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
        for line in text.lines() {
            if !line.is_empty() {
                self.indent(indent + 2);
                self.text.push_str(line);
            }
            self.text.push('\n');
        }
    }

    fn notes(&mut self, notes: &Notes, indent: usize) {
        for note in &notes.0 {
            for paragraph in note.split('\n') {
                // Other line breaks would end the comment.
                self.note(&paragraph.replace(is_escaped, " "), indent);
            }
        }
    }

    /// Writes a comment in lines of limited length. One that begins with a space keeps its line, as examples need.
    fn note(&mut self, text: &str, indent: usize) {
        if text.is_empty() || text.starts_with(' ') {
            self.indent(indent);
            self.text.push('#');
            self.text.push_str(text);
            self.text.push('\n');
            return;
        }
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && indent + line.len() + word.len() + 3 > WIDTH {
                self.comment(&line, indent);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.comment(&line, indent);
    }

    fn comment(&mut self, line: &str, indent: usize) {
        self.indent(indent);
        self.text.push_str("# ");
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn indent(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }
}

/// Returns a value on one line.
fn flow(value: &Yaml) -> String {
    let (open, parts, close): (_, Vec<String>, _) = match value {
        Yaml::Word(word) => return word.clone(),
        Yaml::Text(text) | Yaml::Block(text) => return scalar(text),
        Yaml::Flow(value) => return flow(value),
        Yaml::List(list) => (
            "[",
            list.items.iter().map(|(_, item)| flow(item)).collect(),
            "]",
        ),
        Yaml::Map(map) => {
            let field = |field: &Field| format!("{}: {}", scalar(&field.key), flow(&field.value));
            ("{", map.fields.iter().map(field).collect(), "}")
        }
    };
    if parts.is_empty() {
        return format!("{open}{close}");
    }
    format!("{open} {} {close}", parts.join(", "))
}

/// Returns a text, quoted if it has to be.
fn scalar(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let is_printable = text.chars().all(|character| !is_escaped(character));
    if is_printable && text.contains(['"', '\\']) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    json_text(text)
}

/// Returns a text in double quotes, with the escapes of JSON, which are YAML's too.
pub(super) fn json_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            other if is_escaped(other) => {
                let escape = format!("\\u{:04x}", u32::from(other));
                quoted.push_str(&escape);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns whether a character has to be escaped: those that are not printable in YAML, or break lines. All of them are
/// below U+10000.
fn is_escaped(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// Returns whether a text is the same text without quotes, in every version of YAML.
fn is_plain(text: &str) -> bool {
    let begins = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'/');
    let continues =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/' | b'.' | b':' | b'-');
    let is_word = text.as_bytes().first().is_some_and(begins)
        && text.bytes().all(continues)
        && !text.ends_with(':')
        && !is_reserved(text);
    is_word || is_duration(text)
}

/// Returns whether a text is a number with a unit of time, which no version of YAML takes for a number.
fn is_duration(text: &str) -> bool {
    let number = text.trim_end_matches(['m', 's', 'h']);
    number.len() < text.len()
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether a version of YAML takes a text for a boolean or null.
fn is_reserved(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "y", "yes", "n", "no", "true", "false", "on", "off", "null", "nan",
    ];
    WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Returns whether a text can be written as a literal block: several lines that begin and end with other characters than
/// spaces and line breaks, but for one line break at the end.
fn is_literal(text: &str) -> bool {
    let lines = text.strip_suffix('\n').unwrap_or(text);
    lines.contains('\n')
        && !lines.starts_with([' ', '\n'])
        && !lines.ends_with([' ', '\n'])
        && lines
            .chars()
            .all(|character| character == '\n' || !is_escaped(character))
}
