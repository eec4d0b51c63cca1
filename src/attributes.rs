//! What expressions read: the attributes of one exchange, each taken from the host at most once.
//!
//! An expression is evaluated in two steps. [`Attributes::resolve`] fetches what it uses and has not
//! been fetched yet; then the evaluator reads it here, through [`VariableResolver`], without the
//! host. So evaluation is a function of a snapshot, and what no expression uses costs nothing.

mod auth;
mod body;
mod header_map;
mod llm;
mod map;
mod metadata;
mod object;
mod outcome;
#[cfg(test)]
mod tests;

use crate::host::{Headers, Host, HostError};
use cel::common::types::{CelBool, CelInt, CelMap, CelMapKey, CelString, CelTimestamp};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use filter_config::{
    Attribute, AuthSource, Formula, Kind, Number, Property, REMOTE_ADDRESS, REQUEST_BODY, Subject,
};
use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

pub use body::{Body, BodyError};
pub use llm::Llm;
pub use outcome::{Outcome, Response};

/// A CEL value that owns all it is made of.
pub type Value = Box<dyn Val>;

/// Why an attribute could not be had. Its absence is no error.
#[derive(Debug, thiserror::Error)]
pub enum AttributeError {
    /// Envoy failed to give a property.
    #[error("property {0}: {1}")]
    Property(&'static str, HostError),
    /// Envoy gave a property in a form that it should not have.
    #[error("property {0}: {1} bytes are not {2}")]
    Encoding(&'static str, usize, &'static str),
    /// The request's body cannot be read.
    #[error("request body: {0}")]
    Body(#[from] BodyError),
}

/// The attributes of one exchange.
#[derive(Debug)]
pub struct Attributes {
    headers: Arc<Headers>,
    /// Whether the request's body is known, and what it is.
    pub body: Body,
    /// What the request says of the model that it asks. Not to be changed once it is resolved.
    pub llm: Llm,
    /// What the exchange used and was answered with, as far as it is known; for costs.
    pub outcome: Option<Box<Outcome>>,
    llm_fields: Vec<(&'static str, Option<Value>)>,
    properties: Vec<(&'static Property, Option<Value>)>,
    filter_state: Vec<(String, Option<Value>)>,
    auth: auth::Auth,
    metadata: Option<Arc<metadata::Metadata>>,
}

// === impl Attributes ===

impl Attributes {
    /// The attributes of an exchange with these request headers, whose body is still to come.
    #[must_use]
    pub fn new(headers: Headers) -> Self {
        Self {
            headers: Arc::new(headers),
            body: Body::Pending,
            llm: Llm::default(),
            outcome: None,
            llm_fields: Vec::new(),
            properties: Vec::new(),
            filter_state: Vec::new(),
            auth: auth::Auth::default(),
            metadata: None,
        }
    }

    /// All that was taken of the request, for what is evaluated when the exchange is over; here only
    /// the headers stay. The body goes along only if it is to be read then.
    #[must_use]
    pub fn keep(&mut self, with_body: bool) -> Self {
        let stays = Self {
            headers: Arc::clone(&self.headers),
            ..Self::new(Headers::default())
        };
        let mut kept = mem::replace(self, stays);
        if !with_body && matches!(kept.body, Body::Json(_)) {
            kept.body = Body::Opaque;
        }
        kept
    }

    /// What the exchange is answered with.
    pub fn answered(&mut self, code: u16, headers: Headers) {
        let headers = Arc::new(headers);
        let outcome = self.outcome.get_or_insert_default();
        outcome.response = Response { code, headers };
    }

    /// The request's headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Takes from the host what `uses` names and is not here yet. `auth` is where the attribute of
    /// that name comes from.
    ///
    /// # Errors
    /// [`AttributeError`] when Envoy fails; an attribute that is absent is none.
    pub fn resolve(
        &mut self,
        host: &dyn Host,
        auth: &[AuthSource],
        uses: &[Attribute],
    ) -> Result<(), AttributeError> {
        self.resolve_auth(host, auth, uses)?;
        for attribute in uses {
            match attribute {
                Attribute::Property(property) => self.resolve_property(host, property)?,
                Attribute::FilterState(key) => self.resolve_filter_state(host, key)?,
                Attribute::RequestBody => self.body.readable()?,
                Attribute::Llm(field) => self.resolve_llm(*field)?,
                // `auth` is above; what a later version may add is absent here.
                _ => {}
            }
        }
        Ok(())
    }

    /// The string that a plain expression reads; `None` where it is absent or no string. What it
    /// uses has to be resolved.
    #[must_use]
    pub fn text(&self, subject: &Subject) -> Option<Cow<'_, str>> {
        match subject {
            Subject::Header(name) => self.headers.text(name),
            Subject::Variable(name) => match VariableResolver::resolve(self, name)? {
                CowVal::Borrowed(value) => {
                    let string = value.downcast_ref::<CelString>()?;
                    Some(Cow::Borrowed(string.inner()))
                }
                CowVal::Owned(_) => None,
            },
        }
    }

    /// The value of a formula; `None` where there is none, or nothing is known of what was used.
    #[must_use]
    pub fn compute(&self, formula: &Formula) -> Option<Number> {
        let outcome = self.outcome.as_ref()?;
        formula.value(|field| outcome.number(field))
    }

    fn resolve_property(
        &mut self,
        host: &dyn Host,
        property: &'static Property,
    ) -> Result<(), AttributeError> {
        if self.properties.iter().all(|(known, _)| *known != property) {
            let value = self.property(host, property)?;
            self.properties.push((property, value));
        }
        Ok(())
    }

    fn resolve_filter_state(&mut self, host: &dyn Host, key: &str) -> Result<(), AttributeError> {
        if self.filter_state.iter().all(|(known, _)| known != key) {
            let value = auth::filter_state(host, key)?.map(|bytes| string(text(&bytes)));
            self.filter_state.push((key.to_owned(), value));
        }
        Ok(())
    }

    fn property(
        &mut self,
        host: &dyn Host,
        property: &'static Property,
    ) -> Result<Option<Value>, AttributeError> {
        if let Some(value) = self.header_property(property) {
            return Ok(value);
        }
        if property.kind == Kind::Metadata && property.path == ["metadata"] {
            let metadata = self.metadata(host)?;
            return Ok(Some(metadata.value()));
        }
        let bytes = host
            .property(property.path)
            .map_err(|error| AttributeError::Property(property.name, error))?;
        if property.name == REMOTE_ADDRESS {
            return Ok(bytes.map(|bytes| string(without_port(&text(&bytes)))));
        }
        bytes.map(|bytes| decode(property, &bytes)).transpose()
    }

    /// The attributes that are in the request's headers, which are at hand; `None` for others.
    #[allow(clippy::option_option)] // Outside: whether it is one of them. Inside: whether it is there.
    fn header_property(&self, property: &Property) -> Option<Option<Value>> {
        let header = |name: &str| self.headers.text(name).map(string);
        let path = || self.headers.text(":path");
        Some(match property.name {
            "request.headers" => Some(Box::new(header_map::HeaderMap::new(&self.headers))),
            "request.method" => header(":method"),
            "request.scheme" => header(":scheme"),
            "request.host" => header(":authority"),
            "request.path" => header(":path"),
            "request.url_path" => path().map(|path| string(split_query(&path).0)),
            "request.query" => path().map(|path| string(split_query(&path).1.unwrap_or_default())),
            "request.id" => header("x-request-id"),
            "request.useragent" => header("user-agent"),
            "request.referer" => header("referer"),
            _ => return None,
        })
    }

    /// The dynamic metadata of the exchange.
    fn metadata(&mut self, host: &dyn Host) -> Result<Arc<metadata::Metadata>, AttributeError> {
        if let Some(metadata) = &self.metadata {
            return Ok(Arc::clone(metadata));
        }
        let bytes = host
            .property(&["metadata"])
            .map_err(|error| AttributeError::Property("metadata", error))?;
        let metadata = Arc::new(metadata::Metadata::decode(&bytes.unwrap_or_default())?);
        self.metadata = Some(Arc::clone(&metadata));
        Ok(metadata)
    }
}

/// What the evaluator asks for by name: `a.b.c`, else `a.b`, else `a`.
impl VariableResolver for Attributes {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some((_, value)) = self.properties.iter().find(|(p, _)| p.name == name) {
            return value.as_deref().map(CowVal::Borrowed);
        }
        if let Some((_, value)) = self.llm_fields.iter().find(|(known, _)| *known == name) {
            return borrowed(value.as_ref());
        }
        if let Some(path) = name.strip_prefix("auth.") {
            return borrowed(object::at(self.auth.value()?, path));
        }
        match name {
            // A caller of whom nothing is known has no claims, rather than no `auth`.
            "auth" => {
                borrowed(self.auth.value()).or_else(|| Some(CowVal::owned(CelMap::default())))
            }
            REQUEST_BODY => borrowed(self.body.value()),
            "filter_state" => {
                let present = self.filter_state.iter().filter_map(|(key, value)| {
                    Some((CelMapKey::from(key.clone()), value.as_ref()?.clone()))
                });
                Some(CowVal::owned(CelMap::from(
                    present.collect::<HashMap<_, _>>(),
                )))
            }
            _ => self.group(name).or_else(|| self.of_cost(name)),
        }
    }
}

impl Attributes {
    /// A root such as `request`, or the beginning of a name, as a map of those fields that were
    /// resolved and are present.
    fn group<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let mut known = false;
        let mut fields: HashMap<CelMapKey<'b>, Box<dyn Val + 'b>> = HashMap::new();
        let properties = self.properties.iter();
        let properties = properties.map(|(property, value)| (property.name, value));
        let llm = self.llm_fields.iter().map(|(name, value)| (*name, value));
        for (known_name, value) in properties.chain(llm) {
            let rest = known_name.strip_prefix(name);
            let Some(rest) = rest.and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            known = true;
            if let Some((field, _)) = rest.split_once('.') {
                if let Some(group) = self.group(&format!("{name}.{field}")) {
                    fields.insert(CelMapKey::from(field), group.into_owned());
                }
            } else if let Some(value) = value {
                fields.insert(CelMapKey::from(rest), value.clone());
            }
        }
        known.then(|| CowVal::owned(CelMap::from(fields)))
    }
}

impl Attributes {
    /// What only costs read.
    fn of_cost<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let outcome = self.outcome.as_ref()?;
        if let Some(variable) = filter_config::aliased(name) {
            return VariableResolver::resolve(self, variable);
        }
        outcome.value(name).map(CowVal::Owned)
    }
}

