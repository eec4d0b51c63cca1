//! The VM of the plugin, and what Envoy does when it fails.

use crate::carrier::{self, Carried, Carrier};
use crate::error::ValidationErrors;
use crate::json::Json;
use crate::path::Path;
use crate::warning::{Notice, WarningCode};

/// Checks the settings of the VM.
pub(super) fn check(carried: &Carried<'_>, errors: &mut ValidationErrors) {
    let path = Path::At(&carried.plugin_path);
    if let Carrier::Envoy | Carrier::EnvoyFilter = carried.carrier {
        vm_id(carried.plugin, &path, errors);
    }
    let opens = [
        ("failure_policy", "FAIL_OPEN", "FAIL_RELOAD"),
        ("failStrategy", "FAIL_OPEN", "FAIL_RELOAD"),
    ];
    for (field, open, instead) in opens {
        if carrier::text(carried.plugin, field) == Some(open) {
            fail_open(
                &path.field(field),
                open,
                &format!("set `{field}: {instead}`"),
                errors,
            );
        }
    }
    for field in ["fail_open", "failOpen"] {
        if let Some(Json::Bool(true)) = carried.plugin.field(field) {
            let found = format!("{field}: true");
            fail_open(
                &path.field(field),
                &found,
                &format!("remove `{field}`"),
                errors,
            );
        }
    }
}

/// Checks that the plugin has a VM of its own. Where Istio or Envoy Gateway writes the configuration, that cannot be set.
fn vm_id(plugin: &Json, path: &Path<'_>, errors: &mut ValidationErrors) {
    let vm = plugin.field("vm_config").unwrap_or(&Json::Null);
    if carrier::text(vm, "vm_id").is_none_or(str::is_empty) {
        let notice = Notice::new(
            WarningCode::NoVmId,
            "found no `vm_id`, so all modules without one can read and change the counters",
            "set one that no other module has, such as `vm_id: tollgate`",
        );
        errors.warn(&path.field("vm_config"), notice);
    }
}

fn fail_open(path: &Path<'_>, found: &str, fix: &str, errors: &mut ValidationErrors) {
    let notice = Notice::new(
        WarningCode::FailOpen,
        format!("found `{found}`, with which requests pass unmetered after the module has failed"),
        fix,
    );
    errors.warn(path, notice);
}
