//! JSON pointers (RFC 6901) into CEL values.

use cel::ExecutionError;
use cel::common::types::{CelList, CelMap, CelMapKey, CelString, MAP_TYPE};
use cel::common::value::{CowVal, Val};

/// Returns whether a text is a JSON pointer: empty, or segments that each start with `/`, in which `~` is followed by
/// `0` or `1`.
pub(crate) fn is_pointer(text: &str) -> bool {
    (text.is_empty() || text.starts_with('/'))
        && text
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with(['0', '1']))
}

/// The function `@json_pointer(document, pointer)`: returns the value at the pointer. A map that is
/// not CEL's own has pointers as its keys: a resolver may know the values at some pointers instead of the document.
///
/// # Errors
///
/// `NoSuchKey` if there is no value at the pointer, an error of the function if the text is not a pointer.
pub(super) fn walk<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut args = args.into_iter();
    let (Some(document), Some(pointer)) = (args.next(), args.next()) else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    let pointer = match pointer.downcast_ref::<CelString>() {
        Some(pointer) if is_pointer(pointer.inner()) => pointer.inner().to_owned(),
        _ => {
            let message = "invalid JSON pointer, expected e.g. \"/model\"";
            return Err(ExecutionError::function_error("requestBodyJSON", message));
        }
    };
    match document {
        CowVal::Borrowed(value) if is_index(value) => match value.as_indexer() {
            Some(index) => index.get(&CelString::from(pointer)),
            None => Err(ExecutionError::no_such_key(&pointer)),
        },
        CowVal::Borrowed(value) => find(value, &pointer).map(CowVal::Borrowed),
        CowVal::Owned(value) => {
            let found = find(value.as_ref(), &pointer)?.clone_as_boxed();
            Ok(CowVal::Owned(found))
        }
    }
}

/// Returns whether a document is a map from pointers to the values at them.
fn is_index(document: &dyn Val) -> bool {
    document.get_type() == &MAP_TYPE && document.downcast_ref::<CelMap<'_>>().is_none()
}

fn find<'b, 'v>(
    document: &'b (dyn Val + 'v),
    pointer: &str,
) -> Result<&'b (dyn Val + 'v), ExecutionError> {
    let mut value = document;
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        let found = if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
            map.get(&CelMapKey::from(segment.clone()))
                .map(AsRef::as_ref)
        } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
            index(&segment)
                .and_then(|index| list.get(index))
                .map(AsRef::as_ref)
        } else {
            None
        };
        value = found.ok_or_else(|| ExecutionError::no_such_key(&segment))?;
    }
    Ok(value)
}

/// Parses an index into a list: digits without a leading zero.
fn index(segment: &str) -> Option<usize> {
    let canonical = segment == "0" || !segment.starts_with(['0', '+']);
    canonical.then(|| segment.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
