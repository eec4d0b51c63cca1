//! Expressions that mean something else than they seem to.

use crate::configuration::Configuration;
use crate::error::ValidationErrors;
use crate::expression::{self, Negated, Remark};
use crate::suggestion;
use crate::warning::{Notice, WarningCode};

use super::visit;

/// The ends of paths, each with the value of `llm.api` for it.
const APIS: [(&str, &str); 6] = [
    ("/chat/completions", "chat_completions"),
    ("/completions", "completions"),
    ("/embeddings", "embeddings"),
    ("/responses", "responses"),
    ("/messages", "messages"),
    ("/images/generations", "images"),
];

/// Checks all expressions.
pub(super) fn check(configuration: &Configuration, errors: &mut ValidationErrors) {
    visit::expressions(configuration, &mut |expression, role, path| {
        for remark in expression::remarks(expression.source(), role) {
            if let Some(notice) = notice(remark) {
                errors.warn(path, notice);
            }
        }
    });
}

fn notice(remark: Remark) -> Option<Notice> {
    Some(match remark {
        Remark::Bypassable {
            name: "request.host",
            ..
        } => Notice::new(
            WarningCode::BypassableHost,
            "compares the host as the client writes it, which can have a port and upper case letters",
            "compare `request.host.lowerAscii().split(\":\")[0]`, or attach the policy to a route with this hostname",
        ),
        Remark::Bypassable {
            literal, is_end, ..
        } => Notice::new(
            WarningCode::BypassablePath,
            "compares the path as the client writes it: a query, `//` or `%63` in it bypasses the comparison",
            path_fix(literal.as_deref(), is_end),
        ),
        Remark::NegatedMissing { name, form } => Notice::new(
            WarningCode::NegatedMissing,
            format!(
                "does not hold where `{name}` is missing, so a caller without it is not covered"
            ),
            match form {
                Negated::Value => format!("write `{name} != true`"),
                Negated::Operand => format!("write `{name} == true` instead of `{name}`"),
                Negated::Call => format!("write `({name} == null || !…)` instead of `!…`"),
            },
        ),
        Remark::MissingInComparison(name) => Notice::new(
            WarningCode::MissingInComparison,
            format!("fails where `{name}` is missing, as only predicates read null there"),
            "give it a default with `.?` and `orValue`, or test it with `has`",
        ),
        Remark::UnknownValue { name, value, known } => Notice::new(
            WarningCode::UnknownValue,
            format!("compares `{name}` with {value:?}, which it never is"),
            match suggestion::closest(&value, known.iter().copied()) {
                Some(known) => format!("write {known:?}"),
                None => format!("use {}", suggestion::one_of(known)),
            },
        ),
        Remark::Namespace(_) => return None,
    })
}

/// Returns what to write instead of a comparison of the path with a text, or with an end of it.
fn path_fix(literal: Option<&str>, is_end: bool) -> String {
    let first = literal.and_then(|path| APIS.iter().find(|(end, _)| path.ends_with(end)));
    let Some((_, first)) = first else {
        return "use `llm.api`, or `request.url_path` behind an Envoy that normalizes paths"
            .to_owned();
    };
    // The paths of several APIs end with `/completions`.
    let matches = |end: &str| literal.is_some_and(|literal| is_end && end.ends_with(literal));
    let all = APIS
        .iter()
        .filter(|(end, api)| api == first || matches(end));
    match all.map(|(_, api)| *api).collect::<Vec<_>>().as_slice() {
        [_] => format!("use `llm.api == {first:?}`"),
        apis => format!("use `llm.api in {apis:?}`"),
    }
}
