//! The variables of CEL expressions: attributes of one exchange, each read from the host at most once.
//!
//! An expression is evaluated in two steps. [`Attributes::resolve`] reads what the expression uses and
//! is not resolved yet; then the evaluator finds it here, through [`VariableResolver`], without the
//! host. So evaluation is a function of a snapshot, and what no expression uses costs nothing.
//!
//! The request's headers are the only copy of what they have: the path, the query, the host and claims in headers
//! are read there at each evaluation. What the host has returned is kept between evaluations while it is small.

mod auth;
mod body;
mod error;
mod fields;
mod filter_state;
mod header_map;
mod llm;
mod metadata;
mod object;
mod outcome;
mod property;
#[cfg(test)]
mod tests;
mod value;

use crate::host::{Headers, Host};
use auth::Auth;
use cel::common::types::{CelMap, CelMapKey, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use filter_config::{
    Attribute, AuthSource, Formula, LLM_FIELDS, LlmField, Number, Property, REQUEST_BODY, Subject,
};
use metadata::DynamicMetadata;
use property::Resolved;
use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use value::{Value, borrowed, string, text};

pub(crate) use body::{Body, MalformedBody};
pub(crate) use error::AttributeError;
pub(crate) use llm::Llm;
#[cfg(test)]
pub(crate) use metadata::Metadata;
pub(crate) use outcome::{Outcome, Response};

/// The most bytes that the host has returned and that an exchange keeps while it waits. Beyond, they are read
/// again: a claim may have as many bytes as Envoy accepts in a header.
const MAX_KEPT_BYTES: usize = 512;

/// The attributes of one exchange.
#[derive(Debug)]
pub(crate) struct Attributes {
    headers: Arc<Headers>,
    /// The request's body, as far as it is known.
    pub body: Body,
    /// The model that the request is for.
    pub llm: Llm,
    /// The usage and response of the exchange, as far as they are known; for costs.
    pub outcome: Option<Box<Outcome>>,
    /// The steps that the evaluations of the exchange have taken.
    pub fuel_used: u64,
    /// The fields of `llm` that expressions have read.
    llm_fields: Vec<LlmField>,
    properties: Vec<(&'static Property, Resolved)>,
    filter_state: Vec<(String, Option<Value>)>,
    auth: Auth,
    metadata: DynamicMetadata,
    /// The bytes of `properties` and `filter_state`.
    kept: usize,
}

// === impl Attributes ===

impl Attributes {
    /// Returns the attributes of an exchange with these request headers, whose body is pending.
    #[must_use]
    pub(crate) fn new(headers: Headers) -> Self {
        Self::of(Arc::new(headers))
    }

    fn of(headers: Arc<Headers>) -> Self {
        Self {
            headers,
            body: Body::Pending,
            llm: Llm::default(),
            outcome: None,
            fuel_used: 0,
            llm_fields: Vec::new(),
            properties: Vec::new(),
            filter_state: Vec::new(),
            auth: Auth::default(),
            metadata: DynamicMetadata::default(),
            kept: 0,
        }
    }

    /// Moves out all that was resolved of what costs use, for their evaluation when the exchange is over. The
    /// headers and the body stay here; costs have the headers only where they read them.
    #[must_use]
    pub(crate) fn retain(&mut self, uses: &[Attribute]) -> Self {
        let uses_auth = uses.iter().any(|used| matches!(used, Attribute::Auth(_)));
        let auth = mem::take(&mut self.auth);
        let auth = if uses_auth { auth } else { Auth::default() };
        let is_used = |property: &'static Property| uses.contains(&Attribute::Property(property));
        let mut properties = mem::take(&mut self.properties);
        properties.retain(|(property, _)| is_used(property));
        let mut in_headers = properties
            .iter()
            .map(|(_, it)| matches!(it, Resolved::InHeaders(_)));
        let uses_headers = auth.is_in_headers() || in_headers.any(|it| it);
        let headers = if uses_headers {
            Arc::clone(&self.headers)
        } else {
            Arc::default()
        };
        let pointers = uses.iter().filter_map(|used| match used {
            Attribute::RequestBody(pointer) => Some(pointer.as_str()),
            _ => None,
        });
        let mut filter_state = mem::take(&mut self.filter_state);
        filter_state.retain(|(key, _)| {
            let is_it = |used: &Attribute| matches!(used, Attribute::FilterState(it) if it == key);
            uses.iter().any(is_it)
        });
        let retained = Self {
            body: self.body.part(pointers),
            llm: self.llm.clone(),
            outcome: self.outcome.take(),
            fuel_used: self.fuel_used,
            llm_fields: mem::take(&mut self.llm_fields),
            properties,
            filter_state,
            auth,
            ..Self::of(headers)
        };
        (self.metadata, self.kept) = (DynamicMetadata::default(), 0);
        retained
    }

    /// Releases memory before the request waits: drops what the host has returned, unless that is little. It is
    /// read again when an expression uses it.
    pub(crate) fn shrink(&mut self) {
        self.properties.shrink_to_fit();
        if self.kept.saturating_add(self.metadata.size()) > MAX_KEPT_BYTES {
            self.properties = Vec::new();
            self.filter_state = Vec::new();
            self.auth = Auth::default();
            self.metadata = DynamicMetadata::default();
            self.kept = 0;
        }
        self.auth.shrink();
    }

    /// Returns how many entries a name is searched among, in the map of them that has most.
    #[must_use]
    pub(crate) fn entries(&self) -> usize {
        let response = self
            .outcome
            .as_ref()
            .map(|outcome| outcome.response.headers.searched());
        self.headers.searched().max(response.unwrap_or_default())
    }

    /// Sets the head of the response.
    pub(crate) fn set_response(&mut self, code: u16, headers: Headers) {
        let headers = Arc::new(headers);
        let outcome = self.outcome.get_or_insert_default();
        outcome.response = Response { code, headers };
    }

    /// Returns whether there are headers.
    pub(crate) fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// Returns whether there are values of the body.
    pub(crate) const fn has_body(&self) -> bool {
        self.body.value().is_some()
    }

    /// Returns the request's headers.
    #[must_use]
    pub(crate) const fn headers(&self) -> &Arc<Headers> {
        &self.headers
    }

    /// Reads from the host what `uses` names and is not resolved yet. `auth` is where the attribute
    /// of that name comes from.
    ///
    /// # Errors
    /// [`AttributeError`] when Envoy fails; that an attribute is absent is no error.
    pub(crate) fn resolve(
        &mut self,
        host: &dyn Host,
        auth: &Arc<[AuthSource]>,
        uses: &[Attribute],
    ) -> Result<(), AttributeError> {
        self.auth
            .resolve(host, auth, uses, &self.headers, &mut self.metadata)?;
        for attribute in uses {
            match attribute {
                Attribute::Property(property) => self.resolve_property(host, property)?,
                Attribute::FilterState(key) => self.resolve_filter_state(host, key)?,
                Attribute::RequestBody(_) => self.body.check_well_formed()?,
                Attribute::Llm(field) => self.resolve_llm(*field)?,
                // `auth` is above; what a later version may add is absent here.
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the string that a plain expression reads; `None` where it is absent or no string. It
    /// has to be resolved.
    #[must_use]
    pub(crate) fn text(&self, subject: &Subject) -> Option<Cow<'_, str>> {
        let name = match subject {
            Subject::Header(name) => return self.headers.text(name),
            Subject::Variable(name) => name,
        };
        if let Some((_, property)) = self.properties.iter().find(|(it, _)| it.name == name) {
            return property.text(&self.headers);
        }
        if let Some(path) = name.strip_prefix("auth.") {
            return self.auth.text(&self.headers, path);
        }
        match VariableResolver::resolve(self, name)? {
            CowVal::Borrowed(value) => {
                let string = value.downcast_ref::<CelString>()?;
                Some(Cow::Borrowed(string.inner()))
            }
            CowVal::Owned(value) => {
                let string = value.downcast_ref::<CelString>()?;
                Some(Cow::Owned(string.inner().to_owned()))
            }
        }
    }

    /// Returns whether `auth` has a value. It has to be resolved.
    #[must_use]
    pub(crate) fn has_auth(&self) -> bool {
        self.auth.value(&self.headers, "").is_some()
    }

    /// Returns the value of a formula; `None` where it has none, or the outcome is not known.
    #[must_use]
    pub(crate) fn compute(&self, formula: &Formula) -> Option<Number> {
        let outcome = self.outcome.as_ref()?;
        formula.value(|field| outcome.number(field))
    }

    fn resolve_property(
        &mut self,
        host: &dyn Host,
        property: &'static Property,
    ) -> Result<(), AttributeError> {
        if self.properties.iter().all(|(known, _)| *known != property) {
            let (metadata, kept) = (&mut self.metadata, &mut self.kept);
            let resolved = property::resolve(host, &self.headers, property, metadata, kept)?;
            self.properties.push((property, resolved));
        }
        Ok(())
    }

    fn resolve_filter_state(&mut self, host: &dyn Host, key: &str) -> Result<(), AttributeError> {
        if self.filter_state.iter().all(|(known, _)| known != key) {
            let bytes = filter_state::read(host, key)?;
            self.kept = self.kept.saturating_add(bytes.as_ref().map_or(0, Vec::len));
            let value = bytes.map(|bytes| string(text(&bytes)));
            self.filter_state.push((key.to_owned(), value));
        }
        Ok(())
    }

    fn resolve_llm(&mut self, field: LlmField) -> Result<(), AttributeError> {
        if !matches!(field, LlmField::Provider | LlmField::Api) {
            self.body.check_well_formed()?;
        }
        if !self.llm_fields.contains(&field) {
            self.llm_fields.push(field);
        }
        Ok(())
    }

    /// Returns the fields of `llm` that were resolved, by their full names.
    fn llm_names(&self) -> impl Iterator<Item = (&'static str, LlmField)> {
        let fields = LLM_FIELDS.iter().map(|(name, field, _)| (*name, *field));
        fields.filter(|(_, field)| self.llm_fields.contains(field))
    }

    /// Returns a root such as `request`, or the beginning of a name, as a map of those fields that
    /// were resolved and are present.
    fn group<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let mut is_known = false;
        let mut fields: HashMap<CelMapKey<'b>, Box<dyn Val + 'b>> = HashMap::new();
        let properties = self.properties.iter();
        let properties = properties.map(|(property, _)| property.name);
        for known_name in properties.chain(self.llm_names().map(|(name, _)| name)) {
            let rest = known_name.strip_prefix(name);
            let Some(rest) = rest.and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            is_known = true;
            if let Some((field, _)) = rest.split_once('.') {
                if let Some(group) = self.group(&format!("{name}.{field}")) {
                    fields.insert(CelMapKey::from(field), group.into_owned());
                }
            } else if let Some(value) = VariableResolver::resolve(self, known_name) {
                fields.insert(CelMapKey::from(rest), value.into_owned());
            }
        }
        is_known.then(|| CowVal::owned(CelMap::from(fields)))
    }

    /// Returns a variable that only costs read.
    fn outcome_variable<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let outcome = self.outcome.as_ref()?;
        if let Some(variable) = filter_config::aliased(name) {
            return VariableResolver::resolve(self, variable);
        }
        outcome.value(name).map(CowVal::Owned)
    }
}

/// The evaluator asks for `a.b.c`, then for `a.b`, then for `a`.
impl VariableResolver for Attributes {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some((_, property)) = self.properties.iter().find(|(p, _)| p.name == name) {
            return property.value(&self.headers);
        }
        if let Some((_, field)) = self.llm_names().find(|(known, _)| *known == name) {
            return self.llm.value(field).map(CowVal::Owned);
        }
        if let Some(path) = name.strip_prefix("auth.") {
            return self.auth.value(&self.headers, path);
        }
        match name {
            // An unknown caller has no claims, rather than no `auth`.
            "auth" => {
                let value = self.auth.value(&self.headers, "");
                value.or_else(|| Some(CowVal::owned(CelMap::default())))
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
            _ => self.group(name).or_else(|| self.outcome_variable(name)),
        }
    }
}
