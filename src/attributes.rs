//! The variables of CEL expressions: attributes of one exchange, each read from the host at most once.
//!
//! An expression is evaluated in two steps. [`Attributes::resolve`] reads what the expression uses and
//! is not resolved yet; then the evaluator finds it here, through [`VariableResolver`], without the
//! host. So evaluation is a function of a snapshot, and what no expression uses costs nothing.

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
use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use value::{Value, string, text};

pub(crate) use body::{Body, MalformedBody};
pub(crate) use error::AttributeError;
pub(crate) use llm::Llm;
pub(crate) use outcome::{Outcome, Response};

/// The attributes of one exchange.
#[derive(Debug)]
pub(crate) struct Attributes {
    headers: Arc<Headers>,
    /// The request's body, as far as it is known.
    pub body: Body,
    /// The model that the request is for. Not to be changed once it is resolved.
    pub llm: Llm,
    /// The usage and response of the exchange, as far as they are known; for costs.
    pub outcome: Option<Box<Outcome>>,
    /// The steps that the evaluations of the exchange have taken.
    pub fuel_used: u64,
    llm_fields: Vec<(&'static str, Option<Value>)>,
    properties: Vec<(&'static Property, Option<Value>)>,
    filter_state: Vec<(String, Option<Value>)>,
    auth: Auth,
    metadata: DynamicMetadata,
}

// === impl Attributes ===

impl Attributes {
    /// Returns the attributes of an exchange with these request headers, whose body is pending.
    #[must_use]
    pub(crate) fn new(headers: Headers) -> Self {
        Self {
            headers: Arc::new(headers),
            body: Body::Pending,
            llm: Llm::default(),
            outcome: None,
            fuel_used: 0,
            llm_fields: Vec::new(),
            properties: Vec::new(),
            filter_state: Vec::new(),
            auth: Auth::default(),
            metadata: DynamicMetadata::default(),
        }
    }

    /// Moves out all that was resolved, for what is evaluated when the exchange is over; only the
    /// headers stay here. The body is moved along only `with_body`.
    #[must_use]
    pub(crate) fn retain(&mut self, with_body: bool) -> Self {
        let remaining = Self {
            headers: Arc::clone(&self.headers),
            fuel_used: self.fuel_used,
            ..Self::new(Headers::default())
        };
        let mut retained = mem::replace(self, remaining);
        if !with_body && matches!(retained.body, Body::Json(_)) {
            retained.body = Body::Opaque;
        }
        retained
    }

    /// Sets the head of the response.
    pub(crate) fn set_response(&mut self, code: u16, headers: Headers) {
        let headers = Arc::new(headers);
        let outcome = self.outcome.get_or_insert_default();
        outcome.response = Response { code, headers };
    }

    /// Returns the request's headers.
    #[must_use]
    pub(crate) fn headers(&self) -> &Headers {
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
        auth: &[AuthSource],
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
            let value = property::read(host, property, &self.headers, &mut self.metadata)?;
            self.properties.push((property, value));
        }
        Ok(())
    }

    fn resolve_filter_state(&mut self, host: &dyn Host, key: &str) -> Result<(), AttributeError> {
        if self.filter_state.iter().all(|(known, _)| known != key) {
            let value = filter_state::read(host, key)?.map(|bytes| string(text(&bytes)));
            self.filter_state.push((key.to_owned(), value));
        }
        Ok(())
    }

    fn resolve_llm(&mut self, field: LlmField) -> Result<(), AttributeError> {
        let named = LLM_FIELDS.iter().find(|(_, known, _)| *known == field);
        let Some(&(name, ..)) = named else {
            return Ok(());
        };
        if self.llm_fields.iter().any(|(known, _)| *known == name) {
            return Ok(());
        }
        if !matches!(field, LlmField::Provider | LlmField::Api) {
            self.body.check_well_formed()?;
        }
        let value = self.llm.value(field);
        self.llm_fields.push((name, value));
        Ok(())
    }

    /// Returns a root such as `request`, or the beginning of a name, as a map of those fields that
    /// were resolved and are present.
    fn group<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let mut is_known = false;
        let mut fields: HashMap<CelMapKey<'b>, Box<dyn Val + 'b>> = HashMap::new();
        let properties = self.properties.iter();
        let properties = properties.map(|(property, value)| (property.name, value));
        let llm = self.llm_fields.iter().map(|(name, value)| (*name, value));
        for (known_name, value) in properties.chain(llm) {
            let rest = known_name.strip_prefix(name);
            let Some(rest) = rest.and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            is_known = true;
            if let Some((field, _)) = rest.split_once('.') {
                if let Some(group) = self.group(&format!("{name}.{field}")) {
                    fields.insert(CelMapKey::from(field), group.into_owned());
                }
            } else if let Some(value) = value {
                fields.insert(CelMapKey::from(rest), value.clone());
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
            // An unknown caller has no claims, rather than no `auth`.
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
            _ => self.group(name).or_else(|| self.outcome_variable(name)),
        }
    }
}

fn borrowed(value: Option<&Value>) -> Option<CowVal<'_, '_>> {
    value.map(|value| CowVal::Borrowed(value.as_ref()))
}
