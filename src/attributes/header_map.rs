//! `request.headers`: the header map as a CEL map, looked up in place.

use super::map::shows_a_map;
use crate::host::Headers;
use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator, Sizer};
use cel::common::types::{CelInt, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use std::sync::{Arc, OnceLock};

/// The request's headers: names in lower case, duplicates joined with `,`.
#[derive(Clone, Debug)]
pub(super) struct HeaderMap {
    headers: Arc<Headers>,
    names: OnceLock<Vec<CelString<'static>>>,
}

impl HeaderMap {
    pub(super) fn new(headers: &Arc<Headers>) -> Self {
        Self {
            headers: Arc::clone(headers),
            names: OnceLock::new(),
        }
    }

    /// The names, each once; made only for expressions that go through all headers.
    fn names(&self) -> &[CelString<'static>] {
        self.names.get_or_init(|| {
            let mut names: Vec<&[u8]> = Vec::with_capacity(self.headers.len());
            for (name, _) in self.headers.iter() {
                if let Err(place) = names.binary_search(&name) {
                    names.insert(place, name);
                }
            }
            let texts = names.into_iter().map(String::from_utf8_lossy);
            texts
                .map(|name| CelString::from(name.into_owned()))
                .collect()
        })
    }
}

impl Val for HeaderMap {
    shows_a_map!();
}

impl Indexer for HeaderMap {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = name(index)?;
        match self.headers.text(&name) {
            Some(value) => Ok(CowVal::owned(CelString::from(value.into_owned()))),
            None => Err(ExecutionError::no_such_key(&name)),
        }
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

impl Container for HeaderMap {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.headers.get(&name(value)?).is_some())
    }
}

impl Sizer for HeaderMap {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.names().len()).unwrap_or(i64::MAX))
    }
}

impl Iterable for HeaderMap {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Names(self.names().iter()))
    }
}

struct Names<'b>(std::slice::Iter<'b, CelString<'static>>);

impl<'b, 'v> Iterator<'b, 'v> for Names<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|name| name as &dyn Val)
    }
}

/// The name that a header is asked for by, in the lower case in which Envoy keeps it.
fn name(index: &dyn Val) -> Result<String, ExecutionError> {
    index
        .downcast_ref::<CelString>()
        .map(|name| name.inner().to_ascii_lowercase())
        .ok_or_else(|| ExecutionError::UnexpectedType {
            got: index.get_type().name().to_owned(),
            want: "string".to_owned(),
        })
}
