//! `budgets`: how much money may be used in a window of time.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::rate::{self, Algorithm};
use crate::reader;
use crate::usd::Usd;
use crate::values;
use crate::window::Window;

/// An amount of money in a window of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The most that may be used in a window, within [`bounds::BUDGET_BILLIONTHS`].
    pub usd: Usd,
    /// The window.
    pub window: Window,
    /// When windows begin and end.
    pub algorithm: Algorithm,
}

pub(crate) const BUDGET: Schema = Schema {
    known: &["usd", "window", "algorithm"],
    ignored: &[],
};

/// Reads the budgets of a limit.
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<Budget>, Invalid> {
    let items = reader::list(json, "budgets", bounds::RATES, path, errors)?;
    let mut budgets: Vec<(usize, Budget)> = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let item_path = path.item(position);
        let Ok(budget) = budget(item, &item_path, errors) else {
            continue;
        };
        let same =
            |(_, known): &&(usize, Budget)| known.window.as_nanos() == budget.window.as_nanos();
        if let Some((first, _)) = budgets.iter().find(same) {
            let kind = ErrorKind::Duplicate {
                what: format!("window {:?}", budget.window.as_str()),
                first: path.item(*first).to_string(),
            };
            errors.push(&item_path.field("window"), kind);
        }
        budgets.push((position, budget));
    }
    Ok(budgets.into_iter().map(|(_, budget)| budget).collect())
}

fn budget(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<Budget, Invalid> {
    let fields = Fields::read(json, path, &BUDGET, errors)?;
    let usd = fields.require("usd", path, errors, |json, path, errors| {
        values::usd(json, &bounds::BUDGET_BILLIONTHS, path, errors)
    });
    let window = fields.require("window", path, errors, values::window);
    let algorithm = fields.read_or(
        "algorithm",
        path,
        errors,
        Algorithm::default,
        rate::algorithm,
    );
    if let (Ok(algorithm), Ok(window)) = (algorithm, &window) {
        rate::check_calendar(algorithm, window, path, errors);
    }
    Ok(Budget {
        usd: usd?,
        window: window?,
        algorithm: algorithm?,
    })
}
