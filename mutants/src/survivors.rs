//! The survivors that `docs/mutation-testing.md` lists with a reason.

use crate::error::Error;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The page, from the root of the tree.
pub(crate) const PAGE: &str = "docs/mutation-testing.md";

/// How many survivors of a name are listed.
pub(crate) type Survivors = BTreeMap<String, usize>;

/// Reads the list.
pub(crate) fn read(root: &Path) -> Result<Survivors, Error> {
    let path = root.join(PAGE);
    let text = fs::read_to_string(&path).map_err(Error::at(&path))?;
    Ok(parse(&text))
}

/// Reads the items that begin with the name of a mutant as code; `(2)` after it says that two have it.
fn parse(text: &str) -> Survivors {
    let mut survivors = Survivors::new();
    for line in text.lines() {
        let name = line.strip_prefix("* `");
        let Some((name, rest)) = name.and_then(|rest| rest.rsplit_once('`')) else {
            continue;
        };
        if name.contains(".rs: ") {
            let count = rest.trim().strip_prefix('(');
            let count = count.and_then(|rest| rest.split(')').next()?.parse().ok());
            *survivors.entry(name.to_owned()).or_default() += count.unwrap_or(1);
        }
    }
    survivors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_mutants_are_read() {
        let page = "# Mutation testing\n* `make mutants` runs it\n\
                    * `src/a.rs: replace < with <= in f`\n* `src/a.rs: replace || with && in g` (2)\n";
        let expected = [
            ("src/a.rs: replace < with <= in f".to_owned(), 1),
            ("src/a.rs: replace || with && in g".to_owned(), 2),
        ];
        assert_eq!(parse(page), expected.into());
    }
}
