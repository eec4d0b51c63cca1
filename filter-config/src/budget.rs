//! The budgets of a limit: money in a window of time.

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::rate::{self, Algorithm};
use crate::usd::{self, Usd};
use crate::window::Window;

/// An amount of money in a window of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What may be spent in a window, within [`bounds::BUDGET_BILLIONTHS`].
    pub usd: Usd,
    /// The window.
    pub window: Window,
    /// When windows begin, and how they follow each other.
    pub algorithm: Algorithm,
}

pub(crate) const BUDGET: Schema = Schema {
    known: &["usd", "window", "algorithm"],
    ignored: &[],
};

/// Reads the budgets of a limit.
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Budget>> {
    let items = fields::list(json, "budgets", bounds::RATES, path, faults)?;
    if items.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    let mut budgets: Vec<(usize, Budget)> = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let item_path = path.item(position);
        let Some(budget) = budget(item, &item_path, faults) else {
            continue;
        };
        let same =
            |(_, known): &&(usize, Budget)| known.window.as_nanos() == budget.window.as_nanos();
        if let Some((first, _)) = budgets.iter().find(same) {
            let kind = FaultKind::Repeated {
                value: format!("the window {}", budget.window),
                first: path.item(*first).to_string(),
            };
            faults.push(&item_path.field("window"), kind);
        }
        budgets.push((position, budget));
    }
    Some(budgets.into_iter().map(|(_, budget)| budget).collect())
}

fn budget(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Budget> {
    let fields = Fields::read(json, path, &BUDGET, faults)?;
    let usd = fields
        .require("usd", path, faults)
        .and_then(|json| usd::read(json, &bounds::BUDGET_BILLIONTHS, &path.field("usd"), faults));
    let window = fields
        .require("window", path, faults)
        .and_then(|json| rate::duration(json, &path.field("window"), faults));
    let algorithm = fields.read_or(
        "algorithm",
        path,
        faults,
        Algorithm::default,
        rate::algorithm,
    );
    if let (Some(algorithm), Some(window)) = (algorithm, &window) {
        rate::in_calendar(algorithm, window, path, faults);
    }
    Some(Budget {
        usd: usd?,
        window: window?,
        algorithm: algorithm?,
    })
}
