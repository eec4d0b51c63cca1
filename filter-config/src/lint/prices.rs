//! Prices that are not those of a million tokens.

use crate::configuration::Configuration;
use crate::error::ValidationErrors;
use crate::path::Path;
use crate::usd::Usd;
use crate::warning::{Notice, WarningCode};

/// A cent. No provider sells a million tokens for less; what is read from a cache can cost less.
const CENT: Usd = Usd(10_000_000);

/// Checks the prices of input and output.
pub(super) fn check(configuration: &Configuration, errors: &mut ValidationErrors) {
    let Some(pricing) = &configuration.pricing else {
        return;
    };
    let path = Path::Root.field("pricing");
    for (model, price) in pricing.all() {
        let path = path.field(model);
        for (name, usd) in [("input", price.input), ("output", price.output)] {
            if usd > Usd(0) && usd < CENT {
                let notice = Notice::new(
                    WarningCode::LowPrice,
                    format!("found {usd} US dollars for a million tokens, less than a cent"),
                    "write the price of a million tokens: that of one token times 1,000,000, that of a thousand times \
                     1,000",
                );
                errors.warn(&path.field(name), notice);
            }
        }
    }
}
