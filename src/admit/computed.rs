//! Limits and windows that are computed for each request.

use super::{EvaluationError, evaluate};
use crate::attributes::Attributes;
use crate::plugin::{Charge, Plugin, Rate};
use filter_config::{Limit, RateLimit, RateWindow, bounds};
use limits::Nanos;

/// The charge of a rate whose limit or window is computed; what is beyond the bounds of the policy is
/// brought within them.
///
/// # Errors
/// The field of the rate that has no value, and why.
pub(super) fn charge(
    plugin: &Plugin,
    attributes: &mut Attributes,
    limit: &Limit,
    rate: &Rate,
    charge: Charge,
) -> Result<Charge, (&'static str, EvaluationError)> {
    let Some(configured) = rate.of(limit) else {
        return Ok(charge);
    };
    let most = match &configured.limit {
        RateLimit::Fixed(limit) => *limit,
        RateLimit::Computed {
            expression,
            min,
            max,
        } => evaluate::limit(plugin, attributes, expression)
            .map_err(|error| ("limit", error))?
            .clamp(*min, *max),
    };
    let counted: limits::Rate = match &configured.window {
        RateWindow::Fixed(_) => rate.counted,
        RateWindow::Computed { expression, min } => {
            let nanos = evaluate::window(plugin, attributes, expression)
                .map_err(|error| ("window", error))?;
            let length = nanos.clamp(*min, bounds::WINDOW_NANOS);
            rate.counted.with_length(Nanos::new(length))
        }
    };
    Ok(Charge {
        limit: most,
        counted,
        ..charge
    })
}
