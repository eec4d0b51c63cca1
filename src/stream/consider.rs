//! What a decision considers: each limit, its predicates with the values that they read, and how its counters stand.
//!
//! Native programs only. Expressions are evaluated and limits found by the same functions as in
//! [`Stream::on_request_headers`], on the same attributes; the decision itself is that of an exchange that is run.

use super::head::{content_length, is_part, is_upgrade};
use super::machine::Stream;
use super::state::State;
use crate::attributes::{Attributes, Body};
use crate::host::{HeaderMap, Headers};
use crate::ledger::Charge;
use crate::policies::{EvaluationError, LimitEntry, LimitList, Policies, Unit};
use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelString, CelUInt};
use cel::context::VariableResolver;
use filter_config::{Attribute, Expression, LLM_FIELDS, LimitIndex};
use serde_json::Value;
use std::rc::Rc;
use std::sync::Arc;

/// What a decision on a request considers.
#[derive(Debug)]
pub struct Considered {
    /// The limits of the policies that are in force for the request, in the order of evaluation.
    pub limits: Vec<ConsideredLimit>,
    /// The counters that the request would be charged to.
    pub counters: Counters,
    /// Why limits or counters are not known.
    pub error: Option<String>,
}

/// A limit that is considered.
#[derive(Debug)]
pub struct ConsideredLimit {
    /// The policy, as `namespace/name`.
    pub policy: String,
    /// The name of the limit.
    pub limit: String,
    /// The predicates of the policy, then those of the limit.
    pub when: Vec<Evaluated>,
    /// Whether all predicates hold.
    pub applies: bool,
    /// The counter expressions, if it applies.
    pub counters: Vec<Evaluated>,
}

/// An expression with its value.
#[derive(Debug)]
pub struct Evaluated {
    /// The path to it, below its policy.
    pub path: String,
    /// Its source.
    pub expression: String,
    /// The value or the error; `None` if it was not evaluated, as one before it does not hold.
    pub result: Option<Result<Value, String>>,
    /// The attributes that it reads, by name; `null` for one that is missing.
    pub reads: Vec<(String, Value)>,
}

/// Counters of one request.
#[derive(Clone, Debug, Default)]
pub struct Counters(pub(crate) Vec<Charge>);

/// How a counter stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterState {
    /// The policy, as `namespace/name`.
    pub policy: String,
    /// The name of the limit.
    pub limit: String,
    /// The position of the rate among all rates of the configuration.
    pub rate: usize,
    /// The path to the rate, below its limit.
    pub path: String,
    /// What is counted: `tokens`, `requests`, `USD` (in billionths of a dollar) or `concurrent requests`.
    pub unit: &'static str,
    /// The hash of the values that the limit counts by.
    pub key: u128,
    /// The most that may be used.
    pub max: u64,
    /// What the request reserves.
    pub amount: u64,
    /// What is used in the window.
    pub used: u64,
    /// What requests in flight have reserved.
    pub reserved: u64,
    /// When the window ends, in nanoseconds since the Unix epoch.
    pub resets_at: u64,
    /// The length of the window in nanoseconds.
    pub window: u64,
    /// Whether the limit rejects: it is no dry run, and its `onExceeded` is not `allow`.
    pub is_enforced: bool,
}

// === impl Counters ===

impl Counters {
    /// Returns those that count requests in flight.
    #[must_use]
    pub fn concurrent(&self) -> Self {
        let charges = self.0.iter().copied();
        Self(
            charges
                .filter(|charge| charge.unit == Unit::InFlight)
                .collect(),
        )
    }

