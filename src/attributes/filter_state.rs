//! Filter state that other filters set.

use super::error::AttributeError;
use crate::host::Host;

/// Returns the filter state of a key. What another Proxy-Wasm filter set is found under its own
/// name too, though Envoy keeps it below `wasm.`.
pub(super) fn read(host: &dyn Host, key: &str) -> Result<Option<Vec<u8>>, AttributeError> {
    let failed = |error| AttributeError::Property("filter_state", error);
    if let Some(value) = host.property(&["filter_state", key]).map_err(failed)? {
        return Ok(Some(value));
    }
    let key = format!("wasm.{key}");
    host.property(&["filter_state", &key]).map_err(failed)
}
