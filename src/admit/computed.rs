//! Limits and windows that are computed for each request.

use crate::attributes::Attributes;
use crate::ledger::Charge;
use crate::policies::{EvaluationError, Evaluator, Rate};
use filter_config::{Limit, RateLimit, RateWindow, bounds};
use limits::Nanos;

/// Returns the charge of a rate whose limit or window is computed. Results beyond the bounds of the
/// policy are clamped to them.
///
/// # Errors
/// The field of the rate that has no value, and why.
pub(super) fn charge(
    evaluator: &Evaluator,
    attributes: &mut Attributes,
    limit: &Limit,
    rate: &Rate,
    mut charge: Charge,
) -> Result<Charge, (&'static str, EvaluationError)> {
    let Some(configured) = rate.configured(limit) else {
        return Ok(charge);
    };
    charge.counter.limit = match &configured.limit {
        RateLimit::Fixed(limit) => *limit,
        RateLimit::Computed {
            expression,
            min,
            max,
        } => {
            let limit = evaluator.limit(attributes, expression);
            limit.map_err(|error| ("limit", error))?.clamp(*min, *max)
        }
    };
    if let RateWindow::Computed { expression, min } = &configured.window {
        let window = evaluator.window(attributes, expression);
        let window = window.map_err(|error| ("window", error))?;
        let bounds = (Nanos::from(*min), Nanos::new(bounds::WINDOW_NANOS));
        let window = window.clamp(bounds.0, bounds.1);
        charge.counter.rate = rate.counters.with_length(window);
    }
    Ok(charge)
}