    /// Returns whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// === impl Stream ===

impl Stream {
    /// Returns the counters that an admitted exchange is charged to, until it ends.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let admission = match &self.state {
            State::Admitted(admitted) | State::Upgraded(admitted) => &admitted.admission,
            State::ReadingBody(reading) => &reading.admitted.admission,
            State::Metering(metering) => &metering.admitted.admission,
            _ => return Counters::default(),
        };
        Counters(admission.charges.clone())
    }

    /// Returns whether the request waits in a queue.
    #[must_use]
    pub const fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued(_))
    }

    /// Returns what the decision on the host's request considers, with this body. To be called on a stream that is
    /// not run.
    pub fn consider(&mut self, body: Option<&[u8]>) -> Considered {
        let mut attributes = self.attributes_of(body);
        let parts = Rc::clone(&self.parts);
        let policies = &*parts.policies;
        let mut considered = Considered {
            limits: Vec::new(),
            counters: Counters::default(),
            error: None,
        };
        let headers = Arc::clone(attributes.headers());
        match policies.limit_list(&headers) {
            Ok(Some(limits)) => {
                each_limit(
                    limits,
                    policies,
                    None,
                    &mut attributes,
                    body,
                    &mut considered.limits,
                );
            }
            Ok(None) => {}
            Err(error) => considered.error = Some(error.to_string()),
        }
        let length = body.map_or(0, |body| body.len() as u64);
        let applicable = self.applicable(&mut attributes);
        let demands = applicable
            .and_then(|applicable| self.demands(&mut attributes, applicable, Some(length)));
        match demands {
            Ok(demands) => considered.counters = Counters(demands.charges),
            Err(error) => considered.error = Some(error.to_string()),
        }
        considered
    }

    /// Returns the attributes of the host's request, as the stream has them once it has read the body.
    fn attributes_of(&mut self, body: Option<&[u8]>) -> Attributes {
        let parts = Rc::clone(&self.parts);
        let headers = parts.host.headers(HeaderMap::Request);
        let headers: Headers = headers.unwrap_or_default();
        self.request.has_ended = true;
        self.note_purpose(&headers);
        self.request.content_length = content_length(&headers);
        let mut attributes = Attributes::new(headers);
        if is_part(attributes.headers()) {
            self.request.parameters.parts = 1;
        }
        if parts.policies.needs().llm {
            attributes.llm = self.request.llm(&parts.estimator, false);
        }
        match body.filter(|_| !is_upgrade(attributes.headers())) {
            None => attributes.body = Body::Opaque,
            Some(body) => {
                let max = parts.policies.configuration().request_body.max_bytes;
                self.begin_body(attributes.headers());
                let is_whole = body.len() <= max;
                if let Some(reader) = &mut self.request.reader {
                    reader.push(body.get(..max).unwrap_or(body));
                    if is_whole {
                        reader.finish();
                    }
                }
                self.request.bytes = body.len() as u64;
                self.request.update_parameters();
                self.take_body(&mut attributes, is_whole);
            }
        }
        attributes
    }

    /// Returns how counters stand now.
    #[must_use]
    pub fn states(&self, counters: &Counters) -> Vec<CounterState> {
        let parts = &*self.parts;
        let charges = counters.0.iter();
        let states = charges.filter_map(|charge| {
            let (rate, policy, limit) = parts.policies.rate_of(charge.rate)?;
            let standing = parts.ledger.standing(charge)?;
            let window = match charge.unit {
                Unit::InFlight => 0,
                _ => charge.counter.rate.window().length.as_u64(),
            };
            Some(CounterState {
                policy: policy.name.clone(),
                limit: limit.name.clone(),
                rate: charge.rate.position(),
                path: rate.path(),
                unit: charge.unit.name(),
                key: charge.counter.key,
                max: charge.counter.limit,
                amount: charge.counter.amount,
                used: standing.used,
                reserved: standing.reserved,
                resets_at: standing.resets_at.as_u64(),
                window,
                is_enforced: charge.is_enforced,
            })
        });
        states.collect()
    }
}

/// Evaluates the limits of a list. `policy` is the position of the policy whose predicates come first.
fn each_limit(
    limits: &LimitList,
    policies: &Policies,
    policy: Option<usize>,
    attributes: &mut Attributes,
    body: Option<&[u8]>,
    into: &mut Vec<ConsideredLimit>,
) {
    let mut position = 0_usize;
    while let Some(entry) = limits.entry(position) {
        match entry {
            LimitEntry::Policy(policy, limits) => {
                each_limit(limits, policies, Some(*policy), attributes, body, into);
            }
            LimitEntry::Limit(index) => {
                into.extend(one_limit(*index, policies, policy, attributes, body));
            }
        }
        position = position.saturating_add(1);
    }
}

