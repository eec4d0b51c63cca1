//! Claims with two spellings.

use std::collections::BTreeMap;

use crate::auth::AuthSource;
use crate::configuration::Configuration;
use crate::error::ValidationErrors;
use crate::expression::Attribute;
use crate::path::Path;
use crate::warning::{Notice, WarningCode};

use super::visit;

/// The places of the claims with one spelling.
type Places = Vec<String>;

/// Checks the paths below `auth`.
pub(super) fn check(configuration: &Configuration, errors: &mut ValidationErrors) {
    let mut spellings: BTreeMap<String, BTreeMap<String, Places>> = BTreeMap::new();
    let mut add = |claim: &str, path: String| {
        let claims = spellings.entry(normalized(claim)).or_default();
        let places = claims.entry(claim.to_owned()).or_default();
        places.push(path);
    };
    let list = Path::Root.field("auth");
    for (position, source) in configuration.auth.iter().enumerate() {
        let AuthSource::Header(claims) = source else {
            continue;
        };
        let path = list.item(position);
        let path = path.field("header");
        for (claim, _) in claims {
            let claim = claim.join(".");
            add(&claim, path.field(&claim).to_string());
        }
    }
    visit::expressions(configuration, &mut |expression, _, path| {
        for attribute in expression.uses() {
            if let Attribute::Auth(claim) = attribute {
                add(claim, path.to_string());
            }
        }
    });
    for claims in spellings.values() {
        // The most frequent one is taken for the right one; of equally frequent ones, that which is first in order.
        let most = claims.values().map(Vec::len).max().unwrap_or_default();
        let Some((usual, _)) = claims.iter().find(|(_, places)| places.len() == most) else {
            continue;
        };
        let others = claims
            .iter()
            .filter(|(claim, _)| *claim != usual && parent(claim) == parent(usual));
        for (claim, places) in others {
            for place in places {
                let notice = Notice::new(
                    WarningCode::ClaimSpelling,
                    format!("found `auth.{claim}`, and elsewhere `auth.{usual}`"),
                    "use one spelling, that of the claim",
                );
                errors.warn(&Path::At(place), notice);
            }
        }
    }
}

/// Returns what spellings of a claim have in common.
fn normalized(claim: &str) -> String {
    let chars = claim.chars().filter(|char| !matches!(char, '_' | '-'));
    chars.flat_map(char::to_lowercase).collect()
}

/// Returns the path above a claim, which has a warning of its own.
fn parent(claim: &str) -> &str {
    claim.rsplit_once('.').map_or("", |(parent, _)| parent)
}
