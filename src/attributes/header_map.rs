//! `request.headers` and `response.headers`: headers as a CEL map, read in place.

use super::fields::{Field, FieldMap, Fields};
use super::value::{Value, string};
use crate::host::Headers;
use cel::ExecutionError;
use cel::common::types::CelString;
use cel::common::value::Val;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// Headers by name, in lower case; duplicates are joined with `,`.
#[derive(Clone, Debug)]
struct HeaderMap {
    headers: Arc<Headers>,
    /// The names, each once, for expressions that iterate over all headers.
    names: OnceLock<Vec<CelString<'static>>>,
}

/// Returns headers as a CEL map.
pub(super) fn value(headers: &Arc<Headers>) -> Value {
    Box::new(FieldMap(HeaderMap {
        headers: Arc::clone(headers),
        names: OnceLock::new(),
    }))
}

// === impl HeaderMap ===

impl Fields for HeaderMap {
    fn field(&self, name: &str) -> Option<Field<'_>> {
        self.headers.text(name).map(string).map(Field::Made)
    }

    fn has(&self, name: &str) -> bool {
        self.headers.get(name).is_some()
    }

    fn names(&self) -> impl ExactSizeIterator<Item = &CelString<'static>> {
        let names = self.names.get_or_init(|| {
            let mut names: Vec<&[u8]> = self.headers.iter().map(|(name, _)| name).collect();
            names.sort_unstable();
            names.dedup();
            let texts = names.into_iter().map(String::from_utf8_lossy);
            texts
                .map(|name| CelString::from(name.into_owned()))
                .collect()
        });
        names.iter()
    }

    /// Envoy keeps names in lower case.
    fn name(key: &dyn Val) -> Result<Cow<'_, str>, ExecutionError> {
        key.downcast_ref::<CelString>()
            .map(|name| Cow::Owned(name.inner().to_ascii_lowercase()))
            .ok_or_else(|| ExecutionError::UnexpectedType {
                got: key.get_type().name().to_owned(),
                want: "string".to_owned(),
            })
    }

    fn equals(&self, _: &dyn Val) -> bool {
        false
    }
}