fn borrowed(value: Option<&Value>) -> Option<CowVal<'_, '_>> {
    value.map(|value| CowVal::Borrowed(value.as_ref()))
}

/// A path and its query, without the `?`.
fn split_query(path: &str) -> (&str, Option<&str>) {
    path.split_once('?')
        .map_or((path, None), |(path, query)| (path, Some(query)))
}

/// The address in `1.2.3.4:5` or `[::1]:5`; whatever else is given, such as the path of a socket, is the address.
fn without_port(address: &str) -> &str {
    match address.parse::<SocketAddr>() {
        Ok(_) => {
            let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
            ip.trim_start_matches('[').trim_end_matches(']')
        }
        Err(_) => address,
    }
}

/// Bytes as text; what is not UTF-8 is replaced.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A CEL string.
fn string<'a>(text: impl Into<Cow<'a, str>>) -> Value {
    Box::new(CelString::from(text.into().into_owned()))
}

/// A property's value from Envoy's encoding of it.
fn decode(property: &'static Property, bytes: &[u8]) -> Result<Value, AttributeError> {
    let wrong = |expected| AttributeError::Encoding(property.name, bytes.len(), expected);
    let integer = || {
        let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| wrong("an integer"))?;
        Ok::<_, AttributeError>(i64::from_le_bytes(bytes))
    };
    Ok(match property.kind {
        Kind::String => string(text(bytes)),
        Kind::Int => Box::new(CelInt::from(integer()?)),
        Kind::Bool => match bytes {
            [value] => Box::new(CelBool::from(*value != 0)),
            _ => return Err(wrong("a boolean")),
        },
        Kind::Timestamp => {
            let time = chrono::DateTime::from_timestamp_nanos(integer()?);
            Box::new(CelTimestamp::from(time.fixed_offset()))
        }
        Kind::Metadata => metadata::Metadata::decode(bytes)?.value(),
        Kind::Headers => return Err(wrong("at hand")),
    })
}
