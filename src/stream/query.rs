//! The query of a request to the usage endpoint.

#[cfg(test)]
mod tests;

/// The most parameters of a query.
const MAX_PARAMETERS: usize = 64;

/// The longest query in bytes.
const MAX_BYTES: usize = 8192;

/// The parameters of a query, decoded, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

/// Why a query cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    /// It is too long, or has too many parameters.
    #[error("the query has more than {MAX_BYTES} bytes or {MAX_PARAMETERS} parameters")]
    TooLong,
    /// A part of it is not percent-encoded UTF-8.
    #[error("the query is not percent-encoded UTF-8")]
    Encoding,
}

// === impl Query ===

impl Query {
    /// Reads a query, without its question mark.
    pub(super) fn read(text: &str) -> Result<Self, QueryError> {
        if text.len() > MAX_BYTES {
            return Err(QueryError::TooLong);
        }
        let mut parameters = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            if parameters.len() == MAX_PARAMETERS {
                return Err(QueryError::TooLong);
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            parameters.push((decoded(name)?, decoded(value)?));
        }
        Ok(Self(parameters))
    }

    /// Returns the value of the only parameter with a name; `None` if there is none, or several.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Returns the values of the parameters with a name.
    pub(super) fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        let named = self.0.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Returns the names of the parameters.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Returns whether there is a parameter with a name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }
}

/// Returns a text without percent-encoding.
fn decoded(text: &str) -> Result<String, QueryError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, tail) = tail.split_first_chunk::<2>().ok_or(QueryError::Encoding)?;
                rest = tail;
                let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
                let value = high.zip(low).map(|(high, low)| (high << 4) | low);
                let value = value.and_then(|value| u8::try_from(value).ok());
                value.ok_or(QueryError::Encoding)?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| QueryError::Encoding)
}
