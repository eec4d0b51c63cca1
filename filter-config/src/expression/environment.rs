//! The CEL environment that expressions are compiled and evaluated in.

use std::sync::{Arc, LazyLock};

use cel::common::types::{self, DYN_TYPE, STRING_TYPE, Type};
use cel::{DeclarationError, Env, extensions};

use super::pointer;

/// The variable of the request's body as JSON. No expression can contain this name; the macro `requestBodyJSON`
/// expands to it.
pub const REQUEST_BODY: &str = "@request_body";

/// The name of the macro that reads the request's body.
pub(super) const REQUEST_BODY_JSON: &str = "requestBodyJSON";

/// The name of the function that the macro expands to, which no expression can contain either.
pub(super) const JSON_POINTER: &str = "@json_pointer";

/// Types that expressions can name.
static TYPES: [Type; 13] = [
    types::BOOL_TYPE,
    types::BYTES_TYPE,
    types::DOUBLE_TYPE,
    types::DURATION_TYPE,
    types::INT_TYPE,
    types::LIST_TYPE,
    types::MAP_TYPE,
    types::NULL_TYPE,
    types::OPTIONAL_TYPE,
    types::STRING_TYPE,
    types::TIMESTAMP_TYPE,
    types::TYPE_TYPE,
    types::UINT_TYPE,
];

/// Returns the type of this name.
pub(super) fn find_type(name: &str) -> Option<&'static Type> {
    TYPES.iter().find(|known| known.name() == name)
}

/// Returns the environment of every expression: CEL's standard library and strings extension.
#[must_use]
pub(super) fn environment() -> Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
        // The declarations are constant, and a test shows that they succeed. If one failed all the same, the
        // expressions that need it would fail to evaluate, rather than yield a wrong value.
        Arc::new(declare().unwrap_or_else(|_| Env::stdlib()))
    });
    Arc::clone(&ENVIRONMENT)
}

pub(super) fn declare() -> Result<Env, DeclarationError> {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)?;
    env.add_overload(
        JSON_POINTER,
        "json_pointer_dyn_string",
        vec![DYN_TYPE, STRING_TYPE],
        pointer::walk,
    )?;
    Ok(env)
}
