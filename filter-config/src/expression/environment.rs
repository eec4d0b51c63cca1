//! The names of expressions that are not of attributes.

use cel::common::types::{self, Type};

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
