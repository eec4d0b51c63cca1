//! Policies for a route in a configuration without routes.

use crate::carrier::Carrier;
use crate::configuration::Configuration;
use crate::error::ValidationErrors;
use crate::warning::{Notice, WarningCode};

use super::visit;

/// Checks that policies for a route apply to that route only. Without `routes`, all policies apply to all requests.
pub(super) fn check(
    configuration: &Configuration,
    carrier: Option<Carrier>,
    errors: &mut ValidationErrors,
) {
    // Envoy Gateway attaches the filter itself to a route.
    if !configuration.applies_everywhere() || carrier == Some(Carrier::EnvoyExtensionPolicy) {
        return;
    }
    for policy in &configuration.policies {
        if policy.target.kind == "HTTPRoute" {
            let notice = Notice::new(
                WarningCode::NoRoutes,
                format!(
                    "targets the route {:?}, and applies to all requests, as no routes are configured",
                    policy.target.name
                ),
                "add the HTTPRoute to \"routes\" or as a document, or set the kind to Gateway",
            );
            visit::at_spec(policy, &mut |path| {
                errors.warn(&path.field("targetRef"), notice.clone());
            });
        }
    }
}
