//! Prose is written in the terms of `docs/glossary.md`: one term for each concept, the field's own.
//!
//! Checked are comments, names in code, messages (string literals of more than one word, outside of
//! tests), and the text of documents without code.

#[cfg(test)]
mod tests;

use crate::lexer::{Kind, tokens};
use crate::tree;
use std::borrow::Cow;
use std::collections::HashMap;

/// A phrase that is not written, by its forms, and what to write instead.
struct Rule {
    forms: &'static [&'static str],
    instead: &'static str,
}

const fn rule(forms: &'static [&'static str], instead: &'static str) -> Rule {
    Rule { forms, instead }
}

const RULES: &[Rule] = &[
    rule(
        &[
            "refuse", "refuses", "refused", "refusing", "refusal", "refusals", "denial", "denials",
        ],
        "reject, rejection",
    ),
    rule(&["let go", "lets go", "letting go"], "admit, allow"),
    rule(
        &["go on", "goes on", "going on", "went on", "gone on"],
        "continue",
    ),
    rule(
        &["spent", "used up", "uses up", "nothing left"],
        "exhausted, used, over limit",
    ),
    rule(
        &["hold for", "holds for", "held of", "held for"],
        "reservation, reserve",
    ),
    rule(
        &[
            "give back",
            "gives back",
            "given back",
            "gave back",
            "giving back",
        ],
        "release, restore",
    ),
    rule(
        &["look", "looks", "looked", "looking"],
        "check, pre-check, inspect, read",
    ),
    rule(
        &["undecided", "unanswered", "in doubt", "asking"],
        "pending, awaiting",
    ),
    rule(&["pushed out", "pushes out", "push out"], "evicted"),
    rule(
        &["crowd", "crowds"],
        "concurrency limit, more requests than",
    ),
    rule(
        &["tell", "tells", "told", "telling"],
        "report, send, distinguish",
    ),
    rule(
        &["left alone", "is away", "be away", "was away"],
        "circuit open",
    ),
    rule(&["one footing"], "normalization"),
    rule(&["fault", "faults"], "validation error, error"),
    rule(&["escapable"], "bypassable"),
    rule(&["announced"], "logged, deduplicated log line"),
    rule(&["in vain"], "timeout, without success"),
    rule(&["passed over"], "ignored, rejected"),
    rule(&["worth an alert"], "recommended alerts"),
    rule(
        &[
            "whoever", "whom", "nobody", "he", "him", "his", "himself", "she", "her",
        ],
        "the caller, the client, it",
    ),
];

/// In source files, where no reader is meant: a client or a peer is a thing.
const SOURCE_RULES: &[Rule] = &[rule(&["who"], "that, which")];

/// What is allowed nevertheless.
const EXCEPTIONS: &[Exception] = &[
    Exception {
        path: "",
        phrase: "look up",
        reason: "the verb of a table or a cache",
    },
    Exception {
        path: "",
        phrase: "looks up",
        reason: "the verb of a table or a cache",
    },
    Exception {
        path: "",
        phrase: "looked up",
        reason: "the verb of a table or a cache",
    },
    Exception {
        path: "",
        phrase: "looking up",
        reason: "the verb of a table or a cache",
    },
    Exception {
        path: "",
        phrase: "connection refused",
        reason: "the name of the error of sockets",
    },
    Exception {
        path: "integration/src/calls.rs",
        phrase: "fault",
        reason: "fault injection, as Envoy calls it",
    },
    Exception {
        path: "integration/src/calls.rs",
        phrase: "faults",
        reason: "fault injection, as Envoy calls it",
    },
    Exception {
        path: "envoy-test/tests/",
        phrase: "fault",
        reason: "fault injection, as Envoy calls it",
    },
    Exception {
        path: "docs/glossary.md",
        phrase: "*",
        reason: "it lists what the terms replace",
    },
    Exception {
        path: "CHANGELOG.md",
        phrase: "*",
        reason: "it lists old names",
    },
];

/// Where a phrase is allowed.
struct Exception {
    /// How the paths of the files begin.
    path: &'static str,
    /// The phrase that is allowed there, which has the rule's form in it; `*` for all.
    phrase: &'static str,
    /// Why, for the reader of this list.
    #[expect(dead_code, reason = "an exception without a reason is none")]
    reason: &'static str,
}

/// The folders and files that are checked.
const PATHS: &[&str] = &[
    ".ci/run",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "Makefile",
    "README.md",
    "build",
    "cli",
    "docs",
    "envoy-test",
    "examples",
    "filter-config",
    "fuzz/src",
    "fuzz/targets",
    "integration",
    "limits",
    "src",
    "tests",
    "usage-meter",
];