fn one_limit(
    index: LimitIndex,
    policies: &Policies,
    policy: Option<usize>,
    attributes: &mut Attributes,
    body: Option<&[u8]>,
) -> Option<ConsideredLimit> {
    let found = policies.limit(index)?;
    let (of, limit) = (found.policy, found.limit);
    let mut considered = ConsideredLimit {
        policy: of.name.clone(),
        limit: limit.name.clone(),
        when: Vec::new(),
        applies: true,
        counters: Vec::new(),
    };
    let outer = policy.and_then(|policy| policies.configuration().policies.get(policy));
    let outer = outer.map(|policy| policy.when.as_slice());
    let outer = outer.unwrap_or_default().iter().enumerate();
    let outer = outer.map(|(index, predicate)| (format!("when[{index}]"), predicate));
    let own = limit.when.iter().enumerate().map(|(index, predicate)| {
        let path = format!("limits.{}.when[{index}]", limit.name);
        (path, predicate)
    });
    let evaluator = policies.evaluator();
    for (path, predicate) in outer.chain(own) {
        let result = considered.applies.then(|| {
            let result = evaluator.apart(attributes, |attributes| {
                evaluator.predicate(attributes, predicate)
            });
            considered.applies = matches!(result, Ok(true));
            described(result.map(Value::Bool))
        });
        let reads = reads(attributes, predicate, body);
        considered.when.push(Evaluated {
            path,
            expression: predicate.source().to_owned(),
            result,
            reads,
        });
    }
    for (index, counter) in limit.counters.iter().enumerate() {
        let result = considered.applies.then(|| {
            let text =
                evaluator.apart(attributes, |attributes| evaluator.text(attributes, counter));
            described(text.map(Value::String))
        });
        let reads = reads(attributes, counter, body);
        considered.counters.push(Evaluated {
            path: format!("limits.{}.counters[{index}]", limit.name),
            expression: counter.source().to_owned(),
            result,
            reads,
        });
    }
    Some(considered)
}

fn described(result: Result<Value, EvaluationError>) -> Result<Value, String> {
    result.map_err(|error| error.to_string())
}

/// Returns the attributes that an expression reads, with their values as far as they are resolved.
fn reads(
    attributes: &Attributes,
    expression: &Expression,
    body: Option<&[u8]>,
) -> Vec<(String, Value)> {
    let uses = expression.uses();
    let mut reads = Vec::new();
    for attribute in uses {
        let name = match attribute {
            Attribute::Property(property) if property.name == "request.headers" => {
                let quoted = expression.source().split(['"', '\'']).skip(1).step_by(2);
                for name in quoted {
                    let value = attributes.headers().text(name);
                    let value = value.map_or(Value::Null, |text| text.into_owned().into());
                    let name = format!("request.headers[{name:?}]");
                    reads.extend(
                        (!value.is_null() || is_header(expression, &name)).then_some((name, value)),
                    );
                }
                continue;
            }
            Attribute::Property(property) => property.name.to_owned(),
            Attribute::Auth(path) => {
                let is_above = |other: &Attribute| match other {
                    Attribute::Auth(other) => {
                        other.len() > path.len() && other.starts_with(path.as_str())
                    }
                    _ => false,
                };
                if uses.iter().any(is_above) {
                    continue;
                }
                match path.as_str() {
                    "" => "auth".to_owned(),
                    path => format!("auth.{path}"),
                }
            }
            Attribute::Llm(field) => {
                let known = LLM_FIELDS.iter().find(|(_, known, _)| known == field);
                known.map_or("llm", |(name, ..)| name).to_owned()
            }
            Attribute::RequestBody(pointer) => {
                let body = body.and_then(|body| serde_json::from_slice::<Value>(body).ok());
                let value = body.and_then(|mut body| Some(body.pointer_mut(pointer)?.take()));
                reads.push((
                    format!("requestBodyJSON({pointer:?})"),
                    value.unwrap_or_default(),
                ));
                continue;
            }
            Attribute::FilterState(key) => format!("filter_state[{key:?}]"),
            _ => continue,
        };
        let value = value_of(attributes, &name);
        reads.push((name, value));
    }
    reads
}

/// Returns whether an expression names a header as this index of `request.headers`.
fn is_header(expression: &Expression, name: &str) -> bool {
    expression.source().replace('\'', "\"").contains(name)
}

/// Returns the value of a variable; `null` if it is missing, and the name of its type if it is no scalar.
fn value_of(attributes: &Attributes, name: &str) -> Value {
    let Some(value) = VariableResolver::resolve(attributes, name) else {
        return Value::Null;
    };
    if let Some(text) = value.downcast_ref::<CelString>() {
        text.inner().into()
    } else if let Some(bool) = value.downcast_ref::<CelBool>() {
        (*bool.inner()).into()
    } else if let Some(int) = value.downcast_ref::<CelInt>() {
        (*int.inner()).into()
    } else if let Some(uint) = value.downcast_ref::<CelUInt>() {
        (*uint.inner()).into()
    } else if let Some(double) = value.downcast_ref::<CelDouble>() {
        (*double.inner()).into()
    } else if value.downcast_ref::<CelNull>().is_some() {
        Value::Null
    } else {
        format!("({})", value.get_type().name()).into()
    }
}
