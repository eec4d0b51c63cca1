//! Hard limits in a whole configuration.

use crate::error::{ErrorKind, ValidationErrors};
use crate::limit::Limit;
use crate::path::Path;
use crate::policy::Policy;
use crate::storage::Storage;

/// Checks that nothing of the configuration keeps hard limits from being hard.
pub(crate) fn check(
    policies: &[Policy],
    storage: &Storage,
    hold_headers: bool,
    errors: &mut ValidationErrors,
) {
    let limits = || {
        let policies = policies.iter();
        policies.flat_map(|policy| policy.limits.iter().map(move |limit| (policy, limit)))
    };
    let name = |(policy, limit): (&Policy, &Limit)| {
        format!("the limit {:?} of {:?}", limit.name, policy.name)
    };
    let Some(what) = limits().find(|(_, limit)| limit.cap.is_some()).map(name) else {
        return;
    };
    if !hold_headers {
        let path = Path::Root.field("holdHeaders");
        errors.push(&path, ErrorKind::CapNeedsHeldHeaders(what.clone()));
    }
    if !matches!(storage, Storage::Local { .. }) {
        let path = Path::Root.field("storage");
        errors.push(&path, ErrorKind::CapNeedsLocalStorage(what.clone()));
    }
    let changes = |limit: &Limit| limit.queue().is_some() || !limit.alternatives().is_empty();
    if let Some((policy, limit)) = limits().find(|(_, limit)| changes(limit)) {
        let (at_policy, spec, limits) = (Path::At(&policy.path), "spec", "limits");
        let (at_spec, name) = (at_policy.field(spec), limit.name.as_str());
        let at_limits = at_spec.field(limits);
        let at_limit = at_limits.field(name);
        errors.push(
            &at_limit.field("onExceeded"),
            ErrorKind::CapExcludesWaiting(what),
        );
    }
}