#[test]
fn prose_uses_glossary_terms() {
    let mut violations = Vec::new();
    for path in PATHS {
        for file in tree::files(path, &["rs", "md", "yaml", "toml", "sh", "proto"]) {
            violations.extend(check(&file.path, &file.text));
        }
    }
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

/// What a file writes that it should not, by line.
fn check(path: &str, text: &str) -> Vec<String> {
    let extension = path.rsplit('.').next().unwrap_or_default();
    let (passages, rules) = match extension {
        "rs" => (of_rust(text, is_test(path)), [RULES, SOURCE_RULES]),
        "md" => (of_markdown(text), [RULES, &[]]),
        "proto" => (of_rust(text, true), [RULES, SOURCE_RULES]),
        _ => (of_comments(text), [RULES, SOURCE_RULES]),
    };
    let mut forms: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
    for rule in rules.into_iter().flatten() {
        for form in rule.forms {
            let first = form.split(' ').next().unwrap_or(form);
            forms.entry(first).or_default().push((form, rule.instead));
        }
    }
    let mut violations = Vec::new();
    for words in passages.iter().map(words) {
        for (position, word) in words.iter().enumerate() {
            for (form, instead) in forms.get(&*word.text).into_iter().flatten() {
                let is_exception = || {
                    EXCEPTIONS.iter().any(|exception| {
                        path.starts_with(exception.path)
                            && (exception.phrase == "*"
                                || is_within(&words, position, exception.phrase))
                    })
                };
                if begins_with(&words[position..], form) && !is_exception() {
                    violations.push((word.line, *form, *instead));
                }
            }
        }
    }
    violations.sort_unstable();
    violations
        .into_iter()
        .map(|(line, form, instead)| format!("{path}:{line}: \"{form}\", rather: {instead}"))
        .collect()
}

/// Whether strings of a file are not messages.
fn is_test(path: &str) -> bool {
    path.split('/')
        .any(|part| part == "tests" || part == "tests.rs")
}

/// Text that belongs together, line by line.
type Passage = Vec<(String, usize)>;

/// The comments, names and messages of a Rust file.
fn of_rust(text: &str, is_test: bool) -> Vec<Passage> {
    let mut passages: Vec<Passage> = Vec::new();
    let mut comment_ends_at = None;
    for token in tokens(text) {
        let lines = token.text.lines().zip(token.line..);
        let lines = lines.map(|(text, line)| (text.trim_end_matches('\\').to_owned(), line));
        match token.kind {
            Kind::Comment => {
                let continues = comment_ends_at.is_some_and(|line| line + 1 == token.line);
                match passages.last_mut() {
                    Some(passage) if continues => passage.extend(lines),
                    _ => passages.push(lines.collect()),
                }
                comment_ends_at = Some(token.line);
            }
            Kind::String if !is_test && token.text.trim().contains(' ') => {
                passages.push(lines.collect());
                comment_ends_at = None;
            }
            Kind::Identifier => passages.push(vec![(split_name(token.text), token.line)]),
            _ => {}
        }
    }
    passages
}

/// The words of a name in snake case or camel case.
fn split_name(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if c.is_ascii_uppercase() && words.ends_with(|c: char| c.is_ascii_lowercase()) {
            words.push(' ');
        }
        words.push(if c == '_' { ' ' } else { c });
    }
    words
}

/// The paragraphs of a document, without its code blocks.
fn of_markdown(text: &str) -> Vec<Passage> {
    let mut passages = vec![Passage::new()];
    let mut is_code = false;
    for (line, number) in text.lines().zip(1..) {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            passages.push(Passage::new());
        } else if line.trim().is_empty() {
            passages.push(Passage::new());
        } else if !is_code && let Some(passage) = passages.last_mut() {
            passage.push((line.to_owned(), number));
        }
    }
    passages
}

/// The comments of a file whose comments begin with `#`.
fn of_comments(text: &str) -> Vec<Passage> {
    let mut passages = vec![Passage::new()];
    for (line, number) in text.lines().zip(1..) {
        let comment = match line.trim_start().strip_prefix('#') {
            Some(comment) => Some(comment),
            None => line.split_once(" #").map(|(_, comment)| comment),
        };
        match (comment, passages.last_mut()) {
            (Some(comment), Some(passage)) => passage.push((comment.to_owned(), number)),
            _ => passages.push(Passage::new()),
        }
    }
    passages
}

#[derive(Debug)]
struct Word<'a> {
    /// In lower case; a mark of punctuation is a word of its own, and so is what stands between
    /// backticks.
    text: Cow<'a, str>,
    line: usize,
}

/// The words of a passage. What is between backticks may span lines.
fn words(passage: &Passage) -> Vec<Word<'_>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut is_code = false;
    for (text, line) in passage {
        let line = *line;
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '\'';
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            let text = match &rest[..length] {
                text if text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                    text.to_ascii_lowercase().into()
                }
                text => Cow::Borrowed(text),
            };
            rest = &rest[length..];
            if first == '`' {
                is_code = !is_code;
            }
            if !first.is_whitespace() && (!is_code || first == '`') {
                words.push(Word { text, line });
            }
        }
        // One paragraph of a comment does not spoil the next with a lone backtick.
        if text.trim().is_empty() {
            is_code = false;
        }
    }
    words
}

/// Whether a word is part of a phrase.
fn is_within(words: &[Word<'_>], position: usize, phrase: &str) -> bool {
    (0..phrase.split(' ').count())
        .filter_map(|back| position.checked_sub(back))
        .any(|start| begins_with(&words[start..], phrase))
}

/// Whether a phrase is at the start.
fn begins_with(words: &[Word<'_>], phrase: &str) -> bool {
    let mut words = words.iter();
    phrase
        .split(' ')
        .all(|part| words.next().is_some_and(|word| word.text == part))
}
