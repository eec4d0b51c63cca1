//! What a module names of its crate: its `use` declarations, and the paths in its code.

#[cfg(test)]
mod tests;

use crate::lexer::{Kind, Token, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// The path of a module below its crate's root, which is the empty path.
pub(crate) type ModulePath = Vec<String>;

/// The modules of a crate that have files of their own.
pub(crate) type Modules = BTreeSet<ModulePath>;

/// What a file has to do with the modules of its crate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// The modules that it names, in their order, with the line; never itself.
    pub references: Vec<(ModulePath, usize)>,
    /// The modules that it declares for tests alone.
    pub test_modules: Vec<ModulePath>,
}

/// Reads a file, which is the module `own` of a crate with these modules.
///
/// A path counts for the innermost module on it that has a file: `crate::host::Headers` for `host`,
/// whether `Headers` is made there or re-exported. Items below `#[cfg(test)]` do not count, nor do
/// `mod` declarations.
pub(crate) fn names(source: &str, own: &ModulePath, modules: &Modules) -> Names {
    let tokens: Vec<_> = tokens(source)
        .into_iter()
        .filter(|token| token.kind != Kind::Comment)
        .collect();
    let mut reader = Reader {
        tokens: &tokens,
        position: 0,
        own,
        modules,
        inline: Vec::new(),
        depth: 0,
        aliases: BTreeMap::new(),
        is_second_pass: false,
        names: Names::default(),
    };
    // An import may stand after the code that uses it.
    reader.read();
    reader.position = 0;
    reader.is_second_pass = true;
    reader.names = Names::default();
    reader.read();
    reader.names
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    position: usize,
    own: &'a ModulePath,
    modules: &'a Modules,
    /// The inline modules that the position is in, each with the depth of braces around it.
    inline: Vec<(String, usize)>,
    depth: usize,
    /// What imported modules are called in this file.
    aliases: BTreeMap<String, ModulePath>,
    is_second_pass: bool,
    names: Names,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn read(&mut self) {
        while let Some(token) = self.tokens.get(self.position) {
            match (token.kind, token.text) {
                (Kind::Punctuation, "#") if self.is_test_attribute() => self.skip_item(),
                (Kind::Punctuation, "{") => {
                    self.depth += 1;
                    self.position += 1;
                }
                (Kind::Punctuation, "}") => {
                    self.depth = self.depth.saturating_sub(1);
                    self.inline.pop_if(|(_, depth)| *depth == self.depth);
                    self.position += 1;
                }
                (Kind::Identifier, "mod") if self.text(2) == "{" => {
                    self.inline.push((self.text(1).to_owned(), self.depth));
                    self.position += 2;
                }
                (Kind::Identifier, "use") if self.text(1) != "<" => {
                    self.position += 1;
                    let is_absolute = self.skip_colons();
                    self.use_tree(if is_absolute {
                        vec!["::".to_owned()]
                    } else {
                        vec![]
                    });
                }
                (Kind::Identifier, _) => self.code_path(),
                _ => self.position += 1,
            }
        }
    }

    /// The text of the token so many after the position.
    fn text(&self, ahead: usize) -> &'a str {
        let token = self.tokens.get(self.position + ahead);
        token.map_or("", |token| token.text)
    }

    fn is_punctuation(&self, ahead: usize, text: &str) -> bool {
        self.tokens
            .get(self.position + ahead)
            .is_some_and(|token| token.kind == Kind::Punctuation && token.text == text)
    }

    fn is_colons(&self, ahead: usize) -> bool {
        self.is_punctuation(ahead, ":") && self.is_punctuation(ahead + 1, ":")
    }

    fn skip_colons(&mut self) -> bool {
        let is_there = self.is_colons(0);
        if is_there {
            self.position += 2;
        }
        is_there
    }

    /// Whether `#[cfg(test)]` or `#[cfg(all(test, ..))]` is at the position.
    fn is_test_attribute(&self) -> bool {
        let texts = |count: usize| (1..=count).map(|ahead| self.text(ahead));
        texts(4).eq(["[", "cfg", "(", "test"]) || texts(6).eq(["[", "cfg", "(", "all", "(", "test"])
    }

    /// Skips the attribute at the position and the item that it is on, to its `;` or last `}`.
    fn skip_item(&mut self) {
        while self.is_punctuation(0, "#") {
            self.position += 1;
            self.skip_group();
        }
        let start = self.position;
        while self.position < self.tokens.len() {
            if self.is_punctuation(0, "{") {
                self.skip_group();
                break;
            }
            if self.is_punctuation(0, "(") || self.is_punctuation(0, "[") {
                self.skip_group();
                continue;
            }
            self.position += 1;
            if self.tokens[self.position - 1].text == ";" {
                break;
            }
        }
        let item = &self.tokens[start..self.position];
        let declared = item.iter().position(|token| token.text == "mod");
        if let Some(declared) = declared
            && let Some(name) = item.get(declared + 1)
            && item
                .get(declared + 2)
                .is_some_and(|token| token.text == ";")
        {
            let path = self.below_current(name.text);
            self.names.test_modules.push(path);
        }
    }

    /// Skips the bracket at the position and all up to the one that closes it.
    fn skip_group(&mut self) {
        let mut open = 0_usize;
        while let Some(token) = self.tokens.get(self.position) {
            self.position += 1;
            if token.kind != Kind::Punctuation {
                continue;
            }
            match token.text {
                "(" | "[" | "{" => open += 1,
                ")" | "]" | "}" => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads the rest of a `use` declaration below a path.
    fn use_tree(&mut self, mut path: Vec<String>) {
        loop {
            let Some(token) = self.tokens.get(self.position) else {
                return;
            };
            let line = token.line;
            self.position += 1;
            if token.text == "{" {
                while self.position < self.tokens.len() && !self.is_punctuation(0, "}") {
                    let before = self.position;
                    self.use_tree(path.clone());
                    if self.is_punctuation(0, ",") || self.position == before {
                        self.position += 1;
                    }
                }
                self.position += 1;
                return;
            }
            let is_glob = token.text == "*";
            let is_group_self = token.text == "self" && !path.is_empty();
            if !is_glob && !is_group_self {
                path.push(token.text.to_owned());
            }
            if self.skip_colons() {
                continue;
            }
            let mut name = path.last().cloned();
            if self.text(0) == "as" {
                name = Some(self.text(1).to_owned());
                self.position += 2;
            }
            if let Some(target) = self.resolve(&path) {
                if let Some(name) = name
                    && !is_glob
                    && self.modules.contains(&target)
                {
                    self.aliases.insert(name, target.clone());
                }
                self.refer(&target, line);
            }
            return;
        }
    }

    /// Reads the path at the position, if one begins there.
    fn code_path(&mut self) {
        let first = &self.tokens[self.position];
        let before = |text: &str, back: usize| {
            self.position
                .checked_sub(back)
                .is_some_and(|position| self.tokens[position].text == text)
        };
        let is_inside = before(":", 1) && before(":", 2) || before(".", 1);
        let is_visibility = before("in", 1) && before("(", 2) && before("pub", 3);
        let mut path = vec![first.text.to_owned()];
        self.position += 1;
        while self.is_colons(0)
            && let Some(next) = self.tokens.get(self.position + 2)
            && next.kind == Kind::Identifier
        {
            path.push(next.text.to_owned());
            self.position += 3;
        }
        if path.len() > 1
            && !is_inside
            && !is_visibility
            && let Some(target) = self.resolve(&path)
        {
            self.refer(&target, first.line);
        }
    }

    /// The path of the module at the position.
    fn current(&self) -> ModulePath {
        let inline = self.inline.iter().map(|(name, _)| name.clone());
        self.own.iter().cloned().chain(inline).collect()
    }

    fn below_current(&self, name: &str) -> ModulePath {
        let mut path = self.current();
        path.push(name.to_owned());
        path
    }

    /// The path from the crate's root that a path leads to; `None` where it leads out of the crate.
    fn resolve(&self, path: &[String]) -> Option<ModulePath> {
        let (first, mut rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.current(),
            "super" => {
                let mut target = self.current();
                target.pop();
                target
            }
            name => {
                let child = self.below_current(name);
                if self.modules.contains(&child) {
                    child
                } else {
                    self.aliases.get(name)?.clone()
                }
            }
        };
        while let Some((next, others)) = rest.split_first()
            && next == "super"
        {
            target.pop();
            rest = others;
        }
        target.extend(rest.iter().cloned());
        Some(target)
    }

    /// Notes a reference to the innermost module on a path that has a file.
    fn refer(&mut self, target: &[String], line: usize) {
        if !self.is_second_pass {
            return;
        }
        let module = (0..=target.len())
            .rev()
            .map(|length| target[..length].to_vec())
            .find(|path| path.is_empty() || self.modules.contains(path));
        if let Some(module) = module
            && module != *self.own
            && self.names.references.last() != Some(&(module.clone(), line))
        {
            self.names.references.push((module, line));
        }
    }
}
