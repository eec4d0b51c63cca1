//! Policies, messages and a filter without streams, for tests.

use crate::admit::{self, AdmissionError, Applicable, Expected, Queue};
use crate::attributes::{Attributes, Body};
use crate::host::double::{Call, Double};
use crate::host::log_capture::LogCapture;
use crate::host::{HeaderMap, Host, HostError};
use crate::ledger::{Admission, Check, Demands, Ledger, Rejection, Verdict};
use crate::policies::Policies;
use crate::telemetry::Telemetry;
use limits::{Nanos, Timestamp};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use usage_meter::Usage;

/// When tests begin.
pub(crate) const START: Timestamp = Timestamp::new(60_000 * Nanos::SECOND.as_u64());

/// Returns the policy `test/llm` with these limits.
pub(crate) fn policy(limits: &Value) -> Value {
    json!({
        "apiVersion": "kuadrant.io/v1alpha1", "kind": "TokenRateLimitPolicy",
        "metadata": { "name": "llm", "namespace": "test" },
        "spec": {
            "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" },
            "limits": limits
        }
    })
}

/// Returns a configuration with the policy `test/llm`, which knows callers by the header `x-user`, and
/// with other settings.
pub(crate) fn configuration(limits: &Value, settings: &Value) -> Value {
    let mut configuration = json!({
        "policies": [policy(limits)],
        "auth": [{ "header": { "user": "x-user" } }]
    });
    for (name, value) in settings.as_object().into_iter().flatten() {
        configuration[name] = value.clone();
    }
    configuration
}

/// Returns a limit of so many tokens a minute for each caller.
pub(crate) fn per_user(tokens: u64) -> Value {
    json!({
        "rates": [{ "limit": tokens, "window": "1m" }],
        "counters": [{ "expression": "auth.user" }]
    })
}

/// Returns the usage of a number of output tokens.
pub(crate) fn output(tokens: u64) -> Usage {
    Usage {
        output_tokens: tokens,
        total_tokens: tokens,
        ..Usage::default()
    }
}

/// The filter without streams: policies, counters and telemetry.
pub(crate) struct Filter {
    pub(crate) host: Rc<Double>,
    pub(crate) log: LogCapture,
    pub(crate) policies: Rc<Policies>,
    pub(crate) telemetry: Rc<Telemetry>,
    pub(crate) ledger: Ledger,
    pub(crate) queue: RefCell<Queue>,
}

// === impl Filter ===

impl Filter {
    /// Returns the filter with a configuration.
    pub(crate) fn new(limits: &Value, settings: &Value) -> Self {
        Self::on(Double::default(), limits, settings)
    }

    /// Returns the filter with a limit for each caller, whose first call of a kind fails.
    pub(crate) fn failing(call: Call, settings: &Value) -> Self {
        let host = Double::default();
        host.fail(call, 1, HostError::NotFound);
        Self::on(host, &json!({ "free": per_user(50) }), settings)
    }

    fn on(host: Double, limits: &Value, settings: &Value) -> Self {
        let log = LogCapture::start();
        host.clock.set(START.as_u64());
        Self::of(Rc::new(host), log, limits, settings)
    }

    /// Returns the filter of the same Envoy with another configuration.
    pub(crate) fn reconfigured(self, limits: &Value, settings: &Value) -> Self {
        Self::of(self.host, self.log, limits, settings)
    }

    fn of(host: Rc<Double>, log: LogCapture, limits: &Value, settings: &Value) -> Self {
        let envoy: Rc<dyn Host> = host.clone();
        let configuration = configuration(limits, settings).to_string();
        let configuration = filter_config::parse(configuration.as_bytes()).unwrap();
        let telemetry = Telemetry::define(envoy.clone(), &configuration).unwrap();
        let telemetry = Rc::new(telemetry);
        let policies = Rc::new(Policies::compile(&envoy, configuration).unwrap());
        Self {
            ledger: Ledger::new(envoy, policies.clone(), telemetry.clone()).unwrap(),
            queue: RefCell::default(),
            host,
            log,
            policies,
            telemetry,
        }
    }

    /// Returns the attributes of a request of a caller without a body, and with these headers.
    pub(crate) fn attributes(&self, user: &str, headers: &[(&str, &str)]) -> Attributes {
        let common = [
            (":method", "POST"),
            (":path", "/v1/chat/completions"),
            (":authority", "llm"),
            ("x-user", user),
        ];
        let common = common.iter().filter(|(_, value)| !value.is_empty());
        let all: Vec<(&str, &str)> = common.chain(headers).copied().collect();
        self.host.set_headers(HeaderMap::Request, &all);
        let mut attributes = Attributes::new(self.host.headers(HeaderMap::Request).unwrap());
        attributes.body = Body::Opaque;
        attributes
    }

    /// Returns the limits that apply to a request.
    pub(crate) fn applicable(
        &self,
        attributes: &mut Attributes,
    ) -> Result<Applicable, AdmissionError> {
        let with_values = self.ledger.needs_values();
        admit::applicable(&self.policies, &self.telemetry, attributes, with_values)
    }

    /// Returns what a request demands that is for a model and expected to use so many tokens.
    pub(crate) fn demands(
        &self,
        attributes: &mut Attributes,
        model: Option<&str>,
        expected: u64,
    ) -> Result<Demands, AdmissionError> {
        let applicable = self.applicable(attributes)?;
        let expected = Expected {
            model,
            usage: output(expected),
            plausible_tokens: u64::MAX,
        };
        let Self {
            policies,
            telemetry,
            ..
        } = self;
        admit::demands(policies, telemetry, attributes, applicable, &expected)
    }

    /// Checks a request that is expected to use so many tokens.
    pub(crate) fn check(
        &self,
        attributes: &mut Attributes,
        expected: u64,
    ) -> Result<Verdict, AdmissionError> {
        let demands = self.demands(attributes, None, expected)?;
        let headers = attributes.headers();
        match admit::check(&self.ledger, &self.queue, headers, demands, Some(1))? {
            Check::Decided(verdict) => Ok(verdict),
            Check::Pending(_) => panic!("decided without a service"),
        }
    }

    /// Admits a request of a caller that is expected to use so many tokens.
    pub(crate) fn admit(&self, user: &str, expected: u64) -> Admission {
        let verdict = self.check(&mut self.attributes(user, &[]), expected);
        match verdict.unwrap() {
            Verdict::Admitted(admission) => admission,
            Verdict::Rejected(rejection, _) => panic!("{rejection:?}"),
        }
    }

    /// Rejects a request of a caller that is expected to use so many tokens.
    pub(crate) fn reject(&self, user: &str, expected: u64) -> Rejection {
        let verdict = self.check(&mut self.attributes(user, &[]), expected);
        match verdict.unwrap() {
            Verdict::Rejected(rejection, _) => rejection,
            Verdict::Admitted(admission) => panic!("{admission:?}"),
        }
    }

    /// Lets time pass.
    pub(crate) fn wait(&self, length: Nanos) {
        self.host.clock.set(self.host.clock.get() + length.as_u64());
    }

    /// Returns the lines that were logged.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.log.lines().into_iter();
        lines
            .map(|(level, line)| format!("{} {line}", level.as_str().to_lowercase()))
            .collect()
    }
}
